#!/bin/bash
# What a report of a bug needs: who waits for what (SIGUSR1, `debug dump`), the latest log, an archive without secrets, and where a
# crash was.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need python3 curl

www=$W/www/v2/library/app/blobs
mkdir -p "$www"
head -c 8000000 /dev/urandom >"$W/blob"
blob=$(sha256sum <"$W/blob" | cut -c 1-64)
mv "$W/blob" "$www/sha256:$blob"
nginx_start 50k
entrepot_start "$NGINX_PORT"

# A client that waits for a slow registry, and one that does not read what is here.
curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/app/blobs/sha256:$blob" &
PIDS+=($!)
wait_for 10 sh -c "curl -s http://127.0.0.1:$PORT/metrics | grep -qE '^entrepot_upstream_received_bytes_total.* [1-9]'" || fail "nothing arrives"

say "dump"
ask debug dump >"$W/dump"
for line in '^loop main: ready' '^loop serve-0: ' "gets an answer for .*: GET /v2/app/blobs/sha256:$blob, status 200" \
    '^loop fetch-[01]: fetches' "blob .*sha256:$blob: receive, for .* s" 'bytes of 8000000 are here, 1 followers' \
    'connection to .*: at .*brought [0-9]* at' '^pool io: ' '^ingests: 1'; do
    grep -qE "$line" "$W/dump" || { cat "$W/dump"; fail "the dump has no line '$line'"; }
done
kill -USR1 "$ENTREPOT_PID"
wait_for 5 grep -q 'dump: ingests: 1' "$W/entrepot.log" || fail "SIGUSR1: the log has no dump"
ask debug log | grep -q 'dump: ingests: 1' || fail "debug log"

say "bundle"
(cd "$W" && "$ENTREPOT" debug bundle --socket "$W/admin.sock") >"$W/made" 2>"$W/made.err"
archive=$W/$(sed 's/ .*//' "$W/made")
is "$(stat -c %a "$archive")" 600 "the archive's mode"
mkdir "$W/bundle"
tar xzf "$archive" -C "$W/bundle" --strip-components=1
for f in system.txt status.json metrics.txt log.txt dump.txt; do
    [ -s "$W/bundle/$f" ] || fail "the archive has no $f"
done
grep -q '^entrepot_ingests 1' "$W/bundle/metrics.txt" || fail "metrics in the archive"
grep -q "$blob" "$W/bundle/dump.txt" || fail "the dump in the archive"
python3 -m json.tool <"$W/bundle/status.json" >/dev/null || fail "status.json"
"$ENTREPOT" debug bundle --socket "$W/admin.sock" -o "$archive" 2>"$W/err" && fail "an archive is written over"
grep -q "File exists" "$W/err" || fail "$(cat "$W/err")"
# of a daemon that does not run: what there is
"$ENTREPOT" debug bundle --socket "$W/nowhere" -o - 2>"$W/err" >"$W/alone.tar.gz" || fail "a bundle without a daemon"
grep -q "cannot connect to" "$W/err" || fail "$(cat "$W/err")"
tar xzOf "$W/alone.tar.gz" --wildcards '*/dump.txt' | grep -q '^not here: cannot connect' || fail "why there is no dump"
"$ENTREPOT" debug else 2>/dev/null && fail "an unknown word"

say "a crash"
if [[ $ENTREPOT != *-asan/* && $ENTREPOT != *-tsan/* ]]; then
    kill -SEGV "$ENTREPOT_PID"
    wait "$ENTREPOT_PID" 2>/dev/null && fail "it goes on after SIGSEGV"
    for line in 'entrepot: crash: SIGSEGV at address .* in thread entrepot' 'entrepot:   0x[0-9a-f]* loop_run+0x' \
        'entrepot:   0x[0-9a-f]* main+0x' 'entrepot: version .*, build [0-9a-f]*$'; do
        grep -q "$line" "$W/entrepot.log" || fail "the log has no line '$line'"
    done
fi
