#!/bin/bash
# Docker Engine pulls library/hello:1 through --registry-mirror and runs it, twice; the second time its own store is empty
# and the registry is gone.
. "$(dirname "$0")/../lib.sh"
need_root

docker_start() { # FOLDER
    D=$W/$1
    mkdir -p "$D"
    cat >"$D/containerd.toml" <<-TOML
	version = 2
	root = "$D/containerd"
	state = "$D/containerd-state"
	disabled_plugins = ["io.containerd.grpc.v1.cri"]
	[grpc]
	  address = "$D/containerd.sock"
	[ttrpc]
	  address = "$D/containerd.sock.ttrpc"
	TOML
    containerd --config "$D/containerd.toml" >>"$W/containerd.log" 2>&1 &
    CONTAINERD_PID=$!
    PIDS+=($CONTAINERD_PID)
    wait_for 30 ctr -a "$D/containerd.sock" version || fail "containerd does not start"
    dockerd --data-root "$D/data" --exec-root "$D/exec" --pidfile "$D/pid" -H "unix://$D/docker.sock" --bridge none \
        --iptables=false --ip-forward=false --ip-masq=false --registry-mirror "http://127.0.0.1:$PORT" \
        --containerd "$D/containerd.sock" >>"$W/dockerd.log" 2>&1 &
    DOCKERD_PID=$!
    PIDS+=($DOCKERD_PID)
    wait_for 60 docker -H "unix://$D/docker.sock" version || skip "dockerd does not start here: $(tail -n 1 "$W/dockerd.log")"
}
docker_stop() {
    kill "$DOCKERD_PID"
    wait "$DOCKERD_PID" 2>/dev/null || true
    kill "$CONTAINERD_PID"
    wait "$CONTAINERD_PID" 2>/dev/null || true
}
d() { docker -H "unix://$D/docker.sock" "$@"; }
check() {
    d pull -q hello:1 >>"$W/docker.log" 2>&1 || fail "docker pull"
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
docker_start one
check
is "$(registry_asked GET /blobs/)" 4 "blobs fetched"
docker_stop
say "an empty store, the registry gone, entrepot restarted"
registry_stop
entrepot_stop
entrepot_start
docker_start two
check
docker_stop
entrepot_stop
