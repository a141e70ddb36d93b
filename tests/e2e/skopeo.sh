#!/bin/bash
# skopeo pulls an image by short name and by path prefix, gets just what the registry has, and gets it again from an entrepot
# whose registry is gone, also after a restart.
. "$(dirname "$0")/../lib.sh"
need_root

check() { # FROM
    rm -rf "$W/out"
    skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/$1" "dir:$W/out" || fail "pulling $1"
    is "sha256:$(sha256sum <"$W/out/manifest.json" | sed 's/ .*//')" "$want" "manifest digest of $1"
    for d in $(jq -r '.config.digest, .layers[].digest' "$W/manifest.json"); do
        is "$(sha256sum <"$W/out/${d#sha256:}" | sed 's/ .*//')" "${d#sha256:}" "blob of $1"
    done
}

registry_start
image_build hello
image_push hello 1
want=$(upstream_digest hello 1)
upstream_manifest hello 1 >"$W/manifest.json"
entrepot_start

say "cold, by short name"
check hello:1
is "$(registry_asked GET /blobs/)" 4 "blobs fetched: three layers and the config"
say "warm, every way to name it"
check library/hello:1
check docker.io/library/hello:1
check "docker.io/library/hello@$want"
is "$(registry_asked GET /blobs/)" 4 "blobs fetched in all"
is "$(registry_asked GET /manifests/)" 1 "manifests fetched in all"

say "the registry is gone"
registry_stop
check hello:1
say "entrepot restarts"
entrepot_stop
entrepot_start
check hello:1
check docker.io/library/hello:1
is "$(ask ls --json | jq -r '.images[0].digest')" "$want" "digest in ls"
is "$(ask inspect hello:1 --raw | sha256sum | sed 's/ .*//; s/^/sha256:/')" "$want" "inspect --raw"
is "$(ask ls --json | jq -r '.images[0].image_id')" "$(jq -r .config.digest "$W/manifest.json")" "image ID in ls"
curl -sf -D "$W/head" -o /dev/null "http://127.0.0.1:$PORT/v2/hello/manifests/1"
grep -qi '^cache-status: entrepot; hit' "$W/head" || fail "Cache-Status: $(cat "$W/head")"
say "what is not here gets a clear error while the registry is gone"
is "$(curl -s -o "$W/error" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/other/manifests/1")" 502 "status"
jq -e '.errors[0].code' "$W/error" >/dev/null || fail "no error JSON: $(cat "$W/error")"
entrepot_stop
