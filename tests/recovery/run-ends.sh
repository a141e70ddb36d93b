#!/bin/bash
# A run of the tests that is terminated ends the tests that run, and these clean up; nothing goes on without it.
. "$(dirname "$0")/../lib.sh"
mkdir "$W/suite" "$W/build"
cat >"$W/suite/long.sh" <<SH
trap 'echo cleaned >>$W/cleaned; exit 143' TERM
sleep 300 &
echo \$! >>$W/sleeper
wait
SH
cp "$W/suite/long.sh" "$W/suite/second.sh"
B=$(realpath --relative-to=. "$W/build") T='' tests/run "$(realpath --relative-to=tests "$W/suite")" >"$W/run.out" 2>&1 &
run=$!
PIDS+=($run)
two_run() { [ "$(wc -l <"$W/sleeper")" = 2 ]; }
wait_for 20 two_run || fail "the tests do not run: $(cat "$W/run.out")"
kill -TERM $run
wait $run && fail "it ended with 0" || is $? 143 "its exit"
is "$(wc -l <"$W/cleaned")" 2 "tests that cleaned up"
while read -r p; do ! kill -0 "$p" 2>/dev/null || fail "a test's child goes on"; done <"$W/sleeper"
