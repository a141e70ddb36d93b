#!/bin/bash
# pull, export and import are killed, interrupted, run into a full disk. What is half-done is under no name; done again, they go on
# where they stopped.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root
www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"
descriptor() { printf '{"mediaType":"%s","digest":"%s","size":%d}' "$2" "$1" "$(stat -c %s "$www/blobs/$1")"; }
layers=
for i in 1 2 3; do
    openssl enc -aes-128-ctr -nosalt -pass "pass:cut$i" -pbkdf2 </dev/zero 2>/dev/null | head -c 24000000 >"$W/blob" || true
    l=sha256:$(sha256sum <"$W/blob" | sed 's/ .*//')
    mv "$W/blob" "$www/blobs/$l"
    layers="$layers${layers:+,}$(descriptor "$l" application/vnd.oci.image.layer.v1.tar)"
done
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}' >"$W/blob"
config=sha256:$(sha256sum <"$W/blob" | sed 's/ .*//')
cp "$W/blob" "$www/blobs/$config"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' \
    "$(descriptor "$config" application/vnd.oci.image.config.v1+json)" "$layers" >"$www/manifests/1"
want=sha256:$(sha256sum <"$www/manifests/1" | sed 's/ .*//')
cp "$www/manifests/1" "$www/manifests/$want"
fetched() { awk '$3 == "GET" && $4 ~ /blobs/ {s += $2} END {print s + 0}' "$W/nginx.access"; }
parts() { { stat -c '%b %B' "$W"/cache/ingest/*.part 2>/dev/null || true; } | awk '{s += $1 * $2} END {print s + 0}'; }
has_come() { [ "$(parts)" -ge "$1" ]; }
cut_off() { # SIGNAL BYTES PID COMMAND...: sends it to the process, or (PID "") the command, when so much has come; false if it is done
    local signal=$1 bytes=$2 target=$3
    shift 3
    env --default-signal=INT "$@" >"$W/cut.out" 2>&1 & # a shell has its jobs ignore Ctrl-C
    local pid=$!
    wait_for 30 has_come "$bytes" || fail "only $(parts) bytes have come"
    kill -0 $pid && kill -"$signal" "${target:-$pid}" || return 1
    ! wait $pid
}
E() { echo "$ENTREPOT" "$@" --socket "$W/admin.sock"; }

nginx_start 4m
entrepot_start "$NGINX_PORT"
say "pull: Ctrl-C, kill -9 of the command, kill -9 of the daemon"
cut_off INT 12000000 "" $(E pull app:1) || fail "it was too fast"
is "$(ask ls --json | jq -r '.images[].cached')" false "after Ctrl-C the image is here in part"
ask ls --pullable | grep -q . && fail "what is here in part is called pullable"
cut_off KILL 26000000 "" $(E pull app:1) || fail "it was too fast"
cut_off KILL 40000000 "$ENTREPOT_PID" $(E pull app:1) || fail "the daemon was killed, and the pull is done"
wait "$ENTREPOT_PID" 2>/dev/null || true
sed -i 's/limit_rate .*/limit_rate 0;/' "$W/nginx.conf"
kill -HUP "$NGINX_PID"
entrepot_start "$NGINX_PORT"
resumed=$(parts)
ask pull app:1 --json >"$W/pull.json"
is "$(ask ls --json | jq -r '.images[].cached')" true "in the end it is whole"
sum=$(tail -n 1 "$W/pull.json" | jq .fetched)
[ "$sum" -le $((73000000 - resumed / 2)) ] || fail "$sum bytes are called fetched, and $resumed were there"
[ "$sum" -ge 10000000 ] || fail "$sum bytes are called fetched"
got=$(fetched)
[ "$got" -lt 110000000 ] || fail "72 MB took $got bytes"
say "72 MB were fetched with $got bytes, interrupted three times"
is "$(ask verify --json | tail -n 1 | jq .ok)" true "what is here is right"

say "pulled is what the index has, however slowly the disk syncs"
entrepot_stop
mv "$W/cache" "$W/cache.far"
DAEMON=("${TRACED[@]}" -D -e trace=fsync -e inject=fsync:delay_enter=300000 -o /dev/null)
entrepot_start "$NGINX_PORT"
ask pull app:1 >/dev/null
is "$(ask ls --json | jq -r '.images[].cached')" true "at once after the pull"
entrepot_stop
rm -rf "$W/cache"
entrepot_start "$NGINX_PORT"
for p in manifests/1 $(jq -r '.config.digest, .layers[].digest | "blobs/" + .' "$www/manifests/1"); do
    curl -sf "http://127.0.0.1:$PORT/v2/app/$p" >/dev/null || fail "$p"
done
is "$(ask ls --json | jq -r '.images[].cached')" true "at once after an engine's"
entrepot_stop
DAEMON=()
rm -rf "$W/cache"
mv "$W/cache.far" "$W/cache"
entrepot_start "$NGINX_PORT"

say "export: kill -9, Ctrl-C, a full disk"
truncate -s 48M "$W/disk"
mkfs.ext4 -q -m 0 "$W/disk"
mkdir "$W/small"
mount -o loop "$W/disk" "$W/small"
cut_export() { # by the size its file may have: it is half way for sure
    rm -f "$W/out.tar"
    (ulimit -f 40000; exec "$ENTREPOT" export app:1 -o "$W/out.tar" --socket "$W/admin.sock" >"$W/cut.out" 2>&1) && return 1
    return 0
}
ask export app:1 -o "$W/whole.tar" >/dev/null
cut_export || fail "a file of 72 MB where 40 are allowed"
[ ! -e "$W/out.tar" ] || fail "an archive in part has its name"
[ -s "$W/out.tar.part" ] || fail "nothing is kept of it"
for s in KILL INT; do
    cp "$W/out.tar.part" "$W/k.tar.part"
    "${TRACED[@]}" -e trace=fsync -e inject=fsync:delay_enter=3000000 -o /dev/null env --default-signal=INT \
        "$ENTREPOT" export app:1 -o "$W/k.tar" \
        --socket "$W/admin.sock" >"$W/cut.out" 2>&1 &
    pid=$!
    sleep 1.5
    pkill -"$s" -P $pid || fail "it was too fast"
    wait $pid 2>/dev/null || true
    [ ! -e "$W/k.tar" ] || fail "$s: an archive that was not synced has its name"
done
ask export app:1 -o "$W/out.tar" >"$W/export.log"
grep -q 'there' "$W/export.log" || fail "nothing of it is gone on from"
cmp "$W/out.tar" "$W/whole.tar" || fail "gone on from, it is another archive"
[ ! -e "$W/out.tar.part" ] || fail "the part is still there"
ask export app:1 -o "$W/small/out.tar" >/dev/null 2>"$W/err" && fail "72 MB on a disk of 48"
grep -q 'No space left' "$W/err" || fail "the error is: $(cat "$W/err")"
[ ! -e "$W/small/out.tar" ] || fail "an archive in part has its name"
rm -f "$W/small/out.tar.part"
ask export app:1 -o "$W/small/dir" >/dev/null 2>"$W/err" && fail "72 MB on a disk of 48"
[ ! -e "$W/small/dir/index.json" ] || fail "a folder in part has an index"
for f in "$W"/small/dir/blobs/sha256/*; do is "$(sha256sum <"$f" | sed 's/ .*//')" "${f##*/}" "a blob of the folder in part"; done
rm -rf "$W/small/dir"

say "import: kill -9 of the command, of the daemon, a full disk"
entrepot_stop
mv "$W/cache" "$W/cache.near"
sizes() { stat -c %s "$W"/cache/ingest/*.import 2>/dev/null | awk '{s += $1} END {print s + 0}'; }
SERVE_MORE=--offline entrepot_start "$NGINX_PORT"
# Slow enough to be cut half way: every answer of the daemon comes late.
slow_import() { exec "${TRACED[@]}" -e trace=sendto -e inject=sendto:delay_enter=60000 -o /dev/null "$ENTREPOT" import "$W/whole.tar" --socket "$W/admin.sock" >"$W/cut.out" 2>&1; }
kept() { echo $(($(sizes) + $(find "$W/cache/blobs" -type f -printf '%s\n' | awk '{s += $1} END {print s + 0}'))); }
is_midway() { [ "$(kept)" -gt 1000000 ]; }
slow_import &
pid=$!
sleep 1
wait_for 60 is_midway || fail "it does not begin"
pkill -9 -P $pid || fail "it was too fast"
wait $pid 2>/dev/null || true
before=$(kept)
[ "$before" -gt 1000000 ] || fail "nothing was kept of it"
is "$(ask ls --json | jq '.images | length')" 0 "images after kill -9"
slow_import &
pid=$!
sleep 1
kill -9 "$ENTREPOT_PID"
wait $pid "$ENTREPOT_PID" 2>/dev/null || true
SERVE_MORE=--offline entrepot_start "$NGINX_PORT"
is "$(ask ls --json | jq '.images | length')" 0 "images after the daemon's kill -9"
ask import "$W/whole.tar" >"$W/import.log"
is "$(ask ls --json | jq -r '.images[] | .digest, .cached, .pinned' | tr '\n' ' ')" "$want true true " "imported"
is "$(sizes)" 0 "bytes left under way"
say "import: four of the same at once, one from a folder"
ask export app:1 -o "$W/folder" >/dev/null
entrepot_stop
rm -rf "$W/cache"
SERVE_MORE=--offline entrepot_start "$NGINX_PORT"
pids=
for i in 1 2 3 4; do
    from=$W/whole.tar
    [ $i = 4 ] && from=$W/folder
    ask import "$from" --json >"$W/import.$i" 2>"$W/import.err.$i" &
    pids="$pids $!"
done
for pid in $pids; do wait "$pid" || fail "one of them fails: $(cat "$W"/import.err.*)"; done
is "$(ask ls --json | jq -r '.images[] | .digest, .cached, .pinned' | tr '\n' ' ')" "$want true true " "imported at once"
is "$(ls "$W/cache/ingest")" "" "left under way"
is "$(ask verify --json | tail -n 1 | jq .ok)" true "what is here is right"
entrepot_stop
rm -rf "$W/cache" "$W/folder"
say "import: a blob that is larger than the cache may be"
CACHE_MORE="max_size: 20MiB" SERVE_MORE=--offline entrepot_start "$NGINX_PORT"
ask import "$W/whole.tar" >/dev/null 2>"$W/err" && fail "72 MB in a cache of 20"
grep -q 'no room for 24000000 bytes: cache.max_size' "$W/err" || fail "the error is: $(cat "$W/err")"
is "$(sizes)" 0 "bytes written in vain"
entrepot_stop
rm -rf "$W/cache"
mkdir "$W/small/cache"
ln -s "$W/small/cache" "$W/cache"
CACHE_MORE="max_size: 1GiB, min_free: 0B" SERVE_MORE=--offline entrepot_start "$NGINX_PORT"
ask import "$W/whole.tar" >/dev/null 2>"$W/err" && fail "72 MB on a disk of 48"
grep -qiE 'no space|room' "$W/err" || fail "the error is: $(cat "$W/err")"
is "$(ask ls --json | jq '.images | length')" 0 "images on the full disk"
is "$(ask verify --json | tail -n 1 | jq .ok)" true "what is there is right"
entrepot_stop
say "pull: a full disk"
rm -rf "$W"/small/cache/*
CACHE_MORE="max_size: 1GiB, min_free: 0B" entrepot_start "$NGINX_PORT"
ask pull app:1 >/dev/null 2>"$W/err" && fail "72 MB on a disk of 48"
grep -qiE 'no space|room|full' "$W/err" || fail "the error is: $(cat "$W/err")"
is "$(ask ls --json | jq '[.images[] | select(.cached)] | length')" 0 "images on the full disk"
is "$(ask verify --json | tail -n 1 | jq .ok)" true "what is there is right"
entrepot_stop
