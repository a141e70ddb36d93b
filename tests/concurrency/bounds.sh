#!/bin/bash
# Clients that hold all connections there may be, or ask for what a registry never answers: others are told 503 and when to come again,
# idle connections make room, another registry's images and the operator's commands go on, and descriptors last. Nor do clients take much
# memory that ask for what is not kept, and do not read it.
. "$(dirname "$0")/../lib.sh"
UP=$(free_port)
METRICS=$(free_port)
python3 tests/concurrency/bounds.py upstream "$UP" >"$W/up.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -sf "http://127.0.0.1:$UP/v2/"
more="
  - {name: well.test, insecure: true, endpoints: ['http://127.0.0.1:$UP']}
metrics: {address: 127.0.0.1:$METRICS}"
counted() { curl -sf "http://127.0.0.1:$METRICS/metrics" | awk -v n="$1" 'index($0, n) == 1 {s += $NF} END {printf "%.0f\n", s}'; }
limit() { tr -s ' ' <"/proc/$ENTREPOT_PID/limits" | sed -n 's/^Max open files \([0-9]*\) .*/\1/p'; }
entrepot_is_ready() { curl -sf "http://127.0.0.1:$METRICS/readyz" || ! kill -0 "$ENTREPOT_PID"; }
is_quiet() { [ "$(counted entrepot_connections)" = 0 ]; } # neither who asks for metrics nor the operator is a client
scene() { wait_for 10 is_quiet || fail "$(counted entrepot_connections) connections remain"; python3 tests/concurrency/bounds.py "$1" "$PORT" || fail "$1: see above"; }

say "limits of the configuration"
DAEMON=(prlimit --nofile=512:4096)
entrepot_start "$UP" "$more
limits: {connections: 40, misses: 5}
workers: 2"
is "$(limit)" 4096 "descriptors that are allowed"
scene misses
[ "$(counted 'entrepot_refused_total{reason="misses"}')" -ge 20 ] || fail "refused misses are not counted"
scene idle
is "$(counted 'entrepot_refused_total{reason="connections"}')" 0 "connections that were refused beside idle ones"
[ "$(counted entrepot_idle_closed_total)" -ge 60 ] || fail "idle ones that were closed are not counted"
scene busy
[ "$(counted 'entrepot_refused_total{reason="connections"}')" -ge 10 ] || fail "refused connections are not counted"
entrepot_stop
is "$(grep -c 'warn  GET .*(limits.misses)' "$W/entrepot.log")" 1 "lines about refused misses"
grep -qE '\.\.\. and (2[0-9]|30) more like this .*\(limits.misses\)' "$W/entrepot.log" || fail "nobody tells how many there were"

say "few descriptors"
DAEMON=(prlimit --nofile=640:640)
entrepot_start "$UP" "$more
workers: 2"
grep -q "limits.connections: 8192 connections need more than the 640 descriptors" "$W/entrepot.log" || fail "nobody is told"
python3 tests/concurrency/bounds.py flood "$PORT" "$W/flooded" >"$W/flood.log" 2>&1 &
FLOOD=$!
PIDS+=($FLOOD)
wait_for 20 test -e "$W/flooded" || fail "no flood: $(cat "$W/flood.log")"
for _ in 1 2 3; do
    timeout 5 "$ENTREPOT" status --socket "$W/admin.sock" >/dev/null || fail "the operator is kept out"
    timeout 20 "$ENTREPOT" pull well.test/app:1 --socket "$W/admin.sock" >"$W/pull.out" 2>&1 || fail "a pull: $(cat "$W/pull.out")"
done
[ "$(counted 'entrepot_refused_total{reason="connections"}')" -ge 100 ] || fail "the flood was let in"
if grep "Too many open files" "$W/entrepot.log"; then fail "descriptors have run out"; fi
kill "$FLOOD"
wait "$FLOOD" 2>/dev/null || true
wait_for 10 is_quiet || fail "$(counted entrepot_connections) connections remain"
is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/well.test/app/manifests/1")" 200 "afterwards"
entrepot_stop

say "blobs that are not kept, and that their clients do not read"
DAEMON=(prlimit --nofile=4096:4096)
CACHE_MORE="blob_max: 3MiB" entrepot_start "$UP" "$more
limits: {relays: 200}
workers: 2"
memory() { awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$ENTREPOT_PID/status"; }
before=$(memory)
mkfifo "$W/hold"
python3 tests/concurrency/bounds.py unread "$PORT" "$W/unread" <"$W/hold" >"$W/unread.log" 2>&1 &
UNREAD=$!
PIDS+=($UNREAD)
exec 9>"$W/hold"
wait_for 30 eval "test -e '$W/unread' || ! kill -0 $UNREAD" && test -e "$W/unread" || fail "unread: $(cat "$W/unread.log")"
is "$(counted entrepot_relays)" 200 "blobs that are passed on"
is "$(counted 'entrepot_refused_total{reason="relays"}')" 20 "those that were refused"
is_sanitized || [ $(($(memory) - before)) -le 240 ] || fail "200 of them take $(($(memory) - before)) MiB"
echo "200 of them take $(($(memory) - before)) MiB"
exec 9>&-
wait "$UNREAD" || fail "unread: $(cat "$W/unread.log")"
is_over() { [ "$(counted entrepot_relays)" = 0 ] && { is_sanitized || [ $(($(memory) - before)) -le 24 ]; }; }
wait_for 20 is_over || fail "$(counted entrepot_relays) remain, and $(($(memory) - before)) MiB"
entrepot_stop
