#!/bin/bash
# The table of what engines of today do: straight from a registry and through entrepot. What is measured is how long an
# engine waits, and what the registry has sent for it. Runs are interleaved; medians, the ratio of medians, bytes as a
# multiple of the blob or of what direct took. No pass or fail on seconds; a wrong byte is a failure.
#
#     parts.sh [ROW...]     one parallel closed five piece cold steady lazy update image memory engines unpack
#
# The last two are images.sh's, with real engines; without Debian sid they are skipped.
#
# ROUNDS (3); MIB (256) of a throttled blob; BIG_MIB (1024) of the others; SCALE (480) MiB of the image; SETTLE (20)
# seconds that what goes on upstream is waited for; FETCH and PARALLEL: cache.fetch and the upstream's parallel, where
# they are not the defaults.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
. tests/bench/parts.sh.inc
need curl jq nginx openssl python3
need_root # nginx.conf says so

rounds=${ROUNDS:-3}
mib=${MIB:-256}
big=${BIG_MIB:-1024}
BLOBS=$W/www/v2/library/app/blobs
mkdir -p "$BLOBS" "$W/www/v2/library/app/manifests"
: >"$W/parts.access"
upstream_start 0 2 20 100
limited=${PORT_OF[20]}
one_took='' # what one client through entrepot waits

# CLIENT is a function that is called with URL and FILE; of engine, the first argument comes before them.
blob_row() { # NAME AIM UPSTREAM_PORT CLIENT [ARGUMENT...]
    TOOK=() SENT=()
    for _ in $(seq "$rounds"); do
        run d "$4" ${5:+"$5"} "$(direct "$3")/blobs/$BLOB" "$BLOBS/$BLOB" "${@:6}"
        cold "$3"
        run e "$4" ${5:+"$5"} "$(through)/blobs/$BLOB" "$BLOBS/$BLOB" "${@:6}"
    done
    line "$1" s d e "$(stat -c %s "$BLOBS/$BLOB")" "$2"
}

