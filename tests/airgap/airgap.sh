#!/bin/bash
# From a network that has the registry to one that has nothing: a list of images, for two platforms, signed, with an SBOM that
# refers to one, is pulled here, exported, carried over, imported there, and runs with containerd, docker and podman. What is there
# afterwards is bit for bit what the registry has.
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
need_root
SIDE=${1:-}

if [ -z "$SIDE" ]; then
    export CARRY=$W/carried
    mkdir "$CARRY"
    for side in near far; do # each in a network of its own: without a route anywhere
        unshare --net bash -c 'ip link set lo up && exec bash tests/airgap/airgap.sh '$side || fail "the $side side"
        say "the file that is carried: $(stat -c %s "$CARRY/images.tar") bytes"
    done
    exit 0
fi
[ -z "$(ip route)" ] || fail "there is a route"

api() { echo "http://127.0.0.1:$REGISTRY_PORT/v2/library/app"; }
put_blob() { # FILE: prints its digest
    local d location
    d=sha256:$(sha256sum <"$1" | sed 's/ .*//')
    location=$(curl -sf -D - -o /dev/null -X POST "$(api)/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //Ip')
    curl -sf -X PUT --data-binary "@$1" -H 'Content-Type: application/octet-stream' \
        "$location$(case $location in *\?*) echo '&' ;; *) echo '?' ;; esac)digest=$d" >/dev/null || fail "putting a blob"
    echo "$d"
}
put_manifest() { # FILE TYPE REFERENCE
    curl -sf -X PUT --data-binary "@$1" -H "Content-Type: $2" "$(api)/manifests/$3" >/dev/null || fail "putting $3"
}
OCI=application/vnd.oci.image
entry() { # FILE TYPE [MORE]: its descriptor
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%d%s}' "$2" "$(sha256sum <"$1" | sed 's/ .*//')" "$(stat -c %s "$1")" "${3:-}"
}
statement() { # FILE CONTENT TYPE [SUBJECT]: an artifact manifest about something
    printf '%s' "$2" >"$W/payload"
    printf '{}' >"$W/empty"
    put_blob "$W/payload" >/dev/null
    put_blob "$W/empty" >/dev/null
    printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","artifactType":"%s","config":%s,"layers":[%s]%s}' $OCI "$3" \
        "$(entry "$W/empty" application/vnd.oci.empty.v1+json)" "$(entry "$W/payload" "$3")" "${4:+,\"subject\":$4}" >"$1"
}

if [ "$SIDE" = near ]; then
    registry_start
    for i in app plain; do image_build $i; image_push $i 1; done
    upstream_manifest app 1 >"$W/amd64"
    umoci tag --image "$W/layout:app" arm
    umoci config --image "$W/layout:arm" --architecture arm64
    skopeo copy -q --dest-tls-verify=false "oci:$W/layout:arm" "docker://127.0.0.1:$REGISTRY_PORT/library/app:arm"
    upstream_manifest app arm >"$W/arm64"
    printf '{"schemaVersion":2,"mediaType":"%s.index.v1+json","manifests":[%s,%s]}' $OCI \
        "$(entry "$W/amd64" $OCI.manifest.v1+json ',"platform":{"os":"linux","architecture":"amd64"}')" \
        "$(entry "$W/arm64" $OCI.manifest.v1+json ',"platform":{"os":"linux","architecture":"arm64"}')" >"$W/index"
    put_manifest "$W/index" $OCI.index.v1+json 2
    index=$(sha256sum <"$W/index" | sed 's/ .*//')
    statement "$W/sig" '{"critical":{"type":"cosign container image signature"}}' application/vnd.dev.cosign.simplesigning.v1+json
    put_manifest "$W/sig" $OCI.manifest.v1+json "sha256-$index.sig"
    statement "$W/sbom" '{"spdxVersion":"SPDX-2.3"}' application/spdx+json "$(entry "$W/index" $OCI.index.v1+json)"
    put_manifest "$W/sbom" $OCI.manifest.v1+json "sha256:$(sha256sum <"$W/sbom" | sed 's/ .*//')"
    printf '{"schemaVersion":2,"mediaType":"%s.index.v1+json","manifests":[%s]}' $OCI \
        "$(entry "$W/sbom" $OCI.manifest.v1+json ',"artifactType":"application/spdx+json"')" >"$W/referrers"
    put_manifest "$W/referrers" $OCI.index.v1+json "sha256-$index"
    cp "$W/index" "$W/sig" "$W/sbom" "$W/amd64" "$W/arm64" "$CARRY"
    upstream_manifest plain 1 >"$CARRY/plain"

    entrepot_start
    printf '# what the far side needs\napp:2\n\nplain:1 # and this\n' >"$W/list"
    ask pull --file "$W/list" --platform all --referrers --pin >"$W/pull.log" || fail "pull: $(tail -n 5 "$W/pull.log")"
    ask export app:2 plain:1 -o "$CARRY/images.tar" >"$W/export.log" || fail "export: $(tail -n 5 "$W/export.log")"
    ask ls --pullable >"$CARRY/pullable"
    grep -q "^docker.io/library/app:2@sha256:$index\$" "$CARRY/pullable" || fail "ls --pullable does not name the index"
    entrepot_stop
    exit 0
fi

SERVE_MORE=--offline entrepot_start
ask import "$CARRY/images.tar" >"$W/import.log" || fail "import: $(tail -n 5 "$W/import.log")"
index=$(sha256sum <"$CARRY/index" | sed 's/ .*//')
served_at() { curl -sf "http://127.0.0.1:$PORT/v2/app/$1"; }
for f in index:2 sig:sha256-$index.sig "sbom:sha256:$(sha256sum <"$CARRY/sbom" | sed 's/ .*//')" \
    "arm64:sha256:$(sha256sum <"$CARRY/arm64" | sed 's/ .*//')"; do
    served_at "manifests/${f#*:}" | cmp - "$CARRY/${f%%:*}" || fail "${f#*:} is another one"
done
is "$(served_at "referrers/sha256:$index" | jq -r '.manifests[] | .artifactType')" application/spdx+json "what refers to it"
is "$(served_at "referrers/sha256:$index?artifactType=text/x" | jq '.manifests | length')" 0 "those of a kind that there is not"
for m in amd64 arm64 sig sbom; do
    for d in $(jq -r '.config.digest, .layers[].digest' "$CARRY/$m"); do
        is "$(served_at "blobs/$d" | sha256sum | sed 's/ .*//; s/^/sha256:/')" "$d" "a blob of $m"
    done
done
containerd_begin containerd
docker_begin docker
podman_begin podman
for image in app:2 plain:1; do
    name=${image%:*}
    containerd_pull "docker.io/library/$image" || fail "ctr: $(tail -n 2 "$W/ctr.log")"
    is "$(c run --rm --snapshotter overlayfs "docker.io/library/$image" "run-$name" 2>>"$W/ctr.log")" "hello from $name" "containerd"
    docker_pull "$image" || fail "docker: $(tail -n 2 "$W/docker.log")"
    is "$(d run --rm --network none "$image")" "hello from $name" "docker"
    podman_pull "docker.io/library/$image" || fail "podman: $(tail -n 2 "$W/podman.log")"
    m=$(p image mount "docker.io/library/$image")
    is "$(cat "$m/hello")" "hello from $name" "a file of podman's image"
    p image umount "docker.io/library/$image" >/dev/null
    is "$(p --runtime runc --cgroup-manager cgroupfs run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "docker.io/library/$image" 2>>"$W/podman.log")" \
        "hello from $name" "podman"
done
say "exported again on the far side, it is the same file"
ask export app:2 plain:1 -o "$W/again.tar" >/dev/null
cmp "$W/again.tar" "$CARRY/images.tar" || fail "the archive has changed"
entrepot_stop
