#!/bin/bash
# Pulls while the collector works as hard as it can: containerd and 16 curl clients pull a rotating set of images, three times
# what the cache may hold, for two minutes (SECONDS_LONG). No pull fails, no byte is wrong, and the cache never
# holds more than it may plus what is on its way in.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
need_root

seconds=${SECONDS_LONG:-120}
images=24
registry_start
say "$images images of 2 MiB and a base of 3 MiB, a cache of 20 MiB, $seconds s"
for i in $(seq $images); do image_build "i$i"; image_push "i$i" 1; done
max=$((20 << 20))
for i in $(seq $images); do
    upstream_manifest "i$i" 1 >"$W/m-$i"
    { echo "manifests/1 $(upstream_digest "i$i" 1)"; jq -r '.config.digest, .layers[].digest | "blobs/\(.) \(.)"' "$W/m-$i"; } |
        sed "s|^|i$i |" >>"$W/list"
done
total=$(cat "$W"/m-* | jq -s '[.[] | .config, .layers[]] | unique_by(.digest) | map(.size) | add')
[ "$total" -gt $((max * 5 / 2)) ] || fail "the images have $total bytes only"
CACHE_MORE="max_size: 20MiB, min_free: 0B"
entrepot_start "" "gc: {grace: 1s, interval: 1s, high: 90%, low: 60%}
tags: {ttl: 1h}"

# ---- 16 clients ----
cat >"$W/client.py" <<'PY'
import hashlib, http.client, random, sys, time
port, path, seed, seconds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
images = {}
for line in open(path):
    image, what, digest = line.split()
    images.setdefault(image, []).append((what, digest))
rnd, end, pulls, wrong = random.Random(seed), time.monotonic() + seconds, 0, 0
names = sorted(images)
at = seed * 5
while time.monotonic() < end:
    image = names[at % len(names)]
    at += rnd.choice((1, 1, 1, 2, 7))
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for what, digest in images[image]:
        try:
            c.request("GET", f"/v2/library/{image}/{what}")
            r = c.getresponse()
            body = r.read()
            ok = r.status == 200 and "sha256:" + hashlib.sha256(body).hexdigest() == digest
            why = f"{r.status}, {len(body)} bytes"
        except Exception as e:
            ok, why = False, repr(e)
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        if not ok:
            wrong += 1
            print(f"client {seed}: {image} {what}: {why}", flush=True)
    pulls += 1
print(f"{pulls} pulls, {wrong} wrong", flush=True)
sys.exit(1 if wrong else 0)
PY
clients=
for n in $(seq 16); do
    python3 "$W/client.py" "$PORT" "$W/list" "$n" "$seconds" >"$W/client-$n.out" &
    clients="$clients $!"
    PIDS+=($!)
done

# ---- what the cache holds, as the file system sees it, all the while ----
cat >"$W/watch.py" <<'PY'
import os, sys, time
blobs, limit, worst, n = sys.argv[1], int(sys.argv[2]), 0, 0
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    size = 0
    for e in os.scandir(blobs):
        try:
            size += e.stat().st_size
        except FileNotFoundError:
            pass
    worst, n = max(worst, size), n + 1
    time.sleep(0.02)
print(worst, n)
PY
python3 "$W/watch.py" "$W/cache/blobs/sha256" "$max" "$seconds" >"$W/watch.out" &
watcher=$!
PIDS+=($watcher)

# ---- containerd, with a store of its own that is emptied after each pull ----
mkdir -p "$W/certs.d/docker.io"
cat >"$W/certs.d/docker.io/hosts.toml" <<-TOML
	[host."http://127.0.0.1:$PORT"]
	  capabilities = ["pull", "resolve"]
	TOML
cat >"$W/containerd.toml" <<-TOML
	version = 2
	root = "$W/containerd"
	state = "$W/containerd-run"
	disabled_plugins = ["io.containerd.grpc.v1.cri"]
	[grpc]
	  address = "$W/containerd.sock"
	TOML
containerd -c "$W/containerd.toml" >"$W/containerd.log" 2>&1 &
PIDS+=($!)
wait_for 20 ctr -a "$W/containerd.sock" version || fail "containerd does not start"
engine=0 end=$((SECONDS + seconds))
while [ $SECONDS -lt $end ]; do
    i=$((engine % images + 1))
    ctr -a "$W/containerd.sock" image pull --snapshotter native --hosts-dir "$W/certs.d" "docker.io/library/i$i:1" >"$W/ctr.out" 2>&1 ||
        fail "containerd: $(tail -n 3 "$W/ctr.out")"
    ctr -a "$W/containerd.sock" image rm --sync "docker.io/library/i$i:1" >/dev/null
    engine=$((engine + 1))
done
bad=0
for p in $clients; do wait "$p" || bad=1; done
[ $bad = 0 ] || fail "$(cat "$W"/client-*.out | head -n 20)"
pulls=$(cat "$W"/client-*.out | awk '{n += $1} END {print n}')
wait $watcher
read -r worst looks <"$W/watch.out"
say "$pulls pulls by 16 clients, $engine by containerd, 0 wrong; $(metric entrepot_gc_freed_blobs_total) blobs collected in $(metric entrepot_gc_runs_total) runs"
say "blobs on disk: at most $worst bytes of $max in $looks looks"
# 1 % of the limit is for files that are on their way out: moved aside after their entry, and counted here until then.
[ "$worst" -le $((max + (4 << 20))) ] || fail "the cache held $worst bytes where $max are allowed"
[ "$(metric entrepot_gc_freed_blobs_total)" -gt 100 ] || fail "the collector had nothing to do"
grep -q "cut off" "$W/entrepot.log" && fail "$(grep 'cut off' "$W/entrepot.log" | head -n 3)"
entrepot_stop
"$TOOLS/check_cache" "$W/cache" >"$W/check.out" || fail "$(cat "$W/check.out")"
