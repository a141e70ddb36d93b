#!/bin/bash
# Four nodes pull an image at once, and the registry sends it once. A tag moves, a node joins, which costs the registry nothing, a node
# leaves, which nobody notices; and a node that is alone, with the same configuration, works as ever. By etcd, then by DNS.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
etcds_start
upstream_start
TTL=2s
image app:1 first 48M 3M 100K >"$W/app"
read -r digest bytes <"$W/app"
start_nodes 4

say "four nodes, cold, at once"
pull_at_once library/app:1 1 2 3 4
is_pulled "$digest" "$bytes"
is_once "$bytes" "four nodes"
shares
for k in 1 2 3 4; do
    seen $k library/app:1 | grep -q 'entrepot; fwd=uri-miss; detail=peer' || fail "node $k has nothing from a peer: $(seen $k library/app:1)"
done
[ "$(upstream_manifests)" = 1 ] || say "  ($(upstream_manifests) manifests were fetched)"
node_ask 1 peers || fail "entrepot peers"
for k in 2 3 4; do node_ask 1 peers --json | grep -qF "$(node_at $k):5443" || fail "peers does not name node $k: $(node_ask 1 peers --json)"; done
for k in 1 2 3 4; do
    received=$(node_metric $k 'entrepot_peer_bytes_total{direction="received"}')
    [ "$received" -gt $((bytes / 3)) ] || fail "node $k says that it got $received bytes of $bytes from peers"
done

say "the tag moves: a layer is new"
image app:1 second first-0=48M first-1=3M 5M >"$W/app"
read -r moved total <"$W/app"
[ "$moved" != "$digest" ] || fail "it is the same image"
sleep 2.2 # TTL
upstream_zero
pull_at_once library/app:1 1 2 3 4
is_pulled "$moved" "$total"
is_once $((total - (48 << 20) - (3 << 20))) "what is new"

say "a node joins"
upstream_zero
NODE_MORE="access_log: {path: $W/access.log, format: json}"
start_nodes 5
NODE_MORE=
pull_at_once library/app:1 5
is_pulled "$moved" "$total"
is "$(upstream_bytes)" 0 "bytes of blobs from the registry for a node that joined"
is "$(upstream_manifests)" 0 "manifests from the registry for a node that joined"
seen 5 library/app:1 >"$W/seen-5"
[ "$(grep -c 'detail=peer' "$W/seen-5")" = "$(grep -c 'fwd=' "$W/seen-5")" ] || fail "not all is said to be from a peer: $(cat "$W/seen-5")"
logged_so() { # the access log says the same
    [ "$(grep -c '"cache":"entrepot; fwd=[^"]*detail=peer"' "$W/access.log")" = "$(grep -c 'detail=peer' "$W/seen-5")" ]
}
wait_for 5 logged_so || fail "the access log: $(cat "$W/access.log")"

say "entrepot pull at all nodes: each looks what the tag is now, by HEAD, and one or two get the manifest (its home may pull, too)"
image fetched:1 fetched 3M 100K >"$W/app"
read -r digest bytes <"$W/app"
upstream_zero
pulling=()
for k in 1 2 3 4 5; do
    node_ask $k pull docker.io/library/fetched:1 >"$W/fetched-$k" 2>&1 &
    pulling+=($!)
done
for p in "${pulling[@]}"; do wait "$p" || fail "entrepot pull: $(cat "$W"/fetched-*)"; done
[ "$(upstream_manifests)" -le 2 ] || fail "$(upstream_manifests) manifests from the registry for five pulls: $(grep /manifests/ "$W/registry.log")"
[ $(($(upstream_bytes) * 100)) -le $((bytes * 105)) ] || fail "$(upstream_bytes) bytes from the registry for $bytes"

say "a node leaves, in the middle of pulls"
image leave:1 leave 24M 1M >"$W/app"
read -r digest bytes <"$W/app"
started=$(date +%s%N)
(sleep 0.1 && kill -TERM "${NODE_PID[2]}") &
pull_at_once library/leave:1 1 3 4 5
is_pulled "$digest" "$bytes"
stop_node 2
say "  it has ended after $((($(date +%s%N) - started) / 1000000)) ms; the slowest pull took $(slowest) s"
awk -v s="$(slowest)" 'BEGIN {exit !(s < 4)}' || fail "a pull took $(slowest) s"
nodes_meet
! grep -hE '(warn|error) .*(peer|127\.0\.1\.)' "$W"/node-[1345].log | grep -v entrepot-alone || say "  (their logs tell of it)"

say "one node alone, with the same configuration"
for k in 3 4 5; do stop_node $k; done
stop_node 1
rm -rf "$W/node-1"
upstream_zero
start_nodes 1
pull_at_once library/leave:1 1
is_pulled "$digest" "$bytes"
is_once "$bytes" "alone"
stop_node 1

say "three nodes by DNS, the third of which joins later"
kill "${ETCD_PID[1]}"
dns_start
dns_set 1 2
rm -rf "$W"/node-[1-9]
image dns:1 dns 20M 1M >"$W/app"
read -r digest bytes <"$W/app"
upstream_zero
start_nodes 2
pull_at_once library/dns:1 1 2
is_pulled "$digest" "$bytes"
is_once "$bytes" "two nodes by DNS"
dns_set 1 2 3
node_launch 3
node_wait 3
wait_for 15 knows 3 2 || fail "node 3 knows $(peers_of 3) others"
upstream_zero
pull_at_once library/dns:1 3
is_pulled "$digest" "$bytes"
is "$(upstream_bytes)" 0 "bytes from the registry for a node that joined by DNS"

for k in 1 2 3; do
    on_node $k curl -sf "http://$(node_at $k):5000/metrics" >"$W/metrics-$k"
    node_ask $k peers --json >"$W/peers-$k"
done
! grep -rlaF -f "$W/cluster.secret" "$W"/*.log "$W"/metrics-* "$W"/peers-* "$W"/node-[1-9] || fail "the cluster's secret was written down"
