#!/bin/bash
# Registries with habits that break caches. Each must be pulled from as if it had none; what is refused is refused for who asked.
. "$(dirname "$0")/../lib.sh"

port=$(free_port)
python3 tests/identity/quirks.py "$port" "$W" >"$W/quirks.log" 2>&1 &
PIDS+=($!)
wait_for 10 test -s "$W/digests" || fail "no registry"
wait_for 10 sh -c "curl -s -o /dev/null http://127.0.0.1:$port/token" || fail "no registry"
read -r manifest layer <"$W/digests"
echo canary-password >"$W/password"
entrepot_start "$port" "    trusted_hosts: [localhost]
    credentials: {username: user, password_file: $W/password}
tags: {ttl: 0s, negative_ttl: 0s}"
asked() { grep -cE "^$1" "$W/requests" || true; }
get() { code=$(curl -s "${@:2}" -D "$W/head" -o "$W/got" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/q/$1"); }
good() { # WHAT DIGEST
    is "$code" 200 "$1: $(head -c 200 "$W/got")"
    is "sha256:$(sha256sum <"$W/got" | sed 's/ .*//')" "$2" "$1"
}
works() { # REPOSITORY WHAT-ABOUT-IT
    local r=$1
    say "$r: $2"
    get "$r/manifests/1"
    good "$r: manifest" "$manifest"
    get "$r/blobs/$layer"
    good "$r: layer" "$layer"
    get "$r/manifests/1" # past its ttl: asked about again
    good "$r: manifest again" "$manifest"
    get "$r/manifests/$manifest"
    good "$r: manifest by digest" "$manifest"
    get "$r/blobs/$layer" -I
    is "$code" 200 "$r: HEAD of the layer"
    get "$r/manifests/1" -I
    is "$code" 200 "$r: HEAD of the manifest"
}
works head404 "HEAD is answered 404, GET works"
works head405 "HEAD is answered 405"
works nodigest "no Docker-Content-Digest"
works nolength "no Content-Length"
works gzip "a manifest comes with Content-Encoding: gzip, which nobody asked for"
works blobgzip "a layer is said to be gzip-encoded, and is just itself"
works nochallenge "401 without a challenge"
works noexpires "a token without expires_in"
is "$(grep -c '^GET /token Basic' "$W/requests")" 1 "requests for that token"
works accesstoken "access_token in place of token"
works otherscope "the challenge's scope is another than one would think"
works insufficient "insufficient_scope: the token is good, and too little"
works otherhost "tokens come from another host"
works commas "several challenges, commas in quotes"
works noscope "a challenge without a scope: clients ask for the repository's themselves"
works emptyscope "a challenge with an empty scope"
works noquotes "a challenge without quotes and scope"
works realmquery "the realm has a query of its own, and nothing else is said"

say "missing: 403 for a repository that is not there, or not for us: whoever has a login of its own is asked for it"
get missing/manifests/1
is "$code" 401 "missing"
grep -qi '^www-authenticate: Bearer realm=.*scope="repository:q/missing:pull"' "$W/head" || fail "no challenge: $(cat "$W/head")"
jq -e '.errors[0].code == "UNAUTHORIZED"' "$W/got" >/dev/null || fail "$(cat "$W/got")"
before=$(asked "GET /v2/q/missing")
get missing/manifests/1
[ "$(asked "GET /v2/q/missing")" -gt "$before" ] || fail "the refusal was remembered"
# HEAD and GET of things that are nowhere end, too
get head404/manifests/none -o /dev/null
get "head404/blobs/sha256:$(printf '%064d' 5)"
is "$code" 404 "a blob that is nowhere"
entrepot_stop
