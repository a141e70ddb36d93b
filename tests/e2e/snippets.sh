#!/bin/bash
# What README.md and docs/engines.md tell a newcomer to write and to type works as it stands, with the engines of this system.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
. tests/snippets.sh.inc
on_cleanup() { containerd_stop; docker_stop; }

node_begin /
registry_start
snippets_images
entrepot_start "$REGISTRY_PORT" "$(snippets_upstreams)"
snippets_try
containerd_stop
entrepot_stop
