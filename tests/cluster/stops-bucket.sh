#!/bin/bash
# A node stops, by SIGTERM, while it uploads blobs to a slow bucket and while it reads from it: it ends by itself, with status 0, soon.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
tools=$(tests/cluster/tools 2>"$W/tools.out") || skip "needs versitygw, by Go: $(tail -n 1 "$W/tools.out")"
mkdir -p "$W/root/images" "$W/iam"
head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$W/key"
gateway=$(free_port)
ROOT_ACCESS_KEY=node ROOT_SECRET_KEY=$(cat "$W/key") "$tools/versitygw" --port "127.0.0.1:$gateway" --quiet --keep-alive --iam-dir "$W/iam" \
    --health /health posix "$W/root" >>"$W/gateway.log" 2>&1 &
PIDS+=($!)
wait_for 20 curl -sf "http://127.0.0.1:$gateway/health" || fail "the gateway does not start"
relay=$(free_port)
"$TOOLS/relay" "$relay" "$gateway" 1 0 6000000 >>"$W/relay.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -sf "http://127.0.0.1:$relay/health" || fail "the relay does not start"
upstream_start
CLUSTER=
NODE_MORE="cluster: {shared: {s3: \"http://127.0.0.1:$relay\", bucket: images, credentials: {username: node, password_file: $W/key}}}"
image app:1 first 30M 12M 100K >"$W/app"
read -r digest bytes <"$W/app"

for after in 0 0.2 0.7; do
    start_nodes 1
    pull_at_once library/app:1 1
    is_pulled "$digest" "$bytes"
    sleep $after
    started=$(date +%s%N)
    stop_node 1
    say "$after s after a pull: ended after $((($(date +%s%N) - started) / 1000000)) ms"
    rm -rf "$W/node-1"
done
say "until all is there"
start_nodes 1
pull_at_once library/app:1 1
is_there() { [ "$(find "$W/root/images/entrepot/blobs" -type f -size +90k | wc -l)" = 3 ]; }
wait_for 60 is_there || fail "the bucket has $(find "$W/root/images" -type f)"
stop_node 1
for after in 0.2 0.7; do
    rm -rf "$W/node-1"
    start_nodes 1
    timeout 30 python3 "$HERE/pull.py" "$(node_at 1):5000" library/app:1 >"$W/pulled-1" 2>&1 &
    client=$!
    sleep $after
    kill $client
    started=$(date +%s%N)
    stop_node 1
    say "$after s after the begin of a pull from the bucket: ended after $((($(date +%s%N) - started) / 1000000)) ms"
done
say "a whole pull from the bucket is listed as one"
rm -rf "$W/node-1"
start_nodes 1
pull_at_once library/app:1 1
is_pulled "$digest" "$bytes"
listed() { [ "$(node_ask 1 pulls --json | wc -l)" = 1 ]; }
wait_for 40 listed || fail "no pull is listed: $(node_ask 1 pulls --json)"
received=$(node_metric 1 entrepot_upstream_received_bytes_total)
shared=$(node_metric 1 'entrepot_shared_bytes_total{direction="read"}')
node_ask 1 pulls --json >"$W/json"
jq -e ".bytes_from_shared >= 42000000 and .bytes_from_shared <= $shared and .bytes_from_upstream <= $received and .bytes_from_peers == 0" \
    "$W/json" >/dev/null || fail "$received from the registry, $shared from the bucket: $(cat "$W/json")"
node_ask 1 pulls | tail -n 1 | grep -Eq ' [0-9.]+ [KM]?i?B +4[0-9]\.[0-9] MiB ' || fail "not in the column: $(node_ask 1 pulls)"
grep -Eq 'pull of .*, 4[0-9]\.[0-9] MiB from the bucket, ' "$W/node-1.log" || fail "the log: $(grep 'pull of' "$W/node-1.log")"
stop_node 1
