#!/bin/bash
# What this system's engines do when entrepot is stopped, hangs, answers 404 or 5xx, or has no room: docs/engines.md, "When entrepot does
# not answer".
# Takes minutes.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
. tests/fallback.sh.inc
fallback_table /
