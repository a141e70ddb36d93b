#!/bin/bash
# What this system's engines do when entrepot is stopped, hangs, answers 404 or 5xx, or has no room: docs/engines.md, "When entrepot does
# not answer". With ALL=yes, as `make test-engines` has it, it hangs until Docker gives it up, and is killed amid layers, too.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
[ -n "${ALL:-}" ] || STATES=${STATES:-on stopped hung 404 5xx blob-5xx full proxy-stopped} HUNG_S=${HUNG_S:-3}
. tests/fallback.sh.inc
fallback_table /
