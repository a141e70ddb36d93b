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
entrepot_stop
