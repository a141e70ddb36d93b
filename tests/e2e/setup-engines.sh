#!/bin/bash
# A node on which nothing is configured: after `entrepot setup all` its engines pull through entrepot, --check says so, and after --undo
# the node is as it was. There is no way out of the node's network: what an engine has pulled came from entrepot.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
on_cleanup() { containerd_stop; docker_stop; }
need containerd dockerd podman buildah

setup() { "$ENTREPOT" setup "$@" --root "$NODE" >>"$W/setup.log" 2>&1; }
etc() { (cd "$NODE/etc" && find . \( -path './contain*' -o -path './docker*' \) ! -name key.json -printf '%p %M %u %g\n' | sort && cat docker/daemon.json containers/*.conf containerd/*.toml 2>/dev/null); }
# What was pulled is in the cache, under its registry's name.
served() { ask ls --json | jq -e --arg r "$1" '.images[] | select(.reference == $r)' >/dev/null || fail "$1 did not come through entrepot: $(ask ls)"; }

node_begin /
registry_start
image_build alpine
for name in library/alpine:3 library/alpine:by-docker org/app:by-cri org/app:by-podman org/app:by-buildah; do
    skopeo copy -q --dest-tls-verify=false "oci:$W/layout:alpine" "docker://127.0.0.1:$REGISTRY_PORT/$name"
done
printf 'version = 2\n\n# as Debian has it\n[plugins]\n  [plugins."io.containerd.grpc.v1.cri"]\n    [plugins."io.containerd.grpc.v1.cri".cni]\n      bin_dir = "/usr/lib/cni"\n' |
    node_file /etc/containerd/config.toml
printf '{\n    "log-level": "info"\n}\n' | node_file /etc/docker/daemon.json
printf 'unqualified-search-registries = ["docker.io"]\n' | node_file /etc/containers/registries.conf
etc >"$W/before"

say "entrepot is not there yet: --check says what is missing"
setup docker && fail_if=1 || fail_if=0
is $fail_if 1 "setup docker"
! setup docker --check || fail "--check succeeds without entrepot"
grep -q "docker: entrepot does not answer at 127.0.0.1:5000; is it running" "$W/setup.log" || fail "it does not say that: $(tail -n 2 "$W/setup.log")"
setup docker --undo
entrepot_start "$REGISTRY_PORT" "  - {name: ghcr.io, endpoints: [\"http://127.0.0.1:$REGISTRY_PORT\"], insecure: true}"
! setup podman --check || fail "--check succeeds before setup"
grep -q "podman: it is not set up for 127.0.0.1:5000: run entrepot setup podman" "$W/setup.log" || fail "it does not say that: $(tail -n 2 "$W/setup.log")"

say "all that are found"
setup all || fail "setup all: $(tail -n 4 "$W/setup.log")"
for e in containerd docker podman; do grep -q "^$e: changed" "$W/setup.log" || fail "$e was not found"; done
setup containerd docker podman --check || fail "--check: $(tail -n 4 "$W/setup.log")"

say "containerd"
containerd_start
cri_pull docker.io/library/alpine:3 || fail "the CRI plugin does not pull of docker.io"
cri_pull ghcr.io/org/app:by-cri || fail "the CRI plugin does not pull of ghcr.io"
served docker.io/library/alpine:3
served ghcr.io/org/app:by-cri
say "docker"
docker_start
n docker pull -q alpine:by-docker || fail "docker does not pull"
served docker.io/library/alpine:by-docker
docker_stop
containerd_stop
say "podman, buildah"
n podman --storage-driver vfs pull -q ghcr.io/org/app:by-podman || fail "podman does not pull"
served ghcr.io/org/app:by-podman
n buildah --storage-driver vfs pull -q ghcr.io/org/app:by-buildah || fail "buildah does not pull"
served ghcr.io/org/app:by-buildah

say "--restart, and --json"
cp "$ENTREPOT" "$NODE/tmp/here/entrepot"
printf '#!/bin/sh\necho "$@" >>/tmp/here/systemctl.log\n' | node_file /usr/local/bin/systemctl
chmod +x "$NODE/usr/local/bin/systemctl"
n ./entrepot setup docker containerd podman --restart --address 127.0.0.1:5009 --json >"$W/setup.json" || fail "--restart"
is "$(jq -r '.[] | [.engine, (.changed | length > 0), .restart, .restarted] | join(" ")' "$W/setup.json" | paste -sd ,)" \
    "docker true systemctl reload docker true,containerd true  ,podman true  " "--json"
is "$(cat "$NODE/tmp/here/systemctl.log")" "reload docker" "what was restarted" # hosts.toml is read at each pull
! n ./entrepot setup docker --check --address 127.0.0.1:5000 --json >"$W/setup.json" 2>/dev/null || fail "--check of another address"
is "$(jq -r '.[0].error' "$W/setup.json" | cut -d : -f 1)" "it is not set up for 127.0.0.1" "--json of an error"

say "and back"
setup all --undo || fail "--undo: $(tail -n 4 "$W/setup.log")"
etc | diff "$W/before" - || fail "--undo does not restore what was there"
! setup all --check || fail "--check succeeds after --undo"
! n podman --storage-driver vfs pull -q ghcr.io/org/app:by-podman-too >/dev/null 2>&1 || fail "podman pulls where nothing leads anywhere"
entrepot_stop
