#!/bin/bash
# A company's registry has a certificate of the company's own, asks clients for theirs (mutual TLS), and sends blobs to a public CDN:
# `ca` is beside the system's authorities, or in place of them; a certificate that is replaced is used without a restart. What clients
# show is for the registry alone.
. "$(dirname "$0")/../lib.sh"

authority() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$W/$1.key" -out "$W/$1.ca" -days 2 -subj "/CN=$1" 2>/dev/null
}
certificate() { # AUTHORITY NAME: NAME.key, NAME.crt, and both in NAME.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$W/$2.key" -out "$W/$2.csr" -subj "/CN=$2" 2>/dev/null
    printf 'subjectAltName=IP:127.0.0.1\n' >"$W/san"
    openssl x509 -req -in "$W/$2.csr" -CA "$W/$1.ca" -CAkey "$W/$1.key" -CAcreateserial -days 2 -extfile "$W/san" -out "$W/$2.crt" 2>/dev/null
    cat "$W/$2.key" "$W/$2.crt" >"$W/$2.pem"
}
authority company
authority public
certificate company registry
certificate public cdn
certificate company node-1
certificate company node-2
cp "$W/company.ca" "$W/clients.pem"
: >"$W/came"
python3 tests/identity/tls.py "$W" >"$W/tls.log" 2>&1 &
PIDS+=($!)
wait_for 10 test -s "$W/ports" || fail "no registry"
read -r registry cdn <"$W/ports"
export SSL_CERT_FILE=$W/public.ca # the system's authorities
cp "$W/node-1.crt" "$W/client.crt"
cp "$W/node-1.key" "$W/client.key"
PORT=$(free_port)
cat >"$W/config.yaml" <<-YAML
	listen: [{address: "127.0.0.1:$PORT"}]
	admin: {socket: $W/admin.sock}
	cache: {path: $W/cache, min_free: 0B}
	tags: {ttl: 0s, negative_ttl: 0s}
	fetchers: 1
	upstreams:
	  - {name: both.test, endpoints: ["https://127.0.0.1:$registry"], ca: $W/company.ca, client_cert: $W/client.crt, client_key: $W/client.key}
	  - {name: only.test, endpoints: ["https://127.0.0.1:$registry"], ca: $W/company.ca, ca_only: true, client_cert: $W/node-1.pem}
	  - {name: nobody.test, endpoints: ["https://127.0.0.1:$registry"], ca: $W/company.ca}
	  - {name: mirrored.test, endpoints: ["https://127.0.0.1:$cdn", "https://127.0.0.1:$registry"], ca: $W/company.ca, client_cert: $W/node-1.pem}
  - {name: trusting.test, endpoints: ["https://127.0.0.1:$registry"], ca: $W/company.ca, client_cert: $W/node-1.pem, trusted_hosts: [127.0.0.1]}
  - {name: stranger.test, endpoints: ["https://127.0.0.1:$registry"], client_cert: $W/node-1.pem}
YAML
say "the files are checked, and shown"
"$ENTREPOT" config check --config "$W/config.yaml" >"$W/check.out" 2>&1 || fail "$(cat "$W/check.out")"
"$ENTREPOT" config show --config "$W/config.yaml" >"$W/show.out"
for key in "client_key: $W/client.key" "client_cert: $W/node-1.pem" "ca_only: true"; do grep -q "$key" "$W/show.out" || fail "config show: no $key"; done
sed "s,client_key: $W/client.key,client_key: $W/node-2.key," "$W/config.yaml" >"$W/wrong.yaml"
if "$ENTREPOT" config check --config "$W/wrong.yaml" >"$W/check.out" 2>&1; then fail "another certificate's key is taken"; fi
grep -q 'client_key.*mismatch' "$W/check.out" || fail "$(cat "$W/check.out")"

entrepot_run || fail "entrepot does not start"
get() { code=$(curl -s --max-time 15 -o "$W/got" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$1?ns=$2"); }
blob() { # REGISTRY REPOSITORY
    get "$2/manifests/1" "$1"
    is "$code" 200 "$1: manifest: $(head -c 300 "$W/got")"
    get "$2/blobs/$(jq -r .config.digest "$W/got")" "$1"
}
say "a private authority for the registry, a public one for where it sends to"
blob both.test a
is "$code" 200 "$(head -c 300 "$W/got")"
grep -q '^registry node-1 ' "$W/came" || fail "no certificate was shown: $(cat "$W/came")"
say "the client's certificate is not for the CDN, a mirror, a token service somewhere else, or several of these"
blob both.test twice
is "$code" 200 "$(head -c 300 "$W/got")"
blob both.test tok/a
is "$code" 200 "$(head -c 300 "$W/got")"
blob mirrored.test m
is "$code" 200 "$(head -c 300 "$W/got")"
for path in /a /twice /token /tok/a /v2/m/manifests/1; do grep -q "^cdn - $path" "$W/came" || fail "the CDN was not asked for $path: $(cat "$W/came")"; done
if grep '^cdn node' "$W/came"; then fail "the certificate was shown to another"; fi
say "... unless the configuration says so"
blob trusting.test tok/b
is "$code" 200 "$(head -c 300 "$W/got")"
for path in /token /tok/b; do grep -q "^cdn node-1 $path" "$W/came" || fail "it was not shown: $(cat "$W/came")"; done
say "ca_only: the public one is not taken"
blob only.test b
is "$code" 502 "$(head -c 300 "$W/got")"
grep -qi certificate "$W/got" || fail "$(cat "$W/got")"
say "without a certificate, or without the authority"
get c/manifests/1 nobody.test
is "$code" 403 "nobody.test"
get d/manifests/1 stranger.test
is "$code" 502 "stranger.test"
say "a certificate that is replaced is shown from the next connection on"
cp "$W/node-2.crt" "$W/client.crt"
cp "$W/node-2.key" "$W/client.key"
get a/blobs/sha256:$(printf %064d 1) both.test # this one's answer ends the connection that was kept
get e/manifests/1 both.test
is "$code" 200 "$(head -c 300 "$W/got")"
tail -n 1 "$W/came" | grep -q '^registry node-2 ' || fail "the old one was shown: $(tail -n 3 "$W/came")"
say "and so is an authority"
authority company2
certificate company2 registry2
cp "$W/company2.ca" "$W/company.ca"
get a/blobs/sha256:$(printf %064d 2) both.test
get a/blobs/sha256:$(printf %064d 3) only.test
get f/manifests/1 both.test
is "$code" 502 "a registry of the authority before: $(head -c 300 "$W/got")"
get f/manifests/1 only.test
is "$code" 502 "a registry of the authority before, with ca_only: $(head -c 300 "$W/got")"
entrepot_stop
