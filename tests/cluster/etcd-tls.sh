#!/bin/bash
# etcd with TLS, client certificates and users: nodes log in, again when their token has ended, and are refused without.
# In make test-cluster alone.
. "$(dirname "$0")/../lib.sh"
SCHEME=https
. "$(dirname "$0")/etcd.sh.inc"
need openssl

certificate() { # NAME EXTENSIONS [SUBJECT]
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "${3:-/CN=$1}" -keyout "$W/$1.key" -out "$W/$1.csr" 2>/dev/null
    openssl x509 -req -in "$W/$1.csr" -CA "$W/ca.crt" -CAkey "$W/ca.key" -CAcreateserial -days 2 -out "$W/$1.crt" -extfile <(echo "$2") 2>/dev/null
}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout "$W/ca.key" -out "$W/ca.crt" 2>/dev/null
# The gateway is a client of etcd itself, with the server's certificate.
certificate server "$(printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth')"
# With users, the gateway refuses clients whose certificate has a CommonName, which it could not use.
certificate node "extendedKeyUsage=clientAuth" /O=nodes
certificate named "extendedKeyUsage=clientAuth"
ETCD_MORE="--cert-file $W/server.crt --key-file $W/server.key --trusted-ca-file $W/ca.crt --client-cert-auth --auth-token-ttl 2"
CTL_MORE=(--cacert "$W/ca.crt" --cert "$W/server.crt" --key "$W/server.key")
etcd_all

say "with the authority and a client certificate"
NODE_MORE=(--ca "$W/ca.crt" --cert "$W/node.crt" --key "$W/node.key")
node a 10.0.0.1:5443
expect 5 a "10.0.0.1:5443" "with a certificate"

say "without one of them it does not get in, and says why"
NODE_MORE=(--ca "$W/ca.crt")
node bare 10.0.0.2:5443
NODE_MORE=(--cert "$W/node.crt" --key "$W/node.key")
node trustless 10.0.0.3:5443
wait_for 10 is_ok bare false || fail "without a client certificate"
wait_for 10 is_ok trustless false || fail "without the authority"
jq -r 'select(.source).why' "$W/trustless.out" | grep -qi certificate || fail "it does not say why: $(cat "$W/trustless.out")"
expect 1 a "10.0.0.1:5443" "beside them"
kill "${NODES[bare]}" "${NODES[trustless]}"
wait "${NODES[bare]}" "${NODES[trustless]}" || fail "they ended with $?"

say "users: a login, and another one when the token has ended"
echo pass-of-root-0 >"$W/root.secret"
echo pass-of-node-0 >"$W/node.secret"
ctl user add root --new-user-password "$(cat "$W/root.secret")" >/dev/null
ctl user grant-role root root >/dev/null
ctl role add nodes >/dev/null
ctl role grant-permission nodes readwrite --prefix=true /entrepot/ >/dev/null
ctl user add node --new-user-password "$(cat "$W/node.secret")" >/dev/null
ctl user grant-role node nodes >/dev/null
kill "${NODES[a]}"
wait "${NODES[a]}" || fail "a ended with $?"
CTL_MORE+=(--user "root:$(cat "$W/root.secret")")
NODE_MORE=(--ca "$W/ca.crt" --cert "$W/node.crt" --key "$W/node.key" --username node --password-file "$W/node.secret")
node before 10.0.0.6:5443
expect 5 before "10.0.0.6:5443" "with a user, before etcd has any"
ctl auth enable >/dev/null
node b 10.0.0.4:5443
expect 5 b "10.0.0.4:5443 10.0.0.6:5443" "with a user"
wait_for 5 is_ok b true || fail "b is not well"
sleep 4
is_ok b true || fail "b is not well after its token has ended: $(tail -n 1 "$W/b.out")"
node c 10.0.0.5:5443
expect 5 b "10.0.0.4:5443 10.0.0.5:5443 10.0.0.6:5443" "a join, after the token has ended"
expect 5 before "10.0.0.4:5443 10.0.0.5:5443 10.0.0.6:5443" "a join, since etcd has users"

say "a wrong password, no user, another's keys: refused, and told"
echo wrong >"$W/wrong.secret"
node wrong 10.0.0.7:5443 --password-file "$W/wrong.secret"
node elsewhere 10.0.0.8:5443 --prefix /others
NODE_MORE=(--ca "$W/ca.crt" --cert "$W/node.crt" --key "$W/node.key")
node nobody 10.0.0.9:5443
for n in wrong elsewhere nobody; do wait_for 8 is_ok $n false || fail "$n is not refused"; done
jq -r 'select(.source).why' "$W/wrong.out" | grep -q 'logging in as node: .*invalid user ID or password' || fail "wrong: $(cat "$W/wrong.out")"
jq -r 'select(.source).why' "$W/elsewhere.out" | grep -q 'permission denied' || fail "elsewhere: $(cat "$W/elsewhere.out")"
expect 1 b "10.0.0.4:5443 10.0.0.5:5443 10.0.0.6:5443" "beside those that are refused"

NODE_MORE=(--ca "$W/ca.crt" --cert "$W/named.crt" --key "$W/named.key" --username node --password-file "$W/node.secret")
node named 10.0.0.10:5443
wait_for 5 is_ok named false || fail "a certificate with a CommonName, and a user"
jq -r 'select(.source).why' "$W/named.out" | grep -q 'answered 400: CommonName of client' || fail "it does not say why: $(cat "$W/named.out")"

say "a stop with a user leaves at once; no secret is in what was printed"
kill "${NODES[c]}"
wait "${NODES[c]}" || fail "c ended with $?"
expect 2 b "10.0.0.4:5443 10.0.0.6:5443" "after a stop"
! grep -hF -e pass-of- "$W"/*.out "$W"/*.log || fail "a password was printed"
! "$TOOLS/members" --etcd "${ENDPOINTS[0]}" --advertise 10.0.0.9:1 --username node --password-file "$W/none" 2>"$W/none.err" || fail "without its password's file it starts"
grep -q "none: No such file" "$W/none.err" || fail "it does not name the file: $(cat "$W/none.err")"
