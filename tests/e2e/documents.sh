#!/bin/bash
# What documents promise is there: each alert's entry in the runbook, each link, each command with its options, each key of the
# configurations that they show, each metric.
. "$(dirname "$0")/../lib.sh"
need python3 openssl
python3 -c 'import yaml' 2>/dev/null || skip "needs python3-yaml"

etc=$W/etc
mkdir "$etc"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=node -addext subjectAltName=DNS:node \
    -keyout "$etc/tls.key" -out "$etc/tls.crt" 2>"$W/openssl.log" || fail "no certificate"
cp "$etc/tls.crt" "$etc/nodes-ca.crt"
echo 0123456789abcdef0123456789abcdef | tee "$etc/cluster.secret" "$etc/s3.secret" >"$etc/etcd.password"
python3 tests/e2e/documents.py "$ENTREPOT" "$etc" deploy/kubernetes/components/monitoring/prometheusrule.yaml \
    README.md docs/*.md deploy/kubernetes/README.md >"$W/found" || fail "$(cat "$W/found")"
say "$(head -n 1 "$W/found")"
