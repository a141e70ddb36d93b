#!/bin/bash
# An export goes where it is told to: a device stays a device, a pipe gets a stream, a symlink stays a link; names say how it is
# compressed; two at once exclude each other; platforms go by all their names. An import leaves out what is no image, and says so. A
# pull takes what engines take, and keeps tags; an image is removed by digest or ID.
. "$(dirname "$0")/../lib.sh"
. tests/airgap/airgap.sh.inc
need_root

entry() { # ARCHIVE [JQ]: of its only image
    tar -xOf "$1" index.json | jq -r ".manifests[0]${2:-.digest}"
}
platforms() { # ARCHIVE: of the index at its top
    tar -xOf "$1" "blobs/$(entry "$1" | tr : /)" | jq -r '[.manifests[].platform | "\(.os)/\(.architecture)/\(.variant // "")"] | join(" ")'
}
one_of() { # INDEX VARIANT
    jq -r --arg v "$2" '.manifests[] | select(.platform.variant == $v) | .digest' "$W/layout/blobs/${1/://}"
}
digest_of() { jq -r --arg n "docker.io/library/$1" '.manifests[] | select(.annotations["io.containerd.image.name"] == $n) | .digest' "$W/layout/index.json"; }
export_() { ask export "$@" >"$W/said" 2>&1 || fail "export $*: $(cat "$W/said")"; }
refused() { # WORDS COMMAND...
    if "${@:2}" >"$W/said" 2>&1; then fail "done: ${*:2}"; fi
    grep -q -- "$1" "$W/said" || fail "unclear: $(cat "$W/said")"
}

say "an import leaves out what is no image, and goes on; lz4"
python3 tests/airgap/layouts.py "$W/layout"
tar -C "$W/layout" -cf "$W/layout.tar" .
python3 tests/airgap/layouts.py lz4 "$W/layout.tar" "$W/layout.tar.lz4"
SERVE_MORE=--offline entrepot_start 9
ask import "$W/layout.tar.lz4" >"$W/said" 2>&1 || fail "import: $(cat "$W/said")"
grep -q 'not an image: its media type is application/vnd.example.thing' "$W/said" || fail "unclear: $(cat "$W/said")"
is "$(ask ls --json | jq '.images | map(select(.reference | test("@") | not)) | length')" 4 "images by tag"
many=$(digest_of many:1) arm=$(digest_of arm:1)
is "$(curl -sf "http://127.0.0.1:$PORT/v2/library/many/referrers/$many" | jq '.manifests | length')" 70 "referrers"

say "all that is said about it goes with it"
export_ many:1 -o "$W/many.tar"
is "$(tar -xOf "$W/many.tar" "blobs/$(entry "$W/many.tar" '.annotations["io.entrepot.referrers"]' | tr : /)" | jq '.manifests | length')" 70 "referrers in the archive"

say "platforms"
for words in linux/arm linux/armhf linux/arm/v7 linux/arm/7 arm; do
    export_ arm:1 --platform $words -o "$W/p.tar"
    is "$(entry "$W/p.tar")" "$(one_of "$arm" v7)" "$words"
    is "$(tar -tf "$W/p.tar" | grep -c blobs/)" 4 "blobs of one image and the index"
done
export_ arm:1 --platform linux/arm/v6 --platform aarch64 -o "$W/p.tar"
is "$(platforms "$W/p.tar")" "linux/arm/v6 linux/arm64/" "two platforms"
export_ arm:1 --platform all -o "$W/p.tar"
is "$(entry "$W/p.tar")" "$arm" "all of them: the index"
refused 'has no image for linux/amd64' ask export arm:1 --platform linux/x86_64 -o "$W/no.tar"
refused 'is not a platform' ask export arm:1 --platform linux/a/b/c -o "$W/no.tar"

