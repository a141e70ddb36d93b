#!/bin/bash
# Random operations on cache and collector against a simple model, with kill -9 in between (tests/tools/gc_model.c). OPERATIONS
# in all (1 000 000), SEED to begin with. On a slow machine there are fewer: no seed is begun after half of the time that a test has
# (LIMIT), but for the first ones, and the last line says how many there were.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"

operations=${OPERATIONS:-1000000}
seed=${SEED:-$RANDOM}
each=10000
least=5
export until=$(($(date +%s) + ${LIMIT:-600} / 2))
[ -d /dev/shm ] && [ -w /dev/shm ] && room=/dev/shm/$(basename "$W") || room=$W/room
on_cleanup() { rm -rf "$room"; }
mkdir -p "$room"
seq "$seed" $((seed + operations / each - 1)) |
    xargs -P "$(nproc)" -I{} sh -c "[ {} -lt $((seed + least)) ] || [ \$(date +%s) -lt \$until ] || exit 0; echo {} >>'$W/seeds'; '$TOOLS/gc_model' '$room/{}' {} $each 2>'$W/{}.err' || { tail -n 3 '$W/{}.err'; exit 1; }; rm -rf '$room/{}'" ||
    fail "a model and its cache differ; the seed is above"
seeds=$(wc -l <"$W/seeds")
say "$seeds of $((operations / each)) seeds, $((seeds * each)) operations"
