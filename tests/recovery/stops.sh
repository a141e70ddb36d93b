#!/bin/bash
# The daemon is told to stop at random moments: once or twice, during downloads, commits, imports and collections, on a disk whose syncs
# are slow. It ends by itself, without a sanitizer's report; after one SIGTERM no request is cut that could have ended within its half
# minute; the index agrees with the files. And while a slow disk keeps pulls waiting, a pin does not wait for them. STOPS (12; 200 in `make soak`): how often. SEED: of an earlier run.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
need python3
STOPS=${STOPS:-12}
SEED=${SEED:-$RANDOM}
say "$STOPS stops, seed $SEED"
python3 tests/recovery/stops.py "$ENTREPOT" "$TOOLS" "$W" "$(free_port)" "$STOPS" "$SEED" || fail "see above"
