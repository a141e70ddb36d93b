#!/bin/bash
# What being seen costs: warm manifests with the access log off and on, and, while an image of 200 layers is pulled, with the status page closed
# and open. One daemon each, with one worker; short interleaved rounds; ratios of medians. Where the machine has other work, CPU time per request
# is more to be trusted than requests per second: that of the serve loop, which is what limits them, and that of all threads but those that fetch
# and store. No pass or fail.
#
#     ROUNDS (9); SECONDS_EACH (1)
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
. tests/bench/figures.sh.inc
need curl nginx python3 wrk
need_root # nginx.conf says so

rounds=${ROUNDS:-9}
seconds=${SECONDS_EACH:-1}
layers=200
www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"

# ---- content: a manifest of some 2 KiB, and for each pull layers of its own ----

entries=$(for i in $(seq 12); do printf ',{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:%064d","size":1000}' "$i"; done)
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%064d","size":2},"layers":[%s]}' \
    1 "${entries#,}" >"$W/manifest"
MANIFEST=sha256:$(sha256sum <"$W/manifest" | sed 's/ .*//')
mv "$W/manifest" "$www/manifests/$MANIFEST"
python3 - "$www/blobs" $((2 * rounds * layers)) >"$W/digests" <<'PY'
import hashlib, os, sys
for _ in range(int(sys.argv[2])):
    layer = os.urandom(20000)
    digest = "sha256:" + hashlib.sha256(layer).hexdigest()
    with open(f"{sys.argv[1]}/{digest}", "wb") as f:
        f.write(layer)
    print(digest)
PY

# ---- a registry with slow layers; three daemons ----

SLOW=$(free_port)
nginx_start 0 "server { root $W/www; access_log off; listen 127.0.0.1:$SLOW; keepalive_requests 1000000;
    location ~ /manifests/ { default_type application/vnd.oci.image.manifest.v1+json; }
    location ~ /blobs/ { limit_rate 2500; } }"
declare -A PORT_OF PID_OF
start() { # NAME [YAML]
    PORT=$(free_port)
    printf '%s\n' "listen: [{address: \"127.0.0.1:$PORT\"}]" "admin: {socket: $W/$1.sock}" "cache: {path: $W/cache.$1, min_free: 0B}" \
        "workers: 1" "upstreams: [{name: docker.io, endpoints: [\"http://127.0.0.1:$SLOW\"], insecure: true}]" "${2:-}" >"$W/$1.yaml"
    entrepot_run "$W/$1.yaml" "$W/$1.log" || fail "entrepot does not start"
    PORT_OF[$1]=$PORT PID_OF[$1]=$ENTREPOT_PID
    is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/app/manifests/$MANIFEST")" 200 "the manifest"
}
start off
start log "access_log: {path: $W/access.log}"
start pulled

# ---- measuring: RPS and CPU, in microseconds per request, by what was measured ----

declare -A RPS LOOP ALL
cpu_of() { # PID: seconds of the serve loop, and of all threads but those that fetch and store
    local t name loop=0 all=0 ns
    for t in /proc/"$1"/task/*; do
        name=$(<"$t/comm")
        read -r ns _ <"$t/schedstat"
        case $name in
        fetch-* | io | index-writer) continue ;;
        serve-*) loop=$((loop + ns)) ;;
        esac
        all=$((all + ns))
    done
    echo "$loop $all"
}
measure() { # KEY DAEMON
    local before after answer n r
    before=$(cpu_of "${PID_OF[$2]}")
    answer=$(wrk -t 1 -c 32 -d "${seconds}s" "http://127.0.0.1:${PORT_OF[$2]}/v2/app/manifests/$MANIFEST")
    sleep 0.1 # what is gathered is written
    after=$(cpu_of "${PID_OF[$2]}")
    n=$(awk '/requests in/ {print $1}' <<<"$answer") r=$(awk '/Requests\/sec/ {print $2}' <<<"$answer")
    RPS[$1]="${RPS[$1]:-} $r"
    LOOP[$1]="${LOOP[$1]:-} $(awk -v a="${after% *}" -v b="${before% *}" -v n="$n" 'BEGIN {printf "%.3f\n", (a - b) / n / 1e3}')"
    ALL[$1]="${ALL[$1]:-} $(awk -v a="${after#* }" -v b="${before#* }" -v n="$n" 'BEGIN {printf "%.3f\n", (a - b) / n / 1e3}')"
}
pull=0
with_pull() { # KEY
    local puller base=http://127.0.0.1:${PORT_OF[pulled]}
    sed -n "$((1 + pull * layers)),$(((pull + 1) * layers))s|.*|url=$base/v2/app/blobs/&\noutput=/dev/null|p" "$W/digests" >"$W/urls"
    pull=$((pull + 1))
    curl -s -A docker/28.0 -Z --parallel-immediate --parallel-max 200 -K "$W/urls" 2>/dev/null & # it has a meter even so
    puller=$!
    PIDS+=($puller)
    sleep 0.5
    measure "$1" pulled
    kill -0 $puller 2>/dev/null || fail "the pull was over before"
    kill $puller
    wait $puller 2>/dev/null || true
    sleep 0.3
}
page() { curl -sN -o "$W/events" "http://127.0.0.1:${PORT_OF[pulled]}/events"; }
with_page() { # KEY
    page &
    PIDS+=($!)
    local reader=$!
    with_pull "$1"
    [ -s "$W/events" ] || fail "the page shows no event"
    kill $reader
    wait $reader 2>/dev/null || true
}
for round in $(seq "$rounds"); do
    if [ $((round % 2)) = 0 ]; then
        measure off off
        measure log log
        with_pull closed
        with_page open
    else
        measure log log
        measure off off
        with_page open
        with_pull closed
    fi
done

# ---- the table ----

of() { # WITHOUT WITH MORE_IS_BETTER: both medians, and their ratio
    local a b
    a=$(median <<<"$1") b=$(median <<<"$2")
    printf ' %9.9s %9.9s %6s' "$a" "$b" "$(awk -v a="$a" -v b="$b" -v up="$3" 'BEGIN {printf "%.3f\n", up ? b / a : a / b}')"
}
row() { # NAME BESIDE KEY
    printf '%-36s' "$1"
    of "${RPS[$2]}" "${RPS[$3]}" 1
    of "${LOOP[$2]}" "${LOOP[$3]}" 0
    of "${ALL[$2]}" "${ALL[$3]}" 0
    echo
}
echo
printf '%-36s %9s %9s %6s %9s %9s %6s %9s %9s %6s\n' "$(nproc) cores, load $(cut -d ' ' -f 1 /proc/loadavg), $rounds rounds, medians" \
    "off /s" "on /s" ratio "loop us" "on" ratio "all us" "on" ratio
row "access log (aim >= 0.97)" off log
row "status page, a pull of $layers layers" closed open
echo "lines of the access log that were dropped: $(PORT=${PORT_OF[log]} metric entrepot_access_log_dropped_total)"
for name in off log pulled; do
    ENTREPOT_PID=${PID_OF[$name]}
    entrepot_stop
done
