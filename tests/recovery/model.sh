#!/bin/bash
# Random operations on cache and collector against a simple model, with kill -9 in between (tests/tools/gc_model.c). OPERATIONS
# in all (1 000 000), SEED to begin with.
. "$(dirname "$0")/../lib.sh"

operations=${OPERATIONS:-1000000}
seed=${SEED:-$RANDOM}
each=10000
[ -d /dev/shm ] && [ -w /dev/shm ] && room=/dev/shm/$(basename "$W") || room=$W/room
on_cleanup() { rm -rf "$room"; }
mkdir -p "$room"
seq "$seed" $((seed + operations / each - 1)) |
    xargs -P "$(nproc)" -I{} sh -c "'$TOOLS/gc_model' '$room/{}' {} $each 2>'$W/{}.err' || { tail -n 3 '$W/{}.err'; exit 1; }; rm -rf '$room/{}'" ||
    fail "a model and its cache differ; the seed is above"
say "$((operations / each * each)) operations"
