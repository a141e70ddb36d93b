#!/bin/bash
# The pod of the rendered manifest, run by containerd's CRI as kubelet would: its image is pulled while no entrepot runs; the init container
# leads containerd to it; probes are answered; what kubelet pulls comes through it, from the cache the second time; an update goes on with
# the cache; undo restores every byte, and pulls go on without entrepot.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
. tests/kubernetes/tools.sh.inc
with_kustomize
is_here crictl || skip "needs crictl"
need python3 skopeo umoci docker-registry curl jq
SID=${ENTREPOT_SID:-/}
[ -x "$SID/usr/bin/containerd" ] || SID=/
REGISTRY=127.0.0.1:$REGISTRY_PORT # engines speak HTTP to loopback
cri() { timeout -k 5 90 crictl -c "$W/crictl.yaml" "$@" 2>>"$W/crictl.log"; }
on_cleanup() {
    [ -z "$CONTAINERD_PID" ] || ! kill -0 "$CONTAINERD_PID" 2>/dev/null || {
        cri rmp -fa >/dev/null
        containerd_stop
    }
}

# ---- a registry with the image, a sandbox's and one to pull; the manifests with these ----

python3 deploy/image/build.py "$ENTREPOT" "$W/image" 0.0.1 entrepot:1 >"$W/build.log" 2>&1 || fail "build.py: $(tail -n 3 "$W/build.log")"
registry_start
image_build app
image_build pause
umoci config --image "$W/layout:pause" --config.entrypoint /bin/busybox --config.cmd sleep --config.cmd 1000000
for name in app pause; do image_push $name 1; done
for tag in 1 2; do
    skopeo copy -q --dest-tls-verify=false "oci:$W/image/layout:1" "docker://$REGISTRY/library/entrepot:$tag" || fail "skopeo copy"
done
mkdir -p "$W/deploy"
cp -r deploy/kubernetes "$W/deploy/"
manifest() { # NAME FROM TAG
    mkdir -p "$W/deploy/$1"
    cat >"$W/deploy/$1/config.yaml" <<-YAML
		listen: [{address: "127.0.0.1:5000"}]
		metrics: {address: "127.0.0.1:5001"}
		cache: {path: /var/lib/entrepot, min_free: 0B}
		upstreams: [{name: docker.io, endpoints: ["http://$REGISTRY"], insecure: true}]
		YAML
    cat >"$W/deploy/$1/kustomization.yaml" <<-YAML
		resources: [../kubernetes/$2]
		images: [{name: entrepot, newName: $REGISTRY/library/entrepot, newTag: "$3"}]
		configMapGenerator: [{name: entrepot, namespace: entrepot, behavior: replace, files: [config.yaml]}]
		YAML
    kustomize_build "$W/deploy/$1" >"$W/$1.yaml" || fail "$1 is not rendered"
    python3 tests/kubernetes/pod.py "$W/$1.yaml" "$NODE" "$W/$1" || fail "see above"
}

# ---- the node ----

# runc enters a container from a root of its own alone, which chroot(2) gives none.
containerd_start() {
    rm -f "$NODE/run/containerd/containerd.sock"
    mkdir -p "$NODE/old"
    env -i PATH="$PATH" unshare --mount sh -c 'cd "$1" && pivot_root . old && umount -l /old && exec containerd' sh "$NODE" >>"$W/containerd.log" 2>&1 &
    CONTAINERD_PID=$!
    PIDS+=($CONTAINERD_PID)
    wait_for 30 n ctr version || fail "containerd does not start"
}

node_begin "$SID"
mkdir -p "$NODE/var/log/pods" "$NODE/var/lib/kubelet"
cat >"$W/crictl.yaml" <<-YAML
	runtime-endpoint: unix://$NODE/run/containerd/containerd.sock
	image-endpoint: unix://$NODE/run/containerd/containerd.sock
	timeout: 60
	YAML
node_file /etc/containerd/config.toml <<-TOML
	# by hand
	version = 2
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "$REGISTRY/library/pause:1"
	  restrict_oom_score_adj = true # where there is no CAP_SYS_RESOURCE
	TOML
mkdir -p "$W/before"
rm -rf "$NODE/var/lib/entrepot" "$NODE/var/lib/entrepot-setup"
cp -a "$NODE/etc/containerd" "$W/before/"
containerd_start
say "$(n containerd --version | cut -d ' ' -f 2-3)"

