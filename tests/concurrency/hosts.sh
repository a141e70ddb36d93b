#!/bin/bash
# Clients make up registry hosts by the thousand, under a pattern and where any host may be asked: registries that have answered stay, new
# ones are served, status and metrics stay short, and memory stays what it is. While as many are asked at once as there may be, one more is
# told to come again.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
UP=$(free_port)
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$W/key.pem" -out "$W/cert.pem" -days 2 -subj /CN=localhost 2>/dev/null
python3 tests/concurrency/hosts.py upstream "$UP" "$W" >"$W/up.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -skf "https://real.localhost:$UP/v2/" || fail "no registry"
get() { curl -s -m 30 -o "$W/got" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/app/manifests/1?ns=$1.localhost:$UP"; }
flood() { timeout 120 python3 tests/concurrency/hosts.py flood "$PORT" "$UP" || fail "a flood: see above"; }
memory() { awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$ENTREPOT_PID/status"; }
entrepot_start "$UP" "
  - {name: '*.localhost:$UP', insecure: true, connect_timeout: 5s}
upstreams_any: true
tags: {ttl: 0s, negative_ttl: 0s}
workers: 2"

say "made-up hosts, and registries of the same pattern before and after"
is "$(get real)" 200 "a registry of a pattern: $(cat "$W/got")"
flood
before=$(memory)
is "$(get real)" 200 "the same one after the flood: $(cat "$W/got")"
is "$(get new)" 200 "a new one: $(cat "$W/got")"
flood
after=$(memory)

say "figures"
# what a sanitizer sets aside of freed memory grows
is_sanitized || [ "$after" -le $((before + 16)) ] || fail "$before MiB have become $after"
curl -sf "http://127.0.0.1:$PORT/metrics" >"$W/metrics"
ask status --json >"$W/status" || fail "status"
grep -q "real.localhost:$UP" "$W/status" || fail "status does not name the registry"
grep -q "new.localhost:$UP" "$W/status" || fail "status does not name the new registry"
if grep -E "made-up-|127\.1\." "$W/metrics" "$W/status"; then fail "they name what clients have made up"; fi
if grep -E "(real|new)\.localhost" "$W/metrics"; then fail "metrics name hosts of a pattern"; fi
requests() { metric "entrepot_requests_total{method=\"GET\",kind=\"manifest\",upstream=\"$1\""; }
is "$(requests "*.localhost:$UP")" 4003 "requests for hosts of the pattern"
is "$(requests other)" 4000 "requests for other hosts"
is "$(metric "entrepot_upstream_up{upstream=\"*.localhost:$UP\"}")" 1 "the pattern's registries"
[ "$(metric "entrepot_upstream_requests_total{upstream=\"*.localhost:$UP\"")" -ge 4003 ] || fail "requests to those that went are lost"

say "as many as there may be, none of which answers"
timeout 60 python3 tests/concurrency/hosts.py busy "$PORT" "$UP" || fail "busy: see above"
grep -q "too many upstreams are in use at once: .*:$UP is refused" "$W/entrepot.log" || fail "the log does not say so"
entrepot_stop
