#!/bin/bash
# What is wrong is told at once, with since when and why, by status, /readyz, the page and metrics, and pulls go on: a full disk, a
# registry that is down, that limits, that refuses the login. It is gone once it is well. What was not asked is not called up. Metrics:
# all in docs/metrics.md, with their labels; as promtool likes them; no more for a thousand hosts with hostile names.
. "$(dirname "$0")/../lib.sh"
. tests/patience/hub.sh.inc
. tests/patience/health.sh.inc
need_root
hub_start
for n in 1 2 3 4; do hub "move?name=app&tag=$n&image=$n" >/dev/null; done
mkdir "$W/cache"
mount -t tmpfs -o size=64m none "$W/cache" || skip "no tmpfs here"
DEAD=$(free_port) NONE=$(free_port)
entrepot_start "$HUB_PORT" "
  - {name: dead.test, insecure: true, endpoints: ['http://127.0.0.1:$DEAD']}
  - {name: unasked.test, endpoints: ['https://127.0.0.1:$DEAD']}
  - {name: '*.localhost:$NONE', insecure: true}
tags: {ttl: 0s, negative_ttl: 0s}
intercept: {address: '127.0.0.1:$(free_port)'}"

upstream() { page status.json | jq -r --arg n "$1" ".upstreams[] | select(.name == \$n) | $2"; }

say "all is well, and nothing was asked"
is "$(page readyz)" ready "readyz"
is "$(ask status --json | jq -c .problems)" "[]" "problems"
is "$(upstream unasked.test .state)" unknown "the page's state of a registry that was not asked"
is "$(ask status --json | jq '[.upstreams[] | select(.up != null)] | length')" 0 "status calls up what was not asked"
is "$(page metrics | grep -c '^entrepot_upstream_up{' || true)" 0 "metrics call up what was not asked"
pull 1
is "$(metric 'entrepot_upstream_up{upstream="docker.io"}')" 1 "docker.io"
is "$(page metrics | grep -c '^entrepot_upstream_up{')" 1 "upstreams that were asked"
is "$(metric entrepot_unstored_total)" 0 "what was not kept"

say "the disk is full"
cat /dev/zero >"$W/cache/filler" 2>/dev/null || true
pull 2
told disk_full "$W/cache" "No space left"
[ "$(metric 'entrepot_unstored_total{reason="disk_full"}')" -ge 3 ] || fail "unstored: $(page metrics | grep unstored)"
pull 1
rm "$W/cache/filler"
sleep 0.1
pull 3
wait_for 5 is_over disk_full || fail "it is not over: $(ask status --json | jq -c .problems)"

say "a registry that is down"
get dead.test/app/manifests/1 >/dev/null
get dead.test/app/manifests/2 >/dev/null
told upstream_down dead.test "[Cc]onnect"
is "$(upstream dead.test .state)" down "the page"
[ -n "$(upstream dead.test '.why // empty')" ] && [ "$(upstream dead.test .since)" -gt 0 ] || fail "the page does not say why and since when"
since=$(jq '.problems[] | select(.what == "upstream_down") | .since' "$W/status")
get dead.test/app/manifests/3 >/dev/null
sleep 1.2
get dead.test/app/manifests/3 >/dev/null
again=$(ask status --json | jq '.problems[] | select(.what == "upstream_down") | .since')
[ "$again" -le $((since + 1)) ] || fail "after another failure it is said to have begun at $again, not $since"
page metrics | grep -x 'entrepot_upstream_up{upstream="dead.test"} 0' >/dev/null || fail "upstream_up of a registry that is down: $(page metrics | grep upstream_up)"
pull 1
python3 - "$DEAD" <<'PY' &
import sys
from http.server import HTTPServer
from answering import Answering
Answering.do_GET = Answering.do_HEAD = lambda self: self.answer(404)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Answering).serve_forever()
PY
PIDS+=($!)
recovers() { get dead.test/app/manifests/1 >/dev/null; is_over upstream_down; }
wait_for 20 recovers || fail "it is up again, and that is not seen: $(ask status --json | jq -c .problems)"
is "$(upstream dead.test .state)" up "the page"

say "its limit is used up"
hub "set?mode=429&retry_after=8" >/dev/null
get app/manifests/4 >/dev/null
told rate_limited docker.io "429"
grep -q "next request in [1-8] s" "$W/ready" || fail "readyz does not say until when: $(cat "$W/ready")"
hub "set?mode=ok" >/dev/null
wait_for 20 is_over rate_limited || fail "it is not over"

