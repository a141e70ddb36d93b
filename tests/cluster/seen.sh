#!/bin/bash
# What users see of a cluster: `peers`, metrics, the status page and `doctor` say who there is and how they do; that a node, or etcd, is
# away; that this node is alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
etcds_start
upstream_start
image app:1 seen 4M 100K >"$W/app"
read -r digest bytes <"$W/app"
ZONE=a
gauge() { curl -s "http://$(node_at 1):5000/metrics" | awk -v n="$1" '$1 == n {print $2}'; }
start_nodes 2
pull_at_once library/app:1 1 2
is_pulled "$digest" "$bytes"

say "two nodes"
node_ask 1 peers >"$W/peers" || fail "entrepot peers"
head -n 1 "$W/peers" | grep -q '^2 nodes, by etcd: ok$' || fail "$(cat "$W/peers")"
grep -q "^$(node_at 1):5443 .* this node$" "$W/peers" || fail "this node: $(cat "$W/peers")"
grep -Eq "^$(node_at 2):5443 +a +[0-9.]+ .* (ok|not asked yet)$" "$W/peers" || fail "the other node: $(cat "$W/peers")"
node_ask 1 peers --json >"$W/json"
jq -e '.source.from == "etcd" and .source.ok and .nodes == 2 and (.peers | length) == 2 and .bucket == null' "$W/json" >/dev/null || fail "$(cat "$W/json")"
jq -e '[.peers[] | select(.self | not) | .received + .sent] | add > 0' "$W/json" >/dev/null || fail "no bytes: $(cat "$W/json")"
is "$(gauge entrepot_peers)" 2 entrepot_peers
is "$(gauge entrepot_peers_source_up)" 1 entrepot_peers_source_up
is "$(gauge entrepot_peer_resting)" 0 entrepot_peer_resting
curl -s "http://$(node_at 1):5000/status.json" | jq -e '.cluster.peers | length == 2' >/dev/null || fail "status.json"

say "where the bytes of pulls came from"
listed() { [ "$(node_ask "$1" pulls --json | wc -l)" = 1 ]; } # NODE
sums() { # NODE JQ-FILTER: of its only pull
    wait_for 40 listed "$1" || fail "node $1 lists $(node_ask "$1" pulls --json)"
    node_ask "$1" pulls --json | jq -r "$2"
}
# Each node is the home of some stripes, and has them from the registry; what it has not from there it has from the other one.
for k in 1 2; do
    received=$(node_metric "$k" entrepot_upstream_received_bytes_total)
    sums $k "[.bytes_from_upstream <= $received, .bytes_from_peers > 0, .bytes_from_shared == 0]" >"$W/json"
    is "$(jq -c . "$W/json")" '[true,true,true]' "node $k: $(node_ask $k pulls --json), received $received"
done
start_node 3
nodes_meet
pull_at_once library/app:1 3
is_pulled "$digest" "$bytes"
is "$(node_metric 3 entrepot_upstream_received_bytes_total)" 0 "what a new node has from the registry"
is "$(sums 3 ".bytes_from_upstream, .bytes_from_peers >= $bytes, .bytes_from_shared" | paste -sd ' ')" "0 true 0" "a new node's pull"
node_ask 3 pulls >"$W/pulls"
head -n 1 "$W/pulls" | grep -q ' FROM CACHE  *PEERS  *UPSTREAM ' || fail "no column: $(cat "$W/pulls")"
tail -n 1 "$W/pulls" | grep -Eq ' [0-9.]+ [KM]?i?B +4\.[0-9] MiB +0 B ' || fail "not from peers: $(cat "$W/pulls")"
grep -Eq 'pull of .*: ok, [0-9.]+ [KM]?i?B from the cache, 4\.[0-9] MiB from other nodes, 0 B from upstream, in ' "$W/node-3.log" ||
    fail "the log: $(grep 'pull of' "$W/node-3.log")"
