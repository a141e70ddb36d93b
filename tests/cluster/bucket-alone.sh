#!/bin/bash
# A node that has a bucket and no peers: pulls go on while the bucket is not there, and its peers are none.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
upstream_start
CLUSTER=
NODE_MORE='cluster: {shared: {s3: "http://127.0.0.1:9", bucket: images}}'
start_nodes 1
image app:1 first 10M 100K >"$W/app"
read -r digest bytes <"$W/app"
pull_at_once library/app:1 1
is_pulled "$digest" "$bytes"
is_once "$bytes" "a bucket that is not there"
pull_at_once library/app:1 1
is_pulled "$digest" "$bytes"
is_once "$bytes" "and again, from the cache"
stop_node 1