say "what is no regular file is written to as it is"
mknod "$W/null" c 1 3
mkfifo "$W/fifo"
export_ many:1 -o "$W/null"
[ -c "$W/null" ] || fail "a device was replaced"
cat "$W/fifo" >"$W/from-fifo.tar" &
export_ many:1 -o "$W/fifo"
wait $!
[ -p "$W/fifo" ] || fail "a pipe was replaced"
cmp "$W/from-fifo.tar" "$W/many.tar" || fail "a pipe gets another archive"
ask export many:1 -o /dev/stdout 2>"$W/said" | cmp - "$W/many.tar" || fail "/dev/stdout gets another archive"
ask export many:1 -o /dev/stdout 2>"$W/said" >"$W/redirected.tar"
cmp "$W/redirected.tar" "$W/many.tar" || fail "/dev/stdout in a file gets another archive"
ask export many:1 -o - 2>"$W/said" | cmp - "$W/many.tar" || fail "- gets another archive"
mkdir "$W/far"
ln -s far/there.tar "$W/link.tar"
for i in 1 2; do
    export_ many:1 -o "$W/link.tar"
    [ -L "$W/link.tar" ] && cmp "$W/far/there.tar" "$W/many.tar" || fail "a symlink is not followed ($i)"
done
[ -z "$(find "$W" -name '*.part')" ] || fail "a part is left"

say "compressed"
for e in tar.gz tgz tar.zst; do
    export_ many:1 -o "$W/c.$e"
    export_ many:1 -o "$W/c2.$e"
    cmp "$W/c.$e" "$W/c2.$e" || fail "another .$e of the same"
    case $e in *zst) zstd -dqc "$W/c.$e" ;; *) gzip -dc "$W/c.$e" ;; esac | cmp - "$W/many.tar" || fail ".$e has another archive in it"
done
refused 'supported compressions are .gz and .zst' ask export many:1 -o "$W/c.tar.xz"

say "one at a time"
mkdir "$W/busy"
: >"$W/busy.tar.part"
for i in busy busy.tar.part; do
    (flock 9 && exec sleep 60) 9<"$W/$i" &
    PIDS+=($!)
done
wait_for 10 sh -c "! flock -n $W/busy true && ! flock -n $W/busy.tar.part true" || fail "no locks"
refused 'another export is writing to it' ask export many:1 -o "$W/busy.tar"
refused 'another export is writing to it' ask export many:1 -o "$W/busy"
[ ! -e "$W/busy/index.json" ] || fail "it was written all the same"

say "a folder grows, in whatever order"
export_ many:1 -o "$W/ab"
export_ arm:1 -o "$W/ab"
export_ arm:1 -o "$W/ba"
export_ many:1 -o "$W/ba"
export_ arm:1 many:1 -o "$W/both"
for f in index.json manifest.json; do
    cmp "$W/ab/$f" "$W/ba/$f" || fail "$f depends on the order"
    cmp "$W/ab/$f" "$W/both/$f" || fail "$f is another one"
done

say "what CRI calls sha256:<id> has no name"
jq -c --arg d "$many" '.manifests |= [.[] | select(.annotations["io.containerd.image.name"] == $d)]' "$W/layout/index.json" >"$W/new" && mv "$W/new" "$W/layout/index.json"
refused 'has no name: give it one with --name REF, such as --name layout:latest' ask import "$W/layout"
ask import "$W/layout" --name cri:1 >"$W/said" 2>&1 || fail "import: $(cat "$W/said")"
is "$(ask ls cri:1 --json | jq -r '.images[] | select(.reference == "docker.io/library/cri:1") | .digest')" "$many" "under its name"

say "by digest and by ID"
refused 'neither an image in the cache nor the ID of one' ask rm "many@sha256:$(printf %064d 7)"
refused 'is the ID of several images: entrepot rm' ask rm "$(echo "$many" | cut -c 8-19)"
ask unpin many:1 cri:1 >/dev/null
ask rm "cri@$many" >"$W/said" 2>&1 || fail "rm by digest: $(cat "$W/said")"
grep -q '^removed docker.io/library/cri:1$' "$W/said" || fail "unclear: $(cat "$W/said")"
ask rm "$(ask ls many:1 --json | jq -r '.images[] | select(.reference == "docker.io/library/many:1") | .image_id' | cut -c 8-19)" >"$W/said" 2>&1 ||
    fail "rm by ID: $(cat "$W/said")"
