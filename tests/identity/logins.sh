#!/bin/bash
# Who is told what: logins are for the registry and not for the mirrors before it, one client's refusal is not another's to read, and the
# registry's own refusal stands. What is private is told by bytes alone.
. "$(dirname "$0")/../lib.sh"

R=$(free_port) M=$(free_port)
: >"$W/asked"
python3 tests/identity/logins.py "$W/asked" "$R" "$M" >"$W/registries.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -s "http://127.0.0.1:$R/" || fail "no registry"
echo of-the-registry >"$W/password"
layer=sha256:$(python3 -c 'print("layer " * 1000, end="")' | sha256sum | sed 's/ .*//')
private=sha256:$(python3 -c 'print("private " * 1000, end="")' | sha256sum | sed 's/ .*//')
mirror=http://127.0.0.1:$M registry=http://127.0.0.1:$R
login="credentials: {username: someone, password_file: $W/password}"
MORE="
  - {name: own.test, insecure: true, endpoints: ['$mirror', '$registry'], $login}
  - {name: trusting.test, insecure: true, endpoints: [{url: '$mirror', credentials: true}, '$registry'], $login}
  - {name: clients.test, insecure: true, endpoints: ['$mirror', '$registry']}
  - {name: access.test, insecure: true, access: client, endpoints: ['$mirror', '$registry']}
  - {name: liar.test, insecure: true, endpoints: ['$registry']}"
entrepot_start "$R" "$MORE"

