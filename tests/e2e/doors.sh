#!/bin/bash
# The engines of this system x the doors to entrepot x {pull public, pull private, push, build}: see tests/doors.sh.inc. Each engine
# that is not here is skipped by name.
# Takes minutes.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
. tests/doors.sh.inc
. tests/doors_engines.sh.inc
need openssl skopeo curl jq htpasswd setpriv

doors_nftables
doors_begin
engines=()
for engine in ${ENGINES:-curl skopeo ctr podman buildah docker}; do
    case $engine in
    curl | skopeo | podman | buildah) is_here $engine || { say "no $engine here"; continue; } ;;
    ctr) is_here containerd && is_here ctr || { say "no containerd here"; continue; } ;;
    docker) is_here dockerd && is_here docker && is_here containerd || { say "no docker here"; continue; } ;;
    esac
    engines+=("$engine")
    MIRROR=http://127.0.0.1:5000
    doors_try "$engine"
done
say "the registries are gone"
kill "${REGISTRIES[@]}"
wait "${REGISTRIES[@]}" 2>/dev/null || true
for engine in "${engines[@]}"; do
    doors_alone "$engine"
done
doors_print "${engines[@]}"
[ $FAILURES = 0 ] || fail "$FAILURES cells"

say "figures"
[ "$(metric entrepot_intercepted_total)" -gt 0 ] || fail "nothing was intercepted"
[ "$(metric 'entrepot_passed_through_total{upstream="private.example",method="PUT"}')" -gt 0 ] || fail "no push was counted"
is "$(metric entrepot_tunnels)" 0 "tunnels"
entrepot_stop
