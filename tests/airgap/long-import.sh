#!/bin/bash
# An import takes longer than gc.grace: what it has sent is not collected before its image is entered.
. "$(dirname "$0")/../lib.sh"
need_root
image_build app
entrepot_start 1 "gc: {grace: 0s}"
api() { curl -sf --unix-socket "$W/admin.sock" "http://entrepot/v1/$1" "${@:2}"; }
manifest=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "app") | .digest' "$W/layout/index.json")
file() { echo "$W/layout/blobs/sha256/${1#sha256:}"; }
collected() { ask gc --json | jq .freed_blobs; }

say "blob by blob, with a collection after each"
sent=0
for d in $(jq -r '.layers[].digest, .config.digest' "$(file "$manifest")") "$manifest"; do
    size=$(stat -c %s "$(file "$d")")
    for at in $(seq 0 1000000 $((size - 1))); do
        dd if="$(file "$d")" bs=1000000 skip=$((at / 1000000)) count=1 status=none |
            api "import/bytes?digest=$d&offset=$at&size=$([ "$at" = 0 ] && echo "$size" || echo 0)" --data-binary @- -o /dev/null
    done
    api "import/blob?digest=$d" -X POST -o /dev/null
    sent=$((sent + 1))
    is "$(collected)" 0 "blobs collected in the middle of the import"
    is "$(find "$W/cache/blobs" -type f | wc -l)" "$sent" "blobs that are here"
done
api import -d "{\"images\": [{\"name\": \"app:1\", \"digest\": \"$manifest\"}], \"pin\": false}" -o /dev/null
is "$(ask ls --json | jq -r '.images[].reference')" docker.io/library/app:1 "what was imported"
is "$(ask ls --pullable)" "docker.io/library/app:1@$manifest" "it is whole"
say "entered, it is held by its name alone"
ask rm app:1 >/dev/null
is "$(find "$W/cache/blobs" -type f | wc -l)" 0 "blobs that are left when that goes"

say "small ones, all in one request"
mapfile -t small < <(find "$W/layout/blobs/sha256" -type f -size -60k -printf '%f\n')
for d in "${small[@]}"; do
    printf 'sha256:%s %s\n' "$d" "$(stat -c %s "$(file "$d")")"
    cat "$(file "$d")"
done >"$W/batch"
is "$(api import/batch --data-binary @"$W/batch" | jq -r '[.blobs[].status] | unique | join(" ")')" imported "what came of them"
is "$(collected)" 0 "blobs collected before their image is entered"
is "$(find "$W/cache/blobs" -type f | wc -l)" "${#small[@]}" "blobs that are here"
is "$(api import/batch --data-binary @"$W/batch" | jq -r '[.blobs[].status] | unique | join(" ")')" there "what came of them again"
say "requests that are no batch"
x=sha256:$(printf x | sha256sum | sed 's/ .*//')
for bad in '' x "$x" "$x 1" "$x 2\nx" "$x 1\nxx" "$x -1\nx" "$x 1 \nx" "$x 18446744073709551615\nx" "sha256:0 1\nx" "$x 1\nx$x 5\nx"; do
    is "$(printf %b "$bad" | curl -s --unix-socket "$W/admin.sock" -o /dev/null -w '%{http_code}' --data-binary @- http://entrepot/v1/import/batch)" 400 "$bad"
done
is "$(printf %b "$x 1\nx$x 1\ny$x 1\nx" | api import/batch --data-binary @- | jq -c '.blobs | map(.status // "wrong")')" '["imported","wrong","imported"]' "one of three"
[ -s "$W/cache/blobs/sha256/${x#*:}" ] || fail "it is not here"
is "$(ask verify --json | tail -n 1 | jq .ok)" true "what is here is right"
entrepot_stop
