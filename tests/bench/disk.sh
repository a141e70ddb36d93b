#!/bin/bash
# The table of a cold disk: entrepot beside nginx (aio threads, sendfile), one worker each, the same bytes. What a blob takes that is
# not in memory, and how long those wait meanwhile who want a manifest that is; on this machine's disk, and on one that takes
# DELAY ms for each read. Runs are interleaved; medians and the ratio of medians. No pass or fail: machines are noisy.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
. tests/bench/figures.sh.inc
need curl nginx openssl python3
need_root

rounds=${ROUNDS:-5}
mib=${MIB:-256}         # of a blob on this disk
slow_mib=${SLOW_MIB:-32} # and on the slow one
delay=${DELAY:-20}
www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"

blob() { # MIB SEED
    openssl enc -aes-128-ctr -nosalt -pass "pass:$2" -pbkdf2 </dev/zero 2>/dev/null | head -c $(($1 << 20)) >"$W/blob" || true
    local digest
    digest=$(sha256sum <"$W/blob" | sed 's/ .*//')
    mv "$W/blob" "$www/blobs/sha256:$digest"
    echo "$digest"
}
fast=() slow=() entries=
for n in 1 2 3 4 5 6; do
    fast+=("$(blob "$mib" "fast $n")")
    slow+=("$(blob "$slow_mib" "slow $n")")
    entries="$entries,{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:${fast[-1]}\",\"size\":$((mib << 20))}"
    entries="$entries,{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:${slow[-1]}\",\"size\":$((slow_mib << 20))}"
done
printf '{}' >"$W/config"
config=$(sha256sum <"$W/config" | sed 's/ .*//')
mv "$W/config" "$www/blobs/sha256:$config"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":2},"layers":[%s]}' \
    "$config" "${entries#,}" >"$W/manifest"
manifest=$(sha256sum <"$W/manifest" | sed 's/ .*//')
mv "$W/manifest" "$www/manifests/sha256:$manifest"

nginx_start
sed -i 's|access_log .*|access_log off; keepalive_requests 100000000; tcp_nopush on; tcp_nodelay on; aio threads;|' "$W/nginx.conf"
rival() { # again, with the files where they are now
    kill -HUP "$NGINX_PID"
    sleep 0.5
}
rival
entrepot_start "$NGINX_PORT" "workers: 1"
ask pull "docker.io/library/app@sha256:$manifest" >/dev/null
E=http://127.0.0.1:$PORT/v2/app N=http://127.0.0.1:$NGINX_PORT/v2/library/app

forget() { # FILE...: from the page cache
    python3 -c 'import os, sys
for f in sys.argv[1:]:
    fd = os.open(f, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)' "$@"
}
files() { # e|n DIGEST...
    local d
    for d in "${@:2}"; do
        if [ "$1" = e ]; then echo "$W/cache/blobs/sha256/$d"; else echo "$www/blobs/sha256:$d"; fi
    done
}
url() { if [ "$1" = e ]; then echo "$E"; else echo "$N"; fi; }
streams() { # e|n MIB DIGEST...: MiB/s of all of them at once, from the disk
    local d start pids=
    mapfile -t cold < <(files "$1" "${@:3}")
    forget "${cold[@]}"
    start=$(date +%s.%N)
    for d in "${@:3}"; do
        curl -s -o /dev/null "$(url "$1")/blobs/sha256:$d" &
        pids="$pids $!"
    done
    wait $pids
    awk -v s="$start" -v e="$(date +%s.%N)" -v m="$(($2 * ($# - 2)))" 'BEGIN {printf "%.1f\n", m / (e - s)}'
}
p99() { # e|n SECONDS: milliseconds that a manifest takes, one each 4 ms
    python3 - "$(url "$1")" "$manifest" "$2" <<'PY'
import http.client, sys, time, urllib.parse
u = urllib.parse.urlsplit(sys.argv[1])
c, path, waits = http.client.HTTPConnection(u.netloc), u.path + "/manifests/sha256:" + sys.argv[2], []
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    start = time.monotonic()
    c.request("GET", path)
    c.getresponse().read()
    waits.append(time.monotonic() - start)
    time.sleep(0.004)
print("%.2f" % (sorted(waits)[len(waits) * 99 // 100] * 1e3))
PY
}
busy_p99() { # e|n MIB DIGEST...
    local streaming=$W/streaming
    : >"$streaming"
    while [ -e "$streaming" ]; do streams "$@" >/dev/null; done &
    local pid=$!
    sleep 0.3
    p99 "$1" 3
    rm "$streaming"
    wait $pid
}

line() { # NAME UNIT ENTREPOT RIVAL
    local a b
    a=$(echo "$3" | median) b=$(echo "$4" | median)
    printf '%-38s %12s %12s   %s\n' "$1" "$a $2" "$b $2" "$(per "$a" "$b")"
}
table() { # TITLE MIB DIGEST...
    local one_e= one_n= six_e= six_n= quiet_e= quiet_n= busy_e= busy_n=
    for _ in $(seq "$rounds"); do
        one_e="$one_e $(streams e "$2" "$3")" one_n="$one_n $(streams n "$2" "$3")"
        six_e="$six_e $(streams e "${@:2}")" six_n="$six_n $(streams n "${@:2}")"
        quiet_e="$quiet_e $(p99 e 2)" quiet_n="$quiet_n $(p99 n 2)"
        busy_e="$busy_e $(busy_p99 e "${@:2}")" busy_n="$busy_n $(busy_p99 n "${@:2}")"
    done
    echo
    printf '%-38s %12s %12s   %s\n' "$1" entrepot nginx ratio
    line "one cold blob of $2 MiB" MiB/s "$one_e" "$one_n"
    line "six at once" MiB/s "$six_e" "$six_n"
    line "p99 of a warm manifest, quiet" ms "$quiet_e" "$quiet_n"
    line "  while six cold blobs are read" ms "$busy_e" "$busy_n"
}
curl -sf -o /dev/null "$E/manifests/sha256:$manifest"
table "$(nproc) cores, $rounds rounds, medians" "$mib" "${fast[@]}"

# ---- the same on a slow disk ----
entrepot_stop
slow_mount() { # FOLDER
    mv "$1" "$1.kept"
    mkdir "$1"
    "$TOOLS/slow_disk" "$1.kept" "$1" "$delay" >"$W/slow" 2>/dev/null &
    wait_for 5 grep -q " $1 fuse" /proc/self/mounts || skip "$(cat "$W/slow")"
    ls -lR "$1" >/dev/null
}
slow_mount "$W/cache/blobs"
slow_mount "$www/blobs"
rival
entrepot_start "$NGINX_PORT" "workers: 1"
curl -sf -o /dev/null "$E/manifests/sha256:$manifest"
table "a disk with $delay ms for each read" "$slow_mib" "${slow[@]}"
entrepot_stop
