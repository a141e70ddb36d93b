#!/bin/bash
# `entrepot setup` for today's engines, of Debian sid, with the files of their packages and with files that have been lived in: pulls come
# through entrepot afterwards, --check says so, and --undo restores every byte. There is no way out of the node's network: what an engine
# has pulled came from entrepot. CRI-O is not in Debian, nor to be had as a Go module: its file is podman's, which podman reads here.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
SID=${ENTREPOT_SID:?the folder that tests/engines/chroot has made}
on_cleanup() { containerd_stop; docker_stop; }
need openssl jq curl skopeo docker-registry

setup() { "$ENTREPOT" setup "$@" --root "$NODE" >"$W/setup.log" 2>&1; }
ETC=(containerd docker containers buildkit rancher)
state() { (cd "$NODE/etc" && for d in "${ETC[@]}"; do [ ! -e "$d" ] || find "$d" ! -name key.json -printf '%p %M %u %g %l\n' ! -type d -exec sha256sum {} +; done) | sort; }
served() { ask ls --json | jq -e --arg r "$1" '.images[] | select(.reference == $r)' >/dev/null || fail "$1 did not come through entrepot"; }

# ---- what is on the node ----

# As the packages have it; podman needs to be told that it need not verify signatures.
pristine() {
    cp -r "$SID/etc/containerd" "$SID/etc/docker" "$NODE/etc/" 2>/dev/null || true
    mkdir -p "$NODE/etc/docker" "$NODE/etc/rancher/k3s"
}
lived_in() {
    node_file /etc/containerd/config.toml <<-'TOML'
	# node profile 7, do not edit by hand (J.)
	version   =   3
	root = "/var/lib/containerd"
	imports = []

	[plugins]
	    [plugins.'io.containerd.cri.v1.images']
	        max_concurrent_downloads = 5   # was 3
	    [plugins.'io.containerd.cri.v1.runtime'.containerd]
	        default_runtime_name = "runc"
	[ debug ]
	    level = "warn"
	TOML
    mkdir -p "$NODE/etc/containerd/certs.d/mirror.lan"
    printf '# ours\nserver = "https://mirror.lan"\n' | node_file /etc/containerd/certs.d/mirror.lan/hosts.toml
    printf '{\n\t"log-level":"warn",\n\n\t"registry-mirrors" : [ "http://127.0.0.1:1" ],\n  "features": {"containerd-snapshotter": false} }\n' | node_file /etc/docker/daemon.json
    printf '# by hand\nunqualified-search-registries = ["quay.io"]\n[[registry]]\nlocation = "mirror.lan"\ninsecure = true\n' |
        node_file /etc/containers/registries.conf
    printf 'debug = false\n# theirs\n[registry."mirror.lan"]\n  http = true\n[worker.oci]\n  snapshotter = "native"\n' | node_file /etc/buildkit/buildkitd.toml
    printf -- '---\n# theirs\nmirrors:\n    "mirror.lan":\n        endpoint:\n            - "http://127.0.0.1:1"\n    docker.io:\n        endpoint: [ "https://registry-1.docker.io" ]\n' |
        node_file /etc/rancher/k3s/registries.yaml
}
# What containerd prints as its configuration: each key, some empty.
printed() {
    n containerd config default | node_file /etc/containerd/config.toml
    grep -q '^version = 3' "$NODE/etc/containerd/config.toml" || fail "containerd prints another format"
}
# A drop-in is what this format has them for.
imports() {
    printf 'version = 3\nimports = ["/etc/containerd/conf.d/*.toml"]\n' | node_file /etc/containerd/config.toml
    printf 'version = 3\n[plugins."io.containerd.cri.v1.images"]\n  max_concurrent_downloads = 5\n' | node_file /etc/containerd/conf.d/10-theirs.toml
}

# ---- engines ----

