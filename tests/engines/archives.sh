#!/bin/bash
# Archives go both ways: what entrepot exports, every engine loads, with the right images under their names; what engines and tools
# write, entrepot imports and serves in offline mode. It prints three tables, and why a cell failed. The engines are those of the system
# in ENTREPOT_SID ("/": this machine's own); a cell of what is not there, or cannot do that, is "-".
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
SID=${ENTREPOT_SID:?the folder that tests/engines/chroot has made, or /}
on_cleanup() { containerd_stop; docker_stop; }
OCI=application/vnd.oci.image
HERE=$NODE/tmp/here

# ---- what there is ----

sum() { echo "sha256:$(sha256sum "$1" | cut -d ' ' -f 1)"; }
put_manifest() { # REPOSITORY TAG|DIGEST FILE TYPE
    curl -sf -X PUT -H "Content-Type: $4" --data-binary "@$3" "http://127.0.0.1:$REGISTRY_PORT/v2/library/$1/manifests/$2" >/dev/null || fail "the registry refuses $3"
}
put_blob() { # REPOSITORY FILE
    local to
    to=$(curl -sfi -X POST "http://127.0.0.1:$REGISTRY_PORT/v2/library/$1/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //p')
    curl -sf -X PUT -H "Content-Type: application/octet-stream" --data-binary "@$2" "$to&digest=$(sum "$2")" || fail "the registry refuses $2"
}
declare -A ID TOP # of each image: the config's digest, the manifest's (what engines of this machine run)
describe() { # NAME
    upstream_manifest "$1" 1 >"$W/$1.json"
    ID[$1]=$(jq -r .config.digest "$W/$1.json")
    TOP[$1]=$(sum "$W/$1.json")
}
sign_by_hand() { # NAME: a referrer, and a tag as cosign 2 has it
    local subject
    printf '{}' >"$W/empty"
    printf 'signed, sealed' >"$W/signature"
    put_blob "$1" "$W/empty"
    put_blob "$1" "$W/signature"
    subject=$(printf ',"subject":{"mediaType":"%s","digest":"%s","size":%d}' "$OCI.manifest.v1+json" "${TOP[$1]}" "$(stat -c %s "$W/$1.json")")
    for s in "" "$subject"; do
        printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"%s","size":2},"layers":[{"mediaType":"text/plain","digest":"%s","size":14}]%s}' \
            "$OCI.manifest.v1+json" "$OCI.config.v1+json" "$(sum "$W/empty")" "$(sum "$W/signature")" "$s" >"$W/signature$([ -z "$s" ] || echo 2)"x
    done
    put_manifest "$1" "sha256-${TOP[$1]#*:}.sig" "$W/signaturex" "$OCI.manifest.v1+json"
    put_manifest "$1" "$(sum "$W/signature2x")" "$W/signature2x" "$OCI.manifest.v1+json"
    # The registry has no referrers API: the tag that stands in for it.
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"%s","digest":"%s","size":%d}]}' "$OCI.index.v1+json" \
        "$OCI.manifest.v1+json" "$(sum "$W/signature2x")" "$(stat -c %s "$W/signature2x")" >"$W/list"
    put_manifest "$1" "sha256-${TOP[$1]#*:}" "$W/list" "$OCI.index.v1+json"
}
image_multi() { # multi:1, an index of three platforms
    local a list=
    for a in amd64 arm64 s390x; do
        image_build "multi-$a"
        umoci config --image "$W/layout:multi-$a" --architecture $a
        skopeo copy -q --dest-tls-verify=false "oci:$W/layout:multi-$a" "docker://127.0.0.1:$REGISTRY_PORT/library/multi:$a"
        upstream_manifest multi $a >"$W/multi-$a.json"
        list=$list${list:+,}$(printf '{"mediaType":"%s","digest":"%s","size":%d,"platform":{"os":"linux","architecture":"%s"}}' \
            "$OCI.manifest.v1+json" "$(sum "$W/multi-$a.json")" "$(stat -c %s "$W/multi-$a.json")" $a)
    done
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' "$OCI.index.v1+json" "$list" >"$W/multi"
    put_manifest multi 1 "$W/multi" "$OCI.index.v1+json"
    ID[multi]=$(jq -r .config.digest "$W/multi-amd64.json")
    TOP[multi]=$(sum "$W/multi-amd64.json")
    INDEX=$(sum "$W/multi")
}

# ---- what is exported: FILE of names, and which images are in it ----

