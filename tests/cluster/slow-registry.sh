#!/bin/bash
# A registry that begins its answers late, all of them or some: homes that wait for it are waited for, and it is asked once for all.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
upstream_start
late=$(free_port)
delays() { echo "$*" >"$W/delays.new" && mv "$W/delays.new" "$W/delays"; }
delays 0 0 0
python3 "$HERE/late.py" "$late" "$UPSTREAM" "$W/delays" 2>>"$W/late.log" &
PIDS+=($!)
ENDPOINT=127.0.0.1:$late
wait_for 10 curl -s -o /dev/null "http://$ENDPOINT/v2/" || fail "the late registry does not start"
etcds_start
start_nodes 4

N=0
is_asked_once() { # WHAT MANIFESTS SOME OTHERS SIZE...: seconds of delay, as in late.py
    local what=$1
    N=$((N + 1))
    delays "$2" "$3" "$4"
    image "app$N:1" "app$N" "${@:5}" >"$W/app"
    read -r digest bytes <"$W/app"
    upstream_zero
    pull_at_once "library/app$N:1" 1 2 3 4
    is_pulled "$digest" "$bytes"
    is_once "$bytes" "$what"
    is "$(upstream_manifests)" 1 "manifests from the registry: $what"
}
is_asked_once "no delay" 0 0 0 6M 6M 6M
for k in 1 2 3; do is_asked_once "manifests after 2 s" 2 0 0 5M 50K; done
for k in 1 2; do is_asked_once "blobs after 0.9 s" 0 0.9 0.9 6M 6M 6M 6M 6M 6M; done
for k in 1 2 3; do is_asked_once "half of the blobs after 0.9 s" 0 0.9 0.05 6M 6M 6M 6M 6M 6M; done
! grep -h 'is passed over' "$W"/node-[1234].log || say "  (their logs tell of it)"
