#!/bin/bash
# Every overlay is rendered by kustomize, keeps to Kubernetes' published OpenAPI and its operator's, and is what the chart renders for the
# same engine; what `setup` writes on a node is in the folders that the pod has of the host, and --undo leaves nothing.
. "$(dirname "$0")/../lib.sh"
. tests/kubernetes/tools.sh.inc
need python3 jq
with_kustomize

say "overlays"
for o in overlays/{containerd,k3s,rke2,crio,kind} undo/{containerd,k3s,rke2,crio,kind}; do
    kustomize_build "deploy/kubernetes/$o" >"$W/${o//\//-}.yaml" || fail "$o is not rendered"
done
# The component with the operator's kinds is added by the user's own overlay.
mkdir -p "$W/deploy"
cp -r deploy/kubernetes "$W/deploy/"
mkdir "$W/deploy/own"
cat >"$W/deploy/own/kustomization.yaml" <<-YAML
	resources: [../kubernetes/overlays/containerd]
	components: [../kubernetes/components/monitoring]
	images: [{name: entrepot, newName: registry.example/entrepot, newTag: v9}]
	YAML
# What docs/operations.md has for the links of alerts.
sed -n '/^    configMapGenerator:/,/^$/s/^    //p' docs/operations.md >>"$W/deploy/own/kustomization.yaml"
kustomize_build "$W/deploy/own" >"$W/overlays-monitored.yaml" || fail "an overlay with the component monitoring is not rendered"
is "$(grep -c 'image: registry.example/entrepot:v9' "$W/overlays-monitored.yaml")" 2 "images of an overlay of one's own"
is "$(grep -c 'runbook_url: https://git.example.com/entrepot/.*/docs/operations.md#entrepot' "$W/overlays-monitored.yaml")" \
    "$(grep -c 'alert: ' deploy/kubernetes/components/monitoring/prometheusrule.yaml)" "links of alerts"

mkdir "$W/deploy/helping"
cat >"$W/deploy/helping/kustomization.yaml" <<-YAML
	resources: [../kubernetes/overlays/containerd]
	components: [../kubernetes/components/cluster, ../kubernetes/components/monitoring]
	YAML
