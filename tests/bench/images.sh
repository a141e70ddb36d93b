#!/bin/bash
# Rows of parts.sh with real engines: containerd of this machine, and that of Debian sid. An image of 12 layers, from a real registry,
# over a link of 1 Gbit with a round trip of 20 ms, which gives each connection 20 MB/s. Each pull is into an empty store.
#
#     images.sh engines    what the network costs: ctr content fetch
#     images.sh unpack     ctr images pull, and beside it ctr images import of the same image from a file
#
# SCALE (480): MiB of the image's layers; ROUNDS (1).
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
ENTREPOT_SID=${ENTREPOT_SID:-/var/cache/entrepot-tests/sid}
[ -s "$ENTREPOT_SID/packages" ] || skip "  row $1 needs Debian sid (make test-engines makes it)"
. tests/engines/sid.sh.inc
need containerd ctr curl docker-registry jq nginx python3 skopeo

IMAGE=docker.io/library/image:1
push_image() { # MIB: sets SIZE
    local share layers=()
    for share in 24 18 14 11 9 7 6 5 3 1 1 1; do layers+=("$((($1 * share + 24) / 25))x512"); done # half of it is left of them
    SIZE=$(image_into_registry image 1 gzip 0 "${layers[@]}")
    skopeo copy -q "oci:$W/layouts/image:1" "oci-archive:$W/image.tar:$IMAGE"
    rm -rf "$W/layouts"
}
version() { "${NS[@]}" containerd --version | awk '{print $3}' | sed 's/^v//; s/[~+].*//'; }
from_registry() { # COMMAND...
    TOOK=() SENT=()
    for _ in $(seq "$rounds"); do
        containerd_at "$NETWORK_PORT"
        run direct seconds c "$@" --hosts-dir "$C/hosts" "$IMAGE"
        cold "$NETWORK_PORT"
        containerd_at "$PORT"
        run cold seconds c "$@" --hosts-dir "$C/hosts" "$IMAGE"
        containerd_at "$PORT"
        run warm seconds c "$@" --hosts-dir "$C/hosts" "$IMAGE"
    done
}
row_engines() {
    from_registry content fetch
    line "containerd $(version), content fetch, $SCALE MiB" s direct cold "$SIZE" "<= 0.6"
    line "  warm" s direct warm "$SIZE" "<= 0.25, bytes 0"
}
row_unpack() {
    from_registry images pull
    for _ in $(seq "$rounds"); do
        containerd_at "$PORT"
        run import seconds c images import "$W/image.tar"
    done
    line "containerd $(version), images pull, $SCALE MiB" s direct cold "$SIZE" "<= 0.9"
    line "  warm" s direct warm "$SIZE" "bytes 0"
    line "  warm beside images import" s import warm "$SIZE" "<= 1.1"
}

type -t "row_${1:-}" >/dev/null || fail "no row ${1:-}"
SCALE=${SCALE:-480}
sid_begin
registry_start
push_image "$SCALE"
upstream_start 0
network_start 20 20 125
on_host
"row_$1"
on_sid
CONTAINERD_MORE=$PARALLEL_FETCH
"row_$1"
entrepot_stop
