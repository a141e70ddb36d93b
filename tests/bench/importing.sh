#!/bin/bash
# `entrepot import` of 5000 small images (IMAGES), 11 000 blobs: seconds from a folder and from a tar archive, the machine's load before
# each, and how often the daemon syncs. With each blob by itself it was, on an idle machine of 2 cores: 15.5 s, 21 s, 33 011 syncs. A
# cache that was measured stays until the end: ext4 passes over inodes that were freed within minutes, one by one, for each new file.
. "$(dirname "$0")/../lib.sh"
need strace
images=${IMAGES:-5000}
python3 tests/bench/layout.py "$W/layout" "$images"
tar -C "$W/layout" -cf "$W/layout.tar" .
blobs=$(find "$W/layout/blobs" -type f | wc -l)
load() { cut -d ' ' -f 1 /proc/loadavg; }
measure() { # WHAT PATH
    local began loaded
    [ ! -d "$W/cache" ] || mv "$W/cache" "$W/cache.$RANDOM"
    CACHE_MORE="max_size: 100TiB" SERVE_MORE=--offline entrepot_start 9
    loaded=$(load)
    began=$(date +%s%N)
    ask import "$2" >"$W/out"
    echo "import of $images images, $blobs blobs, from $1: $((($(date +%s%N) - began) / 1000000)) ms (load $loaded)"
    is "$(ask ls --json | jq '[.images[] | select(.cached)] | length')" "$images" "images imported"
    entrepot_stop
}
measure "a folder" "$W/layout"
measure "a tar archive" "$W/layout.tar"
DAEMON=("${TRACED[@]}" -D -e "trace=fsync,fdatasync,syncfs" -o "$W/syncs")
measure "a tar archive, under strace" "$W/layout.tar"
echo "syncs of the daemon: $(grep -cE '(fsync|fdatasync|syncfs)\(' "$W/syncs")"
