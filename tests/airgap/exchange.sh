#!/bin/bash
# What entrepot exports, skopeo, umoci, docker and podman read; what skopeo, docker, buildah and umoci write, it imports, and serves
# under its name. There and back again nothing has changed, and archives of the same content are the same.
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
need_root
registry_start
for i in one two; do image_build $i; image_push $i 1; done
entrepot_start
ask pull one:1 two:1 >/dev/null
upstream_manifest one 1 >"$W/one.json"
want=$(upstream_digest one 1)
id=$(jq -r .config.digest "$W/one.json")
one=docker.io/library/one:1
blobs_of() { (cd "$1/blobs/sha256" && for f in *; do is "$(sha256sum <"$f" | sed 's/ .*//')" "$f" "a blob in $1"; echo "$f"; done) | sort; }
served() { # NAME DIGEST: by tag and by digest, by HEAD too, every blob
    is "$(curl -sf "http://127.0.0.1:$PORT/v2/$1/manifests/$2" | sha256sum | sed 's/ .*//; s/^/sha256:/')" "$3" "$1:$2"
    is "$(curl -sfI "http://127.0.0.1:$PORT/v2/$1/manifests/$3" -o /dev/null -w '%{http_code}')" 200 "HEAD of $1@$3"
    rm -rf "$W/served"
    skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/$1:$2" "dir:$W/served" || fail "skopeo does not get $1:$2"
}

say "export: a folder, an archive, docker's format"
ask export one:1 two:1 -o "$W/dir" >/dev/null
ask export one:1 -o "$W/one.tar" >/dev/null
ask export one:1 -o "$W/again.tar" >/dev/null
cmp "$W/one.tar" "$W/again.tar" || fail "the same content, another archive"
ask export one:1 -o - >"$W/pipe.tar"
cmp "$W/one.tar" "$W/pipe.tar" || fail "stdout gets another archive"
ask export one:1 --format docker -o "$W/docker.tar" >/dev/null
is "$(blobs_of "$W/dir" | wc -l)" 8 "blobs of two images on one base"
is "$(jq -r '.manifests[].annotations | .["org.opencontainers.image.ref.name"], .["io.containerd.image.name"]' "$W/dir/index.json" | sort | uniq -c | tr -s ' ')" \
    " 2 $one
 2 docker.io/library/two:1" "names in index.json"
is "$(find "$W/dir/blobs" -type f -links 2 | wc -l)" 8 "files that are the cache's (this file system has no reflinks)"
is "$(find "$W/cache/blobs" -type f -links 2 | wc -l)" 8 "and the cache's are theirs"
say "they are read"
skopeo copy -q "oci:$W/dir:$one" "dir:$W/a"
cmp "$W/a/manifest.json" "$W/one.json" || fail "skopeo reads another manifest from the folder"
skopeo copy -q "oci-archive:$W/one.tar" "dir:$W/b"
cmp "$W/b/manifest.json" "$W/one.json" || fail "skopeo reads another manifest from the archive"
umoci stat --image "$W/dir:$one" >/dev/null || fail "umoci does not read the folder"
containerd_begin containerd
docker_begin docker
podman_begin podman
d load -q -i "$W/docker.tar" >"$W/docker-load.log" || fail "docker load: $(cat "$W/docker-load.log")"
is "$(d image inspect one:1 -f '{{.Id}}')" "$id" "docker's image ID"
is "$(d run --rm --network none one:1)" "hello from one" "what docker's container says"
p load -q -i "$W/docker.tar" >"$W/podman-load.log" 2>&1 || fail "podman load: $(cat "$W/podman-load.log")"
is "sha256:$(p image inspect $one -f '{{.Id}}')" "$id" "podman's image ID"
c images import "$W/one.tar" >"$W/ctr-import.log" 2>&1 || fail "ctr import: $(cat "$W/ctr-import.log")"
is "$(c images ls | awk -v i=$one '$1 == i {print $3}')" "$want" "containerd's digest of what it imported"

say "others' archives"
d save -o "$W/save.tar" one:1
skopeo copy -q "oci:$W/dir:$one" "oci:$W/skopeo-oci:ghcr.io/team/skopeo:1"
skopeo copy -q "oci:$W/dir:$one" "oci-archive:$W/skopeo.tar:ghcr.io/team/archive:1"
skopeo copy -q "oci:$W/dir:$one" "docker-archive:$W/skopeo-docker.tar:ghcr.io/team/docker:1"
buildah --root "$W/bud" --runroot "$W/budrun" --storage-driver vfs pull -q "oci-archive:$W/one.tar" >/dev/null
buildah --root "$W/bud" --runroot "$W/budrun" --storage-driver vfs push -q "$(buildah --root "$W/bud" --runroot "$W/budrun" --storage-driver vfs images -q | head -n 1)" \
    "oci-archive:$W/buildah.tar:ghcr.io/team/buildah:1"
