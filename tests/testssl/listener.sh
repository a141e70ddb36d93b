#!/bin/bash
# Takes minutes. testssl.sh against a TLS listener and against a host that is intercepted (TLS by name): nothing that it finds is worse than
# what is explained here. ENTREPOT_TESTSSL: another program than testssl.
. "$(dirname "$0")/../lib.sh"
TESTSSL=${ENTREPOT_TESTSSL:-testssl}
need "$TESTSSL" openssl jq
T=$W/tls
mkdir "$T"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=of the test" -keyout "$T/ca.key" -out "$T/ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=cache.example -keyout "$T/own.key" -out "$T/csr" 2>/dev/null
openssl x509 -req -in "$T/csr" -CA "$T/ca.crt" -CAkey "$T/ca.key" -CAcreateserial -days 80 -out "$T/own.crt" -extfile <(
    printf 'subjectAltName=DNS:cache.example\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\nbasicConstraints=critical,CA:false'
) 2>/dev/null
PORT=$(free_port) OWN=$(free_port) NAMED=$(free_port)
cat >"$W/config.yaml" <<YAML
listen:
  - address: 127.0.0.1:$PORT
  - address: 127.0.0.1:$OWN
    tls: {cert: $T/own.crt, key: $T/own.key}
  - {address: "127.0.0.1:$NAMED", intercept: true}
intercept: {hosts: [ghcr.io], ca: {cert: $T/authority.crt, key: $T/authority.key}}
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
upstreams: [{name: ghcr.io, endpoints: ["http://127.0.0.1:1"], insecure: true}]
YAML
entrepot_run || fail "entrepot does not start"

# What is not OK, and why it stays: the certificate is the operator's, and of an authority of its own (validity, revocation, transparency,
# CAA of DNS, which is not asked); it is a registry's, whose clients are no browsers (HSTS, security headers); a leaf of interception lives
# for a week and is revoked by its end; who has been told of ghcr.io's name may have several servers behind one address (no SNI: no
# certificate, by design). Key exchange against quantum computers (FS_KEMs) comes with OpenSSL 3.5; QUIC is not spoken.
# secure_renego of testssl.sh 3.0 names no server, and a listener by name has no certificate for such a client.
# Whether sessions are resumed is tested in network/tls-listener: openssl s_client often ends before the ticket of TLS 1.3 has come.
EXPLAINED='^(sessionresumption_(ticket|ID)|QUIC|FS_KEMs|cert_(notAfter|expirationStatus|validityPeriod|revocation|crlDistributionPoints|ocspURL|chain_of_trust|trust|extlifeSpan)|OCSP_stapling|DNS_CAArecord|certificate_transparency|HSTS|security_headers|HTTP_status_code|scanTime|overall_grade|grade_cap_reason_.*)( |$)'
rate() { # NAME PORT CA [EXPLAINED, TOO]
    say "$1"
    timeout 1200 "$TESTSSL" --quiet --color 0 --nodns none --warnings off --add-ca "$3" --ip 127.0.0.1 --jsonfile "$W/$1.json" "$1:$2" \
        >"$W/$1.txt" 2>&1 </dev/null || true
    jq -e 'length > 100' "$W/$1.json" >/dev/null || { tail -n 20 "$W/$1.txt"; fail "testssl.sh has ended early"; }
    jq -r '.[] | select(.id | test("^(overall_grade|final_score|cipher_order$)")) | "\(.id): \(.finding)"' "$W/$1.json"
    jq -r '.[] | select(.severity | IN("OK", "INFO", "DEBUG") | not) | [.id, .severity, .finding] | @text' "$W/$1.json" >"$W/$1.found"
    echo "$(jq '[.[] | select(.severity == "OK")] | length' "$W/$1.json") findings are OK; not OK:"
    sed 's/^/  /' "$W/$1.found"
    worse=$(jq -r --arg e "$EXPLAINED${4:+|^$4}" '.[] | select(.severity | IN("OK", "INFO", "DEBUG") | not) | select("\(.id) (\(.severity))" | test($e) | not) | "\(.id) (\(.severity)): \(.finding)"' \
        "$W/$1.json")
    [ -z "$worse" ] || fail "$1: $worse"
    is "$(jq -r '[.[] | select(.id == "TLS1_2" or .id == "TLS1_3") | .severity] | unique | join(" ")' "$W/$1.json")" OK "TLS 1.2 and 1.3"
}
rate cache.example "$OWN" "$T/ca.crt"
rate ghcr.io "$NAMED" "$T/authority.crt" 'secure_renego [(]WARN'
