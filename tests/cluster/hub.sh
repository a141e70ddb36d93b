#!/bin/bash
# Eight nodes pull 20 tags, hour after hour, while tags move: a hub that counts pulls counts one for each image there was, for all nodes
# together, and sends each blob once.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/patience/hub.sh.inc
. tests/cluster/nodes.sh.inc
HOURS=${HOURS:-3} NODES=8
clock_start
NODE_DAEMON=("${DAEMON[@]}")
hub_start
ENDPOINT=127.0.0.1:$HUB_PORT
for i in $(seq 20); do
    hub "move?name=app$i&tag=1&image=0" >/dev/null
    echo "app$i 1"
done >"$W/tags"
hub "set?limit=5000&remaining=5000" >/dev/null
etcds_start
start_nodes $NODES
hub zero >/dev/null

hour() { # HOUR: all nodes at once
    local k pid=()
    for k in $(seq $NODES); do
        timeout 60 python3 tests/patience/nodes.py "$(node_at "$k"):5000" 1 "$W/tags" "$W/state-$k" >"$W/out-$k" 2>&1 &
        pid+=($!)
    done
    for k in "${pid[@]}"; do wait "$k" || fail "hour $1: $(cat "$W"/out-*)"; done
    cat "$W"/out-* | tr ' ' '\n' | grep sha256 >>"$W/digests"
}
printf '%-8s %8s %8s %8s %8s\n' hours images counted HEADs blobs
for h in $(seq 0 $((HOURS - 1))); do
    # In the night before, three tags move.
    [ "$h" = 0 ] || for k in 1 2 3; do hub "move?name=app$(((h * 3 + k) % 20 + 1))&tag=1&image=$h" >/dev/null; done
    clock_at $((h * 3600))
    hour "$h"
    printf '%-8s %8s %8s %8s %8s\n' $((h + 1)) "$(sort -u "$W/digests" | wc -l)" "$(hub_count .counted)" \
        "$(hub_count '[.head[]] | add // 0')" "$(hub_count .blobs)"
done
distinct=$(sort -u "$W/digests" | wc -l)
is "$distinct" $((20 + (HOURS - 1) * 3)) "images there were"
is "$(hub_count .counted)" "$distinct" "pulls that count"
is "$(hub_count .blobs)" $((20 * 3 + (HOURS - 1) * 3 * 2)) "blobs fetched: each once"
heads=$(hub_count '[.head[]] | add // 0')
# A tag that is not fresh any more is looked up by one node, for all of them.
[ "$heads" -le $((20 * HOURS * 2)) ] || fail "$heads HEADs for 20 tags in $HOURS hours"
