#!/bin/bash
# An engine of today that does not fetch a layer as one stream: what it gets is right, and the registry sends for it no more than
# without entrepot; to a second engine of the node it sends nothing. Seconds are printed, and are no reason to fail.
#
#   tests/engines/pieces.sh parallel    containerd 2.1 fetches a layer over four connections; each is given 20 MB/s
#   tests/engines/pieces.sh chunked     podman updates a zstd:chunked image, of which 8 of 200 files are new
#   tests/engines/pieces.sh stargz      the stargz snapshotter mounts an eStargz image, and reads a file
#
# MIB (256) of the layer of the first.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/engines/sid.sh.inc
need curl jq nginx docker-registry skopeo python3

sent() { echo "${SENT[$1]}" | median; }
bytes_are() { # KEY AT_LEAST AT_MOST WHAT
    [ "$(sent "$1")" -ge "$2" ] && [ "$(sent "$1")" -le "$3" ] || fail "$4: $(sent "$1") bytes, and not $2 to $3"
}
times() { awk -v n="$1" -v f="$2" 'BEGIN {printf "%d\n", n * f}'; }

# ---- containerd: one layer over several connections ----

pull_in_parallel() { # KEY PORT
    CONTAINERD_MORE=$PARALLEL_FETCH containerd_at "$2"
    run "$1" seconds c images pull --hosts-dir "$C/hosts" docker.io/library/big:1
}
case_parallel() {
    local size at
    size=$(image_into_registry big 1 tar 0 "${MIB:-256}x1024")
    at=$(logged)
    pull_in_parallel direct "${PORT_OF[20]}"
    [ "$(ranges_since "$at")" -ge $((${MIB:-256} / 32)) ] || fail "containerd does not fetch in parallel"
    cold "${PORT_OF[20]}"
    pull_in_parallel cold "$PORT"
    pull_in_parallel warm "$PORT"
    line "containerd, ${MIB:-256} MiB, 32 MiB x 4, 20 MB/s" s direct cold "$size" "bytes 1.00"
    line "  warm" s direct warm "$size" "bytes 0"
    bytes_are cold "$size" "$(times "$size" 1.02)" "a layer in chunks"
    bytes_are warm 0 0 "warm"
}

# ---- podman: the files of an update ----

podman_at() { # STORE PORT
    PORT=$2 podman_begin "$1"
    [ "$PODMAN_DRIVER" = overlay ] || skip "no overlay file system here"
}
podman_has_files() { # TAG
    local m
    m=$(p image mount "docker.io/library/files:$1")
    diff -r "$NODE$m" "$W/files-$1" >&2 || fail "other files"
    p image umount -a >/dev/null
}
pull_update() { # STORE PORT: both versions; sets TOOK and SENT of STORE-1 and STORE-2
    local tag
    podman_at "$1" "$2"
    for tag in 1 2; do
        run "$1-$tag" seconds p pull -q docker.io/library/files:$tag
        podman_has_files $tag
    done
}
push_chunked() { # TAG CHANGED
    python3 tests/engines/image.py "$W/layouts/files" "$1" gzip "$2" 200x512 >/dev/null
    files_of files "$1"
    "${NS[@]}" skopeo copy -q --dest-tls-verify=false --dest-compress-format zstd:chunked --dest-force-compress-format \
        "oci:$W/layouts/files:$1" "docker://127.0.0.1:$REGISTRY_PORT/library/files:$1" || fail "skopeo copy"
}
case_chunked() {
    cat >"$W/storage.conf" <<-EOT
	[storage]
	driver = "overlay"
	runroot = "$W/run"
	graphroot = "$W/graph"
	[storage.options]
	pull_options = {enable_partial_images = "true"}
	EOT
    export CONTAINERS_STORAGE_CONF=$W/storage.conf TMPDIR=$W
    push_chunked 1 0
    push_chunked 2 8
    pull_update direct "${PORT_OF[20]}"
    [ "$(sent direct-2)" -lt $(($(sent direct-1) / 4)) ] || fail "podman fetches the whole layer: $(sent direct-2)"
    cold "${PORT_OF[20]}"
    pull_update through "$PORT"
    pull_update second "$PORT"
    line "podman, zstd:chunked, 52 MB in 200 files" s direct-1 through-1 direct ""
    line "  update of 8 files" s direct-2 through-2 direct "bytes <= 1.25"
    line "  a second store" s direct-1 second-1 direct "bytes 0"
    line "  its update" s direct-2 second-2 direct "bytes 0"
    bytes_are through-2 1 "$(times "$(sent direct-2)" 1.25)" "an update"
    bytes_are second-1 0 0 "a second store"
    bytes_are second-2 0 0 "its update"
}

