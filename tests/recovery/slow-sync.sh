#!/bin/bash
# A disk whose syncs take long: a cold manifest is answered all the same, and the log says that the disk is what was waited for.
. "$(dirname "$0")/../lib.sh"
need curl umoci skopeo docker-registry
registry_start
image_build demo
image_push demo 1
LD_PRELOAD=$TOOLS/slow_sync.so SLOW_SYNC_MS=400 entrepot_start "$REGISTRY_PORT"
get() { curl -sf -o /dev/null -H 'Accept: */*' "http://127.0.0.1:$PORT/v2/library/demo/manifests/1"; }
get || fail "a manifest on a slow disk"
slow='the disk took [0-9]* ms to sync a manifest of docker.io/library/demo; clients wait'
grep -q "$slow" "$W/entrepot.log" || fail "the log does not say so"
get || fail "a manifest that is cached"
is "$(grep -c "$slow" "$W/entrepot.log")" 1 "what the log says of a cached manifest"
