#!/bin/bash
# `entrepot ls` of a cache of 5000 images (IMAGES): seconds for all of them and for one, and the memory of the daemon afterwards.
. "$(dirname "$0")/../lib.sh"
images=${IMAGES:-5000}
"${B:-build}/tests/bench/scale" "$W/cache" make "$images" 1 2>"$W/make.log" || fail "$(tail -n 1 "$W/make.log")"
CACHE_MORE="max_size: 100TiB"
entrepot_start 9 "gc: {interval: 1h}"
memory() { awk '/^Rss(Anon|Shmem)/ {n += $2} END {printf "%.1f MiB", n / 1024}' "/proc/$ENTREPOT_PID/status"; }
median() { # COMMAND...: of nine times, in ms
    for _ in 1 2 3 4 5 6 7 8 9; do
        local began
        began=$(date +%s%N)
        "$@" >"$W/out"
        echo $((($(date +%s%N) - began) / 10000))
    done | sort -n | awk 'NR == 5 {print $1 / 100}'
}
sleep 3 # reconcile
before=$(memory)
begin=$(median ask version --json) # the shell, the program and its libraries
less() { awk "BEGIN {printf \"%.1f\", $1 - $begin}"; }
all=$(median ask ls) one=$(median ask ls docker.io/team1/app1:v1)
echo "ls of $images images: $all ms, of one: $one ms; of these, $begin ms are any command's (version): without them $(less "$all") ms and $(less "$one") ms"
lists=()
for _ in 1 2 3 4 5; do
    ask ls --json >/dev/null &
    lists+=($!)
done
wait "${lists[@]}"
echo "memory of the daemon: $before before, $(memory) after"
entrepot_stop
