#!/bin/bash
# The shared tier on an S3 server that exists (versitygw): blobs are uploaded, once, in parts if they are large, and read back whole and by
# range; a wrong key, a bucket that is only for reading, one that is gone in the middle.
# In make test-cluster alone.
. "$(dirname "$0")/../lib.sh"
need curl openssl python3
tools=$(tests/cluster/tools 2>"$W/tools.out") || skip "needs versitygw, by Go: $(tail -n 1 "$W/tools.out")"
[ -x "$TOOLS/bucket" ] || fail "no $TOOLS/bucket"
mkdir -p "$W/root/images" "$W/iam" "$W/tls"
PORT=$(free_port)
SECRET=not-for-the-log-$RANDOM$RANDOM
printf %s "$SECRET" >"$W/key"
printf wrong >"$W/wrong-key"
# The secret is in the environment of the server alone.
gateway_start() { # [OPTION...]
    ROOT_ACCESS_KEY=node ROOT_SECRET_KEY=$SECRET "$tools/versitygw" --port "127.0.0.1:$PORT" --access-log "$W/access" --quiet --keep-alive \
        --iam-dir "$W/iam" --health /health "$@" posix "$W/root" >>"$W/gateway.log" 2>&1 &
    GATEWAY=$!
    PIDS+=($GATEWAY)
    wait_for 20 curl -skf "${SCHEME:-http}://127.0.0.1:$PORT/health" || fail "the gateway does not start"
}
gateway_kill() { kill -9 "$GATEWAY"; wait "$GATEWAY" 2>/dev/null || true; }
bucket() { # [OPTION=VALUE...] COMMAND...
    timeout 100 "$TOOLS/bucket" "${SCHEME:-http}://127.0.0.1:$PORT" "${BUCKET:-images}" prefix=entrepot/ region=us-east-1 "${KEY[@]}" "$@" 2>"$W/err"
}
KEY=(user=node "password_file=$W/key")
digest() { echo "sha256:$(sha256sum "$1" | cut -d ' ' -f 1)"; }
tells() { grep -qE -- "$1" "$W/err" || fail "\"$1\" is not in: $(cat "$W/err")"; }
# How often the server was asked: OPERATION STATUS [PATTERN].
asked() { grep -E " s3_$1 " "$W/access" | grep -E " $2 " | grep -cE -- "${3:-.}" || true; }

gateway_start
head -c 300000 /dev/urandom >"$W/small"
head -c $((80 << 20)) /dev/urandom >"$W/large"
head -c $((16 << 20)) /dev/urandom >"$W/limit"
small=$(digest "$W/small") large=$(digest "$W/large") limit=$(digest "$W/limit")

