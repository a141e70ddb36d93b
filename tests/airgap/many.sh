#!/bin/bash
# An import of many small images: what is small goes to the daemon, and to its disk, many at a time. A blob that is damaged is named, and
# the others are kept; killed or without room in the middle of a batch, the cache is sound, and the same command goes on.
. "$(dirname "$0")/../lib.sh"
need_root
need strace jq python3
python3 tests/bench/layout.py "$W/layout" 500
tar -C "$W/layout" -cf "$W/layout.tar" .
blobs=$(find "$W/layout/blobs" -type f | wc -l)
here() { find "$W/cache/blobs" -type f | wc -l; }
whole() { ask ls --json | jq '[.images[] | select(.cached and .pinned)] | length'; }
under() { # STRACE-OPTIONS...: what the daemon runs under
    DAEMON=("${TRACED[@]}" -D "$@")
}
start() { SERVE_MORE=--offline CACHE_MORE=${CACHE_MORE-"max_size: 100TiB"} entrepot_start 9; }
is_sound() { # WHEN
    "$TOOLS/check_cache" "$W/cache" >"$W/check.log" || fail "$1: $(cat "$W/check.log")"
    [ "$(here)" = 0 ] || (cd "$W/cache/blobs/sha256" && find . -type f -printf '%f  %p\n' | sha256sum -c --quiet - >"$W/sums" 2>&1) || fail "$1: $(cat "$W/sums")"
}

say "$blobs blobs: syncs where the file system syncs together, and says so, and where it does not"
for kind in tmpfs ramfs; do
    mkdir "$W/$kind"
    mount -t $kind $kind "$W/$kind"
    ln -sfn "$W/$kind" "$W/cache"
    under -e trace=openat,renameat,fsync,fdatasync,syncfs -o "$W/trace"
    start
    ask import "$W/layout.tar" >"$W/said" || fail "import: $(cat "$W/said")"
    is "$(grep -c ': imported, ' "$W/said")" "$blobs" "blobs that are said to be imported"
    is "$(whole)" 500 "images on $kind"
    entrepot_stop
    syncs=$(grep -cE '(fsync|fdatasync|syncfs)\(' "$W/trace")
    say "$syncs syncs on $kind"
    # Created, synced, renamed; then the folder, then the index.
    order=$(sed -nE 's/.*openat\(.*\.tmp", .*O_CREAT.*/C/p; s/.*syncfs\(.*/S/p; s/.*renameat\(.*\.tmp".*/R/p; s/.* fsync\(.*/F/p; s/.*fdatasync\(.*/D/p' "$W/trace" | tr -d '\n')
    case $kind in
        tmpfs)
            [ "$syncs" -lt $((blobs / 10)) ] || fail "$syncs syncs for $blobs blobs"
            [[ "$(tr -s CSRFD <<<"$order")" =~ ^[FD]*(CSRFD[FD]*){2}$ ]] || fail "the order is $order"
            ;;
        ramfs)
            [ "$syncs" -lt $((blobs * 11 / 10)) ] || fail "$syncs syncs for $blobs blobs"
            [[ "$(sed -E 's/(CF)+/C/g' <<<"$order" | tr -s CSRFD)" =~ ^[FD]*(CRFD[FD]*){2}$ ]] || fail "the order is $order"
            ;;
    esac
    is_sound "on $kind"
    umount "$W/$kind"
    rm "$W/cache"
done
DAEMON=()

say "two damaged blobs in the middle"
start
cp -r "$W/layout" "$W/bad"
mapfile -t bad < <(cd "$W/bad/blobs/sha256" && grep -l '^layer' * | sed -n '100p; 300p')
for b in "${bad[@]}"; do sed -i 's/layer/lawyer/' "$W/bad/blobs/sha256/$b"; done
ask import "$W/bad" >"$W/said" 2>"$W/err" && fail "it is imported"
for b in "${bad[@]}"; do
    grep -q "bad: blobs/sha256/$b: [0-9]* bytes that hash to sha256:[0-9a-f]* were to be imported as sha256:$b" "$W/err" ||
        fail "$b is not named: $(cat "$W/err")"
    [ ! -e "$W/cache/blobs/sha256/$b" ] || fail "$b is kept"
