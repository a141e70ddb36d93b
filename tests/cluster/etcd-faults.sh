#!/bin/bash
# etcd fails: its leader, all of it, its memory of old revisions, its data. Who was known stays, and nodes go on by themselves.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/etcd.sh.inc"
need ss
etcd_all
fewest() { jq -r 'select(.nodes) | .nodes | length' "$W/$1.out" | tail -n +"$(($2 + 1))" | sort -n | head -n 1; }
views() { jq -c 'select(.nodes)' "$W/$1.out" | wc -l; }

node a 10.0.0.1:5443
node b 10.0.0.2:5443
expect 5 a "10.0.0.1:5443 10.0.0.2:5443" "after the joins"
expect 5 b "10.0.0.1:5443 10.0.0.2:5443" "after the joins"

say "kill -9 of the leader: nobody is lost, a new node is seen"
before=$(views a)
leader=$(ctl endpoint status --write-out json | jq 'map(.Status.leader == .Status.header.member_id) | index(true)')
kill_hard "${ETCD_PIDS[$leader]}"
node c 10.0.0.3:5443
expect 10 a "10.0.0.1:5443 10.0.0.2:5443 10.0.0.3:5443" "without the leader"
[ "$(fewest a "$before")" -ge 2 ] || fail "a node was lost with the leader"
etcd_member "$leader"

say "a member that is silent, as behind a cut line, is left by who used it"
wait_for 10 ctl endpoint health || fail "no etcd"
at=
for i in 0 1 2; do
    ss -tnpH state established "( dport = :${CLIENT_PORTS[i]} )" | grep -q "pid=${NODES[a]}," && at=$i
done
[ -n "$at" ] || fail "a is connected to no member"
kill -STOP "${ETCD_PIDS[$at]}"
node e 10.0.0.5:5443
expect 10 a "10.0.0.1:5443 10.0.0.2:5443 10.0.0.3:5443 10.0.0.5:5443" "beside a silent member"
kill -CONT "${ETCD_PIDS[$at]}"
kill "${NODES[e]}"
wait "${NODES[e]}" || fail "e ended with $?"
expect 3 a "10.0.0.1:5443 10.0.0.2:5443 10.0.0.3:5443" "after a stop"

say "kill -9 of all three: the nodes stay, and it is told"
kill_hard "${ETCD_PIDS[@]}"
wait_for 10 is_ok a false || fail "a does not say that etcd is away"
expect 1 a "10.0.0.1:5443 10.0.0.2:5443 10.0.0.3:5443" "without etcd"
began=$(date +%s%N)
kill "${NODES[c]}"
wait "${NODES[c]}" || fail "c ended with $?"
[ $((($(date +%s%N) - began) / 1000000)) -lt 2000 ] || fail "without etcd, a stop takes long"

say "they return, and have compacted what one node has not read: it reads again"
kill -STOP "${NODES[b]}"
etcd_all
node d 10.0.0.4:5443
wait_for 5 sh -c 'grep -q "10.0.0.4" "$1"' sh "$W/d.out" || fail "d does not see itself"
for i in 1 2 3; do ctl put /other/key $i >/dev/null; done
revision=$(ctl put /other/key 4 --write-out json | jq .header.revision)
ctl compact "$revision" >/dev/null || fail "no compaction"
kill -CONT "${NODES[b]}"
wait_for 15 is_ok a true || fail "a does not say that etcd is back"
wait_for 15 grep -q 'has compacted' "$W/b.log" || fail "b has met no compaction"
wait_for 15 sh -c 'jq -r "select(.nodes) | [.nodes[].address] | join(\" \")" "$1" | tail -n 1 | grep -q 10.0.0.4' sh "$W/b.out" || fail "b does not see d: $(sees b)"

say "all data of etcd is lost: the nodes register again"
kill_hard "${ETCD_PIDS[@]}"
rm -rf "$W"/e?
etcd_all
for n in a b d; do expect 12 $n "10.0.0.1:5443 10.0.0.2:5443 10.0.0.4:5443" "in a new store"; done
for n in a b d; do kill "${NODES[$n]}"; wait "${NODES[$n]}" || fail "$n ended with $?"; done