declare -A HAS=([one]=plain [two]="other plain" [signed]=signed [sparse]=multi [reduced]=multi [whole]=multi [all]="multi other plain signed" [gz]=plain [zst]=plain)
ARCHIVES="one two signed sparse reduced whole all gz zst"
export_all() {
    local x="ask export" log=$W/export.log
    {
        ask pull plain:1 other:1 signed:1 --referrers
        ask pull multi:1 --platform linux/amd64
        $x plain:1 -o "$HERE/one.tar"
        $x plain:1 other:1 -o "$HERE/two.tar"
        $x other:1 plain:1 -o "$W/two-again.tar"
        $x signed:1 -o "$HERE/signed.tar"
        $x multi:1 -o "$HERE/sparse.tar"
        $x plain:1 -o "$HERE/gz.tar.gz"
        $x plain:1 -o "$HERE/zst.tar.zst"
        $x signed:1 multi:1 plain:1 other:1 -o "$HERE/all.tar"
        ask pull multi:1 --platform linux/arm64
        $x multi:1 -o "$HERE/reduced.tar"
        ask pull multi:1 --platform all
        $x multi:1 -o "$HERE/whole.tar"
    } >"$log" 2>&1 || fail "export: $(tail -n 3 "$log")"
    mv "$HERE/gz.tar.gz" "$HERE/gz.tar"
    mv "$HERE/zst.tar.zst" "$HERE/zst.tar"
    cmp "$HERE/two.tar" "$W/two-again.tar" || fail "the order of the references makes another archive"
    for a in one two signed sparse reduced whole all; do # nothing at the top that was not asked for, or that leads nowhere
        is "$(tar -xOf "$HERE/$a.tar" index.json | jq -r '.manifests[].annotations["io.containerd.image.name"]' | xargs)" \
            "$(printf ' docker.io/library/%s:1' ${HAS[$a]} | cut -c 2-)" "names at the top of $a"
    done
    is "$(tar -xOf "$HERE/whole.tar" index.json | jq -r '.manifests[0].digest')" "$INDEX" "an index that is here whole is its own entry"
}

# ---- who loads it: each a function of the archive's name; 77: it cannot do that ----

