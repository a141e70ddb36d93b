#!/bin/bash
# How a registry may answer a request of several ranges, right and wrong: the client gets its bytes, and a registry that has no such
# answer is not asked for one again. And clients that read slowly over pieces that are here. CASES: a pattern.
. "$(dirname "$0")/../lib.sh"
need python3
python3 tests/concurrency/answers.py "$ENTREPOT" "$W" "$(free_port)" "$(free_port)" "${CASES:-.}" &
PIDS+=($!)
wait $! || fail "see above"