mkdir "$W/umoci"
cp -a "$W/layout/." "$W/umoci"
xz -T1 -0 <"$W/skopeo.tar" >"$W/skopeo.tar.xz"
zstd -q "$W/save.tar" -o "$W/save.tar.zst"
entrepot_stop
registry_stop
rm -rf "$W/cache"
SERVE_MORE=--offline entrepot_start
ask import "$W/save.tar.zst" >/dev/null
served library/one 1 "$(ask ls --json | jq -r '.images[] | select(.reference == "'$one'") | .digest')"
is "$(jq -r .config.digest "$W/served/manifest.json")" "$id" "the image ID of what docker saved"
ask rm $one >/dev/null 2>&1 && fail "what was imported is not pinned"
ask import "$W/skopeo-oci" >/dev/null
served ghcr.io/team/skopeo 1 "$want"
ask import "$W/skopeo.tar.xz" >/dev/null
served ghcr.io/team/archive 1 "$want"
ask unpin ghcr.io/team/skopeo:1 >/dev/null
is "$(ask ls --json | jq -r '.images[] | select(.reference | startswith("ghcr.io/")) | .pinned' | tr '\n' ' ')" "true false " "one digest, two names, one pin"
ask import "$W/skopeo-docker.tar" >/dev/null
served ghcr.io/team/docker 1 "$(ask ls --json | jq -r '.images[] | select(.reference == "ghcr.io/team/docker:1") | .digest')"
is "$(jq -r .config.digest "$W/served/manifest.json")" "$id" "the image ID of what skopeo wrote for docker"
ask import "$W/buildah.tar" >/dev/null
served ghcr.io/team/buildah 1 "$(ask ls --json | jq -r '.images[] | select(.reference == "ghcr.io/team/buildah:1") | .digest')"
is "$(jq -r .config.digest "$W/served/manifest.json")" "$id" "the image ID of what buildah wrote"
skopeo copy -q "oci:$W/umoci:two" "oci:$W/umoci-two:two"
ask import "$W/umoci-two" >/dev/null 2>"$W/err" && fail "a tag alone is taken for a name"
grep -q -- '--name REF' "$W/err" || fail "it does not say what to do: $(cat "$W/err")"
ask import "$W/umoci-two" --name two:1 >/dev/null
served library/two 1 "$(skopeo inspect --raw "oci:$W/umoci-two:two" | sha256sum | sed 's/ .*//; s/^/sha256:/')"
say "there and back again"
ask import "$W/one.tar" >/dev/null
ask import "$W/docker.tar" --name copy:1 >/dev/null
served library/one 1 "$want"
for d in $(jq -r '.config.digest, .layers[].digest' "$W/one.json"); do
    is "$(sha256sum <"$W/served/${d#sha256:}" | sed 's/ .*//')" "${d#sha256:}" "blob"
done
ask export one:1 -o "$W/back.tar" >/dev/null
cmp "$W/one.tar" "$W/back.tar" || fail "what was imported is exported otherwise"

say "what is wrong is refused"
mkdir "$W/bad"
tar -C "$W/bad" -xf "$W/one.tar"
layer=$(jq -r '.layers[2].digest' "$W/one.json")
entrepot_stop
rm -rf "$W/cache"
SERVE_MORE=--offline entrepot_start
chmod u+w "$W/bad/blobs/sha256/${layer#sha256:}"
printf x | dd of="$W/bad/blobs/sha256/${layer#sha256:}" bs=1 seek=1000 conv=notrunc status=none
ask import "$W/bad" >/dev/null 2>"$W/err" && fail "a damaged layer is taken"
grep -q "$layer" "$W/err" || fail "it does not name the layer: $(cat "$W/err")"
is "$(ask ls --json | jq '.images | length')" 0 "images after that"
rm "$W/bad/blobs/sha256/${layer#sha256:}"
ask import "$W/bad" >/dev/null 2>"$W/err" && fail "an image without its layer is taken"
grep -q "$layer" "$W/err" || fail "it does not name the layer: $(cat "$W/err")"
mkdir "$W/x"
tar -C "$W/x" -xf "$W/skopeo-docker.tar"
chmod -R u+w "$W/x"
bad=$(jq -r '.[0].Layers[1]' "$W/x/manifest.json")
printf X | dd of="$W/x/$bad" bs=1 seek=5000 conv=notrunc status=none
tar -C "$W/x" -cf "$W/bad-docker.tar" .
ask import "$W/bad-docker.tar" >/dev/null 2>"$W/err" && fail "a layer that is not the config's is taken"
grep -q "$bad is damaged" "$W/err" || fail "it does not name the layer: $(cat "$W/err")"
head -c 2000000 "$W/one.tar" >"$W/short.tar"
ask import "$W/short.tar" >/dev/null 2>"$W/err" && fail "half an archive is taken"
is "$(ask ls --json | jq '.images | length')" 0 "images after all that"
echo hello >"$W/text"
ask import "$W/text" >/dev/null 2>"$W/err" && fail "a text is taken for an archive"
ask export nope:1 -o "$W/nope.tar" >/dev/null 2>"$W/err" && fail "what is not here is exported"
grep -q 'entrepot pull' "$W/err" || fail "it does not say what to do: $(cat "$W/err")"
[ ! -e "$W/nope.tar" ] || fail "a file is left"
ask import "$W/one.tar" --name 'Bad Name' >/dev/null 2>"$W/err" && fail "a bad name is taken"
entrepot_stop
