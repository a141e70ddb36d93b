#!/bin/bash
# Random sources, followers, stops and crashes of blobs on their way in against a model that knows every byte (tests/tools/ingest_model.c).
# STEPS in all, SEED to begin with: a few seconds by default. The first seeds are always the same, and settle after each step; on a slow
# machine there are fewer of the others: none is begun after half of the time that a test has (LIMIT). The last line says how many there were.
. "$(dirname "$0")/../lib.sh"

steps=${STEPS:-120000}
seed=${SEED:-$RANDOM}
each=10000
until=$(($(date +%s) + ${LIMIT:-600} / 2))
[ -d /dev/shm ] && [ -w /dev/shm ] && room=/dev/shm/$(basename "$W") || room=$W/room
on_cleanup() { rm -rf "$room"; }
mkdir -p "$room"

run_seed() { # SEED [settled]
    [ $# = 2 ] || [ "$1" = "$seed" ] || [ "$(date +%s)" -lt "$until" ] || return 0
    echo "$1" >>"$W/seeds"
    if ! "$TOOLS/ingest_model" "$room/$1" "$1" "$each" ${2:+"$2"} 2>"$W/$1.err"; then
        tail -n 3 "$W/$1.err"
        return 1
    fi
    ! grep -E 'Sanitizer|runtime error' "$W/$1.err" || return 1
    rm -rf "${room:?}/$1" "$W/$1.err"
}
export -f run_seed
export W TOOLS room each seed until
{
    printf '%s settled\n' 1 2 3
    seq "$seed" $((seed + steps / each - 4))
} | xargs -P "$(nproc)" -L 1 bash -c 'run_seed "$@"' - || fail "an ingest and its model differ; the seed is above"
seeds=$(wc -l <"$W/seeds")
say "$seeds of $((steps / each)) seeds (from $seed on), $((seeds * each)) steps"
