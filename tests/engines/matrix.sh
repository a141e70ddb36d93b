#!/bin/bash
# Today's engines, of Debian sid, pull signed images with things attached through an entrepot in front of a real registry: cold,
# warm, after one more signature at the registry, in offline mode, and with the registry off. Each always gets what the registry
# has, or had. It prints a table, and why a cell failed.
#
#   tests/engines/matrix.sh tags    a registry without the referrers API (docker-registry): a tag stands in for it
#   tests/engines/matrix.sh api     one that has it (the same with tests/engines/referrers_api.py before it)
#   tests/engines/matrix.sh pages   one that has it, and gives its referrers two at a time
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
SID=${ENTREPOT_SID:?the folder that tests/engines/chroot has made}
KIND=$1
# For each of these an image in a repository of its own, so that each begins cold.
ROWS="oras-copy oras-discover oras-pull oras-empty cosign-verify cosign-2-verify cosign-tree crane-pull crane-ls skopeo-copy podman containerd docker docker-images"
COLUMNS="cold warm new-signature offline registry-off"
on_cleanup() { containerd_stop; docker_stop; }

# ---- the registry, and what is in it ----

API_PID=
registry_begin() {
    local page=
    : >"$W/api.log"
    registry_start
    case $KIND in
    tags) return ;;
    api) ;;
    pages) page=2 ;;
    *) fail "no such registry: $KIND" ;;
    esac
    API_PORT=$(free_port)
    python3 tests/engines/referrers_api.py $API_PORT "$REGISTRY_PORT" $page >>"$W/api.log" 2>&1 &
    API_PID=$!
    PIDS+=($API_PID)
    wait_for 20 curl -sf "http://127.0.0.1:$API_PORT/v2/" || fail "the referrers API does not start"
    REGISTRY_PORT=$API_PORT
}
registry_end() {
    [ -z "$API_PID" ] || daemon_end "$API_PID"
    registry_stop
}
registry_requests() { cat "$W/registry.log" "$W/api.log" | wc -l; }

THROUGH=127.0.0.1:$PORT/docker.io/library
sign() { # KEY REPOSITORY [OPTION...]
    n cosign sign --yes --key "$1.key" --allow-http-registry --use-signing-config=false --tlog-upload=false "${@:3}" \
        "$DIRECT/$2@${DIGEST[$2]}" >>"$W/cosign.log" 2>&1 || fail "cosign sign $2"
}
attach() { # REPOSITORY NAME
    echo "{\"what\": \"$2 of $1\"}" >"$NODE/tmp/here/$2.json"
    n oras attach --plain-http --artifact-type "application/x.$2" "$DIRECT/$1:1" "$2.json:application/json" >>"$W/oras.log" 2>&1 ||
        fail "oras attach $1"
}
declare -A DIGEST
fill() {
    local row key
    for key in first second; do n cosign generate-key-pair --output-key-prefix $key 2>>"$W/cosign.log"; done
    for row in $ROWS; do
        image_build "$row"
        image_push "$row" 1
        DIGEST[$row]=$(upstream_digest "$row" 1)
        sign first "$row"
        sign first "$row" --new-bundle-format=false
        attach "$row" sbom
        attach "$row" notes
    done
    : >"$NODE/tmp/here/nothing"
    n oras push --plain-http "$DIRECT/oras-empty:nothing" nothing:text/plain >>"$W/oras.log" 2>&1 || fail "oras push"
}
add_signatures() {
    local row
    for row in $ROWS; do
        sign second "$row"
        sign second "$row" --new-bundle-format=false
    done
    KEYS="first second"
}

# ---- what is tried: each row is a function of its name, true if the engine has got just what the registry has ----

