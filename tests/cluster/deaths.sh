#!/bin/bash
# Nodes and etcd die while an image is pulled from a slow registry: no pull fails, no byte is wrong, and it takes a second longer at most.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
LINK=12000000 # bytes a second, of the registry's link
upstream_start
relay=$(free_port)
"$TOOLS/relay" "$relay" 5050 4 0 $LINK >>"$W/relay.log" 2>&1 &
PIDS+=($!)
ENDPOINT=127.0.0.1:$relay
wait_for 10 curl -s -o /dev/null "http://$ENDPOINT/v2/" || fail "the relay does not start"
etcds_start 3
start_nodes 4

ROUND=0
# Nodes 1 and 2 pull a new image of six stripes, so that each node is the home of some, and of three small ones; 0.6 s after that the fault.
fault() { # COMMAND...: SECONDS is what the slower of them took
    ROUND=$((ROUND + 1))
    image "app$ROUND:1" "app$ROUND" 18M 1M 50K >"$W/app"
    read -r digest bytes <"$W/app"
    upstream_zero
    (sleep 0.6 && "$@" >/dev/null 2>&1) &
    pull_at_once "library/app$ROUND:1" 1 2
    wait $! || fail "the fault: $*"
    is_pulled "$digest" "$bytes"
    SECONDS_TAKEN=$(slowest)
    say "  the registry sent $(awk -v s="$(upstream_bytes)" -v b="$bytes" 'BEGIN {printf "%.2f", s / b}') x; longest silence $(cut -d ' ' -f 4 "$W/pulled" | sort -rg | head -n 1) s"
}
say "without a fault"
fault true
usual=$SECONDS_TAKEN

say "kill -9 of a home in the middle of a blob"
fault kill -9 "${NODE_PID[4]}"
slower_by "kill -9 of a home" "$SECONDS_TAKEN" "$usual"
kill_node 4

say "what begins while the dead one is in the list"
fault true
slower_by "with a dead node in the list" "$SECONDS_TAKEN" "$usual"

say "SIGSTOP of a home in the middle of a blob"
fault kill -STOP "${NODE_PID[3]}"
slower_by "SIGSTOP of a home" "$SECONDS_TAKEN" "$usual"
say "what begins while it does not answer"
fault true
slower_by "with a stopped node in the list" "$SECONDS_TAKEN" "$usual"
kill -CONT "${NODE_PID[3]}"
start_nodes 4

say "kill -9 of etcd's leader"
leader=$(etcd_leader)
[ -n "$leader" ] || fail "etcd has no leader"
fault kill -9 "${ETCD_PID[$leader]}"
slower_by "kill -9 of etcd's leader" "$SECONDS_TAKEN" "$usual"
is "$(for k in 1 2 3 4; do peers_of $k; done | paste -sd ' ')" "3 3 3 3" "how many others each node knows"

say "kill -9 of all etcd"
fault kill -9 "${ETCD_PID[1]}" "${ETCD_PID[2]}" "${ETCD_PID[3]}" || true
slower_by "kill -9 of all etcd" "$SECONDS_TAKEN" "$usual"
fault true
slower_by "without etcd" "$SECONDS_TAKEN" "$usual"
is "$(for k in 1 2 3 4; do peers_of $k; done | paste -sd ' ')" "3 3 3 3" "how many others each node knows without etcd"
awk -v s="$(upstream_bytes)" -v b="$bytes" 'BEGIN {exit !(s < b * 1.05)}' || fail "without etcd the peers are no use: $(upstream_bytes) bytes for $bytes"

say "a node that starts without etcd"
node_launch 5
node_wait 5
pull_at_once "library/app$ROUND:1" 5
is_pulled "$digest" "$bytes"
slower_by "a node that starts without etcd" "$(slowest)" "$usual"
