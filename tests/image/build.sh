#!/bin/bash
# `make image`: the same digest twice, whatever the folder, time and umask; small, without a shell, owned by nobody of this machine; its
# parts are listed, and the list is found as a referrer.
. "$(dirname "$0")/../lib.sh"
need python3 jq strip
build() { python3 deploy/image/build.py "$ENTREPOT" "$@" >>"$W/build.log" 2>&1 || fail "build.py: $(tail -n 3 "$W/build.log")"; }
VERSION=$(sed -n 's/^VERSION *:= *//p' Makefile)

say "twice"
build "$W/one" "$VERSION" registry.example/entrepot:v1
top=$PWD
mkdir "$W/elsewhere"
cp "$ENTREPOT" "$W/elsewhere/program"
sleep 1.1
(umask 077 && cd "$W/elsewhere" && HOME=$W TZ=Asia/Tokyo LC_ALL=C python3 "$top/deploy/image/build.py" "$W/elsewhere/program" "$W/two" "$VERSION" registry.example/entrepot:v1 >>"$W/build.log" 2>&1) ||
    fail "build.py: $(tail -n 3 "$W/build.log")"
diff -r "$W/one" "$W/two" || fail "two images differ"
digest=$(cat "$W/one/digest")
SOURCE_DATE_EPOCH=1000000000 build "$W/dated" "$VERSION"
blobs=$W/dated/layout/blobs/sha256
manifest=$blobs/$(sed 's/sha256://' "$W/dated/digest")
config=$blobs/$(jq -r '.config.digest[7:]' "$manifest")
is "$(jq -r .created "$config")" 2001-09-09T01:46:40Z "the date that SOURCE_DATE_EPOCH gives"

say "$(tail -n 1 "$W/build.log" | sed "s|$W/||g")"
size=$(jq '[.layers[].size] | add' "$manifest")
[ "$size" -le $((25 << 20)) ] || fail "$size bytes"
jq -r '.layers[].digest[7:]' "$manifest" | while read -r l; do tar -tvzf "$blobs/$l" --numeric-owner; done >"$W/list"
! grep -E ' (usr/)?s?bin/(sh|bash|dash|busybox|apt|dpkg)$' "$W/list" || fail "there is a shell"
is "$(grep -E ' usr/s?bin/[^/]+$' "$W/list" | wc -l)" 1 "programs"
is "$(awk '{print $2}' "$W/list" | sort -u | paste -sd ' ')" "0/0 65532/65532" "owners"
is "$(awk '{print $4 " " $5}' "$W/list" | sort -u)" "2001-09-09 01:46" "times"
! grep -E '^-..(s|S)|^-.....(s|S)' "$W/list" || fail "there are setuid programs"
grep -q ' var/lib/entrepot/$' "$W/list" || fail "the cache's folder is not there"
! grep -aq "$PWD" "$blobs"/* || fail "the name of this folder is in it"
is "$(jq -c '[.config.User, .config.Entrypoint, .config.Cmd, .config.Healthcheck.Test]' "$config")" \
    '["65532:65532",["/usr/bin/entrepot"],["serve"],["CMD","/usr/bin/entrepot","status"]]' "its configuration"
is "$(jq -r '.config.Labels["org.opencontainers.image.version"]' "$config")" "$VERSION" "the label of the version"

say "its parts"
sbom=$W/one/sbom.spdx.json
for l in $(ldd "$ENTREPOT" | grep -oE '/[^ ]+'); do
    p=$(dpkg-query -S "$(realpath "$l")" 2>/dev/null || dpkg-query -S "$l" "/usr$l" 2>/dev/null) || continue
    p=$(echo "$p" | head -n 1 | sed 's/:.*//')
    is "$(jq -r --arg p "$p" '.packages[] | select(.name == $p) | .versionInfo' "$sbom")" "$(dpkg-query -W -f='${Version}\n' "$p" | head -n 1)" "the version of $p"
done
is "$(jq '[.packages[].SPDXID] - [.relationships[].relatedSpdxElement] | length' "$sbom")" 0 "parts that nothing has"
is "$(jq -r '.manifests[1].artifactType' "$W/one/layout/index.json")" application/spdx+json "the kind of what refers to the image"
referrer=$W/one/layout/blobs/sha256/$(jq -r '.manifests[1].digest[7:]' "$W/one/layout/index.json")
is "$(jq -r .subject.digest "$referrer")" "$digest" "what it refers to"
cmp "$W/one/layout/blobs/sha256/$(jq -r '.layers[0].digest[7:]' "$referrer")" "$sbom" || fail "the list is another one"
oras=(oras)
if ! is_here oras && [ -x "${ENTREPOT_SID:-/nowhere}/usr/bin/oras" ] && [ "$(id -u)" = 0 ]; then
    mkdir -p "$W/sid"
    mount --bind "$ENTREPOT_SID" "$W/sid" && mount --bind "$W" "$W/sid/mnt"
    oras=(chroot "$W/sid" oras)
    at=/mnt/one/layout
fi
if is_here oras || [ ${#oras[@]} -gt 1 ]; then
    "${oras[@]}" discover --oci-layout --format json "${at:-$W/one/layout}:v1" >"$W/discover.json" 2>"$W/oras.log" || fail "oras discover: $(cat "$W/oras.log")"
    is "$(jq -r '.referrers[] | .artifactType' "$W/discover.json")" application/spdx+json "what oras discovers"
else
    say "without oras, which is not here"
fi

say "every engine's archive"
is "$(tar -xOf "$W/one/image.tar" manifest.json | jq -r '.[0].RepoTags[0]')" registry.example/entrepot:v1 "the name in the archive"
is "$(tar -xOf "$W/one/image.tar" index.json | jq -r '.manifests[0].digest')" "$digest" "the digest in the archive"
