#!/bin/bash
# entrepot is killed (-9) at random moments while the collector lets go of hundreds of images: the index is sound after each,
# the next start brings it and the files together, and what is served is right. ROUNDS times (100).
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root

rounds=${ROUNDS:-100}
seed=${SEED:-$RANDOM}
RANDOM=$seed
say "$rounds rounds, seed $seed"
www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"
python3 - "$www" >"$W/paths" <<'PY'
import hashlib, json, os, sys
www = sys.argv[1]
def put(kind, data):
    d = "sha256:" + hashlib.sha256(data).hexdigest()
    with open(f"{www}/{kind}/{d}", "wb") as f:
        f.write(data)
    return d, len(data)
shared = [put("blobs", bytes([i]) * 50000) for i in range(8)]
for i in range(500):
    config, size = put("blobs", b"{\"architecture\":\"amd64\",\"os\":\"linux\",\"n\":%d}" % i)
    layers = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": d, "size": n} for d, n in (shared[i % 8], shared[(i // 8) % 8])]
    m = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size}, "layers": layers}
    print("manifests/" + put("manifests", json.dumps(m).encode())[0])
    print("blobs/" + config)
for d, _ in shared:
    print("blobs/" + d)
PY
nginx_start
urls() { sed "s|.*|url = http://127.0.0.1:$PORT/v2/app/&\noutput = $1|" "$W/paths" >"$W/urls"; }
start() { entrepot_start "$NGINX_PORT" "gc: {grace: 0s, interval: 1h}"; }
begin() { # ROUND
    start
    urls /dev/null
    curl -s -Z --parallel-max 8 -K "$W/urls" 2>/dev/null || fail "round $1: pulling"
}
# How many milliseconds it takes here, on this machine and with what it was built with.
begin 0
began=$(date +%s%N)
ask gc --to 1KiB >/dev/null
whole=$((($(date +%s%N) - began) / 1000000 + 1))
entrepot_stop
midway=0
for round in $(seq "$rounds"); do
    begin "$round"
    before=$(metric entrepot_cache_blobs)
    ask gc --to 1KiB >/dev/null 2>&1 &
    gc=$!
    at=$((RANDOM % whole))
    sleep "$((at / 1000)).$(printf %03d $((at % 1000)))"
    kill -9 "$ENTREPOT_PID"
    wait "$ENTREPOT_PID" 2>/dev/null || true
    wait $gc 2>/dev/null || true
    "$TOOLS/check_cache" "$W/cache" >"$W/check.log" || fail "round $round: $(cat "$W/check.log")"
    entries=$(sed -n 's/ entries.*//p' "$W/check.log")
    [ "$entries" -lt "$before" ] && [ "$entries" -gt 20 ] && midway=$((midway + 1))
    start
    # reconcile is done when every file has its entry
    wait_for 20 bash -c "[ \$(ls '$W/cache/blobs/sha256' | wc -l) = \$(curl -s http://127.0.0.1:$PORT/metrics | awk '/^entrepot_cache_blobs/ {n += \$2} END {print n}') ]" ||
        fail "round $round: files and entries stay apart"
    if [ $((round % 10)) = 0 ]; then
        while read -r path; do
            is "sha256:$(curl -sf "http://127.0.0.1:$PORT/v2/app/$path" | sha256sum | sed 's/ .*//')" "${path#*/}" "round $round: $path"
        done < <(shuf -n 40 --random-source=<(yes $((seed + round))) "$W/paths")
    fi
    entrepot_stop
    "$TOOLS/check_cache" "$W/cache" --settled >"$W/check.log" || fail "round $round: $(cat "$W/check.log")"
    [ -z "$(ls "$W/cache/ingest")" ] || fail "round $round: left in ingest/: $(ls "$W/cache/ingest" | head -n 3)"
done
say "$midway of $rounds times the collector was half way ($whole ms); last: $(tail -n 1 "$W/check.log")"
[ $midway -ge $((rounds / 5)) ] || fail "the collector was hit too rarely"
