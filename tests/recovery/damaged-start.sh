#!/bin/bash
# A daemon that starts on a damaged index ends by itself, with a failure and a mark, or heals at once; the start after that serves every
# image. It never goes on with a damaged index. STARTS (4; 100 in `make soak`): how often.
. "$(dirname "$0")/../lib.sh"
need python3 curl jq
STARTS=${STARTS:-4}
IMAGES=40

mkdir "$W/layout"
python3 - "$W/layout" $IMAGES >"$W/digests" <<'PY'
import hashlib, json, os, sys
root, count = sys.argv[1], int(sys.argv[2])
os.makedirs(root + "/blobs/sha256")
def put(data):
    name = hashlib.sha256(data).hexdigest()
    open(f"{root}/blobs/sha256/{name}", "wb").write(data)
    return {"digest": "sha256:" + name, "size": len(data)}
entries = []
for n in range(count):
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "n": n}).encode())
    layer = put(b"layer %d" % n)
    manifest = put(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **layer}]}).encode())
    entries.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", **manifest,
        "annotations": {"org.opencontainers.image.ref.name": f"docker.io/library/many:{n}"}})
    print(n, manifest["digest"])
json.dump({"schemaVersion": 2, "manifests": entries}, open(root + "/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(root + "/oci-layout", "w"))
PY

SERVE_MORE=--offline
entrepot_start 1
ask import "$W/layout" >"$W/import.out" || fail "$(cat "$W/import.out")"
entrepot_stop
cp -a "$W/cache" "$W/sound"
data=$W/cache/index/data.mdb

damage() { # SEED: noise in place of every page but the two heads; or zeros in place of some pages of the tables
    python3 - "$data" "$1" <<'PY'
import os, random, struct, sys
path, seed = sys.argv[1], int(sys.argv[2])
rnd, pages = random.Random(seed), os.path.getsize(path) // 4096
with open(path, "r+b") as f:
    heads = [f.read(4096), f.read(4096)]
    head = max(heads, key=lambda h: struct.unpack_from("<Q", h, 144))   # of the last transaction
    roots = struct.unpack_from("<Q", head, 80) + struct.unpack_from("<Q", head, 128)
    if seed % 4 == 0:
        f.write(rnd.randbytes((pages - 2) * 4096))
    for page in range(2, pages):
        if seed % 4 and page not in roots and rnd.random() < 0.5:
            f.seek(page * 4096)
            f.write(bytes(4096))
PY
}
serves_all() {
    while read -r n digest; do
        is "$(curl -sf "http://127.0.0.1:$PORT/v2/library/many/manifests/$n" | sha256sum | sed 's/ .*//; s/^/sha256:/')" "$digest" "many:$n"
    done <"$W/digests"
}
has_ended() { ! kill -0 "$ENTREPOT_PID" 2>/dev/null; }
is_marked() { [ -e "$W/cache/index/damaged" ]; }
reads_all() { for n in $(seq 0 $((IMAGES - 1))); do curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/library/many/manifests/$n"; done; }
# By what its log says, its mark and its pid, never by a pause alone: it has found the damage, or ended, or has moved the index aside.
has_seen_it() { has_ended || is_marked || grep -q "moved to .*index.damaged" "$W/entrepot.log"; }

ended=0 healed=0 unhurt=0
for start in $(seq "$STARTS"); do
    rm -rf "$W/cache"
    cp -a "$W/sound" "$W/cache"
    damage "$start"
    : >"$W/entrepot.log"
    entrepot_try 1 || true
    wait_for 2 has_seen_it || { reads_all || true; }
    if ! wait_for 2 has_seen_it; then # what was hit is not in use
        serves_all
        unhurt=$((unhurt + 1))
        entrepot_stop
        continue
    fi
    if is_marked || has_ended; then
        wait_for 20 has_ended || fail "start $start: the index is marked as damaged, and the daemon goes on ($(curl -s "http://127.0.0.1:$PORT/readyz"))"
        wait "$ENTREPOT_PID" && fail "start $start: it ended with 0" || true
        is_marked || fail "start $start: it ended without a mark: $(tail -n 3 "$W/entrepot.log")"
        ended=$((ended + 1))
        : >"$W/entrepot.log"
        entrepot_start 1
    else
        healed=$((healed + 1))
    fi
    logged=$(grep -c "moved to .*index.damaged" "$W/entrepot.log" || true)
    is "$logged" 1 "start $start: times that the index was moved aside"
    serves_all
    entrepot_stop
done
say "$STARTS starts on a damaged index: $ended ended by themselves and the next start healed, $healed healed at once, $unhurt did not need what was hit"
[ "$ended" -gt 0 ] || fail "no start ended by itself"
