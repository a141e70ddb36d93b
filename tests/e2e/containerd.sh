#!/bin/bash
# containerd pulls docker.io/library/hello:1 through its hosts.toml (ns=docker.io) and runs it, twice; the second time its own
# store is empty and the registry is gone.
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
need_root

containerd_end() { kill "$CONTAINERD_PID"; wait "$CONTAINERD_PID" 2>/dev/null || true; }
pull() { containerd_pull "$1" || fail "ctr images pull $1: $(tail -n 2 "$W/ctr.log")"; }
check() {
    is "$(c images ls -q | head -n 1)" docker.io/library/hello:1 "image name"
    is "$(c images ls | awk '$1 == "docker.io/library/hello:1" {print $3}')" "$want" "manifest digest"
    for d in $(jq -r '.config.digest, .layers[].digest' "$W/manifest.json"); do
        is "$(c content get "$d" | sha256sum | sed 's/ .*//; s/^/sha256:/')" "$d" "blob"
    done
}
run() {
    local said
    for try in 1 2 3; do # containerd 1.6 may close a container's output before it has copied it
        said=$(c run --rm --snapshotter overlayfs docker.io/library/hello:1 "run-$1-$try" 2>>"$W/ctr.log")
        [ -z "$said" ] || break
    done
    is "$said" "hello from hello" "what the container says"
}

registry_start
image_build hello
image_push hello 1
want=$(upstream_digest hello 1)
upstream_manifest hello 1 >"$W/manifest.json"
entrepot_start

say "cold"
containerd_begin one
pull docker.io/library/hello:1
check
run one
is "$(registry_asked GET /blobs/)" 4 "blobs fetched"
containerd_end
say "an empty store, the registry gone, entrepot restarted"
registry_stop
entrepot_stop
entrepot_start
containerd_begin two
pull docker.io/library/hello:1
check
run two
say "by digest"
pull "docker.io/library/hello@$want"
containerd_end
entrepot_stop