KEYS=first
# The command says the same of the image through entrepot as it says, or has last said, of the registry's own; in any order,
# which cosign leaves to chance.
same() { # ROW COMMAND-WITH-"@"-FOR-THE-IMAGE...
    local row=$1 direct=$W/direct-$1
    shift
    [ $ON = no ] || n "${@//@/$DIRECT/$row}" 2>>"$W/direct.log" | sed "s|$DIRECT|IMAGE|g" >"$direct" || return 1
    n "${@//@/$THROUGH/$row}" >"$W/through" || return 1
    sed -i "s|$THROUGH|IMAGE|g" "$W/through"
    diff <(sort "$direct") <(sort "$W/through")
}
equal() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
# Two things attached and a signature, and one more signature later.
referrers() { [ "$KEYS" = first ] && echo 3 || echo 4; }

oras-copy() {
    rm -rf "$NODE/tmp/here/out"
    n oras copy -r --from-plain-http "$THROUGH/oras-copy:1" --to-oci-layout out:1 >"$W/through" || return 1
    equal "$(grep -laE '"subject": *\{' "$NODE"/tmp/here/out/blobs/sha256/* | wc -l)" "$(referrers)"
}
# Both have the image itself as well: a tag of which nothing but its HEAD was ever asked is not kept.
oras-discover() {
    n oras manifest fetch --plain-http "$THROUGH/oras-discover:1" >/dev/null &&
        same oras-discover oras discover --plain-http --format json @:1 &&
        equal "$(jq '.referrers | length' "$W/through")" "$(referrers)"
}
# What has been attached, found and fetched.
oras-pull() {
    local d
    n oras manifest fetch --plain-http "$THROUGH/oras-pull:1" >/dev/null || return 1
    d=$(n oras discover --plain-http --format json --artifact-type application/x.sbom "$THROUGH/oras-pull:1" | jq -r '.referrers[0].digest') || return 1
    rm -rf "$NODE/tmp/here/out"
    n oras pull --plain-http -o out "$THROUGH/oras-pull@$d" >/dev/null || return 1
    equal "$(cat "$NODE/tmp/here/out/sbom.json")" '{"what": "sbom of oras-pull"}'
}
# An artifact whose file has no bytes.
oras-empty() {
    rm -rf "$NODE/tmp/here/out"
    n oras pull --plain-http -o out "$THROUGH/oras-empty:nothing" >/dev/null || return 1
    equal "$(stat -c %s "$NODE/tmp/here/out/nothing")" 0
}
# cosign reads no more than the first page, from the registry itself as well: what is on the next it cannot find.
cosign-verify() {
    local key keys=$KEYS
    [ "$KIND" != pages ] || keys=first
    for key in $keys; do
        n cosign verify --allow-http-registry --key $key.pub --insecure-ignore-tlog "$THROUGH/cosign-verify:1" >"$W/through" || return 1
        equal "$(jq -r '.[0].critical.image["docker-manifest-digest"]' "$W/through")" "${DIGEST[cosign-verify]}" || return 1
    done
}
# As cosign 2 signs: by a tag.
cosign-2-verify() {
    local key
    for key in $KEYS; do
        n cosign verify --allow-http-registry --new-bundle-format=false --key $key.pub --insecure-ignore-tlog "$THROUGH/cosign-2-verify:1" \
            >"$W/through" || return 1
        equal "$(jq -r '.[0].critical.image["docker-manifest-digest"]' "$W/through")" "${DIGEST[cosign-2-verify]}" || return 1
    done
}
cosign-tree() {
    same cosign-tree cosign tree --allow-http-registry @:1 || return 1
    [ "$KIND" = pages ] || equal "$(grep -c ' via OCI referrer' "$W/through")" "$(referrers)"
}
crane-pull() {
    n crane pull --insecure "$THROUGH/crane-pull:1" out.tar || return 1
    same crane-pull crane manifest --insecure @:1 &&
        equal "$(tar -xOf "$NODE/tmp/here/out.tar" manifest.json | jq -r '.[0].Config')" "$(jq -r .config.digest "$W/through")"
}
crane-ls() { same crane-ls crane ls --insecure @; }
skopeo-copy() {
    rm -rf "$NODE/tmp/here/out"
    n skopeo copy -q --src-tls-verify=false "docker://$THROUGH/skopeo-copy:1" dir:out || return 1
    equal "sha256:$(sha256sum <"$NODE/tmp/here/out/manifest.json" | sed 's/ .*//')" "${DIGEST[skopeo-copy]}"
}
podman() {
    n podman --storage-driver vfs pull -q docker.io/library/podman:1 >/dev/null || return 1
    equal "$(n podman --storage-driver vfs image inspect docker.io/library/podman:1 -f '{{.Digest}}')" "${DIGEST[podman]}"
}
containerd() {
    cri_pull docker.io/library/containerd:1 || return 1
    equal "$(n ctr -n k8s.io images ls | awk '$1 == "docker.io/library/containerd:1" {print $3}')" "${DIGEST[containerd]}"
}
docker() {
    n docker pull -q docker:1 >/dev/null || return 1
    equal "$(n docker image inspect docker:1 -f '{{index .RepoDigests 0}}')" "docker@${DIGEST[docker]}"
}
# With its images in containerd, as Docker 29 has them.
docker-images() {
    docker_stop
    echo "{\"registry-mirrors\": [\"http://127.0.0.1:$PORT\"], \"features\": {\"containerd-snapshotter\": true}}" | node_file /etc/docker/daemon.json
    docker_start
    n docker pull -q library/docker-images:1 >/dev/null || return 1
    equal "$(n docker image inspect library/docker-images:1 -f '{{.Id}}')" "${DIGEST[docker-images]}"
}

