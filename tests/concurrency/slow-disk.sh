#!/bin/bash
# A disk that takes 100 ms for each read, and six clients that pull layers from it: everybody else is answered at once by the same
# loop (/v2/, a manifest in memory), each client gets the right bytes, at the rate of several reads at once; clients that go away
# in the middle and a stop in the middle harm nothing.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need curl nginx openssl python3
need_root

mib=${MIB:-4}
www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"
blob() { # SEED BYTES
    openssl enc -aes-128-ctr -nosalt -pass "pass:$1" -pbkdf2 </dev/zero 2>/dev/null | head -c "$2" >"$W/blob" || true
    local digest
    digest=$(sha256sum <"$W/blob" | sed 's/ .*//')
    mv "$W/blob" "$www/blobs/sha256:$digest"
    echo "$digest"
}
config=$(blob config 3000)
layers=() entries=
for n in 1 2 3 4 5 6 7; do
    layers+=("$(blob "layer $n" $((mib << 20)))")
    entries="$entries,{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:${layers[-1]}\",\"size\":$((mib << 20))}"
done
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":3000},"layers":[%s]}' \
    "$config" "${entries#,}" >"$W/manifest"
manifest=$(sha256sum <"$W/manifest" | sed 's/ .*//')
mv "$W/manifest" "$www/manifests/sha256:$manifest"
nginx_start

entrepot_start "$NGINX_PORT" "workers: 1"
ask pull "docker.io/library/app@sha256:$manifest" >/dev/null
entrepot_stop

# ---- the blobs on a slow disk ----
mv "$W/cache/blobs" "$W/blobs"
mkdir "$W/cache/blobs"
"$TOOLS/slow_disk" "$W/blobs" "$W/cache/blobs" 100 >"$W/slow" 2>"$W/reads" &
disk=$!
wait_for 5 sh -c "grep -q ' $W/cache/blobs fuse' /proc/self/mounts || ! kill -0 $disk" || true
grep -q " $W/cache/blobs fuse" /proc/self/mounts || skip "$(cat "$W/slow")"
entrepot_start "$NGINX_PORT" "workers: 1"
ls -lR "$W/cache/blobs" >/dev/null # names and inodes are in memory; the bytes are not

python3 - "$PORT" "$manifest" "$config" "${layers[@]}" <<'PY'
import hashlib, http.client, socket, sys, threading, time
port, manifest, config, layers, gone = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:10], sys.argv[10]
problems = []

def get(path, **headers):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    c.request("GET", path, headers=headers)
    return c.getresponse()

def whole(digest):
    start, h = time.monotonic(), hashlib.sha256()
    r = get("/v2/app/blobs/sha256:" + digest)
    while piece := r.read(1 << 16):
        h.update(piece)
    if h.hexdigest() != digest:
        problems.append("%s: wrong bytes" % digest)
    took.append(time.monotonic() - start)

def leave():
    "Clients that want a layer and leave, at once or after some of it; none waits for its answer."
    for n in range(12):
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(b"GET /v2/app/blobs/sha256:%s HTTP/1.1\r\nHost: e\r\nRange: bytes=%d-\r\n\r\n" % (gone.encode(), n << 18))
        time.sleep(n * 0.01)
        s.close()

took, waits = [], []
if get("/v2/app/manifests/sha256:" + manifest).status != 200: # now in memory
    sys.exit("no manifest")
threads = [threading.Thread(target=whole, args=(d,)) for d in layers + [config]] + [threading.Thread(target=leave)]
for t in threads: t.start()
probe = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
while any(t.is_alive() for t in threads[:6]):
    for path in "/v2/", "/v2/app/manifests/sha256:" + manifest:
        start = time.monotonic()
        probe.request("GET", path)
        r = probe.getresponse()
        r.read()
        waits.append(time.monotonic() - start)
        if r.status != 200:
            problems.append("%s: %d" % (path, r.status))
    time.sleep(0.01)
for t in threads: t.join()
waits.sort()
print("%d others waited for %.1f ms, 98 of 100 for less than %.1f ms, the last for %.1f ms; six streams took %.1f-%.1f s" % (
    len(waits), waits[len(waits) // 2] * 1e3, waits[len(waits) * 98 // 100] * 1e3, waits[-1] * 1e3, min(took), max(took)))
if len(waits) < 20:
    problems.append("the disk was not slow")
if waits[len(waits) * 98 // 100] > 0.5: # it was seconds; most of it is what else this machine has to do
    problems.append("others waited for the disk")
r = get("/v2/app/blobs/sha256:" + layers[0], Range="bytes=1000000-1999999")
if r.status != 206 or len(r.read()) != 1000000:
    problems.append("a range of what is in memory now")
for p in problems: print(p)
sys.exit(1 if problems else 0)
PY
say "$(wc -l <"$W/reads") reads"

# ---- a stop in the middle of it: asked twice, it waits for nobody ----
umount "$W/cache/blobs" 2>/dev/null || umount -l "$W/cache/blobs"
entrepot_stop
wait $disk || true
"$TOOLS/slow_disk" "$W/blobs" "$W/cache/blobs" 100 >"$W/slow" 2>"$W/reads" &
disk=$!
wait_for 5 grep -q " $W/cache/blobs fuse" /proc/self/mounts
entrepot_start "$NGINX_PORT" "workers: 2"
for layer in "${layers[@]}"; do
    curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/app/blobs/sha256:$layer" &
    PIDS+=($!)
done
# All of them, or one is done before the others begin, and so is the stop.
are_read() { [ -s "$W/reads" ] && [ "$(metric 'entrepot_connections ')" -gt 4 ]; }
wait_for 5 are_read || fail "nobody reads"
kill -TERM "$ENTREPOT_PID"
sleep 0.2
entrepot_stop
