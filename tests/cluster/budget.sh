#!/bin/bash
# Nodes with one account, or behind one address, share what the registry still allows: when it is used up, the others hold requests
# and serve what they have, without one of their own that counts or is refused. So does a node that joins. Without etcd each node
# finds out by itself, and when etcd is back they share again.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/patience/hub.sh.inc
. tests/cluster/nodes.sh.inc
hub_start
ENDPOINT=127.0.0.1:$HUB_PORT TTL=0s
images() { for i in $(seq 12); do hub "move?name=app$i&tag=1&image=1" >/dev/null; done; }
status() { # NODE IMAGE
    curl -s -m 20 -o "$W/answer" -D "$W/head" -w '%{http_code}' "http://$(node_at "$1"):5000/v2/$2/manifests/1"
}
waits_s() { tr -d '\r' <"$W/head" | sed -n 's/^Retry-After: //Ip'; }
limit() { # NODE FIELD
    node_ask "$1" status --json | jq -r ".upstreams[] | select(.name == \"docker.io\") | $2"
}
is_held() { [ "$(limit "$1" .held_seconds)" -gt 0 ]; }
all_held() { # NODE...: within a few seconds
    local k
    for k in "$@"; do wait_for 5 is_held "$k" || fail "node $k does not know that it is to wait: $(node_ask "$k" status --json | jq -c .upstreams)"; done
}
asked() { hub_count '([.head[], .get[]] | add // 0) + .refused'; }
nobody_asks() { # NODE...: what is cached is served, what is not is refused, and the registry hears nothing of it
    local k i
    hub zero >/dev/null
    for k in "$@"; do
        for i in 1 2 3; do is "$(status "$k" app$i)" 200 "node $k, what it has"; done
        for i in 7 8 9; do
            is "$(status "$k" app$i)" 429 "node $k, what nobody has"
            [ "$(waits_s)" -gt 0 ] && [ "$(waits_s)" -le 120 ] || fail "node $k: Retry-After is \"$(waits_s)\""
        done
    done
    is "$(asked)" 0 "requests that the registry received meanwhile"
}
budgets() { etcd_ask get --prefix /entrepot/budgets "$@"; }

say "one account, three nodes"
password=not-a-real-one-$RANDOM$RANDOM
echo "$password" >"$W/secrets"
printf '%s' "$password" >"$W/alice.password"
images
hub "account?user=alice&password=$password&remaining=5" >/dev/null
hub "set?limit=100&retry_after=120" >/dev/null
NODE_MORE="    credentials: {username: alice, password_file: $W/alice.password}
    rate_reserve: 0"
etcds_start
start_nodes 3
for k in 1 2 3; do for i in 1 2 3; do is "$(status $k app$i)" 200 "node $k, image $i"; done; done
for i in 4 5; do is "$(status 1 app$i)" 200 "node 1, image $i"; done
is "$(hub_count .counted)" 5 "pulls that count"
is "$(status 1 app6)" 429 "the sixth pull"
all_held 1 2 3
refused=$(hub_count .refused)
[ "$refused" -le 2 ] || fail "$refused requests were refused"
nobody_asks 1 2 3
none_left() { [ "$(limit "$1" '.limits[0].remaining')" = 0 ]; }
for k in 1 2 3; do wait_for 5 none_left $k || fail "node $k does not know that nothing is left: $(limit $k .)"; done
for k in 1 2 3; do limit $k '.limits[].node // empty'; done >"$W/known"
grep -q "^$NET.1.[123]:5443$" "$W/known" || fail "no node says who knows"
budgets >"$W/budgets"
grep -q '"held_ms"' "$W/budgets" || fail "no hold in etcd: $(cat "$W/budgets")"
grep -q '"remaining":0' "$W/budgets" || fail "no limit in etcd: $(cat "$W/budgets")"
grep -qE "alice|$password" "$W/budgets" && fail "etcd has the account's name, or its password"
leases=$(etcd_ask lease list | grep -cE '^[0-9a-f]+$')
[ "$leases" -le 12 ] || fail "etcd has $leases leases"

say "a node that joins knows it before its first request"
start_nodes 4
all_held 4
hub zero >/dev/null
for i in 7 8 9; do is "$(status 4 app$i)" 429 "node 4, what nobody has"; done
is "$(asked)" 0 "requests of the node that has joined"
node_ask 4 status --json | jq -e '.upstreams[] | select(.name == "docker.io").limits[0].node | endswith(":5443")' >/dev/null ||
    fail "node 4 does not say who knows"

say "by an address: nodes share once the registry has named it to them"
for k in 4 3 2 1; do stop_node $k; done
[ -n "$(budgets)" ] || fail "what is known has gone with the nodes"
rm -rf "$W"/node-[1-4]
hub_stop
hub_start
images
hub "set?limit=100&remaining=6&retry_after=120" >/dev/null
NODE_MORE="    rate_reserve: 0"
start_nodes 3
for k in 1 2 3; do for i in 1 2 3; do is "$(status $k app$i)" 200 "node $k, image $i"; done; done
# Not every node has requested something of the registry yet: HEADs for what is stale do, and do not count.
named() { [ "$(limit "$1" '.limits[0].source')" = 192.0.2.1 ]; }
for k in 1 2 3; do
    for i in $(seq 20 60); do
        named $k && break
        status $k "none$i" >/dev/null
    done
    named $k || { status $k app$((9 + k)) >/dev/null; named $k; } || fail "node $k has had no answer: $(limit $k .)"
done
for i in 4 5 6 7; do status 1 app$i >/dev/null; done
all_held 1 2 3
nobody_asks 1 2 3

say "etcd is killed: each node finds out by itself"
for k in 1 2 3; do stop_node $k; done
rm -rf "$W"/node-[1-3]
hub "set?remaining=3&retry_after=3" >/dev/null
etcd_ask del --prefix /entrepot/budgets >/dev/null
start_nodes 3
etcd_kill 1
for i in 1 2 3; do is "$(status 1 app$i)" 200 "without etcd, image $i"; done
for k in 1 2 3; do is "$(status $k app$((k + 6)))" 429 "node $k, what nobody has"; done
hub "set?remaining=100" >/dev/null
sleep 4
for k in 1 2 3; do is "$(status $k app$((k + 6)))" 200 "node $k, when it may again"; done
for k in 1 2 3; do kill -0 "${NODE_PID[$k]}" || fail "node $k has ended"; done

say "etcd is back: they share again"
etcd_start 1 "e1=http://$(etcd_at 1):2380"
wait_for 15 etcd_ask endpoint health || fail "etcd does not start again"
sleep 1
hub "set?remaining=0&retry_after=120" >/dev/null
status 1 app11 >/dev/null
for k in 1 2 3; do wait_for 20 is_held $k || fail "node $k does not know: $(limit $k .)"; done
hub zero >/dev/null
for k in 1 2 3; do is "$(status $k app12)" 429 "node $k, what nobody has"; done
is "$(asked)" 0 "requests that the registry received meanwhile"
for k in 1 2 3; do stop_node $k; done
