#!/bin/bash
# A slow token service: a token that comes late is good for everybody who waits, and one that does not come in time is told as that;
# and a node whose clock is wrong: what is wrong with certificates is said by the registry's own clock.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/patience/hub.sh.inc
need_root
need ip openssl
ip link set lo up
ip addr add 10.9.0.1/32 dev lo
echo "10.9.0.1 secret.test" >"$W/hosts"
mount --bind "$W/hosts" /etc/hosts
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=secret.test -addext subjectAltName=DNS:secret.test \
    -keyout "$W/key.pem" -out "$W/ca.pem" 2>/dev/null
python3 tests/network/registry.py 8000 "$W/requests" &
PIDS+=($!)
python3 tests/network/registry.py 8443 "$W/requests.tls" "$W/ca.pem" "$W/key.pem" &
PIDS+=($!)
wait_for 10 curl -sf http://10.9.0.1:8000/v2/ || fail "no registry"
wait_for 10 curl -skf https://10.9.0.1:8443/v2/ || fail "no registry with TLS"
echo not-a-secret >"$W/password"
get() { # REGISTRY REPOSITORY/manifests/TAG
    code=$(curl -s -o "$W/got" -m 20 -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$1/$2")
}
clock_start
tls="
  - {name: secret.test, endpoints: [\"https://secret.test:8443\"], ca: $W/ca.pem, trusted_hosts: [secret.test]}"
entrepot_start 1 "$tls
  - name: slow.test
    endpoints: [\"http://10.9.0.1:8000\"]
    insecure: true
    trusted_hosts: [\"10.9.0.1\"]
    stall_timeout: 2s
    connect_timeout: 1s
    credentials: {username: user, password_file: $W/password}"

say "three wait for one token that takes a while: one is asked for, all get it"
clients=()
for i in 1 2 3; do
    curl -s -o /dev/null -m 20 -w '%{http_code}\n' "http://127.0.0.1:$PORT/v2/slow.test/token/1.2/300/manifests/$i" >"$W/client.$i" &
    clients+=($!)
done
wait "${clients[@]}"
is "$(cat "$W"/client.? | sort | uniq -c | tr -s ' ')" " 3 200" "the answers"
is "$(grep -c ' /token/1.2' "$W/requests")" 1 "requests for the token"

say "a token whose life was nearly over when it came is used for who waited, and not after its end"
get slow.test token/1.1/2/manifests/1
is "$code" 200 "the first: $(cat "$W/got")"
sleep 1
get slow.test token/1.1/2/manifests/2
is "$code" 200 "after its end: $(cat "$W/got")"
is "$(grep -c '^GET .*/token/1.1/2/manifests/2 Authorization' "$W/requests")" 1 "requests with a token, of which none was dead"

say "a token service that takes too long, and one whose gateway says so: no word of credentials"
get slow.test token/6/300/manifests/1
is "$code" 504 "too long: $(cat "$W/got")"
grep -q 'asking for a token: http://10.9.0.1:8000/token/6/300: it has sent nothing for 2 s' "$W/got" || fail "$(cat "$W/got")"
get slow.test token/down/300/manifests/1
is "$code" 504 "its gateway: $(cat "$W/got")"
grep -q 'the token service answered 504' "$W/got" || fail "$(cat "$W/got")"
! grep -q credentials "$W/got" "$W/entrepot.log" || fail "credentials are blamed"

say "a clock that is right, three days ahead, and a year behind"
get secret.test x/manifests/1
is "$code" 200 "the right clock: $(cat "$W/got")"
for t in "260000 has.expired 3.days.0.h.ahead.of" "-31536000 is.not.valid.yet 365.days.0.h.behind"; do
    read -r at what off <<<"$t"
    case $at in -*) echo "${at}s" >"$W/clock" ;; *) clock_at "$at" ;; esac
    entrepot_stop # kept connections are not verified again
    entrepot_start 1 "$tls"
    : >"$W/requests.tls"
    get secret.test "x/manifests/by$at"
    is "$code" 502 "$at"
    grep -qE "its certificate $what by this node's clock, which is $off what the registry's Date says \(.*\): set the clock" "$W/got" ||
        fail "$(cat "$W/got")"
    is "$(cat "$W/requests.tls")" "HEAD secret.test:8443 /v2/" "what was asked without knowing who answers"
done
entrepot_stop
