#!/bin/bash
# Engines pull through a listener with TLS that wants client certificates, set up as docs/engines.md says under "Over TLS".
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
need openssl skopeo
image_build hello
registry_start
image_push hello 1
want=$(upstream_digest hello 1)

PORT=5000
# A node of its own: names and the engines' folders for certificates.
ip addr add 10.9.0.1/32 dev lo # docker trusts whatever is on 127.0.0.0/8
printf '127.0.0.1 localhost\n10.9.0.1 cache.example\n' >"$W/hosts"
mount --bind "$W/hosts" /etc/hosts
for folder in containers containerd docker; do
    mkdir -p "/etc/$folder" "$W/etc/$folder"
    cp /etc/$folder/policy.json "$W/etc/$folder/" 2>/dev/null || true
    mount --bind "$W/etc/$folder" "/etc/$folder"
done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout "$W/ca.key" -out "$W/ca.crt" 2>/dev/null
for name in tls node; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$W/$name.key" -out "$W/$name.csr" 2>/dev/null
    openssl x509 -req -in "$W/$name.csr" -CA "$W/ca.crt" -CAkey "$W/ca.key" -CAcreateserial -days 2 -out "$W/$name.crt" \
        -extfile <(echo subjectAltName=DNS:cache.example) 2>/dev/null
done
cat >"$W/config.yaml" <<YAML
listen:
  - address: 127.0.0.1:$PORT
  - address: 0.0.0.0:5443
    tls: {cert: $W/tls.crt, key: $W/tls.key, client_ca: $W/ca.crt}
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
upstreams:
  - name: docker.io
    endpoints: ["http://127.0.0.1:$REGISTRY_PORT"]
    insecure: true
YAML
entrepot_run || fail "entrepot does not start"
for folder in containers docker; do
    certs="/etc/$folder/certs.d/cache.example:5443"
    mkdir -p "$certs"
    cp "$W/ca.crt" "$certs/ca.crt"
    cp "$W/node.crt" "$certs/client.cert"
    cp "$W/node.key" "$certs/client.key"
done
ref=cache.example:5443/library/hello:1

say skopeo
is "$(skopeo inspect --raw "docker://$ref" | sha256sum)" "${want#sha256:}  -" "the manifest"
skopeo copy -q "docker://$ref" "oci:$W/out:hello" || fail "skopeo copy"
skopeo inspect --raw --cert-dir /nowhere "docker://$ref" >"$W/refused" 2>&1 && fail "skopeo needs no certificates"
grep -qE 'x509|certificate|no such file' "$W/refused" || fail "$(cat "$W/refused")"

if is_here containerd && is_here ctr; then
    say containerd
    containerd_begin containerd
    cp "$W/ca.crt" /etc/containerd/entrepot-ca.crt
    cp "$W/node.crt" "$W/node.key" /etc/containerd/
    python3 tests/snippets.py "$W/snippets" docs/engines.md
    # shellcheck disable=SC2046
    hosts=$(cd "$W/snippets" && grep -l 'entrepot-ca.crt"' $(grep 'Over TLS' index | cut -f 1))
    sed 's/^ *//' "$W/snippets/$hosts" >"$C/hosts/docker.io/hosts.toml"
    containerd_pull docker.io/library/hello:1 || fail "containerd does not pull: $(tail -n 3 "$W/ctr.log")"
    is "$(c images ls -q 'name==docker.io/library/hello:1')" docker.io/library/hello:1 "the image"
fi

if is_here podman; then
    say podman
    podman_begin podman
    unset CONTAINERS_REGISTRIES_CONF
    podman_pull "$ref" || fail "podman does not pull: $(tail -n 3 "$W/podman.log")"
fi

if is_here dockerd && is_here docker && is_here containerd; then
    say docker
    docker_begin docker
    docker_pull "$ref" || fail "docker does not pull: $(tail -n 3 "$W/docker.log")"
fi
is "$(registry_asked GET '/manifests/1')" 1 "requests for the manifest"
entrepot_stop
