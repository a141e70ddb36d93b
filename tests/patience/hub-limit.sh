#!/bin/bash
# 200 nodes pull 20 tags, hour after hour, while tags move: Docker Hub would count one pull for each image there was, however
# many nodes and hours. Beside it, distribution's own pull-through proxy on the same sequence.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
. tests/patience/hub.sh.inc
HOURS=${HOURS:-2} NODES=${NODES:-$(is_sanitized && echo 50 || echo 200)}
clock_start
hub_start
for i in $(seq 20); do
    hub "move?name=app$i&tag=1&image=0" >/dev/null
    echo "app$i 1"
done >"$W/tags"
hub "set?limit=5000&remaining=5000" >/dev/null

# In the night before hour h, three tags move.
moves() { for k in 1 2 3; do hub "move?name=app$((($1 * 3 + k) % 20 + 1))&tag=1&image=$1" >/dev/null; done; }
sequence() { # HOST:PORT CLOCK? RETRIES: all hours; leaves the digests in $W/digests
    ERRORS=0
    rm -f "$W/nodes.state" "$W/digests"
    for i in $(seq 20); do hub "move?name=app$i&tag=1&image=0" >/dev/null; done
    hub zero >/dev/null
    for h in $(seq 0 $((HOURS - 1))); do
        [ "$h" = 0 ] || moves "$h"
        [ "$2" = no ] || clock_at $((h * 3600))
        python3 tests/patience/nodes.py "$1" "$NODES" "$W/tags" "$W/nodes.state" "$3" >"$W/out" || fail "hour $h: $(cat "$W/out")"
        ERRORS=$((ERRORS + $(cut -d ' ' -f 2 "$W/out")))
        tr ' ' '\n' <"$W/out" | grep sha256 >>"$W/digests"
    done
}
row() { printf '%-22s %10s %10s %10s\n' "$1" "$(hub_count .counted)" "$(hub_count '[.head[]] | add // 0')" "$(hub_count .blobs)"; }

entrepot_start "$HUB_PORT"
sequence "127.0.0.1:$PORT" yes 0
distinct=$(sort -u "$W/digests" | wc -l)
blobs=$((20 * 3 + (HOURS - 1) * 3 * 2))
printf '%-22s %10s %10s %10s\n' "$NODES nodes, $HOURS hours" "counted" "HEADs" "blobs"
row entrepot
counted=$(hub_count .counted) got=$(hub_count .blobs)
is "$distinct" $((20 + (HOURS - 1) * 3)) "images there were"
is "$counted" "$distinct" "pulls that count"
is "$got" "$blobs" "blobs fetched: each once"
is "$(metric 'entrepot_upstream_ratelimit_remaining{upstream="docker.io"}')" "$((5000 - counted))" "what the metrics say is left"
ask status | grep -q 'pulls left of 5000' || fail "status does not say what is left"
entrepot_stop

# Go does not obey a preloaded clock; but distribution asks upstream for a tag each time, whatever the hour.
port=$(free_port)
cat >"$W/proxy.yml" <<YML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $W/proxy}}
http: {addr: "127.0.0.1:$port"}
proxy: {remoteurl: "http://127.0.0.1:$HUB_PORT"}
YML
docker-registry serve "$W/proxy.yml" >"$W/proxy.log" 2>&1 &
PIDS+=($!)
wait_for 20 curl -sf "http://127.0.0.1:$port/v2/" || fail "distribution's proxy does not start"
hub "set?limit=1000000&remaining=1000000" >/dev/null
# It answers 500 now and then, when several ask for the same blob at once: those are asked for again.
sequence "127.0.0.1:$port" no 100
row "distribution's proxy"
[ "$ERRORS" = 0 ] || say "of its answers, $ERRORS were 5xx, and asked for again"
