#!/bin/bash
# A disk that is full, or fails, under the cache: a small ext4 of its own on a loop device. Pulls go on, unstored if need be; the
# index stays sound; the log says so once, not a thousand times; and when the disk is well again, so is the cache. So it is with a blob
# whose size its registry does not say. Blobs come over several connections each, and pieces of them are among the requests. FETCH: the
# setting of `fetch`.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root

truncate -s 96M "$W/disk"
mkfs.ext4 -q -m 0 "$W/disk"
mkdir "$W/mnt"
mount -o loop "$W/disk" "$W/mnt" || skip "no loop devices here"
ln -s "$W/mnt/cache" "$W/cache"
mkdir "$W/mnt/cache"

www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"
for i in $(seq 8); do
    openssl enc -aes-128-ctr -nosalt -pass "pass:disk$i" -pbkdf2 </dev/zero 2>/dev/null | head -c 20000000 >"$W/blob" || true
    d=$(sha256sum <"$W/blob" | sed 's/ .*//')
    mv "$W/blob" "$www/blobs/sha256:$d"
    printf '{"schemaVersion":2,"config":{"digest":"sha256:%064d","size":2},"layers":[{"digest":"sha256:%s","size":20000000}]}' "$i" "$d" >"$W/m"
    m=$(sha256sum <"$W/m" | sed 's/ .*//')
    cp "$W/m" "$www/manifests/sha256:$m"
    mv "$W/m" "$www/manifests/v$i"
    echo "$d $m" >>"$W/images"
