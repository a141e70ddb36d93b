#!/bin/bash
# What README.md and docs/engines.md tell a newcomer to write and to type works as it stands, with the engines of Debian sid.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
. tests/snippets.sh.inc
on_cleanup() { containerd_stop; docker_stop; }
SID=${ENTREPOT_SID:?the folder that tests/engines/chroot has made}

node_begin "$SID"
registry_start
snippets_images
# The commands for signatures want one, and its key.
n cosign generate-key-pair 2>>"$W/cosign.log"
n cosign sign --yes --key cosign.key --allow-http-registry --use-signing-config=false --tlog-upload=false \
    "127.0.0.1:$REGISTRY_PORT/org/app@$(upstream_digest alpine 3)" 2>>"$W/cosign.log" || fail "cosign sign"
entrepot_start "$REGISTRY_PORT" "$(snippets_upstreams)"
snippets_try
entrepot_stop
