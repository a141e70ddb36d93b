#!/bin/bash
# An index is carried with the platforms that are here, bit for bit, and with its signatures: cosign's tags and OCI referrers. On the
# other side all of it is served, also under another name.
. "$(dirname "$0")/../lib.sh"
. tests/airgap/airgap.sh.inc
need_root

R=
put_manifest() { # TAG|DIGEST FILE TYPE
    curl -sf -X PUT -H "Content-Type: $3" --data-binary "@$2" "$R/manifests/$1" || fail "the registry refuses $2"
}
put_blob() { # FILE
    local to
    to=$(curl -sfi -X POST "$R/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //p')
    curl -sf -X PUT -H "Content-Type: application/octet-stream" --data-binary "@$1" "$to&digest=sha256:$(sha256sum "$1" | cut -d ' ' -f 1)" || fail "the registry refuses $1"
}
sum() { echo "sha256:$(sha256sum "$1" | cut -d ' ' -f 1)"; }
OCI=application/vnd.oci.image

registry_start
R=http://127.0.0.1:$REGISTRY_PORT/v2/library/app
for n in one two; do
    image_build $n
    skopeo copy -q --dest-tls-verify=false "oci:$W/layout:$n" "docker://127.0.0.1:$REGISTRY_PORT/library/app:$n"
    curl -sf -H "Accept: $OCI.manifest.v1+json" "$R/manifests/$n" >"$W/$n.json"
done
descriptor() { # FILE ARCH
    printf '{"mediaType":"%s","digest":"%s","size":%d,"platform":{"os":"linux","architecture":"%s"}}' \
        "$OCI.manifest.v1+json" "$(sum "$1")" "$(stat -c %s "$1")" "$2"
}
printf '{ "schemaVersion": 2,\n  "mediaType": "%s", "manifests": [%s, %s] }\n' "$OCI.index.v1+json" \
    "$(descriptor "$W/one.json" amd64)" "$(descriptor "$W/two.json" arm64)" >"$W/index"
put_manifest 1 "$W/index" "$OCI.index.v1+json"
index=$(sum "$W/index") one=$(sum "$W/one.json") two=$(sum "$W/two.json")

say "signatures: by tag, and by what they say they are about"
printf '{}' >"$W/empty"
printf 'signed, sealed' >"$W/signature"
put_blob "$W/empty"
put_blob "$W/signature"
signature() { # SUBJECT-JSON
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[{"mediaType":"text/plain","digest":"%s","size":%d}]%s}' \
        "$OCI.manifest.v1+json" "$(sum "$W/empty")" "$(sum "$W/signature")" "$(stat -c %s "$W/signature")" "$1"
}
signature "" >"$W/cosign"
signature ",\"subject\":{\"mediaType\":\"$OCI.index.v1+json\",\"digest\":\"$index\",\"size\":$(stat -c %s "$W/index")}" >"$W/referrer"
put_manifest "sha256-${index#*:}.sig" "$W/cosign" "$OCI.manifest.v1+json"
put_manifest "$(sum "$W/referrer")" "$W/referrer" "$OCI.manifest.v1+json"

entrepot_start
E=http://127.0.0.1:$PORT/v2/library/app
skopeo copy -q --src-tls-verify=false --override-arch amd64 "docker://127.0.0.1:$PORT/library/app:1" "oci:$W/pulled:x"
for m in "sha256-${index#*:}.sig" "$(sum "$W/referrer")"; do
    curl -sf "$E/manifests/$m" >/dev/null || fail "pulling $m"
done
curl -sf "$E/blobs/$(sum "$W/empty")" >/dev/null

say "half a signature stays behind, and that is said"
ask export app:1 -o "$W/half" >"$W/said" 2>&1 || fail "export: $(cat "$W/said")"
is "$(grep -c ": left out: " "$W/said")" 2 "signatures left out"
is "$(jq '.manifests | length' "$W/half/index.json")" 1 "what is in the layout"
curl -sf "$E/blobs/$(sum "$W/signature")" >/dev/null

