#!/bin/bash
# Real engines, one beside each node: four containerds pull a cold image at once, a fifth one joins with its node, skopeo, podman and
# Docker pull beside them, and a node is killed in the middle. The registry sends an image once, and no pull fails.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
. tests/cluster/engines.sh.inc
need tc
nodes=${N:-4} rate=${RATE:-200}
joins=$((nodes + 1))
[ "$nodes" -ge 4 ] || skip "needs four nodes"
export TAR=1
declare -A ENGINE=() # of a node, if not containerd

pull() { "${ENGINE[$1]:-containerd}_pulls" "$@"; }
containerd_pulls() { engine_pull "$1" "$2" images pull; }
# The others tell "SECONDS - DIGEST".
skopeo_pulls() {
    local start=$EPOCHREALTIME
    beside "$1"
    mirror_conf "$W/mirror-$1.conf"
    timeout 30 "${NS[@]}" skopeo --registries-conf "$W/mirror-$1.conf" copy -q "docker://docker.io/$2" "dir:$W/skopeo" \
        >>"$W/skopeo.log" 2>&1 || return 1
    echo "$(since "$start") - sha256:$(sha256sum "$W/skopeo/manifest.json" | cut -d ' ' -f 1)"
}
podman_pulls() {
    local start=$EPOCHREALTIME
    beside "$1"
    NS=(timeout 30 "${NS[@]}")
    podman_pull "docker.io/$2" || return 1
    echo "$(since "$start") - $(p image inspect "docker.io/$2" -f '{{.Digest}}')"
}
docker_pulls() {
    local start=$EPOCHREALTIME name
    timeout 30 docker -H "unix://$D/docker.sock" pull -q "$2" >>"$W/docker.log" 2>&1 || return 1
    name=$(d image inspect "$2" -f '{{index .RepoDigests 0}}')
    echo "$(since "$start") - ${name#*@}"
}
docker_runs_here() {
    is_here docker && is_here dockerd && grep -qE ' (/sys/fs/cgroup/devices cgroup|/sys/fs/cgroup cgroup2) ' /proc/self/mounts
}
on_cleanup() { [ ! -d "$W/podman" ] || p image umount -a >/dev/null 2>&1; }

new_image() { # NAME: of one big layer and two small ones; leaves digest and bytes
    image "$1:1" "$1" 40M 6M 300K >"$W/app"
    read -r digest bytes <"$W/app"
    upstream_zero
}
# All that was pulled came by way of the nodes.
is_by_nodes() { is "$(upstream_bytes '[^"]*')" "$(upstream_bytes)" "bytes that the registry sent in all, and to nodes"; }

wires_begin $joins
for k in $(seq $joins); do shape "$k" "$rate"; done
upstream_start
etcds_start
start_nodes "$nodes"
for k in $(seq $joins); do engine_start "$k"; done

say "$nodes containerds pull a cold image at once, over $rate Mbit each"
new_image app
pull_at_once library/app:1 $(seq "$nodes")
is_pulled "$digest" "$bytes"
is_once "$bytes" "$nodes containerds"
is_by_nodes
usual=$(slowest)

say "one more node joins, and its containerd pulls that"
start_nodes $joins
upstream_zero
pull_at_once library/app:1 $joins
is_pulled "$digest" "$bytes"
is "$(upstream_bytes '[^"]*')" 0 "blob bytes from the registry for a node that joins"
say "  $(slowest) s, and 0 bytes from the registry"

say "other engines beside them"
if is_here skopeo; then ENGINE[2]=skopeo; else say "  without skopeo, which is not here"; fi
if is_here podman; then
    beside 3
    podman_begin podman
    ENGINE[3]=podman
else
    say "  without podman, which is not here"
fi
if docker_runs_here; then
    beside 4
    docker_begin docker
    ENGINE[4]=docker
else
    say "  without Docker, which does not run here"
fi
new_image mixed
pull_at_once library/mixed:1 $(seq $joins)
is "$(cut -d ' ' -f 3 "$W/pulled" | sort -u)" "$digest" "digests that were pulled"
for k in $(seq $joins); do say "  ${ENGINE[$k]:-containerd}: $(cut -d ' ' -f 1 "$W/pulled-$k") s"; done
is_once "$bytes" "${ENGINE[*]} and containerd"
is_by_nodes
ENGINE=()

# Its own containerd goes on at the registry, as hosts.toml says; the others have it from the nodes that are left.
say "kill -9 of node $nodes while all pull"
new_image killed
(sleep 0.7 && kill -9 "${NODE_PID[$nodes]}") &
killer=$!
pull_at_once library/killed:1 $(seq $joins)
wait $killer || fail "node $nodes was gone before"
is_pulled "$digest" "$bytes"
[ "$(upstream_bytes containerd)" -gt 0 ] || fail "node $nodes was killed when its containerd was done"
say "  the registry sent $(upstream_bytes) bytes to nodes, $(upstream_bytes containerd) to the containerd whose node was killed, for $bytes"
[ $(($(upstream_bytes) * 10)) -le $((bytes * 15)) ] || { shares; fail "$(upstream_bytes) bytes from the registry for $bytes"; }
slower_by "a node killed" "$(slowest)" "$usual"