say "metrics: hit and miss apart, waits, labels, and what the document says of them"
pull 4
for r in hit miss; do
    [ "$(metric "entrepot_request_seconds_count{kind=\"blob\",result=\"$r\"}")" -ge 3 ] || fail "no histogram of $r: $(page metrics | grep request_seconds_count)"
done
page metrics >"$W/metrics"
grep -q 'entrepot_first_byte_seconds_bucket{kind="manifest",result="miss",le="600"}' "$W/metrics" || fail "no bucket of ten minutes"
awk '/^entrepot_wait_seconds_total{cause="upstream"}/ && $2 > 0 {ok = 1} END {exit !ok}' "$W/metrics" || fail "nothing waited: $(grep wait_ "$W/metrics")"
python3 - "$W/metrics" docs/metrics.md <<'PY' || fail "see above"
import re, sys
have, said, types = {}, {}, {}
for line in open(sys.argv[1]):
    if m := re.match(r"# TYPE (\S+) (\S+)", line):
        types[m[1]] = m[2]
        have[m[1]] = set()
    elif m := re.match(r"([a-z_]+?)(?:\{(.*)\})? \S+$", line):
        name = m[1] if m[1] in types else re.sub("_(bucket|sum|count)$", "", m[1])
        have[name] |= set(re.findall(r'([a-z_]+)="', m[2] or "")) - {"le"}
for m in re.finditer(r"^\| `([a-z_]+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|", open(sys.argv[2]).read(), re.M):
    said[m[1]] = m[2], set(re.findall(r"`([a-z_]+)`", m[3]))
bad = [f"{n}: not in the document" for n in have if n not in said]
# Those of several nodes are there with a cluster: all of them, or none.
if "entrepot_peers" not in have and "entrepot_shared_up" not in have:
    said = {n: s for n, s in said.items() if not re.match("entrepot_(peer|shared)", n)}
bad += [f"{n}: only in the document" for n in said if n not in have]
bad += [f"{n}: {types[n]}, and the document says {said[n][0]}" for n in have if n in said and said[n][0] != types[n]]
bad += [f"{n}: labels {sorted(have[n])}, and the document has {sorted(said[n][1])}" for n in have if n in said and not have[n] <= said[n][1]]
print("\n".join(bad))
sys.exit(bool(bad))
PY
if is_here promtool; then
    promtool check metrics <"$W/metrics" >"$W/promtool" 2>&1 || fail "promtool: $(cat "$W/promtool")"
else
    say "(without promtool: it is not installed)"
fi

say "a thousand hosts under a pattern, and names that would break out of a label"
before=$(page metrics | wc -l)
timeout 60 curl -s --parallel --parallel-max 16 -o /dev/null "http://127.0.0.1:$PORT/v2/app/manifests/1?ns=h[1-1000].localhost:$NONE"
for evil in 'a%22%7D%201' 'x%0Aentrepot_problem%7Bwhat=%22evil%22%7D%201' '%C3%A9%5C' '..%2f..'; do
    get "$evil.localhost:$NONE/app/manifests/1" >/dev/null
    get "app/manifests/1?ns=$evil.localhost:$NONE" >/dev/null
    get "$evil/app/manifests/$evil" >/dev/null
    curl -s -m 20 -o /dev/null -A "$(printf 'evil"} 1')" -H "Accept: $evil" "http://127.0.0.1:$PORT/v2/app/manifests/$evil"
done
page metrics >"$W/metrics"
[ "$(wc -l <"$W/metrics")" -le $((before + 200)) ] || fail "$before lines have become $(wc -l <"$W/metrics")"
if grep -E 'h[0-9]+\.localhost|evil' "$W/metrics"; then fail "metrics name what clients have made up"; fi
if grep -vE '^(# (HELP|TYPE) [a-z_]+ .*|[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? [-+0-9.e]+)$' "$W/metrics"; then fail "not the text format"; fi
is "$(sed 's/ [^ ]*$//' "$W/metrics" | grep -v '^#' | sort | uniq -d)" "" "series that are there twice"
[ "$(metric "entrepot_requests_total{method=\"GET\",kind=\"manifest\",upstream=\"*.localhost:$NONE\"")" -ge 900 ] || fail "the thousand are not counted: $(grep requests_total "$W/metrics")"
ask status --json | jq -e '.upstreams | length < 300' >/dev/null || fail "status is long"
entrepot_stop
