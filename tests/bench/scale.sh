#!/bin/bash
# A cache of 100 000 images and 1 000 000 blobs (IMAGES): how long its index takes to open, an image to go, what a sweep does to
# those who are being served, and the memory of the daemon.
. "$(dirname "$0")/../lib.sh"
. tests/bench/figures.sh.inc
need_root
images=${IMAGES:-100000}
scale=$PWD/${B:-build}/tests/bench/scale
registry_start
image_build app
image_push app 1
say "making a cache of $images images"
"$scale" "$W/cache" make "$images" 2>"$W/make.log" || fail "$(tail -n 1 "$W/make.log")"
"$scale" "$W/cache" open 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || true
echo "from a cold page cache: $("$scale" "$W/cache" open 2>/dev/null)"
"$scale" "$W/cache" retire $((images / 100)) 2>"$W/retire.log"
CACHE_MORE="max_size: 100TiB, min_free: 0B"
began=$(date +%s%N)
entrepot_start "" "gc: {interval: 1h}
tags: {ttl: 10h}"
echo "the daemon was ready after $((($(date +%s%N) - began) / 1000000)) ms"
curl -sf -o /dev/null "http://127.0.0.1:$PORT/v2/app/manifests/1"
blob=$(upstream_manifest app 1 | jq -r .config.digest)
curl -sf -o /dev/null "http://127.0.0.1:$PORT/v2/app/blobs/$blob"
memory() { awk '/^Rss(Anon|Shmem)/ {n += $2} END {printf "%.1f MiB", n / 1024}' "/proc/$ENTREPOT_PID/status"; }
p99() { wrk -t 1 -c 16 -d "${1}s" --latency "http://127.0.0.1:$PORT/v2/app/$2" | awk '$1 == "99%" {v = $2; m = 1; if (v ~ /us/) m = 0.001; else if (v ~ /[0-9]s/) m = 1000; sub(/[a-z]+/, "", v); print v * m}'; }
sleep 5 # touches and reconcile
for what in manifests/1 "blobs/$blob"; do
    quiet= busy=
    for round in 1 2 3 4 5; do
        quiet="$quiet $(p99 3 "$what")"
        freed=$(metric entrepot_gc_freed_blobs_total)
        (for _ in 1 2 3; do
            now=$(metric entrepot_cache_bytes)
            ask gc --to $(((now - 1000 * 9 * 1048576) / 1024))KiB >/dev/null
        done) &
        busy="$busy $(p99 3 "$what")"
        wait $!
        freed=$(($(metric entrepot_gc_freed_blobs_total) - freed))
    done
    q=$(echo "$quiet" | median) b=$(echo "$busy" | median)
    echo "p99 of warm ${what%%/*}, ms: $q quiet, $b while $freed blobs are let go ($(awk -v a="$b" -v q="$q" 'BEGIN {printf "%.2f", a / q}') times)"
done
echo "memory of the daemon, page cache aside: $(memory)"
entrepot_stop
