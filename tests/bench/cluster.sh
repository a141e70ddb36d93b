#!/bin/bash
# N nodes pull one cold image at once, each over a link of RATE Mbit each way; beside it one node alone over the same link, in turns; and
# what the simulator (tests/sim) says of both. The registry's link has no limit. MEMBERS=etcd: the list is in etcd, not in DNS.
# PULLER=containerd: a containerd beside each node pulls, `ctr content fetch` into an empty store, not a script that keeps nothing.
#
#     N=4 RATE=200 SIZE=256 (MiB) ROUNDS=3 make bench-cluster
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/bench/figures.sh.inc
members=${MEMBERS:-dns}
. tests/cluster/nodes.sh.inc
if [ "${PULLER:-}" = containerd ]; then
    . tests/cluster/engines.sh.inc
    pull() { engine_pull "$1" "$2" content fetch; }
fi
nodes=${N:-4} rate=${RATE:-200} size=${SIZE:-256} rounds=${ROUNDS:-3}
need tc
rules=${RULES-} # of the simulator, if not what the daemon does: in-order, late
sim=$PWD/${B:-build}/tests/sim/sim

link_in() { on_node "$1" awk '$1 == "eth0:" {print $2}' /proc/self/net/dev; } # NODE: bytes so far
cold_nodes() { # COUNT
    local k
    for k in "${!NODE_PID[@]}"; do stop_node "$k"; done
    for k in $(seq "$1"); do rm -rf "$W/node-$k"; done
    if [ "$members" = dns ] && [ -n "$CLUSTER" ]; then dns_set $(seq "$1"); fi
    start_nodes "$1"
    [ "${PULLER:-}" = containerd ] || return 0
    for k in "${!ENGINE_PID[@]}"; do engine_end "$k"; done
    for k in $(seq "$1"); do engine_start "$k"; done
}
# KEY COUNT: the seconds of the slowest node, of the middle one, bytes upstream, the least use of a link while its node waited
measure() {
    local k before=() seconds use least=100 after
    cold_nodes "$2"
    upstream_zero
    for k in $(seq "$2"); do before[k]=$(link_in "$k"); done
    PATIENCE=120 pull_at_once library/app:1 $(seq "$2")
    is_pulled "$digest" "$bytes"
    for k in $(seq "$2"); do
        after=$(link_in "$k")
        seconds=$(cut -d ' ' -f 1 "$W/pulled-$k")
        use=$(awk -v b=$((after - before[k])) -v s="$seconds" -v r="$rate" 'BEGIN {printf "%d", b / s / (r * 1250)}')
        [ "$use" -ge $least ] || least=$use
    done
    echo "$(slowest) $(cut -d ' ' -f 1 "$W/pulled" | median) $(upstream_bytes) $least" >>"$W/measured-$1"
}
column() { cut -d ' ' -f "$2" "$W/measured-$1" | median; } # KEY COLUMN
predicted() { # NAME=VALUE...: the line of the simulator, as variables
    eval "$("$sim" run zones=1 layers=4 mib="$size" mbit="$rate" registry-mbit=100000 each-mbit=100000 registry-ms=0.2 step-ms=2 "$@")"
}

wires_begin "$nodes"
for k in $(seq "$nodes"); do shape "$k" "$rate"; done
upstream_start
if [ "$members" = etcd ]; then etcds_start; else dns_start; fi
image app:1 app $((size * 46 / 100))M $((size * 28 / 100))M $((size * 16 / 100))M $((size * 10 / 100))M >"$W/app"
read -r digest bytes <"$W/app"
for round in $(seq "$rounds"); do
    CLUSTER= measure alone 1
    CLUSTER=yes measure together "$nodes"
    say "round $round: alone $(tail -n 1 "$W/measured-alone"), $nodes nodes $(tail -n 1 "$W/measured-together")"
done
alone=$(column alone 1) together=$(column together 1)
echo
echo "$((bytes >> 20)) MiB, links of $rate Mbit each way, $rounds rounds, medians, $(nproc) cores"
echo "| | slowest, s | middle, s | upstream, x image | least use of a link |"
echo "|---|---:|---:|---:|---:|"
row() { # WHAT KEY
    echo "| $1 | $(column "$2" 1) | $(column "$2" 2) | $(per "$(column "$2" 3)" "$bytes") | $(column "$2" 4) % |"
}
row "one node alone" alone
row "$nodes nodes at once" together
predicted nodes=1 alone
# shellcheck disable=SC2154 # by predicted()
echo "| simulator: one alone | $max | $p50 | $upstream | |"
# shellcheck disable=SC2086 # words
predicted nodes="$nodes" $rules
echo "| simulator: $nodes nodes | $max | $p50 | $upstream | |"
echo "the slowest of $nodes nodes took $(per "$together" "$alone") times what one alone does"
