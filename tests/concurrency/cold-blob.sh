#!/bin/bash
# 32 clients ask for the same cold blob of 128 MiB at once, half of them for a range: the upstream sends each byte once, every
# client gets the right bytes, and gets the first of them long before the upstream has finished. Over one connection the
# numbers are exact; over several, what is on its way when one is shortened is received for nothing. FETCH: by these settings of `fetch`
# ("auto lazy").
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root # nginx as root reads our folder

mib=${MIB:-128}
mkdir -p "$W/www/v2/library/big/blobs"
openssl enc -aes-128-ctr -nosalt -pass pass:entrepot -pbkdf2 </dev/zero 2>/dev/null | head -c $((mib << 20)) >"$W/blob" || true
digest=$(sha256sum <"$W/blob" | sed 's/ .*//')
mv "$W/blob" "$W/www/v2/library/big/blobs/sha256:$digest"
nginx_start "$((mib / 4))m"
herd() { # 32 clients at once
python3 - "$PORT" "$digest" "$W/www/v2/library/big/blobs/sha256:$digest" <<'PY'
import hashlib, http.client, mmap, sys, threading, time

port, digest, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
f = open(path, "rb")
data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
size, clients, problems, firsts, ends = len(data), 32, [], [], []
start = time.monotonic()

def client(n):
    first, last, headers = 0, size - 1, {}
    if n % 2:
        first = (n // 2) * (size // 16)
        last = first + size // 16 - 1
        headers["Range"] = "bytes=%d-%d" % (first, last)
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    c.request("GET", "/v2/big/blobs/sha256:" + digest, headers=headers)
    r = c.getresponse()
    if r.status != (206 if headers else 200):
        problems.append("client %d: status %d" % (n, r.status))
        return
    h, got, buf = hashlib.sha256(), 0, bytearray(1 << 20)
    while True:
        k = r.readinto(buf)
        if k == 0:
            break
        if got == 0 and n % 2 == 0:
            firsts.append(time.monotonic() - start)
        h.update(memoryview(buf)[:k])
        got += k
    ends.append(time.monotonic() - start)
    if got != last - first + 1:
        problems.append("client %d: %d bytes of %d" % (n, got, last - first + 1))
    elif h.digest() != hashlib.sha256(memoryview(data)[first:last + 1]).digest():
        problems.append("client %d: wrong bytes" % n)

threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
for t in threads: t.start()
for t in threads: t.join()
print("first bytes after %.2f-%.2f s, the last client done after %.2f s" % (min(firsts), max(firsts), max(ends)))
if max(firsts) > max(ends) / 2:
    problems.append("the first bytes came late")
for p in problems: print(p)
sys.exit(1 if problems else 0)
PY
}
blobs_sent() { awk '$4 ~ /blobs/ {n += $2} END {print n}' "$W/nginx.access"; } # by the upstream's own log
received() { metric 'entrepot_upstream_received_bytes_total{upstream="docker.io"}'; }
check() {
    is "$(metric 'entrepot_requests_total{method="GET",kind="blob",upstream="docker.io",result="collapsed"}')" 31 "collapsed"
    is "$(sha256sum <"$W/cache/blobs/sha256/$digest" | sed 's/ .*//')" "$digest" "what is stored"
}

settings=${FETCH:-auto lazy}
PARALLEL=1 FETCH=${settings%% *} entrepot_start "$NGINX_PORT"
herd
is "$(blobs_sent)" $((mib << 20)) "bytes the upstream sent over one connection"
is "$(received)" $((mib << 20)) "bytes received, by our metric"
check
entrepot_stop

# Each connection gets so little that others are begun for the front, for those that wait behind it, and for closed pieces.
throttle_start "$NGINX_PORT" $((mib << 16))
for FETCH in $settings; do
    rm -rf "$W/cache"
    : >"$W/nginx.access"
    PARALLEL=${PARALLEL:-4} entrepot_start "$THROTTLED_PORT"
    herd
    say "fetch: $FETCH: $(grep -c /blobs/ "$W/nginx.access") requests over $(blob_connections) connections, $(received) bytes received"
    [ "$(blob_connections)" -gt 1 ] || fail "there was one connection"
    [ "$(received)" -le $(((mib << 20) * 101 / 100)) ] || fail "$(received) bytes were received for a blob of $mib MiB"
    check
    entrepot_stop
done
