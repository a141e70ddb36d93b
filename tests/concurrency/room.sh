#!/bin/bash
# The limits hold for what is on its way: blobs without an end let nothing go, many at once stay below max_size, and what nobody waits
# for any more ends upstream, too.
. "$(dirname "$0")/../lib.sh"

UPSTREAM=$(free_port)
python3 tests/concurrency/endless.py "$UPSTREAM" "$W/requests" &
PIDS+=($!)
wait_for 10 curl -sf "http://127.0.0.1:$UPSTREAM/v2/" || fail "no registry"
MORE="gc: {grace: 0s, interval: 1s}
tags: {ttl: 1h}"
start() { # MAX_SIZE [BLOB_MAX]
    CACHE_MORE="max_size: $1${2:+, blob_max: $2}" LOG=debug entrepot_start "$UPSTREAM" "$MORE"
}
get() { code=$(curl -s -m "${TIME:-30}" -o "${OUT:-$W/got}" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$1") || code="$code, curl $?"; }
layer_of() { jq -r '.layers[0].digest' "$W/image.$1"; }
pull() { # REPOSITORY N [PATH OF THE BLOB'S REPOSITORY]
    OUT=$W/image.$2 get "$1/manifests/$2"
    is "$code" 200 "manifest $2: $(cat "$W/image.$2")"
    OUT=$W/layer.$2 get "${3:-$1}/blobs/$(layer_of "$2")"
    is "$code sha256:$(sha256sum <"$W/layer.$2" | cut -d ' ' -f 1)" "200 $(layer_of "$2")" "layer $2"
    OUT=$W/config.$2 get "$1/blobs/$(jq -r .config.digest "$W/image.$2")"
    is "$code $(cat "$W/config.$2")" "200 {\"n\": $2}" "config $2"
}
on_disk() { du -scm "$W/cache/blobs" "$W/cache/ingest" 2>/dev/null | tail -n 1 | cut -f 1; }
# The most that the cache takes while a command runs, in MiB.
most=0
watched() {
    "$@" &
    local pid=$! now
    while kill -0 $pid 2>/dev/null; do
        now=$(on_disk)
        [ "$now" -le $most ] || most=$now
        sleep 0.05
    done
    wait $pid || fail "$*"
}
kept() { ask ls --pullable | wc -l; }
UNKNOWN=sha256:$(printf '%064d' 1)

say "a blob without a length and without an end lets nothing go: where there is no room for more it is passed on"
start 150MiB
for n in $(seq 20); do pull fine $n; done
is "$(kept)" 20 "images"
passed_on() { (set +o pipefail; curl -s -m 60 "http://127.0.0.1:$PORT/v2/$1" | head -c 8000000 | wc -c); }
touched() { for _ in 1 2 3; do is "$(passed_on endless/blobs/$UNKNOWN)" 8000000 "bytes of it that were passed on"; done; }
watched touched
grep -q "blobs are served without caching" "$W/entrepot.log" || fail "nothing says so"
is "$(kept)" 20 "images after it"
[ $most -le 151 ] && [ $most -ge 120 ] || fail "$most MiB on the disk where 150 are allowed"
wait_for 10 test "$(on_disk)" -le 90 || fail "$(on_disk) MiB stay on the disk"
for n in $(seq 20); do pull fine $n; done
is "$(grep -c "GET .*/fine/blobs" "$W/requests")" 40 "blobs that were fetched"

say "one without a length, and with an end, where there is no room for it"
rm -rf "$W/cache"; entrepot_stop
start 10MiB
sed -i 's/grace: 0s/grace: 1h/' "$W/config.yaml"
with_grace() { entrepot_stop; "$ENTREPOT" serve --config "$W/config.yaml" >>"$W/entrepot.log" 2>&1 & ENTREPOT_PID=$!; PIDS+=($ENTREPOT_PID); wait_for 10 entrepot_is_ready; }
with_grace
pull fine 31
pull fine 32
most=0
unsaid() { for n in 33 34 35; do pull fine $n unsaid; done; }
watched unsaid
[ $most -le 11 ] || fail "$most MiB on the disk where 10 are allowed"
ask ls --pullable >"$W/kept"
for n in 31 32; do grep -q "fine:$n@" "$W/kept" || fail "image $n had to go: $(cat "$W/kept")"; done

say "blobs on their way count: sixteen at once, slow, where there is room for ten; all come through, and what must not go stays"
rm -rf "$W/cache"; entrepot_stop
start 45MiB
most=0
many() {
    local pids=() p n
    for n in $(seq 101 116); do pull fine $n slow & pids+=($!); done
    for p in "${pids[@]}"; do wait "$p" || { cp "$W/entrepot.log" /tmp/room.log; fail "a pull among many"; }; done
}
watched many
[ $most -le 46 ] || fail "$most MiB on the disk where 45 are allowed"
[ $most -ge 20 ] || fail "at most $most MiB on the disk: nothing was kept"

say "of an engine that fetches by parts, with a pause after each, each part is requested once"
OUT=$W/image.200 get fine/manifests/200
for from in 0 1048576 2097152; do
    curl -s -m 20 -o "$W/part" -r "$from-$((from + 65535))" "http://127.0.0.1:$PORT/v2/slow/blobs/$(layer_of 200)"
    is "$(stat -c %s "$W/part")" 65536 "a part from $from on"
    sleep 0.2
done
is "$(grep -c "GET .*/slow/blobs/$(layer_of 200)" "$W/requests")" 3 "requests for it"

say "one that is larger than blob_max is passed on, and not kept"
entrepot_stop
rm -rf "$W/cache"
start 1GiB 3MiB
pull fine 1
[ "$(on_disk)" -le 3 ] || fail "it was kept"
pull fine 1
is "$(grep -c "GET .*/fine/blobs/$(layer_of 1)" "$W/requests")" 3 "requests for it"

say "errors without an end are read for a moment"
for status in 404 500 203 416; do
    TIME=5 get error/$status/blobs/$UNKNOWN
    case $code in 404 | 502) ;; *) fail "$status became $code" ;; esac
    TIME=5 get error/$status/manifests/1
    case $code in 404 | 502) ;; *) fail "$status became $code" ;; esac
done
wait_for 5 eval '[ "$(grep -c "^gone .*/error/" "$W/requests")" -ge 8 ]' || fail "upstream still sends"

say "a byte a second is no answer"
with_patience() { # DURATION
    entrepot_stop
    sed -i "s/stall_timeout: .*/stall_timeout: $1/" "$W/config.yaml"
    entrepot_run || fail "entrepot does not start"
}
with_patience 2s
TIME=25 get trickle/manifests/1
is "$code" 504 "a manifest: $(cat "$W/got")"
grep -q "next to nothing for 2 s" "$W/got" || fail "$(cat "$W/got")"
TIME=25 get trickle/blobs/$UNKNOWN
is "$code" 504 "a blob: $(cat "$W/got")"

say "what nobody waits for any more ends upstream, after some seconds"
with_patience 120s
for what in silent/manifests/1 silent/manifests/sha256:$(printf '%064d' 2) silent/blobs/sha256:$(printf '%064d' 3) silent/tags/list; do
    for _ in 1 2 3; do TIME=0.5 get $what & done
done
wait_for 10 eval '[ "$(grep -c "/silent/" "$W/requests")" = 4 ]' || fail "asked upstream: $(grep silent "$W/requests")"
gone() { [ "$(grep -c "^gone .*$1" "$W/requests")" = "$2" ]; }
gone silent 0 || fail "given up at once"
wait_for 30 gone silent 4 || fail "$(grep silent "$W/requests")"
entrepot_stop