done
nginx_start
throttle_start "$NGINX_PORT" 30000000
CACHE_MORE="max_size: 1GiB, min_free: 0B"
UNSAID=$(free_port)
python3 tests/concurrency/endless.py "$UNSAID" "$W/requests" &
PIDS+=($!)
start() { entrepot_start "$THROTTLED_PORT" "
  - {name: unsaid.test, insecure: true, endpoints: ['http://127.0.0.1:$UNSAID']}
gc: {grace: ${1:-1h}, interval: 1h}
tags: {ttl: 1h}"; }
image() { sed -n "$1p" "$W/images"; }
fetch() { curl -s --max-time 60 -o "$2" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/app/$1"; }
pull() { # N: manifest by tag, blob whole, and a part of it at the same time; right or nothing
    local d m code range
    read -r d m < <(image "$1")
    code=$(fetch "manifests/v$1" "$W/got-$1")
    is "$code" 200 "manifest of image $1"
    is "$(sha256sum <"$W/got-$1" | sed 's/ .*//')" "$m" "manifest of image $1"
    pull_range "$1" &
    range=$!
    code=$(fetch "blobs/sha256:$d" "$W/got-$1")
    is "$code" 200 "blob of image $1"
    is "$(sha256sum <"$W/got-$1" | sed 's/ .*//')" "$d" "blob of image $1 ($(stat -c %s "$W/got-$1") bytes)"
    wait $range || fail "a part of image $1"
}
pull_range() {
    local d m
    read -r d m < <(image "$1")
    curl -s --max-time 60 -r 5000000-12345677 -o "$W/part-$1" "http://127.0.0.1:$PORT/v2/app/blobs/sha256:$d"
    is "$(sha256sum <"$W/part-$1")" "$(tail -c +5000001 "$www/blobs/sha256:$d" | head -c 7345678 | sha256sum)" "a part of image $1"
}
sound() { "$TOOLS/check_cache" "$W/cache" --settled >"$W/check.out" || fail "$1: $(cat "$W/check.out")"; }
few() { # PATTERN MAX
    local n
    n=$(grep -cE "$1" "$W/entrepot.log" || true)
    [ "$n" -ge 1 ] && [ "$n" -le "$2" ] || fail "the log says \"$1\" $n times"
}

say "160 MB through a disk of 96: what fits is kept, the rest is passed on"
start
pids=
for i in $(seq 8); do pull "$i" & pids="$pids $!"; done
for p in $pids; do wait "$p" || fail "a pull on a full disk"; done
for i in 2 5 8; do pull_range $i; done
[ "${PARALLEL:-4}" = 1 ] || [ "$(blob_connections)" -gt 1 ] || fail "each blob came over one connection"
few "disk is full" 3
few "writing a blob to the cache: No space left" 2
# Eight that grow alike may fill the disk before one of them is whole; one after the other, what fits stays.
for i in $(seq 8); do pull "$i"; done
hits=$(metric 'entrepot_requests_total{method="GET",kind="blob",upstream="docker.io",result="hit"')
for i in $(seq 8); do pull "$i"; done
[ "$(metric 'entrepot_requests_total{method="GET",kind="blob",upstream="docker.io",result="hit"')" -ge $((hits + 3)) ] || fail "nothing was kept"
say "memory while relaying: $(awk '/^VmHWM/ {print int($2 / 1024)}' /proc/$ENTREPOT_PID/status) MiB at most"
entrepot_stop
sound "after a full disk"

say "not a byte left, for the index neither"
start
cat /dev/zero >"$W/mnt/filler" 2>/dev/null || true
pids=
for i in $(seq 8); do pull "$i" & pids="$pids $!"; done
for p in $pids; do wait "$p" || fail "a pull without a byte left"; done
curl -s "http://127.0.0.1:$UNSAID/v2/fine/manifests/1" >"$W/m"
d=$(jq -r '.layers[0].digest' "$W/m")
kept=$(ls "$W/mnt/cache/blobs/sha256" | wc -l)
for _ in 1 2; do
    code=$(curl -s --max-time 60 -o "$W/got" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/unsaid.test/unsaid/blobs/$d")
    is "$code sha256:$(sha256sum <"$W/got" | sed 's/ .*//')" "200 $d" "a blob of unknown size"
done
is "$(ls "$W/mnt/cache/blobs/sha256" | wc -l)" "$kept" "blobs after it"
for n in $(seq 40); do fetch "manifests/none-$n" /dev/null >/dev/null; fetch "manifests/v$((n % 8 + 1))" /dev/null >/dev/null; done
[ "$(wc -l <"$W/entrepot.log")" -lt 120 ] || fail "the log has $(wc -l <"$W/entrepot.log") lines"
entrepot_stop
sound "without a byte left"

say "the collector can let go although there is no room to write so"
: >"$W/entrepot.log"
start 0s
cat /dev/zero >>"$W/mnt/filler" 2>/dev/null || true
before=$(du -sm "$W/mnt/cache/blobs" | sed 's/\t.*//')
ask gc --to 1MiB >"$W/gc.out" || fail "gc: $(cat "$W/gc.out") $(tail -n 3 "$W/entrepot.log")"
after=$(du -sm "$W/mnt/cache/blobs" | sed 's/\t.*//')
[ "$after" -lt "$before" ] || fail "it freed nothing: $before MiB before, $after after"
for i in 1 2 3; do pull $i; done
rm "$W/mnt/filler"
ask gc --to 1KiB >/dev/null
say "and once there is room again, blobs are kept again"
pull 1
entrepot_stop
start
before=$(grep -c . "$W/nginx.access")
pull 1
is "$(grep -c . "$W/nginx.access")" "$before" "requests upstream for an image that was kept"
entrepot_stop
sound "with room again"

# ---- a disk that fails ----
need strace
failing() { # SYSCALLS[:WHEN] COMMAND...
    local what=${1%%:*} when=${1#"${1%%:*}"}
    strace -qq -f -p "$ENTREPOT_PID" -e "trace=$what" -e "inject=$what:error=EIO$when" -o /dev/null &
    STRACE=$!
    sleep 0.5
    "${@:2}"
    kill $STRACE
    wait $STRACE 2>/dev/null || true
}
many() { for i in "$@"; do pull "$i"; done; }
: >"$W/entrepot.log"
rm -rf "$W/mnt/cache"
mkdir "$W/mnt/cache"
say "every write fails"
start
failing pwrite64,pwritev,fsync,fdatasync many 1 2 3
[ "$(wc -l <"$W/entrepot.log")" -lt 60 ] || fail "the log has $(wc -l <"$W/entrepot.log") lines"
say "every third write fails"
failing pwrite64,pwritev,fsync,fdatasync,renameat:when=3+3 many 1 2 3
say "and none does: everything is kept"
many 1 2 3
many 1 2 3
before=$(grep -c . "$W/nginx.access")
many 1 2 3
is "$(grep -c . "$W/nginx.access")" "$before" "requests upstream for what is kept"
say "reads fail: the client is cut off once, and the next time it is right"
read -r d m < <(image 1)
try() { fetch "blobs/sha256:$d" "$W/got" >/dev/null || true; }
failing sendfile,pread64:when=1+2 try
try_until() { for _ in 1 2 3; do try; [ "$(sha256sum <"$W/got" | sed 's/ .*//')" = "$d" ] && return; done; fail "the blob stays unreadable"; }
try_until
entrepot_stop
sound "after failing reads and writes"
