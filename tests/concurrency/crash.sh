#!/bin/bash
# entrepot is killed (-9) at random moments, during downloads and during commits: after each restart the index agrees with the
# files, every blob served is right, and downloads are resumed where they were.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root

rounds=${ROUNDS:-50}
seed=${SEED:-$RANDOM}
RANDOM=$seed
say "$rounds rounds, seed $seed"
www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"
for i in 1 2 3; do
    openssl enc -aes-128-ctr -nosalt -pass "pass:entrepot$i" -pbkdf2 </dev/zero 2>/dev/null | head -c 96000000 >"$W/blob" || true
    d=$(sha256sum <"$W/blob" | sed 's/ .*//')
    mv "$W/blob" "$www/blobs/sha256:$d"
    blobs="${blobs:-} $d"
done
for i in $(seq 400); do
    printf '{"schemaVersion":2,"config":{"digest":"sha256:%064d","size":2},"layers":[{"digest":"sha256:%s","size":96000000}]}' \
        "$i" "${blobs##* }" >"$W/manifest"
    d=$(sha256sum <"$W/manifest" | sed 's/ .*//')
    mv "$W/manifest" "$www/manifests/sha256:$d"
    echo "$d" >>"$W/manifests"
done
nginx_start 40m
LOG=info
asked=0
for round in $(seq "$rounds"); do
    entrepot_start "$NGINX_PORT"
    # downloads, and a stream of small commits beside them
    clients=
    for d in $blobs; do
        curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/app/blobs/sha256:$d" &
        clients="$clients $!"
    done
    first=$(((round * 8) % 390 + 1))
    sed -n "$first,$((first + 7))s|.*|url = http://127.0.0.1:$PORT/v2/app/manifests/sha256:&\noutput = /dev/null|p" "$W/manifests" >"$W/urls"
    curl -s -K "$W/urls" &
    clients="$clients $!"
    sleep "0.$(printf %03d $((RANDOM % 700)))"
    kill -9 "$ENTREPOT_PID"
    wait "$ENTREPOT_PID" 2>/dev/null || true
    kill $clients 2>/dev/null || true
    wait $clients 2>/dev/null || true
    "$TOOLS/check_cache" "$W/cache" >"$W/check.log" || fail "round $round: $(cat "$W/check.log")"
    # Begin the blobs anew once they are all here.
    if [ $((round % 10)) = 0 ]; then
        entrepot_start "$NGINX_PORT"
        for d in $blobs; do
            is "$(curl -sf "http://127.0.0.1:$PORT/v2/app/blobs/sha256:$d" | sha256sum | sed 's/ .*//')" "$d" "round $round: blob"
        done
        sed -n "1,${first}p" "$W/manifests" | tail -n 5 | while read -r d; do
            is "$(curl -sf "http://127.0.0.1:$PORT/v2/app/manifests/sha256:$d" | sha256sum | sed 's/ .*//')" "$d" "round $round: manifest"
        done
        entrepot_stop
        "$TOOLS/check_cache" "$W/cache" --settled >"$W/check.log" || fail "round $round: $(cat "$W/check.log")"
        rm -rf "$W/cache"
    fi
done
resumed=$(grep -c '^206 .*/blobs/.*"bytes=[1-9]' "$W/nginx.access" || true)
say "$resumed downloads were resumed, $(grep -c '^200 .*/blobs/' "$W/nginx.access") began at zero, last check: $(tail -n 1 "$W/check.log")"
[ "$resumed" -gt $((rounds / 5)) ] || fail "too few downloads were resumed"
