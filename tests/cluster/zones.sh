#!/bin/bash
# Two zones of two nodes pull an image at once: the registry sends it once, and it goes from zone to zone about once.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/cluster/nodes.sh.inc
wires_begin 4
upstream_start
etcds_start
ZONE=east node_launch 1
ZONE=east node_launch 2
ZONE=west node_launch 3
ZONE=west node_launch 4
for k in 1 2 3 4; do node_wait $k; done
nodes_meet
node_ask 1 peers | grep -q west || fail "peers does not tell zones: $(node_ask 1 peers)"
between() { # what went from one zone to the other
    local from to n=0
    for from in 1 2; do for to in 3 4; do n=$((n + $(sent_bytes $from $to) + $(sent_bytes $to $from))); done; done
    echo $n
}

for round in 1 2; do
    image "app$round:1" "app$round" 40M 6M 1M >"$W/app"
    read -r digest bytes <"$W/app"
    upstream_zero
    before=$(between)
    pull_at_once "library/app$round:1" 1 2 3 4
    is_pulled "$digest" "$bytes"
    is_once "$bytes" "two zones"
    [ "$(upstream_manifests)" = 1 ] || fail "$(upstream_manifests) manifests from the registry for two zones"
    crossed=$(($(between) - before))
    say "between the zones $crossed bytes, $(awk -v c=$crossed -v b="$bytes" 'BEGIN {printf "%.2f", c / b}') x the image"
    [ $((crossed * 10)) -le $((bytes * 13)) ] || { shares; fail "$crossed bytes went between the zones for $bytes"; }
done

say "what one zone has is not fetched again for the other"
image later:1 later 12M 1M >"$W/app"
read -r digest bytes <"$W/app"
upstream_zero
pull_at_once library/later:1 1 2
before=$(between)
pull_at_once library/later:1 3 4
is_pulled "$digest" "$bytes"
is_once "$bytes" "one zone, then the other"
crossed=$(($(between) - before))
say "between the zones $crossed bytes for $bytes"
[ $((crossed * 10)) -le $((bytes * 13)) ] || { shares; fail "$crossed bytes went between the zones for $bytes"; }

say "a zone is gone: the other one goes on"
kill_node 3
kill_node 4
image alone:1 alone 12M 1M >"$W/app"
read -r digest bytes <"$W/app"
upstream_zero
pull_at_once library/alone:1 1 2
is_pulled "$digest" "$bytes"
awk -v s="$(slowest)" 'BEGIN {exit !(s < 4)}' || fail "a pull took $(slowest) s"
say "  $(slowest) s"
