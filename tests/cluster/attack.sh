#!/bin/bash
# Who reaches a node's address for peers without the cluster's secret gets nothing there, and who has the secret gets no more than blobs and
# manifests of the registries that the node serves; neither keeps clients from theirs, ends the daemon, or makes it grow.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
upstream_start
etcds_start
image app:1 first 9M 300K >"$W/app"
read -r digest bytes <"$W/app"
start_nodes 2
pull_at_once library/app:1 1 2
is_pulled "$digest" "$bytes"
blob=$(seen 1 library/app:1 | sed -n 's/^blob \(sha256:[0-9a-f]*\) .*/\1/p' | tail -n 1)
for who in outsider insider; do
    say "$who"
    timeout 60 python3 "$HERE/attack.py" $who "$(node_at 1):5443" "$(node_at 1):5000" "$W/cluster.secret" "${NODE_PID[1]}" "$blob" || fail "an $who"
    kill -0 "${NODE_PID[1]}" || fail "the daemon has ended"
done
say "what others pull after it"
image app:2 second 9M 300K >"$W/app"
read -r digest bytes <"$W/app"
pull_at_once library/app:2 1 2
is_pulled "$digest" "$bytes"
say "  $(slowest) s"
