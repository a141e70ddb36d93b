#!/bin/bash
# Two images on one base: the base's layers cross the network once and are on disk once; `ls` and `inspect` say so; removing
# one image leaves the other whole.
. "$(dirname "$0")/../lib.sh"
need_root
pull() { rm -rf "$W/out"; skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/$1" "dir:$W/out" || fail "pulling $1"; }

registry_start
for i in one two; do image_build $i; image_push $i 1; done
upstream_manifest one 1 >"$W/one.json"
upstream_manifest two 1 >"$W/two.json"
shared=$(jq -r '.layers[].digest' "$W/one.json" "$W/two.json" | sort | uniq -d)
is "$(echo "$shared" | wc -l)" 2 "layers the images share"
entrepot_start
pull one:1
pull two:1
for d in $shared; do is "$(registry_asked GET "/blobs/$d")" 1 "fetches of $d"; done
all=$(jq -r '.config.digest, .layers[].digest' "$W/one.json" "$W/two.json" | sort -u | wc -l)
is "$(find "$W/cache/blobs" -type f | wc -l)" $((all + 2)) "files: every blob once, and two manifests"

bytes=$(jq -s '.[0].layers as $a | .[1].layers as $b | [$a[] | select(.digest as $d | $b | any(.digest == $d)) | .size] | add' \
    "$W/one.json" "$W/two.json")
is "$(ask ls --json | jq '.images | length')" 2 "images in ls"
is "$(ask ls --json | jq -r '.images[0].shared_size, .images[1].shared_size' | sort -u)" "$bytes" "shared size in ls"
is "$(ask inspect one:1 --json | jq -r '[.platforms[0].layers[] | select(.shared_with | length > 0) | .shared_with[0]] | unique[]')" \
    docker.io/library/two:1 "who shares"
ask inspect one:1 | grep -q 'shared with docker.io/library/two:1' || fail "inspect does not say who shares"

say "one goes, the other stays whole"
ask rm one:1 >/dev/null
registry_stop
pull two:1
is "$(ask ls --json | jq -r '.images[].reference')" docker.io/library/two:1 "what is left"
is "$(ask ls --json | jq -r '.images[0].shared_size')" 0 "nothing is shared any more"
say "and with it everything"
ask rm two:1 >/dev/null
is "$(find "$W/cache/blobs" -type f | wc -l)" 0 "files that are left"
is "$(metric entrepot_cache_bytes)" 0 "bytes that are left"
entrepot_stop

say "one pull of the same image from two registries: what one sends, the other waits for"
registry_start
entrepot_start "" "  - {name: ghcr.io, endpoints: [\"http://127.0.0.1:$REGISTRY_PORT\"], insecure: true}"
for _ in 1 2 3 4; do
    : >"$W/registry.log"
    ask pull one:1 ghcr.io/library/one:1 >"$W/pull.out" 2>&1 || fail "$(cat "$W/pull.out")"
    for d in $(jq -r '.layers[].digest' "$W/one.json"); do is "$(registry_asked GET "/blobs/$d")" 1 "fetches of $d"; done
    ask rm one:1 ghcr.io/library/one:1 >/dev/null
done
! grep -q 'disk is full' "$W/entrepot.log" || fail "the log speaks of a full disk"
entrepot_stop
