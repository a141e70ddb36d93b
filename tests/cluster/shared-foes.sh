#!/bin/bash
# A bucket that is slow, lies, fails or has no end is given up within its time, passes on no byte that was not requested, and rests; uploads
# to it are tried three times, and what they began is aborted.
# In make test-cluster alone.
. "$(dirname "$0")/../lib.sh"
need python3 curl
PORT=$(free_port)
python3 tests/cluster/shared_foes.py "$PORT" "$W/asked" &
PIDS+=($!)
wait_for 10 curl -s "http://127.0.0.1:$PORT/plain/x" || fail "no stub"
blob=sha256:$(printf x | sha256sum | cut -d ' ' -f 1)
python3 -c 'import sys; sys.stdout.write("0123456789" * 20000)' >"$W/blob"
bucket() { # MODE [OPTION=VALUE...] COMMAND...
    local mode=$1
    shift
    timeout 60 "$TOOLS/bucket" "http://127.0.0.1:$PORT/$mode" images "$@" 2>"$W/err"
}
tells() { grep -qE -- "$1" "$W/err" || fail "$mode: \"$1\" is not in: $(cat "$W/err")"; }
took() { sed -n 's/^ms=//p' "$W/err"; }

say "what is right"
mode=plain
bucket plain get "$blob" | cmp - "$W/blob" || fail "a whole one"
bucket plain get "$blob" 100-199 | cmp - <(tail -c +101 "$W/blob" | head -c 100) || fail "a range"

# MODE, RANGE, the error, how long it may take (a slow machine's time is added).
say "what is wrong: no byte of it is passed on"
while read -r mode range error most; do
    [ "$range" != - ] || range=
    bucket "$mode" get "$blob" $range >"$W/out" && fail "$mode: it was believed"
    tells "^error=$error: "
    case $mode in cut | stall) cmp -n 1000 "$W/out" "$W/blob" || fail "$mode: its bytes" ;; *) [ ! -s "$W/out" ] || fail "$mode: it has sent something" ;; esac
    [ "$(took)" -lt $((most + 700)) ] || fail "$mode: it took $(took) ms"
    [ "$(tail -n 1 "$W/err" | cut -c 1-4)" = up=0 ] || fail "$mode: it does not rest: $(cat "$W/err")"
    tells "^may=0$"
    tells "the shared tier rests for 2 s"
done <<'CASES'
slow - timeout 800
slow-head - timeout 800
silent - timeout 800
500 - upstream 100
503 - upstream 100
html - upstream 100
html-404 - not.found 100
whole-for-range 100-199 upstream 100
other-range 100-199 upstream 100
range-too-long 100-199 upstream 100
range-too-short 100-199 upstream 100
wrong-length 100-199 upstream 6000
two-lengths - upstream 100
no-range 100-199 upstream 100
gzip - upstream 100
chunked - upstream 100
endless - upstream 100
endless-headers - upstream 800
cut - upstream 100
stall - timeout 7000
redirect - upstream 100
redirect-away - upstream 100
not-http - upstream 100
drop - upstream 100
CASES
mode=endless-error
bucket endless-error get "$blob" >"$W/out" && fail "an error without end was believed"
[ "$(took)" -lt 1500 ] || fail "an error without end took $(took) ms"
[ ! -s "$W/out" ] || fail "an error was passed on"
is "$(grep -c "^GET /plain/redirect" "$W/asked" || true)" 0 "redirects that were followed"

say "a bucket that is bad from the start is never asked for a blob"
for mode in always-silent always-500 always-html; do
    bucket $mode wait=4000 stats || fail "$mode"
    tells "^up=0 .* why=."
done
grep -E "^GET /always-" "$W/asked" | grep -v "/sha256/00/00" && fail "it was asked for a blob"

say "uploads"
head -c 50000 /dev/urandom >"$W/small"
head -c $((33 << 20)) /dev/urandom >"$W/large"
asked() { grep -cE -- "$1" "$W/asked" || true; }
for c in "put-plain 1 3" "put-bare 1 3"; do
    read -r mode puts parts <<<"$c"
    bucket "$mode" put "$W/small" "$W/large" || fail "$mode: $(cat "$W/err")"
    tells " written=$(((33 << 20) + 50000)) dropped=0 failed=0 "
    is "$(asked "^PUT /$mode/.*[0-9a-f]{64} ") $(asked "^PUT /$mode/.*partNumber=[123]&uploadId=a%2Fb%2Bc%26d -")" "$puts $parts" "$mode: uploads"
done
is "$(asked "^POST /put-bare/.*uploadId=.* -")" 1 "without a condition"
mode=put-complete-412
bucket $mode put "$W/large" || fail "$mode: $(cat "$W/err")"
tells " written=0 dropped=0 failed=0 "
is "$(asked "^DELETE /$mode/.*uploadId=a%2Fb%2Bc%26d")" 1 "$mode: aborted"
# Three times, 3 and 12 s apart. 500 and 503 have the bucket rest besides, until its probe is answered.
pids=()
run() { # MODE FILE
    local mode=$1
    timeout 60 "$TOOLS/bucket" "http://127.0.0.1:$PORT/$mode" images wait=45000 put "$2" 2>"$W/err.$mode"
}
for mode in put-late-error put-bad-tag put-part-500 put-no-id; do run $mode "$W/large" & pids+=($!); done
for mode in put-500 put-early put-head-500; do run $mode "$W/small" & pids+=($!); done
for p in "${pids[@]}"; do wait "$p" && fail "an upload that failed is believed"; done
for mode in put-late-error put-bad-tag put-part-500 put-no-id put-500 put-early put-head-500; do
    cp "$W/err.$mode" "$W/err"
    tells " written=0 dropped=0 failed=1 .* queued=0 "
    is "$(asked "^HEAD /$mode/")" 3 "$mode: tries"
done
for mode in put-late-error put-bad-tag put-part-500; do is "$(asked "^DELETE /$mode/")" 3 "$mode: aborted"; done

say "no room"
mode=put-507
bucket $mode wait=2000 put "$W/small" && fail "$mode"
tells "nothing is uploaded to the shared tier for 10 min: .*507"
is "$(asked "^PUT /$mode/")" 1 "tries"
tells "^up=1 .* queued=1 "
say "done"
