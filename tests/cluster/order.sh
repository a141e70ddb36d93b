#!/bin/bash
# What cluster.order leaves out is not asked: a node without `peers` in it fetches all from the registry, and serves the others all the same.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
etcds_start
upstream_start
image app:1 order 9M 1M >"$W/app"
read -r digest bytes <"$W/app"
image app:2 other 9M 1M >"$W/app"
read -r second second_bytes <"$W/app"
both=$TRUST
node_launch 1
TRUST="$both, order: [shared]" node_launch 2
node_wait 1
node_wait 2
nodes_meet

say "node 1 has it, node 2 does not ask for it"
pull_at_once library/app:1 1
upstream_zero
pull_at_once library/app:1 2
is_pulled "$digest" "$bytes"
[ "$(upstream_bytes)" -gt 1000000 ] || fail "the registry was not asked" # for what it was not the home of before
is "$(node_metric 2 'entrepot_peer_bytes_total{direction="received"}')" 0 "bytes from peers at node 2"

say "node 2 has it, node 1 asks for it"
pull_at_once library/app:2 2
upstream_zero
pull_at_once library/app:2 1
is_pulled "$second" "$second_bytes"
[ "$(upstream_bytes)" -lt $((second_bytes / 10)) ] || fail "node 1 got $(upstream_bytes) bytes of $second_bytes from the registry"
