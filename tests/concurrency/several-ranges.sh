#!/bin/bash
# An engine that has most files of a layer asks for the others: hundreds of ranges of a blob in one request (podman with zstd:chunked). It
# gets these bytes and no others, each once, whether the blob is here, arrives, is cold, or is passed on without caching.
. "$(dirname "$0")/../lib.sh"
UPSTREAM=$(free_port)
CACHE_MORE="blob_max: 8MiB" entrepot_start "$UPSTREAM"
python3 tests/concurrency/several_ranges.py "$PORT" "$UPSTREAM" || fail "see above"
kill -0 "$ENTREPOT_PID" || fail "the daemon is gone"
entrepot_stop