try_containerd() { # WHICH
    containerd_start
    cri_pull "docker.io/library/alpine:by-cri-$1" || fail "$1: the CRI plugin does not pull of docker.io"
    cri_pull "ghcr.io/org/app:by-cri-$1" || fail "$1: the CRI plugin does not pull of ghcr.io"
    served "docker.io/library/alpine:by-cri-$1"
    served "ghcr.io/org/app:by-cri-$1"
    containerd_stop
}
try_docker() {
    docker_start
    n docker pull -q "alpine:by-docker-$1" || fail "$1: docker does not pull"
    served "docker.io/library/alpine:by-docker-$1"
    docker_stop
}
try_podman() {
    n podman --storage-driver vfs pull -q "ghcr.io/org/app:by-podman-$1" || fail "$1: podman does not pull"
    served "ghcr.io/org/app:by-podman-$1"
    # CRI-O's drop-in says the same.
    diff <(grep -v '^#' "$NODE/etc/containers/registries.conf.d/050-entrepot-podman.conf") <(grep -v '^#' "$W/crio/etc/containers/registries.conf.d/050-entrepot-crio.conf") ||
        fail "CRI-O is told something else than podman"
}
b() { n buildctl --addr unix:///run/buildkit/buildkitd.sock "$@"; }
try_buildkit() {
    env -i PATH="$PATH" chroot "$NODE" buildkitd --oci-worker-snapshotter native --containerd-worker false >>"$W/buildkitd.log" 2>&1 &
    local pid=$!
    PIDS+=($pid)
    wait_for 30 b debug workers || fail "buildkitd does not start"
    mkdir -p "$NODE/tmp/here/context"
    printf 'FROM docker.io/library/alpine:by-buildkit-%s\nCOPY Dockerfile /added\n' "$1" >"$NODE/tmp/here/context/Dockerfile"
    b build --frontend dockerfile.v0 --local context=context --local dockerfile=context >"$W/build.log" 2>&1 || fail "$1: buildkitd does not build"
    printf 'FROM ghcr.io/org/app:by-buildkit-%s\nCOPY Dockerfile /added\n' "$1" >"$NODE/tmp/here/context/Dockerfile"
    b build --frontend dockerfile.v0 --local context=context --local dockerfile=context >"$W/build.log" 2>&1 || fail "$1: buildkitd does not build from ghcr.io"
    served "docker.io/library/alpine:by-buildkit-$1"
    served "ghcr.io/org/app:by-buildkit-$1"
    daemon_end $pid
}
# What the parser of k3s and RKE2 makes of registries.yaml, for a containerd as theirs is configured.
try_k3s() {
    local own=$W/containerd-own
    cp -r "$NODE/etc/containerd" "$own"
    printf 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "/tmp/k3s/certs.d"\n' |
        node_file /etc/containerd/config.toml
    rm -rf "$NODE/tmp/k3s"
    n k3s-hosts /etc/rancher/k3s/registries.yaml /tmp/k3s/certs.d || fail "$1: k3s does not read registries.yaml: $(cat "$NODE/etc/rancher/k3s/registries.yaml")"
    containerd_start
    cri_pull "docker.io/library/alpine:by-k3s-$1" || fail "$1: k3s does not pull of docker.io"
    cri_pull "ghcr.io/org/app:by-k3s-$1" || fail "$1: k3s does not pull of ghcr.io"
    containerd_stop
    served "docker.io/library/alpine:by-k3s-$1"
    served "ghcr.io/org/app:by-k3s-$1"
    rm -rf "$NODE/etc/containerd"
    cp -a "$own" "$NODE/etc/containerd"
    rm -rf "$own"
}

node_begin "$SID"
ENGINES=()
for e in containerd docker podman; do node_has $e && ENGINES+=($e) || say "no $e here"; done
if node_has buildkitd; then ENGINES+=(buildkit); else say "no buildkitd here"; fi
if node_has k3s-hosts; then ENGINES+=(k3s); else say "no parser of k3s here"; fi
registry_start
LAYER_BYTES=20000 image_build alpine
skopeo copy -q --dest-tls-verify=false "oci:$W/layout:alpine" "docker://127.0.0.1:$REGISTRY_PORT/library/alpine:3"
skopeo copy -q --dest-tls-verify=false "oci:$W/layout:alpine" "docker://127.0.0.1:$REGISTRY_PORT/org/app:3"
repositories=$W/registry/docker/registry/v2/repositories
for which in pristine lived_in printed imports; do
    for e in cri docker podman buildkit k3s; do
        for name in library/alpine org/app; do cp -r "$repositories/$name/_manifests/tags/3" "$repositories/$name/_manifests/tags/by-$e-$which"; done
    done
done
entrepot_start "$REGISTRY_PORT" "  - {name: ghcr.io, endpoints: [\"http://127.0.0.1:$REGISTRY_PORT\"], insecure: true}"
mkdir -p "$W/crio/etc/containers"
"$ENTREPOT" setup crio --root "$W/crio" --address 127.0.0.1:5000 >"$W/setup.log" 2>&1 || fail "setup crio"

for which in pristine lived_in printed imports; do
    say "$which"
    for d in "${ETC[@]}"; do rm -rf "$NODE/etc/$d"; done
    mkdir -p "$NODE/etc/containers"
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$NODE/etc/containers/policy.json"
    node_stores
    $which
    engines=("${ENGINES[@]}")
    case $which in printed | imports) engines=(containerd) ;; esac # the others' files are as in the first
    state >"$W/before"
    setup "${engines[@]}" || fail "$which: setup: $(cat "$W/setup.log")"
    setup "${engines[@]}" || fail "$which: setup again: $(cat "$W/setup.log")"
    is "$(grep -c ': nothing to do' "$W/setup.log")" ${#engines[@]} "$which: nothing to do the second time"
    setup "${engines[@]}" --check || fail "$which: --check: $(cat "$W/setup.log")"
    state >"$W/set-up"
    for e in "${engines[@]}"; do
        "try_$e" $which
        say "  $e"
    done
    state | diff "$W/set-up" - || fail "$which: the engines have changed what was written"
    setup all --undo || fail "$which: --undo: $(cat "$W/setup.log")"
    state | diff "$W/before" - || fail "$which: --undo does not restore what was there"
done
entrepot_stop
