#!/bin/bash
# podman pulls docker.io/library/hello:1 through a [[registry.mirror]], twice; the second time its own store is empty and the
# registry is gone. What it has unpacked is what was pushed.
. "$(dirname "$0")/../lib.sh"
need_root

export CONTAINERS_REGISTRIES_CONF=$W/registries.conf
p() { podman --root "$W/$S/root" --runroot "$W/$S/run" --storage-driver "$DRIVER" "$@"; }
on_cleanup() { for S in one two; do [ -d "$W/$S" ] && p image umount -a >/dev/null 2>&1; done; }
check() {
    p pull -q docker.io/library/hello:1 >>"$W/podman.log" 2>&1 || fail "podman pull: $(tail -n 3 "$W/podman.log")"
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
cat >"$W/registries.conf" <<EOT
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "127.0.0.1:$PORT"
insecure = true
EOT
DRIVER=overlay S=one
p info >"$W/info.log" 2>&1 || DRIVER=vfs

say "cold"
check
is "$(registry_asked GET /blobs/)" 4 "blobs fetched"
say "an empty store, the registry gone, entrepot restarted"
registry_stop
entrepot_stop
entrepot_start
S=two
check
entrepot_stop
