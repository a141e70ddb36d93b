#!/bin/bash
# A daemon with no file: all that it needs is in the environment, as in a container, with what Kubernetes adds for a service of that name.
. "$(dirname "$0")/../lib.sh"
UP=$(free_port)
PORT=$(free_port)
python3 tests/concurrency/reload.py upstream "$UP" >"$W/up.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -sf "http://127.0.0.1:$UP/v2/" || fail "no registry"
echo "{}" >"$W/empty.yaml" # what /etc has is another daemon's
export ENTREPOT_LISTEN="127.0.0.1:$PORT" ENTREPOT_ADMIN_SOCKET="$W/admin.sock" ENTREPOT_CACHE_PATH="$W/cache" ENTREPOT_CACHE_MIN_FREE=0B \
    ENTREPOT_CACHE_MAX_SIZE=1GiB ENTREPOT_TAGS_TTL=1h ENTREPOT_UPSTREAMS="[{name: docker.io, endpoints: ['http://127.0.0.1:$UP'], insecure: true}]"
export ENTREPOT_SERVICE_HOST=10.0.0.1 ENTREPOT_PORT=tcp://10.0.0.1:5000 ENTREPOT_PORT_5000_TCP=tcp://10.0.0.1:5000 ENTREPOT_SERVICE_PORT=5000
entrepot_run "$W/empty.yaml" || fail "entrepot does not start"
curl -sf "http://127.0.0.1:$PORT/v2/hello/manifests/1" >/dev/null || fail "no manifest"
ask status --json | grep -q '"limit_bytes": 1073741824' || fail "ENTREPOT_CACHE_MAX_SIZE: $(ask status)"

say "where values come from"
show() { "$ENTREPOT" config show --config "$W/empty.yaml"; }
show >"$W/show"
grep -q "^  max_size: 1GiB  # ENTREPOT_CACHE_MAX_SIZE$" "$W/show" || fail "$(cat "$W/show")"
grep -q "^  readahead: 3  # default$" "$W/show" || fail "$(cat "$W/show")"
"$ENTREPOT" config show --config "$W/empty.yaml" --json |
    jq -e '.sources["tags.ttl"] == {from: "environment", variable: "ENTREPOT_TAGS_TTL"} and .sources.listen.from == "environment"' >/dev/null || fail "config show --json"
"$ENTREPOT" config show --config "$W/show" >"$W/again" || fail "its own output is no configuration"

say "mistakes"
unset ENTREPOT_SERVICE_HOST ENTREPOT_PORT
check() { env "$1" "$ENTREPOT" config check --config "$W/empty.yaml" 2>&1 || true; }
check ENTREPOT_CACHE_MAXSIZE=1GiB | grep -q "ENTREPOT_CACHE_MAXSIZE: .*the nearest is ENTREPOT_CACHE_MAX_SIZE" || fail "a typo: $(check ENTREPOT_CACHE_MAXSIZE=1GiB)"
check ENTREPOT_TAGS_TTL=soon | grep -q "^entrepot: .*ENTREPOT_TAGS_TTL: tags.ttl: \"soon\"" || fail "a wrong value: $(check ENTREPOT_TAGS_TTL=soon)"

say "the running daemon: its own environment counts, not that of who asks"
ENTREPOT_TAGS_TTL=9h ask config diff || fail "config diff"
ask reload >/dev/null || fail "reload"
entrepot_stop
