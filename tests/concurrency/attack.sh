#!/bin/bash
# Everything that clients and a registry can do to it, at once, and what others see of it: nothing. Blobs and errors without an end, clients
# that leave, made-up registries, unchecked logins, trailers, tags that hang; meanwhile containerd and sixteen others pull. ATTACK_SECONDS and
# ATTACK_SCALE (percent) make it long and large (make soak).
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
need_root
need containerd ctr umoci skopeo docker-registry mkfs.ext4
SECONDS_LONG=${ATTACK_SECONDS:-15}
SCALE=${ATTACK_SCALE:-10}
B=${B:-build}
IMAGES=40 # of 4 MiB: less than the high mark of 200

truncate -s 1G "$W/disk"
mkfs.ext4 -q -m 0 "$W/disk"
mkdir "$W/cache"
mount -o loop "$W/disk" "$W/cache" || skip "no loop devices here"
BAD=$(free_port)
python3 tests/concurrency/endless.py "$BAD" "$W/requests" &
PIDS+=($!)
wait_for 10 curl -sf "http://127.0.0.1:$BAD/v2/" || fail "no registry"
registry_start
image_build hello
image_push hello 1
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)" # 4200 of its connections are the attack's
CACHE_MORE="max_size: 200MiB, min_free: 30%" entrepot_start "" "
  - {name: bad.test, insecure: true, endpoints: ['http://127.0.0.1:$BAD'], stall_timeout: 20s}
  - {name: '*.evil.test', insecure: true}
gc: {grace: 2s, interval: 1s}
tags: {ttl: 1h}"
get() { code=$(curl -s -m 60 -o "$2" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$1") || code="$code, curl $?"; }
pull() { # N FOLDER: an image of bad.test/fine, right or not at all
    get "bad.test/fine/manifests/$1" "$2/m"
    is "$code" 200 "manifest $1: $(head -c 300 "$2/m")"
    local d
    for d in $(jq -r '.config.digest, .layers[].digest' "$2/m"); do
        get "bad.test/fine/blobs/$d" "$2/b"
        is "$code sha256:$(sha256sum <"$2/b" | cut -d ' ' -f 1)" "200 $d" "blob of $1"
    done
}
open_files() { ls "/proc/$ENTREPOT_PID/fd" | wc -l; }
resident() { awk -v "what=^Vm${1:-RSS}" '$0 ~ what {print int($2 / 1024)}' "/proc/$ENTREPOT_PID/status"; }
mkdir "$W/first"
for n in $(seq $IMAGES); do pull "$n" "$W/first"; done
containerd_end() { kill "$CONTAINERD_PID"; wait "$CONTAINERD_PID" 2>/dev/null || true; }
containerd_begin before
containerd_pull docker.io/library/hello:1 || fail "ctr: $(tail -n 2 "$W/ctr.log")"
containerd_end
files=$(open_files) memory=$(resident)
images=$(ask ls --pullable | wc -l)

say "$SECONDS_LONG s of everything, $SCALE % of it"
attacks=()
for part in endless many idle; do
    python3 tests/concurrency/attack.py "$PORT" "$SECONDS_LONG" "$SCALE" $part >"$W/attack.$part" 2>&1 &
    attacks+=($!)
done
PIDS+=("${attacks[@]}")
others() { # the whole time, one image after the other
    local end=$((SECONDS + SECONDS_LONG)) n=$1 pulls=0
    mkdir -p "$W/other.$1"
    while [ $SECONDS -lt $end ]; do
        n=$((n % IMAGES + 1)) pulls=$((pulls + 1))
        pull "$n" "$W/other.$1"
    done
    echo $pulls >"$W/other.$1/pulls"
}
clients=()
for i in $(seq 16); do
    others "$i" &
    clients+=($!)
done
containerd_begin during
containerd_pull docker.io/library/hello:1 || fail "ctr during the attack: $(tail -n 2 "$W/ctr.log")"
containerd_end
for c in "${clients[@]}"; do wait "$c" || fail "a pull beside the attack"; done
for a in "${attacks[@]}"; do wait "$a" || fail "$(cat "$W"/attack.*)"; done
cat "$W"/attack.*
echo "$(cat "$W"/other.*/pulls | awk '{n += $1} END {print n}') pulls by others, none failed"

say "nothing had to go, and nothing was fetched twice"
is "$(ask ls --pullable | wc -l)" "$images" "images"
is "$(grep -c '^GET .*/fine/blobs/' "$W/requests")" $((2 * IMAGES)) "blobs fetched"
[ "$(du -sm "$W/cache/blobs" | cut -f 1)" -le 200 ] || fail "$(du -sm "$W/cache/blobs")"

say "and within a minute it is as it was"
after=$SECONDS
is_as_before() { [ "$(open_files)" -le $((files + 20)) ] && [ "$(metric entrepot_ingests)" = 0 ]; }
wait_for 60 is_as_before || fail "$(open_files) open files where there were $files, $(metric entrepot_ingests) downloads"
echo "open files $files -> $(open_files), resident $memory -> $(resident) MiB, $(resident HWM) at most"
if [ "$B" = build ]; then # (what a sanitizer frees it keeps for a while)
    is_small_again() { [ "$(resident)" -le $((memory + 24)) ]; } # some of it in tables that are bounded, and in pages around them
    wait_for 60 is_small_again || fail "$(resident) MiB where there were $memory"
    echo "resident $(resident) MiB after $((SECONDS - after)) s"
fi
entrepot_stop
