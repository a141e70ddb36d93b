#!/bin/bash
# Whatever a client sends, it gets a clean 4xx with the registry API's error JSON, or a closed connection where the framing is
# lost; the daemon goes on.
. "$(dirname "$0")/../lib.sh"
entrepot_start 9 "offline: true"
python3 tests/concurrency/bad_input.py "$PORT"
kill -0 "$ENTREPOT_PID" || fail "the daemon is gone"
entrepot_stop
