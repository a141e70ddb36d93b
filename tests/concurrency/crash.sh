#!/bin/bash
# entrepot is killed (-9) at random moments, while blobs arrive over several connections each, and pieces of them, and during commits:
# after each restart the index agrees with the files, every byte served is right, and downloads are resumed where they were. ROUNDS: so many
# kills; after ten of them the blobs begin again, by the other setting of `fetch`, if FETCH does not say which.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root

rounds=${ROUNDS:-40}
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
nginx_start
throttle_start "$NGINX_PORT" 16000000
LOG=info
file_of() { echo "$www/blobs/sha256:$1"; }

# Pieces of each blob, and the whole, at once.
clients_start() {
    local d k first
    clients=
    for d in $blobs; do
        for k in 1 2 3; do
            first=$((RANDOM * 2900))
            curl -s -r "$first-$((first + RANDOM * 30 + 1))" -o "$W/piece-$d-$k-$first" "http://127.0.0.1:$PORT/v2/app/blobs/sha256:$d" &
            clients="$clients $!"
        done
        curl -s -o "$W/piece-$d-0-0" "http://127.0.0.1:$PORT/v2/app/blobs/sha256:$d" &
        clients="$clients $!"
    done
    curl -s -K "$W/urls" &
    clients="$clients $!"
}
# What clients have had until the kill is right.
pieces_check() {
    local piece d n first
    for piece in "$W"/piece-*; do
        [ -e "$piece" ] || continue
        IFS=- read -r d n first <<<"${piece##*/piece-}"
        cmp -s -n "$(stat -c %s "$piece")" -i "0:$first" "$piece" "$(file_of "$d")" || fail "round $round: wrong bytes of $d from $first on, client $n"
        bytes=$((bytes + $(stat -c %s "$piece")))
        rm "$piece"
    done
}

bytes=0 several=0
given=${FETCH:-}
for round in $(seq "$rounds"); do
    FETCH=${given:-$([ $(((round - 1) / 10 % 2)) = 0 ] && echo auto || echo lazy)}
    lines=$(wc -l <"$W/nginx.access")
    entrepot_start "$THROTTLED_PORT"
    first=$(((round * 8) % 390 + 1))
    sed -n "$first,$((first + 7))s|.*|url = http://127.0.0.1:$PORT/v2/app/manifests/sha256:&\noutput = /dev/null|p" "$W/manifests" >"$W/urls"
    clients_start
    ms=$((RANDOM % 1300 + 50))
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
    kill -9 "$ENTREPOT_PID"
    wait "$ENTREPOT_PID" 2>/dev/null || true
    kill $clients 2>/dev/null || true
    wait $clients 2>/dev/null || true
    pieces_check
    "$TOOLS/check_cache" "$W/cache" >"$W/check.log" || fail "round $round: $(cat "$W/check.log")"
    [ "$(blob_connections $((lines + 1)))" -lt 2 ] || several=$((several + 1))
    # Begin again with the blobs once they are all here.
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
resumed=$(grep -c 'a blob of .* is resumed at' "$W/entrepot.log" || true)
say "$resumed downloads were resumed, clients had $((bytes >> 20)) MiB, in $several rounds over several connections, last check: $(tail -n 1 "$W/check.log")"
[ "$resumed" -gt $((rounds / 5)) ] || fail "too few downloads were resumed"
[ "${PARALLEL:-4}" = 1 ] || [ "$several" -gt $((rounds / 3)) ] || fail "in too few rounds a blob came over several connections"