row_one() {
    blob_make "$mib" throttled
    blob_row "curl, $mib MiB, 20 MB/s a connection" "<= 0.29, bytes 1.00" "$limited" plain_curl
    one_took=$(echo "${TOOK[e]}" | median)
}
row_parallel() {
    blob_make "$mib" throttled
    blob_row "containerd 2.1, 32 MiB x 4, $mib MiB, same" "<= 1.0, bytes 1.00" "$limited" engine parallel 32 4
}
row_closed() {
    blob_make "$mib" throttled
    blob_row "closed ranges, 32 MiB x 4 kept connections, same" "<= 1.0, bytes 1.00" "$limited" engine closed 32 4
}
row_five() {
    blob_make "$mib" throttled
    blob_row "five clients at once, $mib MiB, same" "as one; bytes 1.00" "$limited" engine plain 5
    [ -z "$one_took" ] ||
        line_of_one "  beside one client through entrepot" "$(per "$(echo "${TOOK[e]}" | median)" "$one_took")" "<= 1.0"
}
row_piece() {
    local size where at
    blob_make "$mib" throttled
    size=$(stat -c %s "$BLOBS/$BLOB")
    for where in end middle start; do
        TOOK=() SENT=()
        at=0
        [ $where != middle ] || at=$((size / 2))
        [ $where != end ] || at=$((size - 4096))
        for _ in $(seq "$rounds"); do
            run d piece_curl "$(direct "$limited")/blobs/$BLOB" "$BLOBS/$BLOB" $at
            cold "$limited"
            run e piece_curl "$(through)/blobs/$BLOB" "$BLOBS/$BLOB" $at
        done
        line "4 KiB at the $where of $mib MiB, same" ms d e direct "<= direct + 30 ms"
    done
}
row_cold() {
    local name seconds gib
    local -A cpu=()
    gib=$(per "$big" 1024)
    blob_make "$big" big
    TOOK=() SENT=()
    for _ in $(seq "$rounds"); do
        run d curl_only "$(direct "${PORT_OF[0]}")/blobs/$BLOB"
        cold "${PORT_OF[0]}"
        cpu_of_threads >"$W/cpu.before"
        run e curl_only "$(through)/blobs/$BLOB"
        sleep 0.5
        cpu_of_threads >"$W/cpu.after"
        while read -r name seconds; do
            cpu[$name]="${cpu[$name]:-} $(awk -v s="$seconds" -v g="$gib" 'BEGIN {printf "%.3f\n", s / g}')"
        done < <(cpu_between "$W/cpu.before" "$W/cpu.after")
    done
    is "$(curl -s "$(through)/blobs/$BLOB" | sha256sum | sed 's/ .*//')" "${BLOB#sha256:}" "what was cached"
    line "cold $big MiB, no limit" s d e $((big << 20)) "<= 1.5"
    line_of_one "  CPU s/GiB of the fetch threads" "$(echo "${cpu[fetch]}" | median)" "<= 0.8"
    line_of_one "  CPU s/GiB of the daemon" "$(echo "${cpu[all]}" | median)" "<= 1.7"
    for name in "${!cpu[@]}"; do
        case $name in
        all | fetch) ;;
        *) echo "$(echo "${cpu[$name]}" | median) $name" ;;
        esac
    done | sort -rg | awk '$1 >= 0.02 {others = others (others ? ", " : "") $2 " " $1}
        END {print "    of the others: " others}'
}
row_steady() {
    blob_make "$big" big
    blob_row "cold $big MiB at 100 MB/s" "<= 1.01" "${PORT_OF[100]}" engine plain 1
    network_start 20 0 125
    blob_row "cold $big MiB, RTT 20 ms, link 1 Gbit" "<= 1.01" "$NETWORK_PORT" engine plain 1
}
row_lazy() {
    blob_make 190 stargz
    network_start 20 20 0
    TOOK=() SENT=()
    for n in $(seq "$rounds"); do
        run d engine lazy "$(direct "$NETWORK_PORT")/blobs/$BLOB" "$BLOBS/$BLOB" "$n"
        cold "$NETWORK_PORT"
        run e engine lazy "$(through)/blobs/$BLOB" "$BLOBS/$BLOB" "$n"
        run second engine lazy "$(through)/blobs/$BLOB" "$BLOBS/$BLOB" "$n"
    done
    line "eStargz of 200 MB, lazy: TOC, 6 files; RTT 20 ms" s d e direct "<= 1.2, bytes <= 1.5"
    line "  a second engine" s d second direct "bytes 0"
}
update_row() { # NAME UPSTREAM_PORT PIECES BYTES
    TOOK=() SENT=()
    for _ in $(seq "$rounds"); do
        run d engine update "$(direct "$2")/blobs/$BLOB" "$BLOBS/$BLOB" "$3" "$4"
        cold "$2"
        run e engine update "$(through)/blobs/$BLOB" "$BLOBS/$BLOB" "$3" "$4"
        run warm engine update "$(through)/blobs/$BLOB" "$BLOBS/$BLOB" "$3" "$4"
    done
    line "zstd:chunked, $1" s d e direct "<= 1.1, bytes <= 1.25"
    line "  warm" s d warm direct "<= 0.7, bytes 0"
}
row_update() {
    blob_make 190 chunked
    update_row "8 of 200 MB, no limit" "${PORT_OF[0]}" 8 1000000
    network_start 20 20 0
    update_row "8 of 200 MB, RTT 20 ms, 20 MB/s" "$NETWORK_PORT" 8 1000000
    update_row "1000 pieces of 8 KiB, same" "$NETWORK_PORT" 1000 8192
}
image_row() { # NAME AIM MIB CONNECTIONS
    local path=manifests/$MANIFEST size
    size=$(jq '[.config.size, .layers[].size] | add' "$W/www/v2/library/app/$path")
    TOOK=() SENT=()
    for _ in $(seq "$rounds"); do
        run d engine image "$(direct "$NETWORK_PORT")/$path" "$BLOBS" "$3" "$4"
        cold "$NETWORK_PORT"
        run e engine image "$(through)/$path" "$BLOBS" "$3" "$4"
        run warm engine image "$(through)/$path" "$BLOBS" "$3" "$4"
    done
    line "$1" s d e "$size" "$2"
    line "  warm" s d warm "$size" "<= 0.25, bytes 0"
}
row_image() {
    image_mib=${SCALE:-480}
    image_make "$image_mib"
    network_start 20 20 125
    image_row "image of $image_mib MiB, 1 Gbit, 20 ms, 20 MB/s; containerd 1.6" "<= 0.6" 0 0
    image_row "  the same, containerd 2.1" "<= 0.6" 32 4
    network_start 20 0 125
    image_row "  the same, no limit a connection; containerd 1.6" "<= 1.0" 0 0
    image_row "  the same, no limit a connection; containerd 2.1" "<= 1.0" 32 4
}
# Digests that nobody will come to check: none of them arrives.
row_memory() {
    local n digest max=0 now clients=()
    cold "${PORT_OF[2]}"
    for n in $(seq 64); do
        digest=sha256:$(printf '%064x' "$n")
        truncate -s 64M "$BLOBS/$digest"
        curl -s --max-time 60 -o /dev/null "$(through)/blobs/$digest" &
        clients+=($!)
    done
    PIDS+=("${clients[@]}")
    for _ in $(seq 16); do
        sleep 0.5
        now=$(resident)
        max=$(printf '%s\n' "$now" "$max" | sort -g | tail -n 1)
    done
    kill "${clients[@]}" 2>/dev/null || true
    wait "${clients[@]}" 2>/dev/null || true
    line_of_one "resident memory, 64 blobs arriving" "$max MiB" "<= 64 MiB"
}

real_engines() { # ROW
    local status=0
    ROUNDS=${ROUNDS:-1} bash tests/bench/images.sh "$1" || status=$?
    [ $status = 0 ] || [ $status = 77 ] || fail "images.sh $1"
}
row_engines() { real_engines engines; }
row_unpack() { real_engines unpack; }

rows=("$@")
[ $# -gt 0 ] || rows=(one parallel closed five piece cold steady lazy update image memory engines unpack)
for row in "${rows[@]}"; do
    type -t "row_$row" >/dev/null || fail "no row $row"
done
echo
head_of_table
for row in "${rows[@]}"; do "row_$row"; done
[ -z "$ENTREPOT_PID" ] || entrepot_stop
