#!/bin/bash
# What is typed and what is printed: an explicit option beats the environment, --opt=value and abbreviations work, wrong usage is 2
# and a failure 1, and nothing that an archive, a registry or a name holds reaches the terminal as a control character.
. "$(dirname "$0")/../lib.sh"
UP_PORT=$(free_port)
www=$W/www
python3 tests/e2e/commands.py make "$W" || fail "no archives"
python3 tests/e2e/commands.py serve "$www" "$UP_PORT" >"$W/up.log" 2>&1 &
UP_PID=$!
PIDS+=($UP_PID)
wait_for 10 curl -sf "http://127.0.0.1:$UP_PORT/v2/" || fail "no registry"
entrepot_start "$UP_PORT" "tags: {ttl: 1h}"

say "options, words and exit statuses"
python3 tests/e2e/commands.py words "$ENTREPOT" "$W" || fail "see above"

say "an explicit option beats ENTREPOT_SOCKET"
odd=$W/$'odd\xff\033[31m'
"$ENTREPOT" serve --cache "$odd" --listen 127.0.0.1:0 --offline >>"$W/other.log" 2>&1 &
PIDS+=($!)
other_is_up() { "$ENTREPOT" status --socket="$odd/admin.sock"; }
wait_for 10 other_is_up || fail "no second daemon"
path() { "$ENTREPOT" status --json "$@" | jq -r .cache.path; }
export ENTREPOT_SOCKET=$W/admin.sock
is "$(path)" "$W/cache" "with the environment alone"
is "$(path --cache "$odd")" "$W/odd\\xff\\x1b[31m" "--cache"
is "$(path "--cache=$odd")" "$W/odd\\xff\\x1b[31m" "--cache="
is "$(path --socket "$odd/admin.sock")" "$W/odd\\xff\\x1b[31m" "--socket"
export ENTREPOT_SOCKET=$odd/admin.sock
is "$(path --config "$W/config.yaml")" "$W/cache" "--config"
is "$(path --sock="$W/admin.sock")" "$W/cache" "--sock="
is "$(path -- 2>/dev/null)" "$W/odd\\xff\\x1b[31m" "nothing behind --"
unset ENTREPOT_SOCKET

say "a limit that can never hold"
for key in "max_size: 900TiB, min_free: 1MiB" "min_free: 900TiB"; do
    printf 'cache: {path: %s, %s}\nlisten: [{address: "127.0.0.1:0"}]\nadmin: {socket: %s}\n' "$W/huge" "$key" "$W/huge.sock" >"$W/huge.yaml"
    "$ENTREPOT" config check --config="$W/huge.yaml" >"$W/out" 2>"$W/err" || fail "config check: $(cat "$W/err")"
    grep -q "^entrepot: cache.${key%%:*}: 900 TiB can" "$W/err" || fail "config check does not say it: $(cat "$W/err")"
    "$ENTREPOT" config check --config="$W/huge.yaml" --json | jq -e '.good and (.warnings | length) == 1' >/dev/null || fail "nor as JSON"
    "$ENTREPOT" serve --config "$W/huge.yaml" --offline >"$W/huge.log" 2>&1 &
    huge=$!
    PIDS+=($huge)
    wait_for 10 grep -q "warn *cache.${key%%:*}: 900 TiB can" "$W/huge.log" || fail "the daemon does not say it"
    kill $huge
    wait $huge || true
done

say "what is printed"
python3 tests/e2e/commands.py prints "$ENTREPOT" "$W" || fail "see above"
LC_ALL=C grep -nP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' "$W/entrepot.log" "$W/other.log" && fail "in the log"
kill -0 "$ENTREPOT_PID" || fail "the daemon has ended"

say "more images than one request takes"
code=$(curl -s -o "$W/answer" -w '%{http_code}' --unix-socket "$W/admin.sock" -d @"$W/too-many.json" http://entrepot/v1/import)
is "$code" 400 "4097 images in one request: $(cat "$W/answer")"
ask ls --json | jq -e '[.images[] | select(.reference | contains("many"))] == []' >/dev/null || fail "they were imported"
ask import "$W/many.tar" --json | tail -n 1 >"$W/answer" || fail "import of 4100 images: $(cut -c 1-300 "$W/answer")"
is "$(jq -c '[(.imported | length), (.imported | unique | length)]' "$W/answer")" '[4100,4100]' "imported"
ask gc --dry-run --json >"$W/answer" || fail "gc --dry-run"
is "$(jq '[.kept[] | select(.why == "pinned") | .reference | select(test("many.example"))] | unique | length' "$W/answer")" 4100 "images that are kept"

say "pull: a tag that cannot be checked"
one=docker.io/library/one:1
ask pull one:1 --json | jq -se '(.[-2].checked == true) and (.[-1].unchecked == 0) and .[-1].ok' >/dev/null || fail "with the registry"
kill "$UP_PID"
wait "$UP_PID" 2>/dev/null || true
ask pull one:1 >"$W/out" 2>"$W/err" || fail "a pull of what is here fails: $(cat "$W/err")"
grep -q "^$one: done, .*; its tag could not be checked: .*127.0.0.1:$UP_PORT" "$W/out" || fail "$(cat "$W/out")"
ask pull one:1 --json >"$W/out"
jq -se '(.[-2] | .status == "done" and .checked == false and (.unchecked | length > 0)) and .[-1].unchecked == 1 and .[-1].ok' "$W/out" >/dev/null || fail "$(cat "$W/out")"
status=0
ask pull one:1 --fresh >"$W/out" 2>"$W/err" || status=$?
is $status 1 "exit status of pull --fresh"
grep -q "^entrepot: pulling $one: its tag could not be checked: " "$W/err" || fail "$(cat "$W/err")"
ask offline on >/dev/null
ask pull one:1 | grep -q 'could not be checked: the cache is offline' || fail "offline"
digest=$(ask ls one:1 --json | jq -r '.images[0].digest')
ask pull "one@$digest" --fresh >"$W/out" 2>&1 || fail "a digest needs no check: $(cat "$W/out")"

say "colours"
python3 tests/e2e/commands.py colours "$ENTREPOT" "$W" || fail "see above"
entrepot_stop
