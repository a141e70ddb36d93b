#!/bin/bash
# access: client. The cache has no identity of its own for this registry: everybody reads what his own lets him read, and what nobody
# needs a name for is read without one. /v2/ asks who one is.
. "$(dirname "$0")/../lib.sh"
. tests/identity/auth.sh.inc
need_root

clouds_start
pusher=$(canary pusher) alice=$(canary alice)
set_state '.anonymous = true | .accounts = {pusher: $p, alice: $a} | .grants = {pusher: ["*"], alice: ["team/secret"], "": ["library/public"]}' \
    --arg p "$pusher" --arg a "$alice"
token_registry_start
for i in secret public; do image_build $i; done
push_as "pusher:$pusher" secret team/secret:1
push_as "pusher:$pusher" public library/public:1
entrepot_start "" "    access: client
tags: {ttl: 1h, negative_ttl: 0s}
clients: {login_for: docker.io}"
E=http://127.0.0.1:$PORT
code() { curl -s -o "$W/body" -D "$W/head" -w '%{http_code}' "$@"; }

is "$(code "$E/v2/")" 401 "/v2/ without a name"
grep -qi "^www-authenticate: Bearer realm=\"$E/token\",service=\"entrepot\"" "$W/head" || fail "$(cat "$W/head")"
token=$(curl -s "$E/token?service=entrepot" | jq -r .token)
is "$(code -H "Authorization: Bearer $token" "$E/v2/")" 200 "/v2/ with nobody's token"
is "$(code -H "Authorization: Bearer $token" "$E/v2/public/manifests/1")" 200 "a public image with nobody's token"
is "$(code "$E/v2/public/manifests/1")" 200 "a public image without any"
is "$(code "$E/v2/team/secret/manifests/1")" 401 "a private one without any"
is "$(code -H "Authorization: Bearer $token" "$E/v2/team/secret/manifests/1")" 401 "a private one with nobody's token"
is "$(code -H "Authorization: Bearer entrepot.0123456789" "$E/v2/team/secret/manifests/1")" 401 "with a token that is made up"
grep -qi '^www-authenticate: Bearer .*,error="invalid_token"' "$W/head" || fail "it is not said to have ended: $(cat "$W/head")"
is "$(code -u "alice:wrong" "$E/v2/team/secret/manifests/1")" 401 "with a wrong password"
is "$(code -u "alice:$alice" "$E/v2/team/secret/manifests/1")" 200 "alice"
token=$(curl -s -u "alice:$alice" "$E/token?service=entrepot&scope=repository:team/secret:pull" | jq -r .token)
is "$(code -H "Authorization: Bearer $token" "$E/v2/team/secret/manifests/1")" 200 "alice's token"
is "$(code -H "Authorization: Bearer $token" "$E/v2/team/secret/tags/list")" 200 "alice's tags"
is "$(jq -r '.tags[0]' "$W/body")" 1 "alice's tags"
for i in public team/secret; do
    rm -rf "$W/out"
    creds=
    [ $i = public ] || creds="--src-creds alice:$alice"
    # shellcheck disable=SC2086
    skopeo copy -q --src-tls-verify=false $creds "docker://127.0.0.1:$PORT/$i:1" "oci:$W/out:1" || fail "skopeo, $i"
done
is "$(curl -s "$E/v2/_catalog" | jq -c .repositories)" "[]" "what the catalog names"
no_leaks

entrepot_stop

# A crash leaves no secrets in a core file.
(ulimit -c unlimited; cd "$W"; exec "$ENTREPOT" serve --config "$W/config.yaml" >/dev/null 2>&1) &
crash=$!
PIDS+=($crash)
wait_for 20 curl -sf "$E/readyz" || fail "it does not start"
is "$(awk '/Max core/ {print $5}' "/proc/$crash/limits")" 0 "the size a core file may have"
kill -ABRT $crash
wait $crash 2>/dev/null || true
[ -z "$(find "$W" -name 'core*' -type f)" ] || fail "a core file: $(find "$W" -name 'core*')"
