#!/bin/bash
# The alerts fire when they should, and not before; every query of theirs and of the dashboard is PromQL, and asks for metrics that
# there are; each alert has an entry of its own to be looked up; the dashboard keeps to Grafana's schema.
. "$(dirname "$0")/../lib.sh"
. tests/kubernetes/tools.sh.inc
is_here promtool || skip "needs promtool"
need python3 curl
D=deploy/kubernetes/components/monitoring

python3 tests/kubernetes/queries.py rules $D/prometheusrule.yaml >"$W/rules.yaml"
promtool check rules "$W/rules.yaml" >"$W/check.log" 2>&1 || fail "$(cat "$W/check.log")"
python3 tests/kubernetes/queries.py summaries $D/prometheusrule.yaml >"$W/summaries.yaml"
cp tests/kubernetes/alerts.test.yaml "$W/"
promtool test rules "$W/alerts.test.yaml" >"$W/test.log" 2>&1 || fail "$(cat "$W/test.log")"
python3 tests/kubernetes/queries.py tested "$W/rules.yaml" tests/kubernetes/alerts.test.yaml || fail "see above"

say "the dashboard"
python3 tests/kubernetes/queries.py dashboard $D/dashboard.json >"$W/dashboard.yaml" || fail "see above"
promtool check rules "$W/dashboard.yaml" >"$W/check.log" 2>&1 || fail "$(cat "$W/check.log")"

if is_here grafana-check; then
    grafana-check $D/dashboard.json || fail "the dashboard does not keep to Grafana's schema"
    sed 's/"gridPos"/"gridPlace"/' $D/dashboard.json >"$W/wrong.json"
    ! grafana-check "$W/wrong.json" >/dev/null || fail "the schema finds nothing"
else
    without "Grafana's schema" || :
fi

say "metrics that there are"
entrepot_start "$(free_port)" "intercept: {address: \"127.0.0.1:$(free_port)\"}" # so that there is a certificate
curl -s "http://127.0.0.1:$PORT/v2/library/x/manifests/1" >/dev/null
curl -sf "http://127.0.0.1:$PORT/metrics" >"$W/metrics"
python3 tests/kubernetes/queries.py known "$W/metrics" "$W/rules.yaml" "$W/dashboard.yaml" || fail "see above"
promtool check metrics <"$W/metrics" >"$W/check.log" 2>&1 || say "promtool check metrics: $(sort -u "$W/check.log" | head -n 5 | paste -sd ';')"
entrepot_stop
