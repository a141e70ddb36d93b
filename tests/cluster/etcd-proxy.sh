#!/bin/bash
# A proxy that the environment names is not used for etcd, wherever etcd is.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
ip addr add 10.9.0.1/32 dev lo
HOST=10.9.0.1
. "$(dirname "$0")/etcd.sh.inc"
etcd_all
# It leads nowhere.
export http_proxy=http://10.9.0.1:1 HTTP_PROXY=http://10.9.0.1:1 all_proxy=http://10.9.0.1:1
node a 10.0.0.1:5443
expect 5 a "10.0.0.1:5443" "with a proxy"
wait_for 5 is_ok a true || fail "a is not well: $(cat "$W/a.out")"
kill "${NODES[a]}"
wait "${NODES[a]}" || fail "a ended with $?"