equal() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
docker_as() { # containerd-snapshotter: true or false
    docker_stop
    echo "{\"features\": {\"containerd-snapshotter\": $1}}" | node_file /etc/docker/daemon.json
    docker_start
}
docker_major() { n docker version -f '{{.Server.Version}}' | cut -d . -f 1; }
docker_load() {
    local name
    [ "$1" != zst ] || [ "$(docker_major)" -ge 23 ] || return 77
    for name in ${HAS[$1]}; do n docker rmi -f "$name:1" >/dev/null 2>&1 || true; done
    n docker load -q -i "$1.tar" || return 1
    for name in ${HAS[$1]}; do n docker image inspect "$name:1" -f '{{.Id}}' >"$W/id" || return 1; done
}
docker-classic() {
    local name
    docker_load "$1" || return
    for name in ${HAS[$1]}; do
        equal "$(n docker image inspect "$name:1" -f '{{.Id}}')" "${ID[$name]}" || return 1
        equal "$(n docker create "$name:1" 2>&1 | wc -c)" 65 || return 1
    done
}
docker-containerd() {
    local name
    [ "$(docker_major)" -ge 25 ] || return 77
    docker_load "$1" || return
    for name in ${HAS[$1]}; do
        [ "$1" = reduced ] || [ "$1" = whole ] || [ "$1$name" = allmulti ] ||
            equal "$(n docker image inspect "$name:1" -f '{{.Id}}')" "${TOP[$name]}" || return 1
        equal "$(n docker create "$name:1" 2>&1 | wc -c)" 65 || return 1
    done
}
podman_() { n podman --storage-driver vfs "$@"; }
podman-load() {
    local name
    podman_ rmi -fa >/dev/null 2>&1 || true
    podman_ load -q -i "$1.tar" || return 1
    for name in ${HAS[$1]}; do
        equal "sha256:$(podman_ image inspect "docker.io/library/$name:1" -f '{{.Id}}')" "${ID[$name]}" || return 1
    done
}
skopeo-oci() {
    local name
    for name in ${HAS[$1]}; do
        rm -rf "$HERE/out"
        n skopeo copy -q "oci-archive:$1.tar:docker.io/library/$name:1" dir:out || return 1
        equal "$(sum "$HERE/out/manifest.json")" "${TOP[$name]}" || return 1
    done
}
skopeo-docker() {
    local name
    [ "$1" != gz ] || ! n skopeo --version | grep ' 1\.9\.' || return 77 # it fails on any docker-archive that gzip has compressed
    for name in ${HAS[$1]}; do
        rm -rf "$HERE/out"
        n skopeo copy -q "docker-archive:$1.tar:docker.io/library/$name:1" dir:out || return 1
        equal "$(jq -r .config.digest "$HERE/out/manifest.json")" "${ID[$name]}" || return 1
    done
}
crane-push() { # a tarball of one image
    node_has crane || return 77
    case $1 in gz | zst | two | all) return 77 ;; esac
    n crane validate --tarball "$1.tar" || return 1
    n crane push --insecure "$1.tar" "127.0.0.1:$REGISTRY_PORT/pushed/$1:1" >/dev/null || return 1
    equal "$(skopeo inspect --tls-verify=false --raw "docker://127.0.0.1:$REGISTRY_PORT/pushed/$1:1" | jq -r .config.digest)" "${ID[${HAS[$1]}]}"
}
ctr_loaded() { # NAMESPACE ARCHIVE
    local name
    for name in ${HAS[$2]}; do
        n ctr -n "$1" images check "name==docker.io/library/$name:1" | grep -q ' complete (.* true' || {
            n ctr -n "$1" images check
            return 1
        }
    done
}
ctr_with() { # NAMESPACE ARCHIVE OPTION...
    n ctr -n "$1" images ls -q | while read -r i; do n ctr -n "$1" images rm --sync "$i" >/dev/null; done
    n ctr -n "$1" images import "${@:3}" "$2.tar" && ctr_loaded "$1" "$2"
}
ctr() {
    case $LOCAL$1 in gz | zst) return 77 ;; esac # containerd 1 has no transfer service
    ctr_with default "$1"
}
# Through containerd's client in place of its transfer service: how nerdctl, k3s and others import, who unpack by themselves what is
# compressed.
ctr-local() {
    case $1 in gz | zst) return 77 ;; esac
    ctr_with locally "$1" $LOCAL
}
k3s() { # containerd.WithAllPlatforms(true)
    case $1 in gz | zst) return 77 ;; esac
    ctr_with k8s.io "$1" --all-platforms $LOCAL
}
kind() { # its LoadImageArchive()
    case $LOCAL$1 in gz | zst) return 77 ;; esac
    n ctr --namespace=kind images import --all-platforms --digests --snapshotter=overlayfs - <"$HERE/$1.tar" && ctr_loaded kind "$1"
}
# Of a folder that was exported to: those who read one.
FOLDERS="one signed sparse whole"
folder-skopeo() {
    rm -rf "$HERE/out"
    n skopeo copy -q "oci:$1:docker.io/library/${HAS[$1]}:1" dir:out && equal "$(sum "$HERE/out/manifest.json")" "${TOP[${HAS[$1]}]}"
}
folder-podman() { # it gives no names to what is in folders
    podman_ rmi -fa >/dev/null 2>&1 || true
    podman_ load -q -i "$1" && equal "sha256:$(podman_ images -q --no-trunc | sed 's/^sha256://')" "${ID[${HAS[$1]}]}"
}
folder-crane() {
    node_has crane || return 77
    n crane push --insecure "$1" "127.0.0.1:$REGISTRY_PORT/pushed/folder-$1:1" &&
        equal "$(n crane config --insecure --platform linux/amd64 "127.0.0.1:$REGISTRY_PORT/pushed/folder-$1:1" | sha256sum | cut -d ' ' -f 1)" "${ID[${HAS[$1]}]#*:}"
}
LOADERS="docker-classic docker-containerd podman-load skopeo-oci skopeo-docker crane-push ctr ctr-local k3s kind"

# ---- the tables ----

declare -A CELL
FAILED=0
cell() { # ROW COLUMN COMMAND...
    local status=0
    "${@:3}" >"$W/cell-$1-$2" 2>&1 || status=$?
    case $status in
    0) CELL[$1 $2]=ok ;;
    77) CELL[$1 $2]=- ;;
    *) CELL[$1 $2]=FAIL FAILED=$((FAILED + 1)) ;;
    esac
}
table() { # TITLE ROWS COLUMNS
    local row name
    printf '%-20s' "$1"
    printf '%-18s' $3
    echo
    for row in $2; do
        printf '%-20s' "$row"
        for name in $3; do printf '%-18s' "${CELL[$row $name]}"; done
        echo
    done
    for row in $2; do
        for name in $3; do
            [ "${CELL[$row $name]}" != FAIL ] || { echo "--- $row, $name:"; tail -n 6 "$W/cell-$row-$name" | cut -c 1-400; }
        done
    done
}