curl -s "http://$(node_at 3):5000/status.json" |
    jq -e ".recent[0] | .from_upstream == 0 and .from_peers >= $bytes and .from_shared == 0" >/dev/null || fail "status.json of node 3"
node_ask 3 status --json | jq -e ".bytes | .from_peers > 0 and .sent >= $bytes and .from_upstream == 0" >/dev/null || fail "status of node 3"
pull_at_once library/app:1 3
again() { [ "$(node_ask 3 pulls --json | wc -l)" = 2 ]; }
wait_for 40 again || fail "the second pull is not listed"
node_ask 3 pulls --json | tail -n 1 | jq -e ".bytes_from_cache >= $bytes and .bytes_from_peers + .bytes_from_upstream == 0" >/dev/null ||
    fail "a warm pull: $(node_ask 3 pulls --json)"
kill_node 3
wait_for 30 knows 1 1 || fail "node 3 has left, and is in the list: $(node_ask 1 peers)"

say "doctor"
"$ENTREPOT" doctor --config "$W/node-1.yaml" --json >"$W/doctor" || true
found() { jq -e --arg l "$1" --arg w "$2" '[.findings[] | select(.topic == "cluster" and .level == $l and (.what + (.why // "") | contains($w)))] | length > 0' "$W/doctor" >/dev/null; }
found ok "it answers, and has 2 nodes" || fail "etcd: $(cat "$W/doctor")"
found ok "1 of 1 other nodes can be reached" || fail "peers: $(cat "$W/doctor")"

say "a node that nobody answers for, also when its rest is over"
etcd_add "$(node_at 9):5443" 2
member_9() { node_ask 1 peers | grep "^$(node_at 9):5443 "; }
wait_for 10 member_9 >/dev/null || fail "the new member is not known"
for k in 2 3 4 5 6 7; do
    image "app:$k" "seen-$k" 2M 100K >/dev/null
    pull_at_once "library/app:$k" 1
    [ "$(gauge entrepot_peer_resting)" = 0 ] || break
done
is_over() { member_9 | grep -q ' failed [0-9]* s ago: it cannot be reached$'; }
wait_for 30 is_over || fail "a node that failed: $(member_9)"
is "$(gauge entrepot_peer_resting)" 1 "entrepot_peer_resting, of a node whose rest is over"
node_ask 1 peers --json | jq -e --arg a "$(node_at 9):5443" '.peers[] | select(.address == $a) | .failing and .failed_ago_seconds >= 1 and .resting_seconds == 0 and .why == "it cannot be reached"' >/dev/null || fail "$(node_ask 1 peers --json)"
etcd_remove "$(node_at 9):5443"
is_gone() { ! member_9 >/dev/null; }
wait_for 10 is_gone || fail "it stays"

say "a node is away, then etcd"
kill_node 2
"$ENTREPOT" doctor --config "$W/node-1.yaml" --json >"$W/doctor" || true
found warning "this node cannot be reached" || fail "$(cat "$W/doctor")"
etcd_kill 1
away() { node_ask 1 peers | head -n 1 | grep -q 'by etcd: FAILS: .*the nodes that were known stay$'; }
wait_for 30 away || fail "peers does not say that etcd is away: $(node_ask 1 peers)"
is "$(gauge entrepot_peers_source_up)" 0 entrepot_peers_source_up
"$ENTREPOT" doctor --config "$W/node-1.yaml" --json >"$W/doctor" || true
found broken "etcd does not answer" || fail "$(cat "$W/doctor")"

say "alone"
CLUSTER=
start_node 4
node_ask 4 peers | grep -q '^this node is alone: ' || fail "$(node_ask 4 peers)"
pull_at_once library/app:1 4
wait_for 40 listed 4 || fail "node 4 lists no pull"
node_ask 4 pulls | head -n 1 | grep -q ' FROM CACHE  *UPSTREAM ' || fail "a column of peers without any: $(node_ask 4 pulls)"
! curl -s "http://$(node_at 4):5000/metrics" | grep -E 'entrepot_(peer|shared)' || fail "metrics of a cluster without one"
