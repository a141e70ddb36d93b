#!/bin/bash
# Another configuration while pulls go on: a hundred of them, and no pull fails. Then what is refused changes nothing, what needs a restart
# is named, and a listener that is removed finishes what it has begun.
. "$(dirname "$0")/../lib.sh"
UP=$(free_port)
python3 tests/concurrency/reload.py upstream "$UP" >"$W/up.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -sf "http://127.0.0.1:$UP/v2/" || fail "no registry"
entrepot_start "$UP"
cp "$W/config.yaml" "$W/base.yaml"
memory() { awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$ENTREPOT_PID/status"; }
descriptors() { find "/proc/$ENTREPOT_PID/fd" -mindepth 1 | wc -l; }

say "a hundred reloads under load"
python3 tests/concurrency/reload.py load "$PORT" "$W" >"$W/pulls" 2>"$W/load.log" &
LOAD=$!
PIDS+=($LOAD)
before=$(descriptors)
timeout 100 python3 tests/concurrency/reload.py reloads "$W/admin.sock" "$W/config.yaml" 100 || fail "a reload: see above"
touch "$W/stop"
wait "$LOAD" || fail "$(cat "$W/load.log")"
read -r cold warm <"$W/pulls"
[ "$cold" -gt 20 ] && [ "$warm" -gt 20 ] || fail "only $cold cold and $warm warm pulls"
say "$cold cold and $warm warm pulls, $(memory) MiB"
grep -cq "configuration reloaded" "$W/entrepot.log" || fail "the log"
no_more() { [ "$(descriptors)" -le $((before + 40)) ]; }
wait_for 10 no_more || fail "$before descriptors have become $(descriptors)"

say "by SIGHUP, and what needs a restart"
ask config diff || fail "config diff: $?"
sed -i 's/^log:.*/log: {level: debug}\nworkers: 1/' "$W/config.yaml"
rc=0; ask config diff >"$W/diff" || rc=$?
is "$rc" 1 "config diff of another file"
grep -q "^reload  log.level: info -> debug$" "$W/diff" && grep -q "^restart workers: " "$W/diff" || fail "config diff: $(cat "$W/diff")"
kill -HUP "$ENTREPOT_PID"
has_reloaded() { grep -q "configuration reloaded: log.level; these need a restart: workers" "$W/entrepot.log"; }
wait_for 5 has_reloaded || fail "the log has no reload: $(tail -n 3 "$W/entrepot.log")"
ask status | grep -q "^restart *needed for workers$" || fail "status: $(ask status)"
is "$(ask config diff | grep -vc '^restart workers')" 0 "what differs afterwards"
is "$(metric entrepot_reload_success)" 1 "entrepot_reload_success"
good=$(metric entrepot_reload_seconds)

say "all or nothing: an address that cannot be bound, a file that cannot be read"
sed "s/^log:.*/log: {level: warn}/; s/^listen:.*/listen: [{address: '127.0.0.1:$PORT'}, {address: '127.0.0.1:$(free_port)'}, {address: '127.0.0.1:$UP'}]/" \
    "$W/base.yaml" >"$W/config.yaml"
! ask reload >"$W/out" 2>&1 || fail "a port in use is no error"
grep -q "127.0.0.1:$UP: the address is in use" "$W/out" || fail "$(cat "$W/out")"
sed "s/^log:.*/log: {level: warn}/; s/stall_timeout: 10s/credentials: {username: u, password_file: \/nowhere}/" "$W/base.yaml" >"$W/config.yaml"
! ask reload >"$W/out" 2>&1 || fail "a file that is not there is no error"
grep -q "config.yaml: line [0-9]*: .*password_file" "$W/out" || fail "$(cat "$W/out")"
ask status | grep -q "^reload *REFUSED .*password_file" || fail "status: $(ask status)"
is "$(metric entrepot_reload_success)" 0 "entrepot_reload_success"
is "$(metric entrepot_reload_seconds)" "$good" "entrepot_reload_seconds"
rc=0; ask config diff 2>"$W/out" || rc=$?
is "$rc" 2 "config diff of a file that cannot be used"
"$ENTREPOT" config check --config "$W/base.yaml" >/dev/null || fail "config check"

say "a listener that is removed"
OTHER=$(free_port)
sed "s/^listen:.*/listen: [{address: '127.0.0.1:$PORT'}, {address: '127.0.0.1:$OTHER'}]/" "$W/base.yaml" >"$W/config.yaml"
ask reload | grep -q "applied listen\[127.0.0.1:$OTHER\]" || fail "a listener more"
mkfifo "$W/go"
python3 tests/concurrency/reload.py hold "$OTHER" library/slow <"$W/go" >"$W/held" &
HELD=$!
PIDS+=($HELD)
exec 7>"$W/go"
wait_for 10 grep -q begun "$W/held" || fail "no answer on the second listener"
cp "$W/base.yaml" "$W/config.yaml"
ask reload >/dev/null || fail "a listener less"
! curl -s -m 5 "http://127.0.0.1:$OTHER/v2/" || fail "it is still listened on"
curl -sf "http://127.0.0.1:$PORT/v2/" >/dev/null || fail "the other one is not"
echo >&7
wait "$HELD" || fail "the connection of the removed listener"
is "$(tail -n 2 "$W/held" | paste -sd ' ')" "whole closed" "what was under way there"
entrepot_stop