# ---- the table ----

configure_engines() {
    printf 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "/etc/containerd/certs.d"\n' |
        node_file /etc/containerd/config.toml
    printf '[host."http://127.0.0.1:%s"]\n  capabilities = ["pull", "resolve"]\n' "$PORT" | node_file /etc/containerd/certs.d/_default/hosts.toml
    echo "{\"registry-mirrors\": [\"http://127.0.0.1:$PORT\"]}" | node_file /etc/docker/daemon.json
    printf '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "127.0.0.1:%s/docker.io"\ninsecure = true\n' "$PORT" |
        node_file /etc/containers/registries.conf
}
declare -A CELL
FAILED=0
column() { # NAME
    local row
    docker_stop
    containerd_stop
    configure_engines
    node_stores
    containerd_start
    docker_start
    for row in $ROWS; do
        if $row >"$W/cell-$1-$row" 2>&1; then
            CELL[$1 $row]=ok
        else
            CELL[$1 $row]=FAIL
            FAILED=$((FAILED + 1))
        fi
    done
}
table() {
    local row name
    printf '%-18s' "$KIND"
    printf '%-15s' $COLUMNS
    echo
    for row in $ROWS; do
        printf '%-18s' "$row"
        for name in $COLUMNS; do printf '%-15s' "${CELL[$name $row]}"; done
        echo
    done
}
reasons() {
    local row name
    for row in $ROWS; do
        for name in $COLUMNS; do
            [ "${CELL[$name $row]}" = ok ] || { echo "--- $row, $name:"; tail -n 12 "$W/cell-$name-$row" | cut -c 1-400; }
        done
    done
}

node_begin "$SID"
registry_begin
DIRECT=127.0.0.1:$REGISTRY_PORT/library
fill
entrepot_start "$REGISTRY_PORT" "tags: {ttl: 1s}"
ON=yes
column cold
column warm
add_signatures
sleep 1.1 # until tags are past fresh
column new-signature
ON=no
ask offline on >/dev/null
asked=$(registry_requests)
column offline
is "$(registry_requests)" "$asked" "what the registry was asked for, in offline mode"
ask offline off >/dev/null
registry_end
column registry-off
table
reasons
entrepot_stop
# What failed is said above; the engines' own logs would only bury it.
rm -f "$W"/{containerd,dockerd,registry,api,cosign,oras,direct}.log
[ $FAILED = 0 ] || fail "$FAILED cells"