say "put, and what it is there"
bucket put "$W/small" "$W/large" "$W/limit" || fail "put: $(cat "$W/err")"
tells " written=$(((80 << 20) + (16 << 20) + 300000)) dropped=0 failed=0 "
is "$(asked PutObject 200)" 2 "single uploads"
is "$(asked UploadPart 200)" 5 "parts"
is "$(asked CompleteMultipartUpload 200)" 1 "uploads in parts"
for f in small large limit; do
    hex=$(digest "$W/$f") && hex=${hex#sha256:}
    cmp "$W/$f" "$W/root/images/entrepot/blobs/sha256/${hex:0:2}/$hex" || fail "the object of $f"
done
grep -qF "$SECRET" "$W/err" "$W/access" && fail "a secret was logged"

say "get: whole, by range, from the end, what there is not"
for f in small large limit; do bucket get "$(digest "$W/$f")" | cmp - "$W/$f" || fail "get $f"; done
range() { # FIRST LENGTH [LAST]
    bucket get "$large" "$1-${3-$(($1 + $2 - 1))}" | cmp - <(tail -c +$(($1 + 1)) "$W/large" | head -c "$2") || fail "range $1-: $(cat "$W/err")"
    tells "status=206 length=$2$"
}
range 0 1
range 12345678 1000000
range $(((80 << 20) - 10)) 10
range $(((80 << 20) - 10)) 10 $((90 << 20))
range $(((80 << 20) - 10)) 10 ""
absent=sha256:$(printf x | sha256sum | cut -d ' ' -f 1)
bucket get "$absent" && fail "get of nothing"
tells "^error=not found: .* 404 .NoSuchKey.$"
tells "^may=0$"
bucket get "$small" 300000-300001 && fail "a range behind the end"
tells "^error=not found: .* 416"

say "once: it is there already, and two at a time"
bucket put "$W/small" "$W/large" || fail "put again"
tells " written=0 dropped=0 failed=0 "
is "$(asked PutObject 200) $(asked UploadPart 200)" "2 5" "uploads"
head -c $((12 << 20)) /dev/urandom >"$W/raced"
for i in 1 2 3 4; do
    timeout 60 "$TOOLS/bucket" "http://127.0.0.1:$PORT" images prefix=entrepot/ "${KEY[@]}" put "$W/raced" 2>"$W/raced.$i" &
    racers[i]=$!
done
for i in 1 2 3 4; do wait "${racers[i]}" || fail "raced: $(cat "$W/raced.$i")"; done
hex=$(digest "$W/raced") && hex=${hex#sha256:}
is "$(asked PutObject 200 "$hex")" 1 "uploads of four at a time"
bucket get "sha256:$hex" | cmp - "$W/raced" || fail "get of what was raced for"

say "an object of the wrong size is replaced"
hex=${small#sha256:}
head -c 100 "$W/large" >"$W/root/images/entrepot/blobs/sha256/${hex:0:2}/$hex"
bucket put "$W/small" || fail "put over a wrong one"
bucket get "$small" | cmp - "$W/small" || fail "get of what was replaced"

say "keys: wrong, unknown, none; no such bucket"
for c in "node wrong-key SignatureDoesNotMatch" "stranger key InvalidAccessKeyId"; do
    read -r user key code <<<"$c"
    KEY=(user="$user" "password_file=$W/$key")
    bucket wait=500 get "$small" && fail "get with a wrong key"
    tells "^error=not found: .* 403 .$code.$"
    tells "^up=0 .* why=.*$code"
done
KEY=()
bucket get "$small" && fail "get without a key"
tells "^error=not found: .* 403 .AccessDenied.$"
KEY=(user=node "password_file=$W/none-such")
bucket wait=500 get "$small" && fail "get with a key that cannot be read"
tells "^up=0 .* why=.*none-such"
KEY=(user=node "password_file=$W/key")
BUCKET=none-such bucket wait=500 get "$small" && fail "get from no bucket"
tells "^up=0 .* why=.*NoSuchBucket"
KEY=(provider=ecr)
AWS_ACCESS_KEY_ID=node AWS_SECRET_ACCESS_KEY=$SECRET bucket get "$small" | cmp - "$W/small" || fail "AWS's environment"
printf '[other]\naws_access_key_id = node\naws_secret_access_key = %s\n' "$SECRET" >"$W/credentials"
AWS_SHARED_CREDENTIALS_FILE=$W/credentials AWS_PROFILE=other bucket get "$small" | cmp - "$W/small" || fail "AWS's file"
KEY=(user=node "password_file=$W/key")

say "clocks an hour apart"
# faketime's children would count time differently: only the wall clock moves.
if is_here faketime && ! nm "$TOOLS/bucket" 2>/dev/null | grep -qE "__[at]san_init"; then
    timeout 60 faketime -m -f +3600s "$TOOLS/bucket" "http://127.0.0.1:$PORT" images prefix=entrepot/ "${KEY[@]}" get "$small" 2>"$W/err" |
        cmp - "$W/small" || fail "with a clock that is ahead: $(cat "$W/err")"
    tells "its clock and this node's differ by 3[56][0-9][0-9] s"
fi

say "only for reading: uploads rest, reads go on"
gateway_kill
gateway_start --readonly
head -c 5000 /dev/urandom >"$W/refused"
bucket wait=2000 put "$W/refused" && fail "put where nothing may be written"
tells "nothing is uploaded to the shared tier for 10 min: .*403"
tells "^up=1 .* queued=1 why=no uploads: .*403"
is "$(asked PutObject 403 "$(sha256sum "$W/refused" | cut -d ' ' -f 1)")" 1 "tries"
bucket get "$small" | cmp - "$W/small" || fail "get from what is only for reading"

say "gone: it costs nothing; back: it goes on"
gateway_kill
bucket wait=100 get "$small" && fail "get from what is gone"
tells "^error=unreachable"
[ "$(sed -n 's/^ms=//p' "$W/err")" -lt 800 ] || fail "it took long: $(cat "$W/err")"
gateway_start
head -c $((70 << 20)) /dev/urandom >"$W/again"
wait_for_parts() { [ "$(grep -c " s3_UploadPart " "$W/access")" -ge $((parts + 1)) ]; }
parts=$(grep -c " s3_UploadPart " "$W/access")
bucket put "$W/again" &
putting=$!
wait_for 20 wait_for_parts || fail "no part"
gateway_kill
sleep 0.5
gateway_start
wait $putting || fail "put over an end of the server: $(cat "$W/err")"
tells "the shared tier rests for"
bucket get "$(digest "$W/again")" | cmp - "$W/again" || fail "get of what was put over an end of the server"

say "gone while it is read"
bucket get "$large" | (sleep 1 && cat >"$W/cut") &
reading=$!
sleep 0.5
gateway_kill
wait $reading && fail "get over an end of the server"
tells "^error=(upstream|unreachable)"
cmp -n "$(stat -c %s "$W/cut")" "$W/cut" "$W/large" || fail "wrong bytes before the end"

say "TLS"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -subj /CN=store -addext "subjectAltName=IP:127.0.0.1" \
    -keyout "$W/tls/key" -out "$W/tls/cert" 2>/dev/null
SCHEME=https
gateway_start --cert "$W/tls/cert" --key "$W/tls/key"
bucket wait=500 get "$small" && fail "a certificate of nobody"
tells "^up=0 .* why=.*(certificate|issuer)"
bucket "ca=$W/tls/cert" get "$large" | cmp - "$W/large" || fail "TLS: $(cat "$W/err")"
bucket "ca=$W/tls/cert" put "$W/refused" || fail "put over TLS: $(cat "$W/err")"
grep -qF "$SECRET" "$W/err" "$W/access" && fail "a secret was logged"
say "done"