container_run() { # POD NAME: prints its id
    local id
    id=$(cri create "$POD" "$W/$1/$2.json" "$W/$1/pod.json") && cri start "$id" >/dev/null && echo "$id"
}
init_run() { # POD
    local id
    id=$(container_run "$1" setup) || fail "$1: the init container: $(tail -n 3 "$W/crictl.log")"
    wait_for 30 eval "cri inspect $id | jq -e '.status.state == \"CONTAINER_EXITED\"'" || fail "$1: the init container does not end"
    is "$(cri inspect "$id" | jq .status.exitCode)" 0 "$1: its exit status: $(tail -n 3 "$NODE/var/log/pods/setup.log")"
}
pod_begin() { # POD
    image=$(jq -r .image.image "$W/$1/setup.json")
    n ctr -n k8s.io images ls -q | grep -qxF "$image" || cri pull "$image" >/dev/null || fail "$1: its image: $(tail -n 1 "$W/crictl.log")"
    POD=$(cri runp "$W/$1/pod.json") || fail "$1: the sandbox: $(tail -n 3 "$W/crictl.log")"
    init_run "$1"
    MAIN=$(container_run "$1" entrepot) || fail "$1: the container: $(tail -n 3 "$W/crictl.log")"
    PORT=5000
    while read -r kind host port path; do
        wait_for 30 curl -sf "http://$host:$port$path" || fail "$1: $kind: $(tail -n 3 "$NODE/var/log/pods/entrepot.log")"
    done <"$W/$1/probes"
}
pod_end() {
    cri stop -t 45 "$MAIN" >/dev/null
    is "$(cri inspect "$MAIN" | jq .status.exitCode)" 0 "how the container ended"
    cri stopp "$POD" >/dev/null
    cri rmp -f "$POD" >/dev/null
}
pull() { # NAME
    cri rmi "docker.io/library/$1:1" >/dev/null 2>&1 || true
    cri pull "docker.io/library/$1:1" >/dev/null || fail "$2: $(tail -n 1 "$W/crictl.log")"
}

say "from nothing: the image comes from its registry, the engine is set up, probes are answered"
manifest first overlays/containerd 1
pod_begin first
grep -q 127.0.0.1:5000 "$NODE/etc/containerd/certs.d/docker.io/hosts.toml" || fail "containerd is not led to entrepot"
is "$(stat -c '%u %a' "$NODE/var/lib/entrepot")" "65532 700" "the cache's folder"
is "$(awk '/^Uid:/ {print $2} /^CapEff:/ {print $2} /^NoNewPrivs:/ {print $2} /^Seccomp:/ {print $2}' \
    "/proc/$(cri inspect "$MAIN" | jq .info.pid)/status" | paste -sd ' ')" "65532 0000000000000000 1 2" "user, capabilities, no-new-privs, seccomp"
cri exec "$MAIN" /usr/bin/entrepot status >"$W/status" || fail "entrepot status in the container: $(tail -n 1 "$W/crictl.log")"
# config_path was not set, so setup has said that containerd wants a restart. Pods live through it.
grep -q 'systemctl restart containerd' "$NODE/var/log/pods/setup.log" || fail "setup does not say what to restart"
containerd_stop
containerd_start

say "what kubelet pulls"
pull app "the first pull"
asked=$(registry_asked GET 'app/blobs/')
[ "$asked" -gt 1 ] || fail "it did not come through entrepot"
pull app "the second pull"
is "$(registry_asked GET 'app/blobs/')" "$asked" "what the registry was asked for again"
[ "$(curl -s http://127.0.0.1:5001/metrics | awk '/^entrepot_requests_total.*result="hit"/ {s += $NF} END {print s + 0}')" -gt 1 ] || fail "the metrics count no hit"

say "an update, while nothing answers on port 5000: its image, and the cache that is there"
pod_end
manifest second overlays/containerd 2
pod_begin second
pull app "after the update"
is "$(registry_asked GET 'app/blobs/')" "$asked" "what the registry was asked for after the update"
pod_end

say "undo"
manifest third undo/containerd 2
pod_begin third
diff -r "$W/before/containerd" "$NODE/etc/containerd" || fail "undo does not restore what was there"
is "$(stat -c '%a %u:%g %Y' "$W/before/containerd/config.toml" | cut -d ' ' -f 1-2)" "$(stat -c '%a %u:%g' "$NODE/etc/containerd/config.toml")" "owner and mode"
[ -z "$(ls -A "$NODE/var/lib/entrepot-setup")" ] || fail "undo leaves $(find "$NODE/var/lib/entrepot-setup")"
pod_end
before=$(grep -c ' 200 .*containerd' "$W/registry.log" || true)
cri rmi "$REGISTRY/library/app:1" >/dev/null 2>&1 || true
cri pull "$REGISTRY/library/app:1" >/dev/null || fail "a pull without entrepot: $(tail -n 1 "$W/crictl.log")"
[ "$(grep -c ' 200 .*containerd' "$W/registry.log" || true)" -gt "$before" ] || fail "containerd did not ask the registry itself"