done
is "$(whole)" 0 "images of what is not whole"
grep -q "2 of its blobs are damaged: none of its images is imported" "$W/err" || fail "unclear: $(cat "$W/err")"
had=$(here)
is "$had" $((blobs - 2)) "blobs that are kept"
ask import "$W/layout" >"$W/said" || fail "import: $(cat "$W/said")"
is "$(grep -c ': there, ' "$W/said")" "$had" "blobs that were there"
is "$(whole)" 500 "images"
is "$(ask verify --json | tail -n 1 | jq .ok)" true "what is here is right"
entrepot_stop

say "killed in the middle of a batch, wherever that is: written, synced, renamed, its folder synced, in the index"
rm -rf "$W/cache"
mount -t tmpfs tmpfs "$W/tmpfs"
ln -s "$W/tmpfs" "$W/cache"
folder=$W/tmpfs/blobs/sha256
for at in fchmod:when=700 syncfs:when=1 renameat:when=500 fsync:when=1 unlinkat:when=300; do
    find "$W/tmpfs" -mindepth 1 -delete
    mkdir -p "$folder"
    [ "${at%%:*}" = fsync ] && at="$at -P $folder"
    # shellcheck disable=SC2086
    under -e "trace=${at%%:*}" -e inject="${at%%:*}:signal=KILL:"${at#*:} -o /dev/null
    start
    ask import "$W/layout.tar" >"$W/said" 2>"$W/err" && fail "$at: it was not killed"
    wait "$ENTREPOT_PID" 2>/dev/null || true
    is_sound "$at"
    DAEMON=()
    start
    is "$(whole)" 0 "$at: images"
    ask import "$W/layout.tar" >"$W/said" || fail "$at: $(cat "$W/said")"
    is "$(whole)" 500 "$at: images in the end"
    is "$(here)" "$blobs" "$at: files"
    is "$(ls "$W/cache/ingest")" "" "$at: left under way"
    entrepot_stop
    is_sound "$at, in the end"
done

say "what could not be synced is not kept"
find "$W/tmpfs" -mindepth 1 -delete
under -e trace=syncfs -e inject=syncfs:error=EIO -o /dev/null
start
ask import "$W/layout.tar" >"$W/said" 2>"$W/err" && fail "it is imported"
grep -q 'syncing what was written to .*: Input/output error' "$W/err" || fail "unclear: $(cat "$W/err")"
is "$(here) $(ls "$W/cache/ingest")" "0 " "blobs, and what is left under way"
entrepot_stop
DAEMON=()
umount "$W/tmpfs"
rm "$W/cache"

say "no room: for what is left, on the disk"
CACHE_MORE="max_size: 300KiB" start
ask import "$W/layout.tar" >"$W/said" 2>"$W/err" && fail "it is imported"
grep -q 'there is no room for [0-9]* bytes: cache.max_size' "$W/err" || fail "unclear: $(cat "$W/err")"
is "$(whole)" 0 "images"
python3 tests/bench/layout.py "$W/few" 5
ask import "$W/few" >"$W/said" || fail "room that was asked for is not given back: $(cat "$W/said")"
entrepot_stop
rm -rf "$W/cache"
mkdir "$W/small"
mount -t tmpfs -o size=4M tmpfs "$W/small"
ln -s "$W/small" "$W/cache"
start
ask import "$W/layout.tar" >"$W/said" 2>"$W/err" && fail "it is imported"
grep -qiE 'no space|room' "$W/err" || fail "unclear: $(cat "$W/err")"
is "$(ls "$W/cache/ingest")" "" "left under way on the full disk"
entrepot_stop
is_sound "on the full disk"
