#!/bin/bash
# A new version is started on the cache of an old one, with no registry to ask: what was pulled can be pulled, what was pinned
# is pinned, whatever the schema of the index. tests/recovery/caches has one cache of each (made by `make` there).
. "$(dirname "$0")/../lib.sh"
REGISTRY_PORT=$(free_port) # nobody is there
TWO=sha256:a43b577cc128044d2ee6c11820621cb1c38d9385cf8a02e64755cdd80fe9a21e
THREE=sha256:c2f7513d4423520c5e576b15a2abfcf1cffcc371c02f773b194e3e4eebad3b80

pull() { skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/library/$1" "dir:$W/pulled" && rm -r "$W/pulled"; }
whole() { # what must be true after the start
    wait_for 20 rebuilt
    pull one:1 || fail "$1: a tag is lost"
    pull two:1 || fail "$1: a tag is lost"
    pull "three@$THREE" || fail "$1: an image that was pulled by digest is lost"
    is "$(ask inspect two:1 --json | jq -r .digest)" "$TWO" "$1: where a tag points"
    is "$(ask ls --json | jq -r '[.images[] | select(.pinned) | .reference] | join(" ")')" "$2" "$1: what is pinned"
    ask verify >"$W/verify.out" || fail "$1: $(cat "$W/verify.out")"
}
rebuilt() { [ "$(metric 'entrepot_cache_blobs{kind="manifest"}')" = 3 ]; }

for cache in tests/recovery/caches/schema-*.tar.xz; do
    name=$(basename "$cache" .tar.xz)
    mkdir -p "$W/cache"
    tar -C "$W/cache" -xJf "$cache"
    : >"$W/entrepot.log"
    entrepot_start
    case $name in
    schema-1) whole "$name" "" ;; # that version could not pin
    *) whole "$name" "docker.io/library/one:1" ;;
    esac
    case $name in
    schema-1 | schema-2-early)
        grep -q 'taken from the old index' "$W/entrepot.log" || fail "$name: what is lost was not told"
        [ -n "$(find "$W/cache" -maxdepth 1 -name 'index.old-*')" ] || fail "$name: the old index is not put aside" ;;
    *) [ -z "$(find "$W/cache" -maxdepth 1 -name 'index.*-*')" ] || fail "$name: its index was thrown away" ;;
    esac
    entrepot_stop
    entrepot_start
    whole "$name, again" "$(ask ls --json | jq -r '[.images[] | select(.pinned) | .reference] | join(" ")')"
    entrepot_stop
    say "$name: tags, pins and blobs are there"
    rm -rf "$W/cache"
done
