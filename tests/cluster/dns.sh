#!/bin/bash
# Nodes find each other by DNS, a real dnsmasq: addresses of a name as a headless service has them, IPv6, SRV records; changes are seen, and
# what was known stays when the name or the server is gone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
need ip jq
command -v dnsmasq >/dev/null || skip "needs dnsmasq (dnsmasq-base)"

ip addr add 10.9.0.53/32 dev lo
printf 'nameserver 10.9.0.53\n' >"$W/resolv"
mount --bind "$W/resolv" "$(readlink -f /etc/resolv.conf)"
resolver() { # OPTION...
    dnsmasq --keep-in-foreground --no-resolv --no-hosts --no-daemon --user=root --pid-file= --conf-file=/dev/null --bind-interfaces \
        --listen-address=10.9.0.53 --local=/cluster.test/ --local-ttl=1 --addn-hosts="$W/hosts" --log-queries "$@" >>"$W/dnsmasq.log" 2>&1 &
    RESOLVER=$!
    PIDS+=($RESOLVER)
}
names() { # LINE...: what DNS has from now on
    printf '%s\n' "$@" >"$W/hosts"
    kill -HUP "$RESOLVER"
}
declare -A NODES
node() { # NAME DNS-NAME ADVERTISE [OPTION...]
    "$TOOLS/members" --dns "$2" --advertise "$3" "${@:4}" >>"$W/$1.out" 2>>"$W/$1.log" &
    NODES[$1]=$!
    PIDS+=($!)
}
sees() { jq -r 'select(.nodes) | [.nodes[].address] | join(" ")' "$W/$1.out" | tail -n 1; }
sees_only() { [ "$(sees "$1")" = "$2" ]; }
expect() { # SECONDS NAME ADDRESSES WHAT
    wait_for "$1" sees_only "$2" "$3" || fail "$4: $2 sees \"$(sees "$2")\", not \"$3\""
}
is_ok() { [ "$(jq -r 'select(.source) | .ok' "$W/$1.out" | tail -n 1)" = "$2" ]; }

printf '%s\n' "10.0.0.1 nodes.cluster.test" "10.0.0.2 nodes.cluster.test" "fd00::1 nodes.cluster.test" "fd00::2 nodes.cluster.test" \
    "10.0.0.4 four.cluster.test" "fd00::4 four.cluster.test" "10.0.0.5 five.cluster.test" >"$W/hosts"
resolver --srv-host=_entrepot._tcp.cluster.test,four.cluster.test,5443 --srv-host=_entrepot._tcp.cluster.test,five.cluster.test,5444
wait_for 5 grep -q "started, version" "$W/dnsmasq.log" || fail "dnsmasq does not start"

say "addresses, of the family and with the port that this node advertises; its own is what it says of itself"
node four nodes.cluster.test 10.0.0.1:5443 --zone east
node six nodes.cluster.test '[FD00:0::2]:5443'
expect 5 four "10.0.0.1:5443 10.0.0.2:5443" "A"
expect 5 six "[FD00:0::2]:5443 [fd00::1]:5443" "AAAA"
is "$(jq -c 'select(.nodes) | [.nodes[].zone]' "$W/four.out" | tail -n 1)" '["east",""]' "the zones"
is_ok four true || fail "it does not say that DNS answers"

say "SRV records: targets with their own ports, by address or, where names are advertised, by name"
node services _entrepot._tcp.cluster.test 10.0.0.4:5443
node services6 _entrepot._tcp.cluster.test '[fd00::4]:5443'
node named _entrepot._tcp.cluster.test five.cluster.test:5444
expect 5 services "10.0.0.4:5443 10.0.0.5:5444" "SRV, IPv4"
expect 5 services6 "[fd00::4]:5443" "SRV, IPv6"
expect 5 named "five.cluster.test:5444 four.cluster.test:5443" "SRV, names"
for n in services services6 named; do kill "${NODES[$n]}"; wait "${NODES[$n]}" || fail "$n ended with $?"; done

say "changes are seen"
names "10.0.0.1 nodes.cluster.test" "10.0.0.3 nodes.cluster.test" "fd00::2 nodes.cluster.test"
expect 5 four "10.0.0.1:5443 10.0.0.3:5443" "a change"
expect 5 six "[FD00:0::2]:5443" "a change, IPv6"
views=$(wc -l <"$W/four.out")
sleep 3
is "$(wc -l <"$W/four.out")" "$views" "lines without a change"

say "a name that does not exist any more, one that never did, a server that is gone: what was known stays, and it is told"
names "10.0.0.1 else.cluster.test"
wait_for 5 is_ok four false || fail "it does not tell that the name is gone"
jq -r 'select(.source).why' "$W/four.out" | grep -q 'nodes.cluster.test: DNS: there is no such name' || fail "it does not say why: $(cat "$W/four.out")"
expect 1 four "10.0.0.1:5443 10.0.0.3:5443" "NXDOMAIN"
node never never.cluster.test 10.0.0.1:5443
wait_for 5 is_ok never false || fail "it does not tell that there is no such name"
is "$(sees never)" "" "nodes of a name that never was"
names "10.0.0.1 nodes.cluster.test" "10.0.0.6 nodes.cluster.test"
expect 8 four "10.0.0.1:5443 10.0.0.6:5443" "the name is back"
is_ok four true || fail "it does not tell that DNS answers again"
kill "$RESOLVER"
wait "$RESOLVER" || true
wait_for 10 is_ok four false || fail "it does not tell that DNS is gone"
expect 1 four "10.0.0.1:5443 10.0.0.6:5443" "without a server"

say "a server that takes questions and never answers does not hold up a stop"
python3 -c 'import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.9.0.53", 53)); time.sleep(60)' &
PIDS+=($!)
node silent nodes.cluster.test 10.0.0.1:5443
sleep 0.5
for n in silent four six never; do
    began=$(date +%s%N)
    kill "${NODES[$n]}"
    wait "${NODES[$n]}" || fail "$n ended with $?"
    [ $((($(date +%s%N) - began) / 1000000)) -lt 1000 ] || fail "the stop of $n took long"
done

say "a name for addresses, and a name that is advertised, do not fit"
! "$TOOLS/members" --dns nodes.cluster.test --advertise node.cluster.test:5443 2>"$W/unfit.err" || fail "it starts"
grep -q "are known by their addresses" "$W/unfit.err" || fail "it does not say why: $(cat "$W/unfit.err")"