# ---- what others write: each a function that writes to theirs/<its name>, and one that says what must be there after its import ----

SOURCES="docker-save docker-save-nameless docker-save-c8d podman-docker podman-many podman-oci podman-oci-dir skopeo-oci skopeo-tags
    skopeo-docker skopeo-dir skopeo-dir-all ctr-export ctr-cri oras-layout oras-referrers crane-tar crane-oci buildah cosign-save pipe"
theirs() { echo "/tmp/here/theirs/$1"; }
from() { echo "docker://127.0.0.1:$REGISTRY_PORT/library/$1:1"; }
docker-save() { n docker save -o "$1" plain:1 other:1; }
docker-save-nameless() { # an image without a name between two
    n docker tag signed:1 gone:1 && n docker save -o "$1" plain:1 "${ID[signed]}" other:1
}
docker-save-c8d() {
    [ "$(docker_major)" -ge 25 ] || return 77
    docker_as true
    n docker load -q -i two.tar && n docker save -o "$1" plain:1 other:1
}
podman-docker() { podman_ load -q -i two.tar && podman_ save -q -o "$1" docker.io/library/plain:1; }
podman-many() { podman_ save -q -m -o "$1" docker.io/library/plain:1 docker.io/library/other:1; }
podman-oci() { podman_ rmi -fa && podman_ load -q -i one.tar && podman_ save -q --format oci-archive -o "$1" docker.io/library/plain:1; }
podman-oci-dir() { podman_ save -q --format oci-dir -o "$1" docker.io/library/plain:1; }
skopeo_() { n skopeo copy -q --src-tls-verify=false "$@"; }
skopeo_oci_layout() { skopeo_ "$(from plain)" "oci:$1:docker.io/library/plain:1"; }
skopeo-tags() { skopeo_ "$(from plain)" "oci:$1:v1" && skopeo_ "$(from other)" "oci:$1:v2"; }
skopeo-docker-archive() { skopeo_ "$(from plain)" "docker-archive:$1:docker.io/library/plain:1"; }
skopeo-dir() { skopeo_ "$(from plain)" "dir:$1"; }
skopeo-dir-all() { skopeo_ --all "$(from multi)" "dir:$1"; }
ctr-export() { ctr_with default two >/dev/null && n ctr images export "$1" docker.io/library/plain:1 docker.io/library/other:1; }
ctr-cri() { # the CRI plugin has each image by its id as well
    n ctr images tag docker.io/library/plain:1 "${ID[plain]}" && n ctr images export "$1" docker.io/library/plain:1 "${ID[plain]}"
}
oras-layout() { node_has oras || return 77; n oras copy --from-plain-http "127.0.0.1:$REGISTRY_PORT/library/plain:1" --to-oci-layout "$1:1"; }
oras-referrers() { node_has oras || return 77; n oras copy -r --from-plain-http "127.0.0.1:$REGISTRY_PORT/library/signed:1" --to-oci-layout "$1:1"; }
crane-tar() { node_has crane || return 77; n crane pull --insecure "127.0.0.1:$REGISTRY_PORT/library/plain:1" "$1"; }
crane-oci() { node_has crane || return 77; n crane pull --insecure --format oci "127.0.0.1:$REGISTRY_PORT/library/plain:1" "$1"; }
buildah() {
    node_has buildah || return 77
    n buildah --storage-driver vfs pull -q --tls-verify=false "127.0.0.1:$REGISTRY_PORT/library/plain:1" &&
        n buildah --storage-driver vfs push -q "127.0.0.1:$REGISTRY_PORT/library/plain:1" "oci:$1:docker.io/library/plain:1"
}
cosign-save() {
    node_has cosign || return 77
    n cosign generate-key-pair && n cosign sign --yes --key cosign.key --allow-http-registry --use-signing-config=false --tlog-upload=false \
        --new-bundle-format=false "127.0.0.1:$REGISTRY_PORT/library/other@${TOP[other]}" && n cosign save --dir "$1" --allow-http-registry "127.0.0.1:$REGISTRY_PORT/library/other:1"
}
pipe() { cp "$HERE/two.tar" "$NODE$1"; }

