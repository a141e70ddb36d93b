#!/bin/bash
# What today's engines do when entrepot is stopped, hangs, answers 404 or 5xx, or has no room: docs/engines.md, "When entrepot does not
# answer".
STATES=${STATES:-on stopped hung 404 5xx blob-5xx restarted full proxy-stopped proxy-hung}
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
. tests/fallback.sh.inc
fallback_table "${ENTREPOT_SID:?the folder that tests/engines/chroot has made}"