kustomize_build "$W/deploy/helping" >"$W/helping.yaml" || fail "an overlay with the component cluster is not rendered"
python3 - "$W/helping.yaml" "$W/helping.env" <<-'PY' || fail "see above"
	import sys, yaml
	docs = {d["kind"]: d for d in yaml.safe_load_all(open(sys.argv[1])) if d and d["metadata"]["name"].startswith("entrepot")}
	pod = docs["DaemonSet"]["spec"]["template"]["spec"]
	main = pod["containers"][0]
	env = {e["name"]: e.get("value") for e in main["env"]}
	names = [e["name"] for e in main["env"]]
	service = docs["Service"]["spec"]
	checks = [
	    (pod["dnsPolicy"], "ClusterFirstWithHostNet"), (pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"}),
	    (env["ENTREPOT_METRICS_ADDRESS"], "0.0.0.0:5001"), (names.index("POD_IP") < names.index("ENTREPOT_CLUSTER_ADVERTISE"), True),
	    (len(main["ports"]), 3), (service["clusterIP"], "None"),
	    (service["selector"].items() <= docs["DaemonSet"]["spec"]["template"]["metadata"]["labels"].items(), True),
	    (service["ports"][0]["port"], next(p["containerPort"] for p in main["ports"] if p["name"] == "peers")),
	]
	# What kubelet makes of it.
	with open(sys.argv[2], "w") as f:
	    for name in names:
	        f.write(f"{name}={(env[name] or '10.0.0.7').replace('$(POD_IP)', '10.0.0.7')}\n")
	bad = [f"{a!r} is not {b!r}" for a, b in checks if a != b]
	sys.exit("\n".join(bad) if bad else 0)
	PY
mkdir "$W/secret"
head -c 32 /dev/urandom | base64 >"$W/secret/secret"
mapfile -t env < <(sed "s|/etc/entrepot-cluster|$W/secret|" "$W/helping.env")
env "${env[@]}" "$ENTREPOT" config show --json --config deploy/kubernetes/base/config.yaml >"$W/helping.json" || fail "its environment is no configuration"
is "$(jq -r '.cluster | .advertise + " " + .peers.dns' "$W/helping.json")" "10.0.0.7:5443 entrepot-peers.entrepot.svc.cluster.local" "the cluster of the overlay"

say "what the pod may: root in the init container alone, no privileges, read-only, the node's loopback"
python3 tests/kubernetes/rendered.py rules "$W"/overlays-*.yaml "$W"/undo-*.yaml || fail "see above"

if with_schemas; then
    say "Kubernetes' OpenAPI, versions $(schema_versions)"
    for v in $(schema_versions); do
        "$KUBERNETES/py/bin/kubernetes-validate" --strict --no-warn --quiet -k "$v" "$W"/overlays-*.yaml "$W"/undo-*.yaml "$W/helping.yaml" >"$W/validate.log" 2>&1 ||
            fail "$v: $(grep -v INFO "$W/validate.log" | head -n 5)"
    done
    # It would say so.
    sed 's/hostNetwork: true/hostNetworks: true/' "$W/overlays-containerd.yaml" >"$W/wrong.yaml"
    ! "$KUBERNETES/py/bin/kubernetes-validate" --strict --quiet "$W/wrong.yaml" >/dev/null 2>&1 || fail "the validation finds nothing"
fi
if with_operator; then
    say "the operator's kinds"
    python3 tests/kubernetes/rendered.py json "$W/overlays-monitored.yaml" >"$W/monitored.json"
    node tests/kubernetes/operator.cjs "$KUBERNETES/npm/node_modules" "$W/monitored.json" || fail "see above"
fi

say "what each overlay's init container writes is on the host"
for o in containerd k3s rke2 crio kind; do
    root=$W/root-$o
    mkdir -p "$root/usr/bin" "$root/etc/entrepot"
    python3 tests/kubernetes/rendered.py config "$W/overlays-$o.yaml" >"$root/etc/entrepot/config.yaml"
    "$ENTREPOT" config check --config "$root/etc/entrepot/config.yaml" >"$W/check.log" 2>&1 || fail "$o: $(cat "$W/check.log")"
    cp -a "$root" "$root.before"
    mapfile -t args < <(python3 tests/kubernetes/rendered.py setup "$W/overlays-$o.yaml" "$root")
    # Who is not root gives nothing away.
    [ "$(id -u)" = 0 ] || args=("${args[@]/65532:65532/$(id -u)}")
    "$ENTREPOT" "${args[@]}" >"$W/setup-$o.log" 2>&1 || fail "$o: $(cat "$W/setup-$o.log")"
    python3 tests/kubernetes/rendered.py written "$W/overlays-$o.yaml" "$root" "$root.before" || fail "$o: see above"
    mapfile -t args < <(python3 tests/kubernetes/rendered.py setup "$W/undo-$o.yaml" "$root")
    "$ENTREPOT" "${args[@]}" >"$W/undo-$o.log" 2>&1 || fail "$o, undo: $(cat "$W/undo-$o.log")"
    rmdir "$root/var/lib/entrepot" "$root/var/lib" "$root/var" || fail "$o: undo leaves $(find "$root/var")"
    diff -r "$root.before" "$root" || fail "$o: undo does not restore what was there"
done
if with_helm; then
    say "the chart renders the same"
    for o in containerd k3s rke2 crio; do
        more=()
        [ $o != crio ] || more=(--set selinux=true)
        chart --set "engine=$o" "${more[@]}" >"$W/chart-$o.yaml" || fail "the chart with engine=$o"
        python3 tests/kubernetes/rendered.py same "$W/overlays-$o.yaml" "$W/chart-$o.yaml" || fail "$o: see above"
        chart --set "engine=$o,undo=true,updateStrategy.rollingUpdate.maxUnavailable=25%" "${more[@]}" >"$W/chart-$o.yaml" || fail "the chart with undo"
        python3 tests/kubernetes/rendered.py same "$W/undo-$o.yaml" "$W/chart-$o.yaml" || fail "$o, undo: see above"
    done
fi
