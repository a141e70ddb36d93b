#!/bin/bash
# Nodes find each other by etcd: who joins is seen at once, who leaves too, who dies when its lease ends. What is no node's is passed over.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/etcd.sh.inc"
etcd_all

say "two nodes see each other, with zone and version"
node a 10.0.0.1:5443 --zone east --version 1.2.3
node b '[fd00::2]:5443' --zone west
expect 5 a "10.0.0.1:5443 [fd00::2]:5443" "after a join"
expect 5 b "10.0.0.1:5443 [fd00::2]:5443" "after its own join"
is "$(jq -c 'select(.nodes) | .nodes[0] | [.zone, .version, .since > 1700000000]' "$W/b.out" | tail -n 1)" '["east","1.2.3",true]' "what a node says of itself"
wait_for 2 is_ok a true || fail "a does not say that etcd answers"

say "one that is killed is there until its lease ends; meanwhile:"
node dying 10.0.0.66:5443
expect 5 a "10.0.0.1:5443 10.0.0.66:5443 [fd00::2]:5443" "after the third join"
kill_hard "${NODES[dying]}"
died=$(date +%s)

say "  one that stops leaves at once"
kill "${NODES[b]}"
wait "${NODES[b]}" || fail "b ended with $?"
expect 1 a "10.0.0.1:5443 10.0.0.66:5443" "after a stop"
[ "$(jq 'select(.stopped).stopped' "$W/b.out")" -lt 1000 ] || fail "its stop took long"

say "  other clusters, and what is no node's, are passed over"
node other 10.0.0.9:5443 --prefix /other/
ctl put /entrepot/nodes/10.0.0.2:5443 'no json' >/dev/null
ctl put /entrepot/nodes/10.0.0.3:5443 '{"address":"10.0.0.4:5443"}' >/dev/null
ctl put /entrepot/nodes/nowhere '{"address":"nowhere"}' >/dev/null
head -c 200000 /dev/zero | tr '\0' x | ctl put /entrepot/nodes/10.0.0.5:5443 >/dev/null
ctl put /entrepot/nodes/10.0.0.7:5443 '{"address":"10.0.0.7:5443","zone":"z","later":[1]}' >/dev/null
expect 3 a "10.0.0.1:5443 10.0.0.66:5443 10.0.0.7:5443" "beside malformed keys"
expect 3 other "10.0.0.9:5443" "under another prefix"
node late 10.0.0.8:5443
expect 3 late "10.0.0.1:5443 10.0.0.66:5443 10.0.0.7:5443 10.0.0.8:5443" "a reading with malformed keys"

say "  a node whose key is deleted writes it again"
ctl del /entrepot/nodes/10.0.0.1:5443 >/dev/null
wait_for 3 ctl get --print-value-only /entrepot/nodes/10.0.0.1:5443 || fail "no etcd"
wait_for 3 sh -c 'etcdctl --endpoints "$1" get /entrepot/nodes/10.0.0.1:5443 | grep -q zone' sh "${ENDPOINTS[0]}" || fail "its key is not there again"

say "  and then the dead one is gone"
expect 15 a "10.0.0.1:5443 10.0.0.7:5443 10.0.0.8:5443" "after the lease"
took=$(($(date +%s) - died))
[ $took -ge 5 ] || fail "it was gone after $took s"
say "  (after $took s)"

say "one that comes back with the same address, before its lease ends, stays"
kill_hard "${NODES[late]}"
node late 10.0.0.8:5443 --zone again
sleep 1
wait_for 3 sh -c '[ "$(jq -c "select(.nodes) | .nodes[] | select(.address == \"10.0.0.8:5443\") | .zone" "$1" | tail -n 1)" = "\"again\"" ]' sh "$W/a.out" || fail "its zone is not the new one"

for n in a late other; do kill "${NODES[$n]}"; wait "${NODES[$n]}" || fail "$n ended with $?"; done
is "$(ctl get --prefix /entrepot/nodes/ --keys-only | grep -cE '10.0.0.(1|8):')" 0 "keys of nodes that have left"
