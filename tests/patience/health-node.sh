#!/bin/bash
# What is wrong with the node itself is told by status, /readyz, the page and metrics, with since when and why, and pulls go on: a disk that
# fails, no room, certificates that end or cannot be read, an index that is rebuilt, a file system that the kernel has made read-only.
. "$(dirname "$0")/../lib.sh"
. tests/patience/hub.sh.inc
. tests/patience/health.sh.inc
need_root
need openssl faketime
hub_start
for n in $(seq 9); do hub "move?name=app&tag=$n&image=$n" >/dev/null; done
truncate -s 48M "$W/disk"
mkfs.ext4 -q -m 0 "$W/disk"
mkdir "$W/cache"
mount -o loop,errors=remount-ro "$W/disk" "$W/cache" || skip "no loop devices here"
DISK=$(awk -v m="$W/cache" '$2 == m {print $1}' /proc/self/mounts)
is_told() { [ "$(metric "entrepot_problem{what=\"$1\"}")" = 1 ]; }
is_over_soon() { wait_for "${2:-8}" is_over "$1" || fail "$1 is not over: $(ask status --json | jq -c .problems)"; }
certificate() { # DAYS-SINCE-IT-WAS-MADE DAYS
    faketime -f "-${1}d" openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$2" -subj /CN=localhost \
        -keyout "$W/new.key" -out "$W/new.crt" 2>/dev/null
    mv "$W/new.key" "$W/tls.key"
    mv "$W/new.crt" "$W/tls.crt"
}
TLS=$(free_port)
certificate 0 1
entrepot_start "$HUB_PORT" "tags: {ttl: 0s}"
sed -i "s|^listen: .*|listen: [{address: '127.0.0.1:$PORT'}, {address: '127.0.0.1:$TLS', tls: {cert: $W/tls.crt, key: $W/tls.key}}]|" "$W/config.yaml"
ask reload >/dev/null || fail "with TLS"

say "a certificate that ends tomorrow, that has ended, and whose file is broken"
told certificate_expiring "127.0.0.1:$TLS" "it ends in (0 days and 2[34]|1 days and 0) hours"
certificate 0 60
is_over_soon certificate_expiring
certificate 9 2
since=$(($(date +%s) - 7 * 86400))
wait_for 8 grep -q "has expired" "$W/entrepot.log" || fail "the log does not say that it has ended"
wait_for 8 is_told certificate_expiring || true
told certificate_expiring "127.0.0.1:$TLS" "it has ended: clients refuse it" $((since - 60))
is "$(ask status --json | jq --argjson s $since '.problems[0].since - $s | fabs < 60')" true "since when it has ended"
certificate 0 60
is_over_soon certificate_expiring
echo "not a certificate" >"$W/tls.crt"
wait_for 8 grep -q "changed files cannot be used" "$W/entrepot.log" || fail "the log does not say that it is broken"
wait_for 8 is_told certificate_unusable || true
told certificate_unusable "127.0.0.1:$TLS" "tls.crt: no PEM .*; the last certificate stays in use"
curl -skf "https://127.0.0.1:$TLS/v2/" >/dev/null || fail "the last certificate is not in use"
certificate 0 60
is_over_soon certificate_unusable

say "a disk that fails"
pull 1
chattr +i "$W/cache/ingest" 2>/dev/null || fail "chattr"
pull 2
told io_error "$W/cache" "; what is fetched is passed on without being kept"
[ "$(metric 'entrepot_unstored_total{reason="io_error"}')" -ge 3 ] || fail "unstored: $(page metrics | grep unstored)"
pull 1
chattr -i "$W/cache/ingest"
pull 3
is_over_soon io_error

say "no room: all there is is younger than gc.grace"
sed -i 's|^cache: .*|cache: {path: '"$W"'/cache, min_free: 0B, max_size: 1KiB}|' "$W/config.yaml"
ask reload >/dev/null || fail "with max_size"
pull 4
told no_room "$W/cache" "no room for [0-9]+ of the blob's [0-9]+ bytes"
[ "$(metric 'entrepot_unstored_total{reason="no_room"}')" -ge 1 ] || fail "unstored: $(page metrics | grep unstored)"
pull 1

say "a damaged index, while it is rebuilt"
entrepot_stop
python3 - "$W/cache/index/data.mdb" <<'PY'
import os, random, sys
with open(sys.argv[1], "r+b") as f:
    f.write(random.Random(1).randbytes(os.path.getsize(sys.argv[1])))
PY
# What takes the rebuilding a while: a hole of so many bytes, under a name that is not its digest.
truncate -s 512M "$W/cache/blobs/sha256/$(printf '%064d' 7)"
since=$(($(date +%s) - 1))
entrepot_start "$HUB_PORT" "tags: {ttl: 0s}"
told index_rebuilding "$W/cache" "it was damaged or lost" $((since - 1))
pull 1
is_over_soon index_rebuilding 40
pull 5
is "$(ask status --json | jq -c .problems)" "[]" "problems at the end"

say "the kernel has made the file system read-only"
fault=/sys/fs/ext4/${DISK#/dev/}/trigger_fs_error
if [ -w "$fault" ]; then
    echo "a test of entrepot" >"$fault"
    touch "$W/cache/x" 2>/dev/null && fail "it can be written to"
    pull 6
    told io_error "$W/cache" "Read-only file system|; what is fetched is passed on"
    pull 1
    pull 7
    kill "$ENTREPOT_PID"
    wait "$ENTREPOT_PID" || true
else
    say "(without it: this kernel does not do that on demand)"
    entrepot_stop
fi
