#!/bin/bash
# The chart: helm lint, packaged, rendered with all that can be set; values that make no sense are refused and named.
. "$(dirname "$0")/../lib.sh"
. tests/kubernetes/tools.sh.inc
with_helm || skip "needs helm"
need python3

say "lint, and the package"
helm lint --strict deploy/helm/entrepot >"$W/lint" 2>"$W/helm.err" || fail "$(cat "$W/lint")"
helm package -d "$W" deploy/helm/entrepot >/dev/null 2>&1 || fail "helm package"
tar -tzf "$W"/entrepot-*.tgz >"$W/list"
for f in files/dashboard.json files/prometheusrule.yaml values.schema.json; do grep -q "entrepot/$f" "$W/list" || fail "the package has no $f"; done
is "$(sed -n 's/^appVersion: //p' deploy/helm/entrepot/Chart.yaml)" "$(sed -n 's/^VERSION *:= *//p' Makefile)" "the chart's appVersion"

say "all that can be set"
cat >"$W/values.yaml" <<-'YAML'
	image: {repository: registry.example/team/entrepot, digest: "sha256:0123456789012345678901234567890123456789012345678901234567890123"}
	imagePullSecrets: [{name: pull}]
	engine: k3s
	registries: [docker.io, registry.example:5000]
	config:
	  cache: {path: /srv/images, max_size: 10GiB}
	  upstreams: [{name: registry.example, credentials: {username: u, password_file: /etc/secret/p}}]
	ports: {registry: 5100, metrics: 5101}
	cluster: {enabled: true, port: 5543, secretName: nodes, tls: true}
	cacheHostPath: /srv/images
	selinux: true
	metrics:
	  podMonitor: {enabled: true, interval: 15s, labels: {release: prometheus}}
	  rules: {enabled: true, labels: {release: prometheus}, runbookBase: https://wiki.example/entrepot}
	  dashboard: {enabled: true}
	env: [{name: HTTPS_PROXY, value: "http://proxy.example:3128"}]
	extraVolumes: [{name: secret, secret: {secretName: registry}}]
	extraVolumeMounts: [{name: secret, mountPath: /etc/secret, readOnly: true}]
	nodeSelector: {kubernetes.io/os: linux, pool: "yes"}
	affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
	podAnnotations: {a: b}
	podLabels: {c: d}
	priorityClassName: ""
	YAML
chart -f "$W/values.yaml" >"$W/all.yaml" || fail "helm template"
if with_schemas; then
    for v in $(schema_versions); do
        "$KUBERNETES/py/bin/kubernetes-validate" --strict --no-warn --quiet -k "$v" "$W/all.yaml" >"$W/validate.log" 2>&1 || fail "$v: $(cat "$W/validate.log")"
    done
fi
if with_operator; then
    python3 tests/kubernetes/rendered.py json "$W/all.yaml" >"$W/all.json"
    node tests/kubernetes/operator.cjs "$KUBERNETES/npm/node_modules" "$W/all.json" || fail "see above"
fi
python3 - "$W/all.yaml" <<-'PY' || fail "see above"
	import sys, yaml
	docs = {d["kind"] + " " + d["metadata"]["name"]: d for d in yaml.safe_load_all(open(sys.argv[1])) if d}
	pod = docs["DaemonSet entrepot"]["spec"]["template"]["spec"]
	init, main = pod["initContainers"][0], pod["containers"][0]
	config = yaml.safe_load(docs["ConfigMap entrepot"]["data"]["config.yaml"])
	checks = [
	    (init["image"], "registry.example/team/entrepot@sha256:0123456789012345678901234567890123456789012345678901234567890123"),
	    (init["args"][1:7], ["k3s", "--root", "/host", "--address", "127.0.0.1:5100", "--cache-owner"]),
	    (init["args"][8:], ["--registry", "docker.io", "--registry", "registry.example:5000"]),
	    (config["listen"], [{"address": "127.0.0.1:5100"}]), (config["metrics"], {"address": "0.0.0.0:5101"}),
	    (config["cache"], {"path": "/srv/images", "max_size": "10GiB", "min_free": "20%"}),
	    ({m["name"]: m["mountPath"] for m in init["volumeMounts"]}["cache"], "/host/srv/images"),
	    ({m["name"]: m["mountPath"] for m in main["volumeMounts"]}, {"config": "/etc/entrepot", "cache": "/srv/images", "secret": "/etc/secret", "cluster": "/etc/entrepot-cluster"}),
	    (config["cluster"]["peers"], {"dns": "entrepot-peers.entrepot.svc.cluster.local"}),
	    (config["cluster"]["tls"]["ca"], "/etc/entrepot-cluster/ca.crt"),
	    (main["env"][1], {"name": "ENTREPOT_CLUSTER_ADVERTISE", "value": "$(POD_IP):5543"}),
	    (docs["Service entrepot-peers"]["spec"]["ports"][0]["port"], 5543), (pod["dnsPolicy"], "ClusterFirstWithHostNet"),
	    (main["env"][2:], [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}]),
	    ("ResourceQuota entrepot-critical" in docs, False),
	    (docs["PrometheusRule entrepot"]["spec"]["groups"][0]["rules"][0]["annotations"]["runbook_url"], "https://wiki.example/entrepot#entrepotdown"),
	    (docs["PodMonitor entrepot"]["spec"]["selector"]["matchLabels"], docs["DaemonSet entrepot"]["spec"]["selector"]["matchLabels"]),
	]
	bad = [f"{a!r} is not {b!r}" for a, b in checks if a != b]
	sys.exit("\n".join(bad) if bad else 0)
	PY

chart --set metrics.rules.enabled=true >"$W/plain.yaml" || fail "helm template"
grep -q 'runbook_url: docs/operations.md#entrepotdown' "$W/plain.yaml" || fail "the links of alerts with the default"

say "what makes no sense"
while read -r values names; do
    ! chart --set "$values" >"$W/refused" 2>&1 || fail "$values is taken"
    grep -q "$names" "$W/refused" || fail "$values: it does not name $names: $(cat "$W/refused")"
done <<-'CASES'
	engine=docker /engine
	engin=k3s engin
	image.digest=sha256:1 /image/digest
	ports.registry=70000 /ports/registry
	cluster.port=0 /cluster/port
	config.cache.path=cache /config/cache/path
	image.pullPolicy=Sometimes /image/pullPolicy
	metrics.podMonitor.interval=soon /metrics/podMonitor/interval
	CASES
