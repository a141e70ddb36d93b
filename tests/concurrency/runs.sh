#!/bin/bash
# A blob comes over several connections, each of which the registry may refuse, break, cut short, or fill with something else; a piece of a
# cold blob comes as such; what is here of a blob that is not whole is served without the registry, to those alone who may read it. CASES: a pattern.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
need python3
python3 tests/concurrency/runs.py "$ENTREPOT" "$W" "$(free_port)" "$(free_port)" "${CASES:-.}" &
PIDS+=($!)
wait $! || fail "see above"
