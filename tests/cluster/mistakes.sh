#!/bin/bash
# What an operator gets wrong when making a cluster is told at the node where it is wrong, by `config check`, `doctor`, `peers`, the log or
# the start: certificates, addresses, TLS at one node only, etcd's password, a daemon that does not run.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
etcds_start
upstream_start
image app:1 seen 1M >/dev/null
check() { "$ENTREPOT" config check --config "$W/node-$1.yaml" >"$W/check" 2>&1; }
says() { grep -qF -- "$1" "$W/check" || fail "no \"$1\": $(cat "$W/check")"; }
doctor() { "$ENTREPOT" doctor --config "$W/node-$1.yaml" --json >"$W/doctor" || true; }
found() { jq -e --arg l "$1" --arg w "$2" '[.findings[] | select(.topic == "cluster" and .level == $l and ([.what, .why, .do] | map(. // "") | join(" | ") | contains($w)))] | length > 0' "$W/doctor" >/dev/null; }
finds() { found "$@" || fail "no $1 \"$2\": $(jq -c '.findings[] | select(.topic == "cluster")' "$W/doctor")"; }
finds_no() { ! found "$@" || fail "$1 \"$2\""; }
certificate() { # NAME EXTENSIONS [AUTHORITY]
    openssl x509 -req -in "$W/peers.csr" -CA "$W/${3:-peers-ca}.crt" -CAkey "$W/${3:-peers-ca}.key" -CAcreateserial -days 2 \
        -out "$W/$1.crt" -extfile <(printf '%b\n' "$2") 2>/dev/null
    TRUST="tls: {cert: $W/$1.crt, key: $W/peers.key, ca: $W/peers-ca.crt}"
}

say "certificates"
tls_make 2
both=$TRUST
node_config 1
check 1 || fail "$(cat "$W/check")"
! grep -q cluster "$W/check" || fail "a right one: $(cat "$W/check")"
certificate second "subjectAltName=IP:$(node_at 2)"
node_config 1
check 1 || fail "a certificate of another node is no reason to refuse the configuration"
says "cluster.tls: $W/second.crt is not for $(node_at 1) (it is for IP Address:$(node_at 2)): make one with subjectAltName=IP:$(node_at 1)"
doctor 1
finds broken "is not for $(node_at 1)"
certificate server "subjectAltName=IP:$(node_at 1)\nextendedKeyUsage=serverAuth"
node_config 1
check 1
says "cluster.tls: $W/server.crt is not for clients"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=cluster -keyout "$W/other.key" -out "$W/other.crt" 2>/dev/null
certificate stranger "subjectAltName=IP:$(node_at 1)" other
node_config 1
check 1
says "cluster.tls: $W/stranger.crt is not of an authority that $W/peers-ca.crt has"
doctor 1
finds broken "is not of an authority that $W/peers-ca.crt has"

say "a daemon that does not run"
finds unknown "the daemon, which has the list of them, does not answer"

say "with right ones, both nodes reach each other and themselves"
TRUST=$both
start_nodes 2
doctor 1
finds ok "this node answers at its cluster.advertise"
finds ok "1 of 1 other nodes can be reached"
finds ok "cluster.tls.cert is of cluster.tls.ca"
stop_node 2

say "TLS at one node only"
TRUST="secret_file: $W/cluster.secret"
start_nodes 2
doctor 2
finds warning "an entrepot answers there, but not as a node"
finds warning "0 of 1 other nodes can be reached"
doctor 1
finds warning "it does not speak TLS"
finds_no warning "http://"
stop_node 1
stop_node 2

say "an address that is of no other machine, and one that this machine has not"
node_config 1
sed -i "s/etcd: \[[^]]*\]/etcd: [\"http:\/\/10.9.9.9:2379\"]/" "$W/node-1.yaml"
check 1
says "cluster.advertise: $(node_at 1):5443 is reached from this machine alone, but etcd is at another (http://10.9.9.9:2379)"
node_config 1
sed -i "s/advertise: \"[^\"]*\"/advertise: \"10.9.9.9:5443\"/" "$W/node-1.yaml"
! timeout 20 "$ENTREPOT" serve --config "$W/node-1.yaml" >"$W/check" 2>&1 || fail "it starts"
says "cluster.listen (by default cluster.advertise): listening on 10.9.9.9:5443: Cannot assign requested address; this machine has no such address: set cluster.listen"

say "advertised where nobody, or another node, answers"
start_it() { # NODE ADVERTISE LISTEN
    node_config "$1"
    sed -i "s/advertise: \"[^\"]*\"/advertise: \"$2\", listen: \"$3\"/" "$W/node-$1.yaml"
    "$ENTREPOT" serve --config "$W/node-$1.yaml" >>"$W/node-$1.log" 2>&1 &
    NODE_PID[$1]=$!
    PIDS+=($!)
    node_wait "$1"
}
start_it 1 "$(node_at 1):5443" "$(node_at 1):5443"
start_it 2 127.0.3.3:5443 "$(node_at 2):5443"
wait_for 10 knows 2 1 || fail "node 2 is alone"
doctor 2
finds warning "this node is not reached at its cluster.advertise"
etcd_add 10.8.8.8:5443 1
wait_for 10 knows 2 2 || fail "the member is not known"
doctor 2
finds warning "its cluster.advertise is of this machine alone"
etcd_remove 10.8.8.8:5443
stop_node 2
stop_node 1
start_it 1 "$(node_at 1):5443" "*:5443"
start_it 2 127.0.3.3:5443 "$(node_at 2):5444"
wait_for 10 knows 2 1 || fail "node 2 is alone"
doctor 2
finds warning "another node answers at this node's cluster.advertise"
finds ok "1 of 1 other nodes can be reached"
stop_node 2
stop_node 1
start_nodes 1

say "who comes and who leaves is named"
start_nodes 2
stop_node 2
left() { grep -q "the cluster has 1 node: $(node_at 2):5443 has left$" "$W/node-1.log"; }
wait_for 10 left || fail "$(grep 'the cluster has' "$W/node-1.log")"
grep -q "the cluster has 2 nodes: $(node_at 2):5443 has come$" "$W/node-1.log" || fail "$(grep 'the cluster has' "$W/node-1.log")"

say "etcd refuses the login; then it is away, when no other node was known"
secret=$TRUST
printf 'of-nobody' >"$W/password"
etcd_ask user add root:of-root >/dev/null
etcd_ask user grant-role root root >/dev/null
etcd_ask auth enable >/dev/null
node_config 2
sed -i "s/prefix: /username: node, password_file: $(sed 's/\//\\\//g' <<<"$W/password"), prefix: /" "$W/node-2.yaml"
doctor 2
finds broken "it refuses this node"
finds broken "check username, password_file"
finds_no broken "etcd does not answer"
TRUST=$secret
stop_node 1
etcd_kill 1
LOG=debug start_nodes 1
alone() { node_ask 1 peers | head -n 1 | grep -q 'by etcd: FAILS: .*; until it answers, this node is alone$'; }
wait_for 30 alone || fail "$(node_ask 1 peers)"
grep -q 'cluster: etcd: .*; until it answers, this node is alone$' "$W/node-1.log" || fail "$(grep etcd "$W/node-1.log")"
sleep 4
is "$(grep -c 'limits of registries are not shared' "$W/node-1.log")" 1 "lines about limits, while etcd is away for seconds"