is "$(ask ls many --json | jq -r '[.images[] | select(.reference == "docker.io/library/many:1")] | length')" 0 "after that"
entrepot_stop

say "pull: an index without a platform, os.version, tags that are kept"
registry_start
python3 tests/airgap/layouts.py "$W/layout2"
for i in bare windows; do
    skopeo copy -q --all --dest-tls-verify=false "oci:$W/layout2:$i" "docker://127.0.0.1:$REGISTRY_PORT/library/$i:1"
done
rm -rf "$W/cache"
entrepot_start
ask pull bare:1 >"$W/said" 2>&1 || fail "pull: $(cat "$W/said")"
is "$(ask ls bare:1 --json | jq -r '.images[0].cached')" true "the image that says no platform"
ask pull windows:1 --platform windows/amd64:10.0.20348 >"$W/said" 2>&1 || fail "pull: $(cat "$W/said")"
is "$(ask ls windows:1 --json | jq -r '.images[0].platforms | join(" ")')" windows/amd64:10.0.20348.2700 "what was pulled of Windows"
ask ls --pullable >"$W/pullable"
entrepot_stop
rm -rf "$W/cache"
entrepot_start
while read -r line; do
    ask pull "$line" --platform "$(case $line in *windows*) echo windows/amd64:10.0.20348 ;; *) echo linux/amd64 ;; esac)" >"$W/said" 2>&1 ||
        fail "pull: $(cat "$W/said")"
done <"$W/pullable"
is "$(ask ls --pullable)" "$(cat "$W/pullable")" "what the next node has"
ask pull "bare:moved@$(upstream_digest bare 1)" --pin >"$W/said" 2>&1 || fail "pull: $(cat "$W/said")"
registry_stop
is "$(ask ls bare --json | jq -r '[.images[] | select(.reference | test("@") | not) | "\(.reference) \(.pinned)"] | join(", ")')" \
    "docker.io/library/bare:1 false, docker.io/library/bare:moved true" "tags that came with digests"
entrepot_stop

say "indexes that name one another's indexes: much to walk in a small archive"
python3 - "$W/maze" <<'PY'
import hashlib, json, os, sys
root = sys.argv[1]
os.makedirs(root + "/blobs/sha256")
def put(doc):
    data = json.dumps(doc).encode()
    digest = hashlib.sha256(data).hexdigest()
    open(f"{root}/blobs/sha256/{digest}", "wb").write(data)
    return {"mediaType": doc.get("mediaType", "application/vnd.oci.image.config.v1+json"), "digest": "sha256:" + digest, "size": len(data)}
config = put({"architecture": "amd64", "os": "linux"})
INDEX = "application/vnd.oci.image.index.v1+json"
level = [put({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [],
              "annotations": {"n": str(n)}}) for n in range(26)]
for depth in range(3):
    level = [put({"schemaVersion": 2, "mediaType": INDEX, "manifests": level, "annotations": {"n": str(n)}}) for n in range(26)]
top = put({"schemaVersion": 2, "mediaType": INDEX, "manifests": level})
top["annotations"] = {"io.containerd.image.name": "docker.io/library/maze:1", "org.opencontainers.image.ref.name": "1"}
json.dump({"schemaVersion": 2, "manifests": [top]}, open(root + "/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(root + "/oci-layout", "w"))
PY
rm -rf "$W/cache"
entrepot_start
timeout 120 "$ENTREPOT" import --socket "$W/admin.sock" "$W/maze" >"$W/said" 2>&1 && fail "imported"
grep -q "has more than 16384 manifests" "$W/said" || fail "a maze: $(cat "$W/said")"
entrepot_stop
