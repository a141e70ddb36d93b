#!/bin/bash
# The section cluster needs a restart: a reload leaves the address for other nodes as it was, and opens none, whatever it says.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
etcds_start
is_answered() { # STATUS PORT: 000, nobody listens
    local got
    got=$(curl -s -m 5 -o "$W/answer" -w '%{http_code}' "http://$(node_at 1):$2/v2/" || true)
    [ "$got" = "$1" ] || fail "port $2 answers $got: $(cat "$W/answer")"
}

CLUSTER='' start_node 1
node_config 1
node_ask 1 reload | grep -q "needs a restart: cluster.advertise" || fail "a new section is not told"
is_answered 000 5443
stop_node 1

start_node 1
is_answered 403 5443
sed -i 's/advertise: "\([^:]*\):5443"/advertise: "\1:5444"/' "$W/node-1.yaml"
node_ask 1 reload >"$W/said"
is_answered 403 5443
is_answered 000 5444
CLUSTER='' node_config 1
node_ask 1 reload >"$W/said"
is_answered 403 5443
stop_node 1
