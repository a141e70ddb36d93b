#!/bin/bash
# containerd pulls docker.io/library/hello:1 through its hosts.toml (ns=docker.io) and runs it, twice; the second time its own
# store is empty and the registry is gone.
. "$(dirname "$0")/../lib.sh"
need_root

containerd_start() { # FOLDER
    D=$W/$1
    mkdir -p "$D/hosts/docker.io"
    cat >"$D/config.toml" <<-TOML
	version = 2
	root = "$D/root"
	state = "$D/state"
	disabled_plugins = ["io.containerd.grpc.v1.cri"]
	[grpc]
	  address = "$D/sock"
	[ttrpc]
	  address = "$D/sock.ttrpc"
	TOML
    printf 'server = "http://127.0.0.1:%s"\n[host."http://127.0.0.1:%s"]\n  capabilities = ["pull", "resolve"]\n' \
        "$PORT" "$PORT" >"$D/hosts/docker.io/hosts.toml"
    containerd --config "$D/config.toml" >>"$W/containerd.log" 2>&1 &
    CONTAINERD_PID=$!
    PIDS+=($CONTAINERD_PID)
    wait_for 30 ctr -a "$D/sock" version || fail "containerd does not start"
}
containerd_stop() { kill "$CONTAINERD_PID"; wait "$CONTAINERD_PID" 2>/dev/null || true; }
pull() { ctr -a "$D/sock" images pull --hosts-dir "$D/hosts" "$@" >>"$W/ctr.log" 2>&1 || fail "ctr images pull $*"; }
check() {
    is "$(ctr -a "$D/sock" images ls -q | head -n 1)" docker.io/library/hello:1 "image name"
    is "$(ctr -a "$D/sock" images ls | awk '$1 == "docker.io/library/hello:1" {print $3}')" "$want" "manifest digest"
    for d in $(jq -r '.config.digest, .layers[].digest' "$W/manifest.json"); do
        is "$(ctr -a "$D/sock" content get "$d" | sha256sum | sed 's/ .*//; s/^/sha256:/')" "$d" "blob"
    done
}
run() {
    is "$(ctr -a "$D/sock" run --rm --snapshotter overlayfs docker.io/library/hello:1 "run-$1" 2>>"$W/ctr.log")" \
        "hello from hello" "what the container says"
}

registry_start
image_build hello
image_push hello 1
want=$(upstream_digest hello 1)
upstream_manifest hello 1 >"$W/manifest.json"
entrepot_start

say "cold"
containerd_start one
pull docker.io/library/hello:1
check
run one
is "$(registry_asked GET /blobs/)" 4 "blobs fetched"
containerd_stop
say "an empty store, the registry gone, entrepot restarted"
registry_stop
entrepot_stop
entrepot_start
containerd_start two
pull docker.io/library/hello:1
check
run two
say "by digest"
pull "docker.io/library/hello@$want"
containerd_stop
entrepot_stop
