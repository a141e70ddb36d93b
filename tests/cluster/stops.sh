#!/bin/bash
# Nodes stop, by SIGTERM, in the middle of what they pull from others and serve them, with clients and without, beside a node that hangs:
# each ends by itself, with status 0, and what was begun is pulled after the next start.
# In make test-cluster alone.
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
etcds_start
start_nodes 4

declare -A CLIENT=()
ROUND=0
# Not through a function in the background: who is ended has to be the client itself.
client_begin() { # NODE IMAGE
    timeout 30 python3 "$HERE/pull.py" "$(node_at "$1"):5000" "$2" >"$W/pulled-$1" 2>&1 &
    CLIENT[$1]=$!
    PIDS+=($!)
}
# All nodes pull a new image; after so long the clients of these nodes leave, and the nodes are stopped.
stop_amid() { # SECONDS NODE...
    local k after=$1
    shift
    ROUND=$((ROUND + 1))
    image "stop$ROUND:1" "stop$ROUND" 20M 3M 50K >"$W/app"
    read -r digest bytes <"$W/app"
    image "begun$ROUND:1" "begun$ROUND" 9M >"$W/begun"
    for k in 1 2 3 4; do client_begin $k "library/stop$ROUND:1"; done
    # One that no client waits for, too.
    node_ask "$1" pull "docker.io/library/begun$ROUND:1" >"$W/admin" 2>&1 &
    PIDS+=($!)
    sleep "$after"
    for k in "$@"; do kill "${CLIENT[$k]}" 2>/dev/null || true; done
    local started=$(date +%s%N)
    for k in "$@"; do kill -TERM "${NODE_PID[$k]}"; done
    for k in "$@"; do stop_node "$k"; done
    say "  nodes $*, $after s into their pulls: ended after $((($(date +%s%N) - started) / 1000000)) ms"
    for k in 1 2 3 4; do
        [ -z "${NODE_PID[$k]:-}" ] || wait "${CLIENT[$k]}" || fail "the pull by node $k: $(cat "$W/pulled-$k")"
    done
}

for after in 0.1 0.3 0.6 1; do
    say "one node stops"
    stop_amid $after 2
    start_nodes 4
    say "two nodes stop"
    stop_amid $after 1 3
    start_nodes 4
done
say "all nodes stop"
for after in 0.2 0.7; do
    stop_amid $after 1 2 3 4
    start_nodes 4
done
say "a node stops that waits for one that hangs"
kill -STOP "${NODE_PID[4]}"
ROUND=$((ROUND + 1))
image "stop$ROUND:1" "stop$ROUND" 20M 3M 50K >"$W/app"
read -r digest bytes <"$W/app"
client_begin 1 "library/stop$ROUND:1"
sleep 0.4
kill "${CLIENT[1]}"
started=$(date +%s%N)
stop_node 1
say "  ended after $((($(date +%s%N) - started) / 1000000)) ms"
kill -CONT "${NODE_PID[4]}"
start_nodes 4
pull_at_once "library/stop$ROUND:1" 1 2 3 4
is_pulled "$digest" "$bytes"
