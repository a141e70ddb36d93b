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

say "doctor"
"$ENTREPOT" doctor --config "$W/node-1.yaml" --json >"$W/doctor" || true
found() { jq -e --arg l "$1" --arg w "$2" '[.findings[] | select(.topic == "cluster" and .level == $l and (.what + (.why // "") | contains($w)))] | length > 0' "$W/doctor" >/dev/null; }
found ok "it answers, and has 2 nodes" || fail "etcd: $(cat "$W/doctor")"
found ok "1 of 1 other nodes can be reached" || fail "peers: $(cat "$W/doctor")"

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
start_node 3
node_ask 3 peers | grep -q '^this node is alone: ' || fail "$(node_ask 3 peers)"
! curl -s "http://$(node_at 3):5000/metrics" | grep -E 'entrepot_(peer|shared)' || fail "metrics of a cluster without one"
