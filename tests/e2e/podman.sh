#!/bin/bash
# podman pulls docker.io/library/hello:1 through a [[registry.mirror]], twice; the second time its own store is empty and the
# registry is gone. What it has unpacked is what was pushed.
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
need_root

on_cleanup() { for P in "$W/one" "$W/two"; do [ -d "$P" ] && p image umount -a >/dev/null 2>&1; done; }
check() {
    podman_pull docker.io/library/hello:1 || fail "podman pull: $(tail -n 3 "$W/podman.log")"
    is "sha256:$(p image inspect docker.io/library/hello:1 -f '{{.Id}}')" "$id" "image ID"
    is "$(p image inspect docker.io/library/hello:1 -f '{{.Digest}}')" "$want" "manifest digest"
    local m
    m=$(p image mount docker.io/library/hello:1)
    is "$(cat "$m/hello")" "hello from hello" "a file of the image"
    p image umount docker.io/library/hello:1 >/dev/null
}

registry_start
image_build hello
image_push hello 1
want=$(upstream_digest hello 1)
id=$(upstream_manifest hello 1 | jq -r .config.digest)
entrepot_start
say "cold"
podman_begin one
check
is "$(registry_asked GET /blobs/)" 4 "blobs fetched"
say "an empty store, the registry gone, entrepot restarted"
registry_stop
entrepot_stop
entrepot_start
podman_begin two
check
entrepot_stop
