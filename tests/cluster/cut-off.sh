#!/bin/bash
# A node has lost its way to the registry, and to nothing else: it is the home of parts of what the others pull, lives, and says that it
# waits, as one does whose registry is slow. Nobody's pull fails; it costs them ASK_EXCUSED_MS, or ASK_EXCUSED_TAG_MS for a manifest
# (cluster/ask.h), once, since then it rests.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
wires_begin 4
upstream_start
etcds_start
start_nodes 4

MOST=4
ROUND=0
three_pull() { # [COMMAND...]: once it has begun; leaves SECONDS_TAKEN
    ROUND=$((ROUND + 1))
    image "app$ROUND:1" "app$ROUND" 24M 12M 50K >"$W/app"
    read -r digest bytes <"$W/app"
    upstream_zero
    [ $# = 0 ] || (sleep 0.05 && "$@") &
    pull_at_once "library/app$ROUND:1" 1 2 3
    wait $! || fail "the fault: $*"
    is_pulled "$digest" "$bytes"
    SECONDS_TAKEN=$(slowest)
    say "  $SECONDS_TAKEN s, the registry sent $(awk -v s="$(upstream_bytes)" -v b="$bytes" 'BEGIN {printf "%.2f", s / b}') x"
}
say "one cluster"
three_pull
usual=$SECONDS_TAKEN

say "node 4 loses the registry"
cut_between 4 10.77.0.1
three_pull
slower_by "the first pull" "$SECONDS_TAKEN" "$usual"
given_up=$(grep -c 'the node 10.77.1.4:5443 is passed over' "$W"/node-[123].log | awk -F : '{n += $2} END {print n + 0}')
[ "$given_up" -gt 0 ] || fail "nobody has asked node 4 for anything"
three_pull
slower_by "the second pull, while it rests" "$SECONDS_TAKEN" "$usual"
for k in 1 2 3 4 5; do
    sleep 1.5 # it is asked again now and then
    three_pull
    slower_by "another pull" "$SECONDS_TAKEN" "$usual"
done

say "node 4 itself gets what the others have"
pull_at_once "library/app$ROUND:1" 4
is_pulled "$digest" "$bytes"

say "node 4 has the registry again"
heal 4
sleep 3
three_pull
slower_by "once it is back" "$SECONDS_TAKEN" "$usual"
say "it is lost in the middle of a pull"
three_pull cut_between 4 10.77.0.1
slower_by "in the middle" "$SECONDS_TAKEN" "$usual"
