#!/bin/bash
# The simulator of tests/sim, with 10 and 100 nodes: each gets as many bytes as the image has, the registry sends it once, and where
# nodes die in the middle every other one still gets it.
. "$(dirname "$0")/../lib.sh"
timeout 10 "${B:-build}/tests/sim/sim" check | tee "$W/sim.log" || fail "the simulator's figures are wrong"
is "$(grep -c 'as it must be' "$W/sim.log")" 4 "lines"
