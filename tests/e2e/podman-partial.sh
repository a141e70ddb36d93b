#!/bin/bash
# podman with enable_partial_images has one version of a zstd:chunked image and pulls the next one, in which a sixth of the files have
# changed: it requests these in one request, and gets them and not the layer; cold, and from the cache into another store.
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
need_root
need podman docker-registry

on_cleanup() { for P in "$W"/[abc]; do [ -d "$P" ] && p image umount -a >/dev/null 2>&1; done; }
cat >"$W/storage.conf" <<EOT
[storage]
driver = "overlay"
runroot = "$W/run"
graphroot = "$W/graph"
[storage.options]
pull_options = {enable_partial_images = "true"}
EOT
export CONTAINERS_STORAGE_CONF=$W/storage.conf TMPDIR=$W
write_files() { # EVERY SEED
    python3 -c '
import random, sys
every, r = int(sys.argv[2]), random.Random(int(sys.argv[3]))
for n in range(0, 120, every):
    open("%s/%d" % (sys.argv[1], n), "wb").write(r.randbytes(30000))' "$W/context/files" "$1" "$2"
}
push() { # TAG
    local name=127.0.0.1:$REGISTRY_PORT/library/files:$1
    p build -q -t "$name" "$W/context" >>"$W/podman.log" 2>&1 || fail "podman build: $(tail -n 3 "$W/podman.log")"
    p push -q --tls-verify=false --compression-format zstd:chunked "$name" >>"$W/podman.log" 2>&1 || fail "podman push: $(tail -n 3 "$W/podman.log")"
}
pull_and_compare() { # TAG: sets bytes to what podman got
    local before m
    before=$(metric entrepot_sent_bytes_total)
    podman_pull "docker.io/library/files:$1" || fail "podman pull: $(tail -n 3 "$W/podman.log")"
    wait_for 5 eval '[ "$(metric entrepot_ingests)" = 0 ]' || fail "it still arrives"
    bytes=$(($(metric entrepot_sent_bytes_total) - before))
    m=$(p image mount "docker.io/library/files:$1")
    diff -r "$m/files" "$W/files.$1" || fail "other files"
    p image umount "docker.io/library/files:$1" >/dev/null
}

registry_start
entrepot_start
podman_begin a
[ $PODMAN_DRIVER = overlay ] || skip "no overlay file system here"
mkdir -p "$W/context/files"
printf 'FROM scratch\nCOPY files /files\n' >"$W/context/Dockerfile"
write_files 1 1
push 1
cp -r "$W/context/files" "$W/files.1"
write_files 6 2
push 2
cp -r "$W/context/files" "$W/files.2"
size=$(du -bs "$W/files.2" | cut -f 1)

for store in b c; do
    podman_begin $store
    pull_and_compare 1
    [ "$bytes" -gt "$size" ] || fail "only $bytes bytes of the first version"
    pull_and_compare 2
    say "store $store: $bytes bytes for the second version, of $size"
    [ "$bytes" -gt $((size / 6)) ] && [ "$bytes" -lt $((size / 3)) ] || fail "$bytes bytes where a sixth of $size is due"
done
entrepot_stop
