#!/bin/bash
# The authority of interception by its command: shown, replaced, kept private; clients refuse what its key signs for other hosts. Nothing
# that goes wrong meanwhile leaves a certificate without its key.
. "$(dirname "$0")/../lib.sh"
need openssl jq
A=$W/authority
mkdir "$A"
cat >"$W/config.yaml" <<YAML
cache: {path: $W/cache, min_free: 0B}
admin: {socket: $W/admin.sock}
intercept:
  address: 127.0.0.1:$(free_port)
  ca: {cert: $A/ca.crt, key: $A/ca.key}
  hosts: [docker.io, "*.pkg.dev"]
YAML
ca() { "$B/entrepot" ca --config "$W/config.yaml" "$@"; }
check() { "$B/entrepot" config check --config "$W/config.yaml" --user "$(id -un)"; }
print_of() { openssl x509 -in "$A/ca.crt" -noout -fingerprint -sha256 | cut -d = -f 2; }
# Both files are there, and belong together.
is_pair() { [ "$(openssl x509 -in "$A/ca.crt" -noout -pubkey)" = "$(openssl pkey -in "$A/ca.key" -pubout)" ]; }

say "there is none yet"
check >/dev/null || fail "config check without an authority"
ca 2>"$W/none" && fail "there is none, and it is shown"
grep -q 'there is none yet; the daemon makes one' "$W/none" || fail "$(cat "$W/none")"
ls -A "$A" | grep . && fail "showing it has made files"

say "it is made, shown, and private"
ca --rotate >"$W/out" 2>"$W/err" || fail "$(cat "$W/err")"
grep -q "give $A/ca.crt to the clients, then reload" "$W/err" || fail "$(cat "$W/err")"
is "$(stat -c %a "$A/ca.key" "$A/ca.crt" | paste -sd ' ')" "600 644" "modes"
is "$(ca | sed -n 's/^SHA-256 *//p')" "$(print_of)" "fingerprint"
is "$(ca --json | jq -r '[.sha256, .certificate, .hosts[], .constrained, .not_permitted, (.replaced | length)] | @text')" \
    "[\"$(print_of)\",\"$A/ca.crt\",\"docker.io\",\"*.pkg.dev\",true,null,0]" "JSON"
check >/dev/null || fail "config check"
"$B/entrepot" config show --config "$W/config.yaml" | grep "cert: $A/ca.crt" >/dev/null || fail "config show"

say "replaced: the old one stays behind the new one, owner and modes are kept"
first=$(print_of)
[ "$(id -u)" != 0 ] || chown nobody "$A/ca.crt" "$A/ca.key"
chmod 640 "$A/ca.crt"
owner=$(stat -c '%U %a' "$A/ca.crt" "$A/ca.key")
ca --rotate >/dev/null 2>&1 || fail "rotation"
[ "$(print_of)" != "$first" ] || fail "it is the same"
is "$(ca --json | jq -r '.replaced[].sha256')" "$first" "the old one"
is "$(grep -c BEGIN "$A/ca.crt")" 2 "certificates"
is "$(stat -c '%U %a' "$A/ca.crt" "$A/ca.key")" "$owner" "owner and mode"
ca | grep -q "^replaced .*$first, kept until 20" || fail "$(ca)"

say "clients refuse what its key signs for others"
signed() { # NAMES
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout "$W/leaf.key" -out "$W/csr" 2>/dev/null
    openssl x509 -req -in "$W/csr" -CA "$A/ca.crt" -CAkey "$A/ca.key" -set_serial 7 -days 1 -out "$W/leaf.crt" \
        -extfile <(echo "subjectAltName=$1") 2>/dev/null || fail "openssl"
}
verdict() { openssl verify -CAfile "$A/ca.crt" "$W/leaf.crt" 2>&1; }
go_verdict() { true; }
if command -v go >/dev/null; then
    mkdir "$W/go"
    cat >"$W/go/main.go" <<'GO'
package main

import ("crypto/x509"; "encoding/pem"; "fmt"; "os")

