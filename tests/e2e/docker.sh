#!/bin/bash
# Docker Engine pulls library/hello:1 through --registry-mirror and runs it, twice; the second time its own store is empty
# and the registry is gone.
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
need_root

docker_end() {
    kill "$DOCKERD_PID"
    wait "$DOCKERD_PID" 2>/dev/null || true
    kill "$CONTAINERD_PID"
    wait "$CONTAINERD_PID" 2>/dev/null || true
}
check() {
    docker_pull hello:1 || fail "docker pull: $(tail -n 2 "$W/docker.log")"
    is "$(d image inspect hello:1 -f '{{.Id}}')" "$id" "image ID"
    is "$(d image inspect hello:1 -f '{{index .RepoDigests 0}}')" "hello@$want" "manifest digest"
    is "$(d run --rm --network none hello:1)" "hello from hello" "what the container says"
}

registry_start
image_build hello
image_push hello 1
want=$(upstream_digest hello 1)
id=$(upstream_manifest hello 1 | jq -r .config.digest)
entrepot_start

say "cold"
containerd_begin one
docker_begin docker-one
check
is "$(registry_asked GET /blobs/)" 4 "blobs fetched"
docker_end
say "an empty store, the registry gone, entrepot restarted"
registry_stop
entrepot_stop
entrepot_start
containerd_begin two
docker_begin docker-two
check
docker_end
entrepot_stop