served() { # IMAGE NAME: by its name, with every blob
    rm -rf "$W/served"
    skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/$2" "dir:$W/served" &&
        equal "$(jq -r .config.digest "$W/served/manifest.json")" "${ID[$1]}"
}
status_of() { curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/library/$1"; }
take() { # SOURCE [OPTION...]
    ask import "$NODE$(theirs "$1")" "${@:2}"
}
import_of() { # SOURCE
    case $1 in
    docker-save | docker-save-c8d | podman-many | ctr-export) take "$1" && served plain library/plain:1 && served other library/other:1 ;;
    docker-save-nameless)
        take "$1" >"$W/said" 2>&1 || { cat "$W/said"; return 1; }
        cat "$W/said"
        grep -q 'left out an image without a name, sha256:' "$W/said" && served plain library/plain:1 && served other library/other:1 &&
            take "$1" --name ghcr.io/named/it:1 && served signed ghcr.io/named/it:1
        ;;
    skopeo-tags)
        ! take "$1" 2>"$W/said" && grep -q -- "--name 'skopeo-tags:{tag}'" "$W/said" && take "$1" --name 'ghcr.io/org/app:{tag}' &&
            served plain ghcr.io/org/app:v1 && served other ghcr.io/org/app:v2 && take "$1" --name '{name}' &&
            served other library/skopeo-tags:v2
        ;;
    skopeo-dir) ! take "$1" 2>"$W/said" && grep -q -- '--name skopeo-dir:latest' "$W/said" && take "$1" --name plain:1 && served plain library/plain:1 ;;
    skopeo-dir-all)
        take "$1" --name multi:1 && served multi library/multi:1 &&
            equal "$(curl -sf -H "Accept: $OCI.index.v1+json" "http://127.0.0.1:$PORT/v2/library/multi/manifests/1" | sha256sum | cut -d ' ' -f 1)" "${INDEX#*:}"
        ;;
    oras-layout | crane-oci) take "$1" --name plain:1 && served plain library/plain:1 ;;
    oras-referrers)
        take "$1" --name signed:1 && served signed library/signed:1 &&
            equal "$(curl -sf "http://127.0.0.1:$PORT/v2/library/signed/referrers/${TOP[signed]}" | jq -r '.manifests[].digest')" "$(sum "$W/signature2x")"
        ;;
    crane-tar) take "$1" --name plain:1 && served plain library/plain:1 ;;
    cosign-save) take "$1" --name ghcr.io/org/other:1 && served other ghcr.io/org/other:1 && equal "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/ghcr.io/org/other/manifests/sha256-${TOP[other]#*:}.sig")" 200 ;;
    pipe) ask import - < <(cat "$NODE$(theirs "$1")") && served other library/other:1 && ask import <(cat "$NODE$(theirs "$1")") && served plain library/plain:1 ;;
    *) take "$1" && served plain library/plain:1 ;;
    esac
}
fresh() {
    [ -z "${ENTREPOT_PID:-}" ] || entrepot_stop
    rm -rf "$W/cache"
    SERVE_MORE=--offline entrepot_start
}

if [ "${1:-}" = theirs ]; then LOADERS=; fi
node_begin "$SID"
for tool in containerd ctr dockerd docker; do node_has $tool || skip "needs $tool"; done
LOCAL=
n ctr images import --help >"$W/help"
! grep -q -- --local "$W/help" || LOCAL=--local
registry_start
for i in plain other signed; do
    image_build $i
    image_push $i 1
    describe $i
done
sign_by_hand signed
image_multi
entrepot_start
export_all
printf 'version = 2\n' | node_file /etc/containerd/config.toml
containerd_start
for loader in $LOADERS; do
    case $loader in
    docker-classic) docker_as false ;;
    docker-containerd) docker_as true ;;
    esac
    for archive in $ARCHIVES; do cell $archive $loader $loader $archive; done
done
[ -z "$LOADERS" ] || table "our exports" "$ARCHIVES" "$LOADERS"
for archive in $FOLDERS; do
    mkdir "$HERE/$archive"
    tar -C "$HERE/$archive" -xf "$HERE/$archive.tar"
    for loader in skopeo podman crane; do cell $archive folder-$loader folder-$loader $archive; done
done
table "our folders" "$FOLDERS" "folder-skopeo folder-podman folder-crane"

mkdir "$HERE/theirs"
docker_as false
docker_load all >"$W/load.log" 2>&1 || fail "docker load: $(cat "$W/load.log")"
for source in $SOURCES; do
    writer=$source
    [ $source != skopeo-oci ] || writer=skopeo_oci_layout
    [ $source != skopeo-docker ] || writer=skopeo-docker-archive
    cell $source written $writer "$(theirs $source)"
done
registry_stop
for source in $SOURCES; do
    CELL[$source imported]=-
    [ "${CELL[$source written]}" = ok ] || continue
    fresh
    cell $source imported import_of $source
done
table "their archives" "$SOURCES" "written imported"
is $FAILED 0 "cells that failed"