get() { # HOST/PATH [CURL OPTIONS]: as containerd asks, so that the challenge is the registry's
    code=$(curl -s -m 20 -o "$W/got" -D "$W/head" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/${1#*/}?ns=${1%%/*}" "${@:2}")
}
gives() { # STATUS PATH [CURL OPTIONS]
    get "${@:2}"
    is "$code" "$1" "$2"
}
says() { grep -q "$1" "$W/got" || fail "\"$(cat "$W/got")\" does not say \"$1\""; }
hides() { if grep -q "$1" "$W/got" "$W/head"; then fail "it says \"$1\": $(cat "$W/head" "$W/got")"; fi; }
asked() { grep -c "$1" "$W/asked" || true; }
forget() { : >"$W/asked"; }

say "what the mirror lacks it is asked for once, also by HEAD of a blob"
for _ in 1 2 3; do gives 200 "clients.test/public/none/a/blobs/$layer" -I; done
is "$(asked 'mirror HEAD .*public/none/a')" 1 "HEADs at the mirror"
is "$(asked 'registry HEAD .*public/none/a')" 3 "HEADs at the registry"

say "the registry's refusal stands where a mirror that was passed over by guess does not have it, or fails"
for how in "404 404" "404 500" "404 403" "403 404" "403 500" "401 404" "401 500" "404 429"; do
    set -- $how
    gives 200 "clients.test/guess/$1/$2/manifests/1"
    gives "$1" "clients.test/guess/$1/$2/blobs/$layer"
    says "registry says"
    [ "$1" != 401 ] || grep -qi 'www-authenticate: Basic realm="the registry"' "$W/head" || fail "the challenge: $(cat "$W/head")"
    [ "$(asked "mirror .*guess/$1/$2/blobs")" -gt 0 ] || fail "the mirror was not asked"
    sleep 0.1
done
gives 404 "clients.test/guess/404/500/blobs/$layer" -I
sleep 1.3 # the mirror's failures are forgiven
gives 200 clients.test/guess/404/200/manifests/1
gives 200 "clients.test/guess/404/200/blobs/$layer"

say "the cache's own login goes to the registry and not to the mirror, however that asks"
forget
for how in none basic mute realm; do
    gives 200 "own.test/secret/$how/x/manifests/1"
    [ "$(asked "mirror .*secret/$how/x")" -gt 0 ] || fail "the mirror was not asked"
done
is "$(grep '^mirror' "$W/asked" | grep -cvE '\[(None|Bearer for-nobody)\]$')" 0 "logins at the mirror: $(cat "$W/asked")"
say "... unless the configuration says that it is to have it"
forget
for how in basic mute realm; do gives 200 "trusting.test/secret/$how/x/manifests/1"; done
[ "$(asked "mirror .*secret/basic/x.*\[Basic c29tZW9uZTpvZi10aGUtcmVnaXN0cnk=\]")" -gt 0 ] || fail "no Basic at the mirror"
[ "$(asked "mirror .*secret/mute/x.*\[Basic c29tZW9uZTpvZi10aGUtcmVnaXN0cnk=\]")" -gt 0 ] || fail "no Basic at the mirror, which does not say what it wants"
[ "$(asked "mirror .*secret/realm/x.*\[Bearer for-someone\]")" -gt 0 ] || fail "no token at the mirror"

say "a client's login goes to the registry alone"
forget
gives 401 clients.test/secret/basic/y/manifests/1
grep -qi "www-authenticate: Bearer realm=\"$registry/token\"" "$W/head" || fail "the challenge: $(cat "$W/head")"
for how in none basic mute realm; do
    gives 200 "clients.test/secret/$how/y/manifests/1" -H "Authorization: Bearer of-the-client"
    gives 200 "clients.test/secret/$how/z/manifests/1" -u someone:of-the-registry
    gives 200 "access.test/secret/$how/w/manifests/1" -u someone:of-the-registry
done
is "$(grep '^mirror' "$W/asked" | grep -cvE '\[(None|Bearer for-nobody)\]$')" 0 "logins at the mirror: $(cat "$W/asked")"
is "$(asked "mirror .*/w/")" 0 "requests at the mirror where clients have their own access"
gives 401 "clients.test/secret/none/y/manifests/2" -u someone:wrong
says "not asked with a client's login"

say "what an endpoint said to one is not told to another"
sleep 1.1
for i in 1 2 3; do gives 401 "clients.test/secret/sick/merger/manifests/$i"; done
gives 404 "clients.test/other/manifests/1"
says "skipped, since a moment ago: answered 503"
hides merger

say "a registry's word shows nothing of what is private to another's repository: neither its size nor its bytes"
gives 200 "access.test/secret/none/s/blobs/$private" -u someone:of-the-registry
is_kept() { get "access.test/secret/none/s/blobs/$private" -u someone:of-the-registry -I && grep -q "Cache-Status: entrepot; hit" "$W/head"; }
wait_for 10 is_kept || fail "it is not kept: $(cat "$W/head")"
gives 200 "liar.test/liar/x/blobs/$private" -I
grep -qi '^content-length: 3' "$W/head" || fail "its size: $(cat "$W/head")"
gives 404 "liar.test/liar/x/blobs/$private"

say "a token from before a restart opens what it opened; not from before a key of another mode"
session=$(curl -s -u someone@access.test:of-the-registry "http://127.0.0.1:$PORT/token?service=entrepot&scope=repository:x:pull" | jq -r .token)
opens() { # STATUS: as docker asks
    is "$(curl -s -m 20 -o "$W/got" -D "$W/head" -w '%{http_code}' -H "Authorization: Bearer $session" \
        "http://127.0.0.1:$PORT/v2/access.test/secret/basic/w/manifests/1")" "$1" "what the token opens"
}
is "$(stat -c '%a %s' "$W/cache/login.key")" "600 32" "the key"
opens 200
entrepot_stop
entrepot_start "$R" "$MORE"
opens 200
entrepot_stop
chmod 640 "$W/cache/login.key"
entrepot_start "$R" "$MORE"
opens 401
grep -qi 'error="invalid_token"' "$W/head" || fail "the challenge: $(cat "$W/head")"
is "$(stat -c '%a %s' "$W/cache/login.key")" "600 32" "the new key"
grep -q 'login.key: others may read or write it' "$W/entrepot.log" || fail "nothing was said about the key"
ask verify >"$W/said" 2>&1 || fail "verify: $(cat "$W/said")"
[ -f "$W/cache/login.key" ] || fail "the key is gone"
entrepot_stop
