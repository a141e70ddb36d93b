#!/bin/bash
# A listener with TLS: clients of TLS 1.2 and 1.3 get right bytes, also while the certificate changes; clients that hang or break off in
# the handshake hold up no others; client certificates; what is wrong with certificate and key is told before anything listens.
. "$(dirname "$0")/../lib.sh"
need openssl
T=$W/tls
mkdir "$T"
authority() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" -keyout "$T/$1.key" -out "$T/$1.crt" 2>/dev/null
}
certificate() { # NAME CA [DAYS]
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$T/$1.key" -out "$T/csr" 2>/dev/null
    openssl x509 -req -in "$T/csr" -CA "$T/$2.crt" -CAkey "$T/$2.key" -CAcreateserial -days "${3:-30}" -out "$T/$1.crt" \
        -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1) 2>/dev/null
}
authority ca
authority other
for name in first client; do certificate $name ca; done
certificate second ca 40
certificate stranger other
cp "$T/first.crt" "$T/live.crt"
cp "$T/first.key" "$T/live.key"
head -c $((${BLOB_MIB:-100} << 20)) /dev/urandom >"$T/blob"
blob=$(sha256sum "$T/blob" | cut -d ' ' -f 1)
REGISTRY_PORT=$(free_port) PORT=$(free_port) TLS=$(free_port) MUTUAL=$(free_port)
python3 tests/network/tls_listener.py registry "$REGISTRY_PORT" "$T" &
PIDS+=($!)
wait_for 10 curl -sf "http://127.0.0.1:$REGISTRY_PORT/v2/" || fail "no registry"
cat >"$W/config.yaml" <<YAML
listen:
  - address: 127.0.0.1:$PORT
  - address: 127.0.0.1:$TLS
    tls: {cert: $T/live.crt, key: $T/live.key}
  - address: 127.0.0.1:$MUTUAL
    tls: {cert: $T/live.crt, key: $T/live.key, client_ca: $T/ca.crt}
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
workers: 2
upstreams:
  - name: docker.io
    endpoints: ["http://127.0.0.1:$REGISTRY_PORT"]
    insecure: true
YAML
chmod o+r "$T/live.key"
entrepot_run || fail "entrepot does not start"
is_sanitized && export SANITIZED=1
case_of() { # CASE [PORT]
    say "$1"
    timeout "${CASE_LIMIT:-60}" python3 tests/network/tls_listener.py "$1" "${2:-$TLS}" "$T" "$ENTREPOT_PID" || fail "$1"
}
grep -q "every user of this machine can read the key $T/live.key" "$W/entrepot.log" || fail "no warning of a key that all may read"

handshakes() { metric "entrepot_tls_handshakes_total{result=\"$1\"}"; }
kernel_counts() { awk '$1 == "TlsTxSw" {print $2}' /proc/net/tls_stat; }

say "curl, TLS 1.2 and 1.3, each cipher, and a cold blob"
for v in "2 ECDHE-ECDSA-AES128-GCM-SHA256" "2 ECDHE-ECDSA-AES256-GCM-SHA384" "2 ECDHE-ECDSA-CHACHA20-POLY1305" \
    "3 TLS_AES_128_GCM_SHA256" "3 TLS_AES_256_GCM_SHA384" "3 TLS_CHACHA20_POLY1305_SHA256"; do
    read -r minor cipher <<<"$v"
    names=ciphers
    [ "$minor" = 2 ] || names=tls13-ciphers
    is "$(curl -s --tlsv1."$minor" --tls-max 1."$minor" --$names "$cipher" --cacert "$T/ca.crt" \
        "https://localhost:$TLS/v2/library/big/blobs/sha256:$blob" | sha256sum)" "$blob  -" "the blob, TLS 1.$minor, $cipher"
done
# Where the kernel has TLS, it does the work, and says so (tests/kernel).
if [ -e /proc/net/tls_stat ]; then
    is "$(handshakes process)" 0 "connections without kernel TLS"
    is "$(kernel_counts)" "$(handshakes kernel)" "connections with kernel TLS, by the kernel's count"
fi
# The ones that hang are cut off after ten seconds: meanwhile the others are served.
timeout "${CASE_LIMIT:-60}" python3 tests/network/tls_listener.py hanging "$TLS" "$T" &
hanging=$!
PIDS+=($hanging)
for c in versions requests slow resumption plain; do case_of $c; done
wait $hanging || fail "handshakes that hang"
tells_end() { # NAME DAYS: metrics and status tell when the certificate in use ends
    local end
    end=$(date -d "$(openssl x509 -in "$T/$1.crt" -noout -enddate | cut -d = -f 2)" +%s)
    is "$(metric "entrepot_certificate_expiry_timestamp_seconds{name=\"127.0.0.1:$TLS\"}")" "$end" "the end of $1"
    ask status | grep -q "^certificate 127.0.0.1:$TLS: valid for $2 d" || fail "status does not tell of $1: $(ask status)"
}
tells_end first 29
done_well() { echo $(($(handshakes kernel) + $(handshakes process))); }
before=$(done_well) failed=$(handshakes failed)
curl -sf -o /dev/null --cacert "$T/ca.crt" "https://localhost:$TLS/healthz"
is "$(done_well)" $((before + 1)) "handshakes"
! curl -sf -o /dev/null --cacert "$T/other.crt" "https://localhost:$TLS/healthz" || fail "curl trusts it"
more_failed() { [ "$(handshakes failed)" -gt "$failed" ]; }
wait_for 5 more_failed || fail "failed handshakes are not counted"
case_of breaking
case_of reload
grep -q 'TLS on .*the changed files cannot be used, the last certificate stays in use: .*live.key' "$W/entrepot.log" || fail "a broken key is not told"

