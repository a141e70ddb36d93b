#!/bin/bash
# A real Prometheus scrapes an entrepot that is pulled from, and that much is wrong with: our rules are loaded by it and evaluated, every
# query of the dashboard has data there, and those alerts fire, and no others, for which there is a reason. `for:` is cut short.
. "$(dirname "$0")/../lib.sh"
. tests/kubernetes/tools.sh.inc
. tests/concurrency/nginx.sh.inc
is_here prometheus || skip "needs prometheus"
need python3 nginx curl openssl
D=deploy/kubernetes/components/monitoring

# ---- registries: one with a limit of which little is left, one that wants no more requests, one that is down ----
mkdir -p "$W/www/v2/library/app/manifests" "$W/www/v2/library/app/blobs" "$W/held/v2"
python3 - "$W/www/v2/library/app" <<'PY'
import hashlib, json, os, sys
root = sys.argv[1]
def put(data):
    d = "sha256:" + hashlib.sha256(data).hexdigest()
    open(f"{root}/blobs/{d}", "wb").write(data)
    return {"digest": d, "size": len(data)}
def image(tag, sizes):
    m = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "config": dict(put(json.dumps({"n": tag}).encode()), mediaType="application/vnd.oci.image.config.v1+json"),
         "layers": [dict(put(os.urandom(n)), mediaType="application/vnd.oci.image.layer.v1.tar") for n in sizes]}
    open(f"{root}/manifests/{tag}", "w").write(json.dumps(m))
image("1", [100000] * 5)
image("large", [3000000])
PY
HELD=$(free_port) DOWN=$(free_port) METRICS=$(free_port) TLS=$(free_port) GONE=$(free_port)
nginx_start 0 "server { listen 127.0.0.1:$HELD; location / { add_header Retry-After 600 always; return 429; } location = /v2/ { return 200; } }"
sed -i '/location ~ \/manifests\//s/}$/add_header RateLimit-Limit "100;w=21600"; add_header RateLimit-Remaining "5;w=21600"; }/' "$W/nginx.conf"
kill -HUP "$NGINX_PID"

# ---- entrepot: a layer has no room in its cache, a certificate ends in ten days, its next configuration is refused ----
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 10 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$W/tls.key" -out "$W/tls.crt" 2>/dev/null
PORT=$(free_port)
cat >"$W/config.yaml" <<YAML
listen: [{address: "127.0.0.1:$PORT"}, {address: "127.0.0.1:$TLS", tls: {cert: $W/tls.crt, key: $W/tls.key}}]
admin: {socket: $W/admin.sock}
metrics: {address: "127.0.0.1:$METRICS"}
cache: {path: $W/cache, min_free: 0B, max_size: 64MiB, blob_max: 2MiB}
access_log: {path: /dev/full, format: json}
upstreams:
  - {name: docker.io, endpoints: ["http://127.0.0.1:$NGINX_PORT"], insecure: true}
  - {name: ghcr.io, endpoints: ["http://127.0.0.1:$HELD"], insecure: true}
  - {name: quay.io, endpoints: ["http://127.0.0.1:$DOWN"], insecure: true}
YAML
"$ENTREPOT" serve --config "$W/config.yaml" >>"$W/entrepot.log" 2>&1 &
ENTREPOT_PID=$!
PIDS+=($ENTREPOT_PID)
wait_for 20 curl -sf "http://127.0.0.1:$METRICS/readyz" || fail "entrepot does not start"

# ---- Prometheus ----
python3 tests/kubernetes/queries.py rules $D/prometheusrule.yaml | sed -E 's/^( *)for: .*/\1for: 1s/' >"$W/rules.yaml"
PROMETHEUS=$(free_port)
cat >"$W/prometheus.yml" <<YAML
global: {scrape_interval: 500ms, evaluation_interval: 1s}
rule_files: [$W/rules.yaml]
scrape_configs:
  - job_name: entrepot
    static_configs: [{targets: ["127.0.0.1:$METRICS", "127.0.0.1:$GONE"], labels: {node: n1}}]
YAML
promtool check config "$W/prometheus.yml" >"$W/check.log" 2>&1 || fail "$(cat "$W/check.log")"
prometheus --config.file="$W/prometheus.yml" --storage.tsdb.path="$W/tsdb" --web.listen-address="127.0.0.1:$PROMETHEUS" --log.level=warn >"$W/prometheus.log" 2>&1 &
PIDS+=($!)
wait_for 20 curl -sf "http://127.0.0.1:$PROMETHEUS/-/ready" || fail "Prometheus does not start"
# A counter is seen at zero before it counts, as on every node that has run for a while.
wait_for 20 sh -c "curl -s 'http://127.0.0.1:$PROMETHEUS/api/v1/query?query=entrepot_unstored_total' | grep no_room" || fail "nothing is scraped"

say "pulls, and what is wrong"
pull() { # TAG
    local m d
    m=$(curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' -H 'User-Agent: containerd/v2.1.4' "http://127.0.0.1:$PORT/v2/library/app/manifests/$1") || fail "no manifest of $1"
    for d in $(grep -o 'sha256:[0-9a-f]*' <<<"$m"); do
        curl -sf -H 'User-Agent: containerd/v2.1.4' -o /dev/null "http://127.0.0.1:$PORT/v2/library/app/blobs/$d" || fail "no blob $d"
    done
}
# Again and again: what is counted by kind and result is not there before, and a rate needs a second time.
rounds() {
    for i in $(seq 90); do
        pull 1
        pull large
        for down in quay.io ghcr.io; do curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/x/y$i/manifests/1?ns=$down" || :; done
        sleep 0.5
    done
}
rounds >"$W/rounds.log" 2>&1 &
PIDS+=($!)
echo "listen: [" >"$W/config.yaml"
kill -HUP "$ENTREPOT_PID"
python3 tests/kubernetes/asked.py "http://127.0.0.1:$PROMETHEUS" "$W/rules.yaml" $D/dashboard.json "127.0.0.1:$METRICS" \
    EntrepotDown EntrepotUpstreamDown EntrepotRateLimitLow EntrepotRateLimited EntrepotDiskFull EntrepotReloadFailed EntrepotCertificateExpiring \
    EntrepotErrors EntrepotAccessLogDropped || fail "see above"
