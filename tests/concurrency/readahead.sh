#!/bin/bash
# The layers behind the one that a client fetches are fetched before it asks for them, and each once; not of an image that is fetched in
# pieces, nor when that is switched off; and it ends when the client is gone, or when the registry refuses.
. "$(dirname "$0")/../lib.sh"
need python3
ahead() { # CASES...
    python3 tests/concurrency/readahead.py "$PORT" "$UPSTREAM" "$@" &
    PIDS+=($!)
    wait $! || fail "see above"
}
UPSTREAM=$(free_port)
AHEAD="  - {name: ahead.test, insecure: true, stall_timeout: 60s, endpoints: ['http://127.0.0.1:$UPSTREAM']}"
entrepot_start "$UPSTREAM" "$AHEAD"
ahead order stored pieces turned seekable refused private gone
for name in used wasted; do
    [ "$(metric "entrepot_readahead_blobs_total{result=\"$name\"}")" -gt 0 ] || fail "no layer was $name"
done
entrepot_stop
CACHE_MORE="readahead: 0" entrepot_start "$UPSTREAM" "$AHEAD"
ahead none
entrepot_stop
CACHE_MORE="fetch: lazy" entrepot_start "$UPSTREAM" "$AHEAD"
ahead lazy
entrepot_stop
