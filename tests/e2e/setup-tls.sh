#!/bin/bash
# `entrepot setup --address https://… --ca FILE`: engines pull through a listener with TLS whose authority only they are told of.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
on_cleanup() { containerd_stop; docker_stop; }
need containerd dockerd podman openssl jq
URL=https://10.9.0.1:5443 # docker trusts whatever is on 127.0.0.0/8

setup() { "$ENTREPOT" setup "$@" --root "$NODE" >"$W/setup.log" 2>&1; }
served() { ask ls --json | jq -e --arg r "$1" '.images[] | select(.reference == $r)' >/dev/null || fail "$1 did not come through entrepot: $(ask ls)"; }
state() { (cd "$NODE/etc" && find containers containerd docker ! -name key.json -printf '%p %M %u %g\n' | sort); }

ip addr add 10.9.0.1/32 dev lo
node_begin /
mkdir -p "$NODE/etc/docker" # as dockerd makes it
printf 'version = 2\n' | node_file /etc/containerd/config.toml
state >"$W/before"
registry_start
image_build alpine
for name in library/alpine:3 library/alpine:by-docker org/app:by-cri org/app:by-podman; do
    skopeo copy -q --dest-tls-verify=false "oci:$W/layout:alpine" "docker://127.0.0.1:$REGISTRY_PORT/$name"
done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout "$W/ca.key" -out "$W/ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=node -keyout "$W/tls.key" -out "$W/tls.csr" 2>/dev/null
openssl x509 -req -in "$W/tls.csr" -CA "$W/ca.crt" -CAkey "$W/ca.key" -CAcreateserial -days 2 -out "$W/tls.crt" \
    -extfile <(echo subjectAltName=IP:10.9.0.1) 2>/dev/null
cat >"$W/config.yaml" <<YAML
listen: [{address: "127.0.0.1:$PORT"}, {address: "10.9.0.1:5443", tls: {cert: $W/tls.crt, key: $W/tls.key}}]
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
upstreams:
  - {name: docker.io, endpoints: ["http://127.0.0.1:$REGISTRY_PORT"], insecure: true}
  - {name: ghcr.io, endpoints: ["http://127.0.0.1:$REGISTRY_PORT"], insecure: true}
YAML
entrepot_run || fail "entrepot does not start"

cat "$W/ca.crt" "$W/ca.key" >"$W/both.pem"
! setup docker --address "$URL" --check --ca "$W/both.pem" || fail "--check before setup"
setup containerd docker podman --address "$URL" --ca "$W/both.pem" || fail "setup: $(cat "$W/setup.log")"
! grep -rq PRIVATE "$NODE/etc/containerd" "$NODE/etc/docker/certs.d" "$NODE/etc/containers" || fail "a private key was copied"
setup containerd docker podman --address "$URL" --ca "$W/both.pem" --check || fail "--check: $(cat "$W/setup.log")"
setup podman --address "$URL"
! setup podman --address "$URL" --check || fail "--check without the authority"
setup podman --address "$URL" --ca "$W/both.pem" || fail "again: $(cat "$W/setup.log")"
say containerd
containerd_start
cri_pull ghcr.io/org/app:by-cri || fail "the CRI plugin does not pull"
served ghcr.io/org/app:by-cri
say docker
docker_start
n docker pull -q alpine:by-docker || fail "docker does not pull"
served docker.io/library/alpine:by-docker
docker_stop
containerd_stop
say podman
n podman --storage-driver vfs pull -q ghcr.io/org/app:by-podman || fail "podman does not pull"
served ghcr.io/org/app:by-podman

say "a configuration whose only listener has TLS is https by default"
printf 'listen: [{address: "0.0.0.0:5443", tls: {cert: /etc/tls.crt, key: /etc/tls.key}}]\n' | node_file /etc/entrepot/config.yaml
setup docker --dry-run || fail "$(cat "$W/setup.log")"
grep -q '^+.*https://127.0.0.1:5443' "$W/setup.log" || fail "it is not https: $(cat "$W/setup.log")"

setup all --undo || fail "--undo: $(cat "$W/setup.log")"
state | diff "$W/before" - || fail "--undo does not restore what was there"
entrepot_stop
