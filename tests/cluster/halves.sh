#!/bin/bash
# The network between two halves of a cluster breaks, with etcd within reach of both, and then of one alone: pulls go on in both, each
# half costs the registry what a cluster of its own would; and when it heals the halves are one cluster again.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
wires_begin 4
upstream_start
etcds_start
start_nodes 4

ROUND=0
all_pull() { # leaves SECONDS_TAKEN and TIMES, of what the registry sent
    ROUND=$((ROUND + 1))
    image "app$ROUND:1" "app$ROUND" 18M 1M 50K >"$W/app"
    read -r digest bytes <"$W/app"
    upstream_zero
    pull_at_once "library/app$ROUND:1" 1 2 3 4
    is_pulled "$digest" "$bytes"
    SECONDS_TAKEN=$(slowest) TIMES=$(awk -v s="$(upstream_bytes)" -v b="$bytes" 'BEGIN {printf "%.2f", s / b}')
    say "  $SECONDS_TAKEN s, the registry sent $TIMES x"
}
at_most() { awk -v a="$TIMES" -v b="$1" 'BEGIN {exit !(a <= b)}'; }
# Peers that failed rest for some seconds; until then a half may go on alone.
is_one_again() { all_pull >/dev/null && at_most 1.05; }

say "one cluster"
all_pull
at_most 1.05 || fail "the registry sent $TIMES x"
usual=$SECONDS_TAKEN

say "two halves, both with etcd"
cut_between "1 2" "3 4"
cut_between "3 4" "1 2"
all_pull
slower_by "the first pull in halves" "$SECONDS_TAKEN" "$usual"
all_pull
slower_by "the second pull in halves" "$SECONDS_TAKEN" "$usual"
at_most 2.1 || say "  (more than one pull for each half)"
heal 1 2 3 4
wait_for 12 is_one_again || fail "the halves do not find together: $TIMES x; $(node_ask 1 peers)"
say "  healed: $TIMES x"

say "two halves, the second without etcd"
cut_between "1 2" "3 4"
cut_between "3 4" "1 2 $(etcd_at 1)"
all_pull
slower_by "the first pull without etcd" "$SECONDS_TAKEN" "$usual"
all_pull
slower_by "the second pull without etcd" "$SECONDS_TAKEN" "$usual"
heal 1 2 3 4
nodes_meet
wait_for 12 is_one_again || fail "the halves do not find together: $TIMES x; $(node_ask 3 peers)"
say "  healed: $TIMES x"
