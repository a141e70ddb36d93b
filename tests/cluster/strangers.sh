#!/bin/bash
# Nobody who is not of the cluster gets anything at a node's address for peers: without a proof, with a wrong one, another's, one that was
# used, or from a clock that is wrong. A node whose clock is wrong by ten minutes is told from the others, and pulls go on.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
. tests/cluster/foes.sh.inc
foes_start honest
image app:1 first 9M 300K >"$W/app"
read -r digest bytes <"$W/app"
etcd_add 127.0.3.1:5443 1
nodes_meet 1
pull_at_once library/app:1 1 2
is_pulled "$digest" "$bytes"
etcd_remove 127.0.3.1:5443
blob=$(seen 1 library/app:1 | sed -n 's/^blob \(sha256:[0-9a-f]*\) .*/\1/p' | tail -n 1)
stranger() { python3 "$HERE/strangers.py" "$(node_at 1):5443" "$(node_at 2):5443" "$W/cluster.secret" "$W/foes" "$blob" "/v2/library/app/blobs/$blob?ns=docker.io" "$@"; }
stranger || fail "a stranger was let in, or a node was refused"

say "a crowd of connections at both nodes' addresses for peers"
coproc CROWD { stranger crowd; }
PIDS+=("$CROWD_PID")
read -r -t 10 held <&"${CROWD[0]}" || fail "no crowd"
image crowd:1 crowd 9M 300K >"$W/app"
read -r digest bytes <"$W/app"
pull_at_once library/crowd:1 1 2
is_pulled "$digest" "$bytes"
say "  $(slowest) s beside them"
awk -v s="$(slowest)" 'BEGIN {exit !(s < 3.5)}' || fail "a pull beside a crowd took $(slowest) s"
kill "$CROWD_PID"

say "a node whose clock is ten minutes slow"
lib=$(find /usr/lib -name libfaketime.so.1 | head -n 1)
[ -n "$lib" ] || skip "needs libfaketime"
nodes_meet
NODE_DAEMON=(env LD_PRELOAD="$lib" FAKETIME=-600s FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1)
node_launch 3
NODE_DAEMON=()
node_wait 3
nodes_meet
for round in 1 2; do
    image "clock$round:1" "clock$round" 13M 300K >"$W/app"
    read -r digest bytes <"$W/app"
    upstream_zero
    pull_at_once "library/clock$round:1" 1 2 3
    is_pulled "$digest" "$bytes"
    say "  $(slowest) s; the registry sent $(awk -v s="$(upstream_bytes)" -v b="$bytes" 'BEGIN {printf "%.2f", s / b}') x"
    awk -v s="$(slowest)" 'BEGIN {exit !(s < 3.5)}' || fail "a pull with a wrong clock took $(slowest) s"
done
for k in 1 3; do node_ask $k peers | grep -qi clock || fail "node $k does not tell of the clock: $(node_ask $k peers)"; done
say "another secret"
stop_node 3
(umask 077 && head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$W/other.secret")
TRUST="secret_file: $W/other.secret"
start_nodes 3
image secret:1 secret 13M 300K >"$W/app"
read -r digest bytes <"$W/app"
pull_at_once library/secret:1 1 2 3
is_pulled "$digest" "$bytes"
say "  $(slowest) s"
awk -v s="$(slowest)" 'BEGIN {exit !(s < 3.5)}' || fail "a pull with another secret took $(slowest) s"
node_ask 3 peers | grep -qi secret || fail "node 3 does not tell of the secret: $(node_ask 3 peers)"