# ---- stargz: a layer is mounted by FUSE, and what is read is fetched ----

SNAPSHOTTER_PID=
stargz_at() { # PORT: the snapshotter and a containerd that uses it; both have nothing
    local folder=$W/stargz
    containerd_gone
    [ -z "$SNAPSHOTTER_PID" ] || daemon_end "$SNAPSHOTTER_PID"
    rm -rf "$folder"
    mkdir "$folder"
    cat >"$folder/config.toml" <<-TOML
	noprefetch = true
	no_background_fetch = true
	no_prometheus = true
	[[resolver.host."docker.io".mirrors]]
	host = "127.0.0.1:$1"
	insecure = true
	TOML
    "${NS[@]}" stargz "$folder" >>"$W/stargz.log" 2>&1 &
    SNAPSHOTTER_PID=$!
    PIDS+=($SNAPSHOTTER_PID)
    wait_for 20 test -S "$folder/sock" || fail "the stargz snapshotter does not start"
    CONTAINERD_MORE=$(printf '[proxy_plugins.stargz]\ntype = "snapshot"\naddress = "%s/sock"' "$folder") containerd_at "$1"
}
remote() { "${NS[@]}" ctr-remote "--address=$C/sock" "$@"; }
# The image is pulled and mounted, and three of its files are read.
read_lazily() {
    local file
    remote images rpull --hosts-dir "$C/hosts" "$LAZY" || return 1
    mkdir -p "$W/mnt"
    c images mount --snapshotter stargz "$LAZY" "$W/mnt" || return 1
    grep " $NODE$W/stargz/.* fuse" /proc/self/mounts || { echo "nothing is mounted lazily"; return 1; }
    for file in layer-1/0003 layer-2/0050 layer-2/0099; do
        cmp "$NODE$W/mnt/$file" "$W/files-1/$file" || return 1
    done
    umount "$NODE$W/mnt"
}
pull_lazily() { # KEY PORT
    stargz_at "$2"
    run "$1" seconds read_lazily
}
push_estargz() {
    local name=127.0.0.1:$REGISTRY_PORT/library/lazy
    image_into_registry lazy 1 gzip 0 100x1024 100x1024 >/dev/null
    files_of lazy 1
    containerd_at "$REGISTRY_PORT"
    c images pull --plain-http "$name:1" &&
        remote images convert --oci --estargz --estargz-compression-level 1 "$name:1" "$name:estargz" &&
        remote images push --plain-http "$name:estargz"
}
case_stargz() {
    LAZY=docker.io/library/lazy:estargz
    node_has stargz || skip "needs the stargz snapshotter, which tests/engines/chroot builds with Go"
    node_has ctr-remote || skip "needs ctr-remote, of Debian's stargz-snapshotter"
    push_estargz >>"$W/engine.log" 2>&1 || fail "ctr-remote cannot make an eStargz image"
    pull_lazily direct "${PORT_OF[20]}"
    [ "$(sent direct)" -lt 20000000 ] || fail "it is not lazy: $(sent direct) bytes"
    cold "${PORT_OF[20]}"
    pull_lazily through "$PORT"
    pull_lazily second "$PORT"
    line "stargz, eStargz of 105 MB: pull, three files" s direct through direct "bytes <= 1.5"
    line "  a second engine" s direct second direct "bytes 0"
    bytes_are through 1 "$(times "$(sent direct)" 1.5)" "a lazy pull"
    bytes_are second 0 0 "a second engine's"
}

type -t "case_${1:-}" >/dev/null || fail "no such engine: ${1:-}"
sid_begin
registry_start
upstream_start 0 20
head_of_table
"case_$1"
[ -z "$ENTREPOT_PID" ] || entrepot_stop
