#!/bin/bash
# A peer hangs before its answer, in it, or in the middle of a blob, drips, closes, resets, or has no end: no pull fails, no byte is wrong,
# none takes more than a second longer.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
. tests/cluster/foes.sh.inc
foes_meet hangs hangs-in-head hangs-in-middle drips crawls hangs-and-lives hangs-and-grows drips-and-lives breaks-off floods-headers continues closes resets has-no-end is-huge
