#!/bin/bash
# What went wrong is told as it is: the registry's own words, each endpoint with its reason, and nothing of what is secret.
. tests/lib.sh

UPSTREAM=$(free_port)
CLOSED=$(free_port)
python3 tests/patience/refusals.py "$UPSTREAM" >"$W/upstream.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -s "http://127.0.0.1:$UPSTREAM/"
echo "not-so-secret-words" >"$W/password"
entrepot_start "$UPSTREAM" "
  - {name: a.test, insecure: true, endpoints: ['http://127.0.0.1:$UPSTREAM'], credentials: {username: me, password_file: $W/password}}
  - {name: two.test, insecure: true, endpoints: ['http://127.0.0.1:$CLOSED', 'http://localhost:$UPSTREAM']}
  - {name: closed.test, insecure: true, endpoints: ['http://127.0.0.1:$CLOSED', 'http://localhost:$CLOSED']}
  - {name: limited.test, insecure: true, endpoints: ['http://127.0.0.1:$UPSTREAM']}"

DIGEST=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
say_of() { # STATUS PATH WORDS...: an answer of this status whose message has all of these words
    local status=$1 path=$2 message
    shift 2
    is "$(curl -s -m 20 -o "$W/answer" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$path")" "$status" "$path"
    message=$(jq -er '.errors[0].message' "$W/answer") || fail "$path: $(cat "$W/answer")"
    for word in "$@"; do
        case $message in *"$word"*) ;; *) fail "$path: \"$message\" does not say \"$word\"" ;; esac
    done
    [ "${#message}" -lt 2500 ] || fail "$path: ${#message} characters of message"
    if printf %s "$message" | LC_ALL=C grep -q '[[:cntrl:]]'; then fail "$path: control characters"; fi
}

say "the registry's own words: of manifests, blobs and lists, with its status"
say_of 404 a.test/missing/x/manifests/1 "MANIFEST_UNKNOWN: manifest unknown" '"Tag":"1"'
say_of 404 "a.test/missing/x/manifests/$DIGEST" "manifest unknown"
say_of 404 "a.test/missing/x/blobs/$DIGEST" "manifest unknown"
say_of 404 a.test/missing/x/tags/list "manifest unknown"
say_of 403 a.test/forbidden/x/manifests/1 "your plan [31m does not allow it: ask the owner"
say_of 403 a.test/forbidden/x/tags/list "ask the owner"
say_of 403 "a.test/forbidden/x/blobs/$DIGEST" "ask the owner"
say_of 502 a.test/broken/x/manifests/1 "answered 500" "the database is away"
say_of 502 a.test/html/x/manifests/1 "answered 503"
say_of 403 a.test/endless/x/manifests/1 "refuses access"
say_of 429 limited.test/limited/x/manifests/1 "10 pulls an hour"
is "$(curl -sI -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/a.test/missing/x/manifests/1")" 404 "HEAD"

say "... but nothing that is secret"
say_of 401 a.test/echo/x/manifests/1 "you sent Basic [...]"

say "each endpoint, with its reason"
say_of 502 two.test/broken/x/manifests/1 "http://127.0.0.1:$CLOSED: " "onnect" "http://localhost:$UPSTREAM: answered 500" "the database is away"
say_of 502 closed.test/any/x/manifests/1 "http://127.0.0.1:$CLOSED: " "http://localhost:$CLOSED: " "none of its endpoints"
for _ in 1 2 3; do say_of 502 "closed.test/any/x/blobs/$DIGEST" "http://127.0.0.1:$CLOSED: " "http://localhost:$CLOSED: "; done

say "messages name what is wrong"
say_of 502 a.test/token/x/manifests/1 "asking for a token" "more than 65536 bytes"
say_of 502 a.test/header/x/manifests/1 "headers exceed our limits"
say_of 502 a.test/large/x/manifests/1 "manifest has more than 4194304 bytes"
say_of 400 "x/manifests/1?ns=%zz" "ns="
say_of 400 "x/manifests/1?ns=a%00b" "ns="
say_of 400 "a.test/Upper/manifests/1" "lower"

say "and a line at info for what an operator would look for"
say_of 404 "nowhere.test/x/manifests/1" "nowhere.test"
grep -q "info .*nowhere.test is not one of the upstreams" "$W/entrepot.log" || fail "no line about the registry that is not configured"
grep -q "info .*a.test/forbidden/x.*refuses access" "$W/entrepot.log" || fail "no line about the refusal"
if grep -q "not-so-secret\|$(printf 'me:not-so-secret-words' | base64)" "$W/entrepot.log"; then fail "a secret is in the log"; fi
say_of 404 "x/manifests/1?ns=a%2Fb" "not one of the upstreams"
