#!/bin/bash
# An upstream with several endpoints: one that is dead, or dies, or hangs, costs a pull no more than a moment, and a download goes on
# at the next from where it stopped.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root

www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"
openssl enc -aes-128-ctr -nosalt -pass pass:endpoints -pbkdf2 </dev/zero 2>/dev/null | head -c 30000000 >"$W/blob" || true
d=$(sha256sum <"$W/blob" | sed 's/ .*//')
mv "$W/blob" "$www/blobs/sha256:$d"
nginx_start 8m
first=$NGINX_PORT first_pid=$NGINX_PID
cp "$W/nginx.access" "$W/first.access" 2>/dev/null || true
second=$(free_port)
sed "s|$first|$second|; s|nginx.access|second.access|; s|nginx/pid|nginx/second.pid|; s|limit_rate [^;]*;||" "$W/nginx.conf" >"$W/second.conf"
nginx -c "$W/second.conf" -e "$W/second.log" &
PIDS+=($!)
wait_for 10 curl -s -o /dev/null "http://127.0.0.1:$second/" || fail "no second endpoint"
dead=$(free_port)
hung=$(free_port)
python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', $hung)); s.listen(64); c = []
while True: c.append(s.accept())" &
PIDS+=($!)

config() { # ENDPOINT-PORT...
    local list=
    for p in "$@"; do list="$list\"http://127.0.0.1:$p\", "; done
    cat >"$W/config.yaml" <<-YAML
	listen: [{address: "127.0.0.1:$PORT"}]
	admin: {socket: $W/admin.sock}
	cache: {path: $W/cache, min_free: 0B}
	upstreams: [{name: docker.io, endpoints: [${list%, }], insecure: true, stall_timeout: 2s}]
	tags: {ttl: 1h, negative_ttl: 0s}
	YAML
}
PORT=$(free_port)
start() {
    config "$@"
    rm -rf "$W/cache"
    entrepot_run || fail "entrepot does not start"
}
get() { curl -s -o "$W/got" -w '%{http_code} %{time_total}' --max-time 60 "http://127.0.0.1:$PORT/v2/app/$1"; }
right() { is "$(sha256sum <"$W/got" | sed 's/ .*//')" "$d" "$1"; }
missing() { echo "manifests/none-$RANDOM$RANDOM"; }

say "the first is dead: the second serves"
start $dead $second
get "blobs/sha256:$d" >/dev/null
right "past a dead endpoint"
entrepot_stop

say "the first hangs: the first request waits for it, the next ones do not"
start $hung $second
r=$(get "$(missing)")
is "${r% *}" 404 "an answer of the second"
slow=${r#* }
r=$(get "$(missing)")
is "${r% *}" 404 "an answer of the second"
awk -v s="$slow" -v t="${r#* }" 'BEGIN {exit !(s > 1 && t < 0.5)}' || fail "the first request took $slow s, the next ${r#* } s"
say "first $slow s, then ${r#* } s"
entrepot_stop

say "the first dies in the middle of a download: it goes on at the second"
start $first $second
: >"$W/second.access"
get "blobs/sha256:$d" >"$W/result" &
getter=$!
wait_for 20 sh -c "[ \$(find $W/cache/ingest -size +8M -name '*.part' | wc -l) = 1 ]" || fail "the download does not begin"
kill -9 "$first_pid" $(pgrep -P "$first_pid") 2>/dev/null
wait $getter || fail "the client was cut off"
right "over two endpoints"
grep -q '^206 ' "$W/second.access" || fail "the second was asked for the whole: $(cat "$W/second.access")"
sent=$(awk '$1 == 206 {print $2}' "$W/second.access" | head -n 1)
[ "$sent" -lt 29000000 ] || fail "the second sent $sent bytes of 30000000"
say "the second sent $sent of 30000000 bytes"
entrepot_stop
