#!/bin/bash
# Archives that somebody made to do harm, or that are only large: an import takes time in proportion to what there is.
. "$(dirname "$0")/../lib.sh"
. tests/airgap/airgap.sh.inc

say "what an archive has is found out in linear time, and nobody is asked before that"
for kind in about tags referrers ids files; do
    python3 tests/airgap/hostile.py "$kind" "$W/$kind.tar"
    # Seconds of the processor: 1 or 2 of a slow one. What is quadratic takes 10 to 40.
    if (ulimit -t 6 && exec "$ENTREPOT" import "$W/$kind.tar" --name 'r.test/a/b:{tag}' --socket "$W/none") >"$W/said" 2>&1; then fail "without a daemon?"; fi
    grep -q 'nothing answers on' "$W/said" || fail "$kind: $(tail -n 1 "$W/said")"
done
entrepot_start 9 "offline: true"
for kind in tags files; do
    (ulimit -t 6 && exec "$ENTREPOT" import "$W/$kind.tar" --name 'r.test/a/b:{tag}' --socket "$W/admin.sock") >"$W/said" 2>&1 ||
        fail "$kind: $(tail -n 1 "$W/said")"
done
is "$(ask ls --json | jq '.images | length')" 20001 "images that are here"
entrepot_stop