say "SIGHUP does not wait"
cp "$T/second.key" "$T/live.key"
cp "$T/second.crt" "$T/live.crt"
kill -HUP "$ENTREPOT_PID"
subject() { openssl s_client -connect "127.0.0.1:$TLS" </dev/null 2>/dev/null | grep -m 1 subject; }
is_second() { subject | grep -q second; }
wait_for 3 is_second || fail "$(subject)"
tells_end second 39

case_of clients "$MUTUAL"
CLIENT_CERT=client case_of resumption "$MUTUAL"

say "renegotiation is off, and so are old versions and weak ciphers"
for v in -tls1 -tls1_1; do
    openssl s_client -connect "127.0.0.1:$TLS" $v -cipher ALL:@SECLEVEL=0 </dev/null >"$W/s_client" 2>&1 && fail "$v is accepted"
done
{ sleep 0.3; echo R; sleep 0.5; } | timeout 5 openssl s_client -connect "127.0.0.1:$TLS" -tls1_2 >"$W/s_client" 2>&1 || true
grep -q 'no renegotiation' "$W/s_client" || fail "renegotiation: $(tail -n 3 "$W/s_client")"
for cipher in AES128-SHA ECDHE-ECDSA-AES128-SHA ECDHE-ECDSA-AES256-SHA384; do
    openssl s_client -connect "127.0.0.1:$TLS" -tls1_2 -cipher "$cipher" </dev/null >"$W/s_client" 2>&1 && fail "$cipher is accepted"
done
for group in ffdhe2048 ffdhe8192 X448; do
    openssl s_client -connect "127.0.0.1:$TLS" -tls1_3 -groups "$group" </dev/null >"$W/s_client" 2>&1 && fail "$group is accepted"
done
chosen() { # OPTION...
    openssl s_client -connect "127.0.0.1:$TLS" "$@" </dev/null 2>/dev/null | sed -n 's/^New, .*, Cipher is //p'
}
for group in X25519 P-256 P-384 P-521; do is "$(chosen -tls1_3 -groups $group)" TLS_AES_128_GCM_SHA256 "$group"; done
is "$(chosen -tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256)" ECDHE-ECDSA-AES128-GCM-SHA256 "the server's order"
is "$(chosen -tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256)" ECDHE-ECDSA-CHACHA20-POLY1305 "the client's, ChaCha20 first"
is "$(chosen -tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256)" TLS_CHACHA20_POLY1305_SHA256 "the client's, TLS 1.3"

say "the command for the configuration tells what is wrong"
wrong() { # TLS PATTERN
    printf 'listen:\n  - address: 127.0.0.1:1\n    tls: %s\n' "$1" >"$W/wrong.yaml"
    "$ENTREPOT" config check --config "$W/wrong.yaml" >"$W/told" 2>&1 && fail "$1 is good"
    grep -qE "$2" "$W/told" || fail "$1: $(cat "$W/told")"
}
wrong "{cert: $T/first.crt}" "line 3: listen.tls: there is no key"
wrong "{cert: $T/first.crt, key: $T/second.key}" "line 3: listen.tls.key: .*second.key: is not the key of the certificate"
cp "$T/blob" "$T/noise.key"
truncate -s 1000 "$T/noise.key"
wrong "{cert: $T/first.crt, key: $T/noise.key}" "line 3: listen.tls.key: .*noise.key: no PEM"
wrong "{cert: $T/first.key, key: $T/first.key}" "line 3: listen.tls.cert: .*first.key: no PEM"
wrong "{cert: $T/first.crt, key: $T/first.key, client_ca: $T/none}" "line 3: listen.tls.client_ca: .*none: No such file"
openssl pkey -in "$T/first.key" -aes128 -passout pass:x -out "$T/sealed.key"
wrong "{cert: $T/first.crt, key: $T/sealed.key}" "line 3: listen.tls.key: .*passphrase"
printf 'listen:\n  - address: 127.0.0.1:1\n    tls: {cert: %s, key: %s}\n' "$T/first.crt" "$T/first.key" >"$W/right.yaml"
"$ENTREPOT" config show --config "$W/right.yaml" >"$W/shown.yaml"
"$ENTREPOT" config check --config "$W/shown.yaml" >/dev/null || fail "what it shows is not what it reads"
entrepot_stop