func main() {
	roots := x509.NewCertPool()
	bundle, _ := os.ReadFile(os.Args[1])
	roots.AppendCertsFromPEM(bundle)
	text, _ := os.ReadFile(os.Args[2])
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err == nil {
		_, err = leaf.Verify(x509.VerifyOptions{Roots: roots})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
GO
    # The first time it builds its own library.
    (cd "$W/go" && GO111MODULE=off GOTOOLCHAIN=local timeout 100 go build -o verify main.go 2>"$W/go.log") || true
fi
if [ -x "$W/go/verify" ]; then
    go_verdict() { "$W/go/verify" "$A/ca.crt" "$W/leaf.crt"; }
else
    say "(without Go, or too slow to build: its verdict is not asked for)"
fi
for names in DNS:docker.io DNS:registry-1.docker.io DNS:eu.pkg.dev; do
    signed "$names"
    verdict >"$W/verdict" || fail "$names: $(cat "$W/verdict")"
    go_verdict >"$W/verdict" || fail "Go: $names: $(cat "$W/verdict")"
done
for names in DNS:evil.example DNS:docker.io.evil DNS:docker.io,DNS:evil.example IP:127.0.0.1 DNS:docker.io,IP:10.0.0.1; do
    signed "$names"
    verdict >"$W/verdict" && fail "$names is accepted"
    grep -qE '(permitted|excluded) subtree violation' "$W/verdict" || fail "$names: $(cat "$W/verdict")"
    [ ! -x "$W/go/verify" ] || ! go_verdict >"$W/verdict" || fail "Go accepts $names"
done

say "hosts that it was not made for are told"
sed -i 's/hosts: .*/hosts: [docker.io, new.example.com]/' "$W/config.yaml"
check 2>"$W/err" >/dev/null || fail "config check fails"
grep -q 'these are not opened: new.example.com; `entrepot ca --rotate`' "$W/err" || fail "$(cat "$W/err")"
ca 2>&1 >/dev/null | grep -q 'these are not opened: new.example.com;' || fail "ca does not tell"
ca --rotate 2>&1 >/dev/null | grep 'not opened' && fail "the new one was not made for them"

say "a broken pair is told, and replaced"
cp "$A/ca.key" "$W/kept.key"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 >"$A/ca.key" 2>/dev/null
check >/dev/null 2>"$W/err" && fail "a key of another certificate is good"
grep -q 'intercept.ca: .*/ca.key: is not the key of the certificate .*; `entrepot ca --rotate`' "$W/err" || fail "$(cat "$W/err")"
ca --rotate >/dev/null 2>&1 || fail "a broken pair is not replaced"
is_pair || fail "not a pair"

say "many at once"
pids=()
for _ in 1 2 3 4 5 6; do
    ca --rotate >/dev/null 2>>"$W/many.log" &
    pids+=($!)
done
for p in "${pids[@]}"; do wait "$p" || fail "one of many"; done
is_pair || fail "not a pair after many"

say "killed at any moment: the next start has a pair"
began=$(date +%s%N)
ca --rotate >/dev/null 2>&1 || fail "before it"
whole=$((($(date +%s%N) - began) / 10000 + 1)) # in units of 10 us
for n in $(seq 15); do
    "$B/entrepot" ca --config "$W/config.yaml" --rotate >/dev/null 2>&1 & # no function: its shell would be killed
    p=$!
    at=$((whole * n / 15))
    sleep "$((at / 100000)).$(printf %05d $((at % 100000)))"
    kill -9 $p 2>/dev/null || true
    wait $p 2>/dev/null || true
    check >/dev/null 2>"$W/err" || fail "killed: $(cat "$W/err")"
done
ca --rotate >/dev/null 2>&1 || fail "after it"
is_pair || fail "not a pair after being killed"
is "$(ls "$A")" "$(printf 'ca.crt\nca.key')" "what is left"

if [ "$(id -u)" = 0 ] && mkdir "$W/full" && mount -t tmpfs -o size=16k,mode=700 none "$W/full" 2>/dev/null; then
    say "a full disk: the old one stays"
    sed -i "s|ca: .*|ca: {cert: $W/full/ca.crt, key: $W/full/ca.key}|" "$W/config.yaml"
    A=$W/full
    ca --rotate >/dev/null 2>&1 || fail "there is room for one"
    first=$(print_of)
    head -c 64k /dev/zero >"$W/full/rest" 2>/dev/null || true
    ca --rotate >/dev/null 2>"$W/err" && fail "there is no room"
    grep -q 'No space left on device' "$W/err" || fail "$(cat "$W/err")"
    is "$(print_of)" "$first" "the old one"
    is_pair || fail "not a pair on a full disk"
    is "$(ls "$A" | paste -sd ' ')" "ca.crt ca.key rest" "what is left on a full disk"
fi
