#!/bin/bash
# Of several accounts the one that has most left asks; when all are used up, what is cached goes on, and what is not gets 429 with
# the time to wait, without another question upstream. When little is left, what is not needed is put off.
. "$(dirname "$0")/../lib.sh"
. tests/patience/hub.sh.inc
hub_start
for i in $(seq 8); do hub "move?name=app$i&tag=1&image=1" >/dev/null; done
status() { curl -s -o "$W/answer" -D "$W/head" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$1/manifests/1"; }
left() { ask status --json | jq -c '[.upstreams[] | select(.name == "docker.io") | .limits[] | .source, .remaining] '; }

say "two accounts, three pulls and two"
for u in alice:3 bob:2; do
    p=not-a-real-$u-$RANDOM$RANDOM
    echo "$p" >>"$W/secrets"
    printf '%s' "$p" >"$W/${u%:*}.password"
    hub "account?user=${u%:*}&password=$p&remaining=${u#*:}" >/dev/null
done
printf wrong-%s "$RANDOM$RANDOM" | tee -a "$W/secrets" >"$W/eve.password" # who cannot log in is no hindrance
hub "set?limit=3&retry_after=45" >/dev/null
entrepot_start "$HUB_PORT" "    credentials:
      - {username: eve, password_file: $W/eve.password}
      - {username: alice, password_file: $W/alice.password}
      - {username: bob, password_file: $W/bob.password}
    rate_reserve: 0
tags: {ttl: 0s}"
for i in 1 2 3 4 5; do is "$(status app$i)" 200 "pull $i"; done
is "$(hub_count .refused)" 0 "refusals until now"
is "$(left)" '["alice",0,"bob",0]' "what is left to whom"
is "$(status app6)" 429 "the sixth"
is "$(jq -r '.errors[0].code' "$W/answer")" TOOMANYREQUESTS "its code"
is "$(hub_count .refused)" 2 "both were tried"
for i in 6 7 8; do
    is "$(status app$i)" 429 "what is not cached"
    wait_s=$(tr -d '\r' <"$W/head" | sed -n 's/^Retry-After: //Ip')
    [ "$wait_s" -gt 40 ] && [ "$wait_s" -le 45 ] || fail "Retry-After is $wait_s"
done
is "$(hub_count .refused)" 2 "nobody is asked before that time"
hub zero >/dev/null
for i in 1 2 3 4 5; do is "$(status app$i)" 200 "what is cached"; done
grep -q '^Cache-Status: entrepot; hit; ttl=-' "$W/head" || fail "it does not say that it is stale"
is "$(hub_count '[.head[], .get[]] | add // 0')" 0 "questions meanwhile"
ask status | grep -q 'LIMITED: next request in' || fail "status does not say it: $(ask status)"
[ "$(metric 'entrepot_upstream_held_seconds{upstream="docker.io"}')" -gt 30 ] || fail "metrics do not say it"
entrepot_stop

say "little is left: what is not needed is put off, what is needed is not"
rm -rf "$W/cache"
hub_stop
hub_start
for i in $(seq 8); do hub "move?name=app$i&tag=1&image=1" >/dev/null; done
hub "set?limit=100&remaining=12" >/dev/null
entrepot_start "$HUB_PORT" "    rate_reserve: 10
tags: {ttl: 0s}"
for i in 1 2 3; do is "$(status app$i)" 200 "pull $i"; done
hub zero >/dev/null
for _ in 1 2 3 4 5; do for i in 1 2 3; do is "$(status app$i)" 200 "again"; done; done
is "$(hub_count '[.head[], .get[]] | add // 0')" 1 "questions: one, to know what is left"
is "$(status app4)" 200 "one that is not cached"
is "$(hub_count .counted)" 1 "it is fetched"
entrepot_stop

say "nobody may be asked, and the copy is gone: that is an error, and no empty answer"
d=$(hub "move?name=app1&tag=1&image=1")
SERVE_MORE=--offline entrepot_start "$HUB_PORT" "tags: {ttl: 0s}"
sleep 1 # until files and index have been compared
rm "$W/cache/blobs/sha256/${d#sha256:}"
code=$(status app1)
case $code in 404 | 500) ;; *) fail "app1 is answered $code" ;; esac
[ -s "$W/answer" ] || fail "the answer is empty"
is "$(status app2)" 200 "another one"
entrepot_stop