say "one platform of two, and the signatures"
ask export app:1 -o "$W/app.tar" >"$W/said" 2>&1 || fail "export: $(cat "$W/said")"
mkdir "$W/x"
tar -C "$W/x" -xf "$W/app.tar"
cmp "$W/x/blobs/${index/://}" "$W/index" || fail "the index is another one"
[ ! -e "$W/x/blobs/${two/://}" ] || fail "a platform that was not pulled"
names() { jq -r '[.manifests[].annotations["io.containerd.image.name"]] | join(" ")' "$1"; } # INDEX
said_of_it="docker.io/library/app@$(sum "$W/referrer") docker.io/library/app:sha256-${index#*:}.sig"
is "$(names "$W/x/index.json")" docker.io/library/app:1 "names at the top"
is "$(jq -r '.manifests[0].digest' "$W/x/index.json")" "$one" "what engines find there: nothing that is not in the archive"
is "$(jq -r '.manifests[0].annotations["io.entrepot.index"]' "$W/x/index.json")" "$index" "the index that it stands for"
referrers=$(jq -r '.manifests[0].annotations["io.entrepot.referrers"]' "$W/x/index.json")
is "$(names "$W/x/blobs/${referrers/://}")" "$said_of_it" "names of what is said about it"
ask export app:1 --signatures separate -o "$W/separate" >/dev/null 2>&1
is "$(names "$W/separate/index.json")" "docker.io/library/app:1 docker.io/library/app:sha256-${index#*:}.sig docker.io/library/app@$(sum "$W/referrer")" \
    "names at the top, separate, of a folder"
ask export app:1 --signatures omit -o "$W/omit" >/dev/null 2>&1
is "$(names "$W/omit/index.json")" docker.io/library/app:1 "names at the top without signatures"
is "$(jq -r '.manifests[0].annotations["io.entrepot.referrers"]' "$W/omit/index.json")" null "what is said about it, omitted"
[ ! -e "$W/omit/blobs/$(sum "$W/signature" | tr : /)" ] || fail "the signature is in it all the same"
skopeo copy -q --override-arch amd64 "oci:$W/x:docker.io/library/app:1" "oci:$W/read:x" || fail "skopeo reads a sparse index"

grep -q '^entrepot: docker.io/library/app:1: not here, and left out: linux/arm64$' "$W/said" || fail "the other platform is not spoken of: $(cat "$W/said")"
say "a platform that is half here is left out, and that is said; asked for, it is an error"
curl -sf "$E/manifests/$two" >/dev/null
ask export app:1 -o "$W/z.tar" >"$W/said" 2>&1 || fail "export: $(cat "$W/said")"
grep -q 'linux/arm64 is here in part only, and left out' "$W/said" || fail "unclear: $(cat "$W/said")"
cmp "$W/z.tar" "$W/app.tar" || fail "it gives other bytes"
if ask export app:1 --platform linux/arm64 -o "$W/y.tar" 2>"$W/said"; then fail "half a platform was exported"; fi
grep -q 'linux/arm64 is here in part only.* missing.*entrepot pull --platform linux/arm64' "$W/said" || fail "unclear: $(cat "$W/said")"
rm "$W/z.tar"
ask export app:1 --platform linux/amd64 -o "$W/z.tar" >"$W/said" 2>&1 || fail "export --platform: $(cat "$W/said")"
cmp "$W/z.tar" "$W/app.tar" || fail "--platform gives other bytes"
if ask export app:1 --platform linux/s390x -o "$W/y.tar" 2>"$W/said"; then fail "a platform that there is not"; fi
ask export app:1 --platform linux/amd64 --format docker -o "$W/docker.tar" >"$W/said" 2>&1 || fail "docker: $(cat "$W/said")"
is "$(tar -xOf "$W/docker.tar" manifest.json | jq -r '.[0].Config')" "$(jq -r .config.digest "$W/one.json" | cut -d : -f 2).json" "the platform"
registry_stop

check() { # REPOSITORY TAG
    E=http://127.0.0.1:$PORT/v2/$1
    is "$(curl -sf "$E/manifests/$2" | sha256sum | cut -d ' ' -f 1)" "${index#*:}" "the index by tag"
    is "$(curl -sf "$E/manifests/$one" | sha256sum | cut -d ' ' -f 1)" "${one#*:}" "the platform by digest"
    is "$(curl -sf "$E/manifests/sha256-${index#*:}.sig" | sha256sum)" "$(sha256sum <"$W/cosign")" "cosign's tag"
    is "$(curl -sf "$E/blobs/$(sum "$W/signature")")" "signed, sealed" "the signature"
    is "$(curl -sf "$E/referrers/$index" | jq -r '.manifests[].digest')" "$(sum "$W/referrer")" "referrers"
    rm -rf "$W/served"
    skopeo copy -q --override-arch amd64 --src-tls-verify=false "docker://127.0.0.1:$PORT/$1:$2" "oci:$W/served:x" || fail "pull"
    ask verify --rate 0 >"$W/verify.log" || fail "verify: $(cat "$W/verify.log")"
}
say "on the other side"
import_fresh
ask import "$W/app.tar" >"$W/said" 2>&1 || fail "import: $(cat "$W/said")"
check library/app 1
say "what is pinned is not collected"
ask gc --to 1KiB >"$W/gc.log"
check library/app 1
ask export app:1 -o "$W/back.tar" >"$W/said"
cmp "$W/back.tar" "$W/app.tar" || fail "exported, imported, exported: the bytes differ"

say "and of an archive that has them as entries, and of one that has no names for referrers"
import_fresh
ask import "$W/separate" >"$W/said" 2>&1 || fail "import: $(cat "$W/said")"
E=http://127.0.0.1:$PORT/v2/library/app
curl -sf "$E/manifests/sha256-${index#*:}.sig" >/dev/null || fail "cosign's tag"
is "$(curl -sf "$E/referrers/$index" | jq -r '.manifests[].digest')" "$(sum "$W/referrer")" "referrers"
jq -c 'del(.manifests[0].annotations["io.entrepot.referrers"])' "$W/x/index.json" >"$W/x/new" && mv "$W/x/new" "$W/x/index.json"
import_fresh
ask import "$W/x" >"$W/said" 2>&1 || fail "import: $(cat "$W/said")"
is "$(curl -sf "http://127.0.0.1:$PORT/v2/library/app/referrers/$index" | jq -r '.manifests[].digest')" "$(sum "$W/referrer")" "referrers by their subject"

say "under another name, signatures too"
import_fresh
ask import "$W/app.tar" --name ghcr.io/org/app:v2 >"$W/said" 2>&1 || fail "import --name: $(cat "$W/said")"
check ghcr.io/org/app v2
is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/library/app/manifests/1")" 404 "the old name"
say "a registry that is not configured: it is said that nobody will get it"
ask import "$W/app.tar" --name registry.example.internal/app:1 >"$W/said" 2>&1 || fail "import: $(cat "$W/said")"
grep -q 'registry.example.internal is not configured' "$W/said" || fail "unclear: $(cat "$W/said")"
entrepot_stop
