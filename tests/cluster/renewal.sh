#!/bin/bash
# Certificates of nodes are replaced while they run, without a reload; so is their authority, with both in the bundle for a time. At no
# moment do nodes refuse each other.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
etcds_start
upstream_start
tls_make 2
cp "$W/peers-ca.crt" "$W/first-ca.crt"
cp "$W/peers-ca.key" "$W/first-ca.key"
start_nodes 2
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=second -keyout "$W/second-ca.key" -out "$W/second-ca.crt" 2>/dev/null
renew() { # AUTHORITY NAME: a new key, too
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$W/$2.key" -out "$W/$2.csr" 2>/dev/null
    openssl x509 -req -in "$W/$2.csr" -CA "$W/$1-ca.crt" -CAkey "$W/$1-ca.key" -CAcreateserial -days 2 -out "$W/$2.crt" \
        -extfile <(printf 'subjectAltName=IP:%s,IP:%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$(node_at 1)" "$(node_at 2)") 2>/dev/null
    [ "$2" = probe ] || { cp "$W/$2.crt" "$W/peers.crt" && cp "$W/$2.key" "$W/peers.key"; }
}
shows() { # NAME: both nodes, as servers
    local k
    for k in 1 2; do
        openssl s_client -connect "$(node_at $k):5443" -cert "$W/peers.crt" -key "$W/peers.key" </dev/null 2>/dev/null |
            openssl x509 -noout -subject 2>/dev/null | grep -q "CN *= *$1\$" || return 1
    done
}
accepts() { # both nodes, a client with the certificate probe
    local k rc
    for k in 1 2; do
        rc=0
        curl -sk -m 5 -o /dev/null --cert "$W/probe.crt" --key "$W/probe.key" "https://$(node_at $k):5443/v2/" || rc=$?
        [ "$rc" = 0 ] || return 1
    done
}
N=0
works() { # what a node lacks comes from the other
    N=$((N + 1))
    image "app:$N" "renewal-$N" 2M >"$W/app"
    read -r digest bytes <"$W/app"
    upstream_zero
    pull_at_once "library/app:$N" 1
    pull_at_once "library/app:$N" 2
    is_pulled "$digest" "$bytes"
    is_once "$bytes" "$1"
    for k in 1 2; do is "$(node_metric $k entrepot_peer_resting)" 0 "$1: nodes that fail, at node $k"; done
}
works "at first"

say "new certificates of the same authority"
renew first again
wait_for 20 shows again || fail "the new certificates are not shown"
works "with new certificates"

say "another authority: first beside the old one"
renew second probe
! accepts || fail "the second authority is accepted before it is one"
cat "$W/first-ca.crt" "$W/second-ca.crt" >"$W/both" && mv "$W/both" "$W/peers-ca.crt"
wait_for 20 accepts || fail "the bundle is not read again"
works "with both authorities"
renew second moved
wait_for 20 shows moved || fail "the certificates of the second authority are not shown"
works "with certificates of the second authority"
cp "$W/second-ca.crt" "$W/peers-ca.new" && mv "$W/peers-ca.new" "$W/peers-ca.crt"
openssl x509 -req -in "$W/probe.csr" -CA "$W/first-ca.crt" -CAkey "$W/first-ca.key" -CAcreateserial -days 2 -out "$W/probe.crt" 2>/dev/null
refuses() { ! accepts; }
wait_for 20 refuses || fail "the first authority is still accepted"
works "without the first one"
