#!/bin/bash
# The doors change while clients are in them: a forward proxy that moves or is removed, an address that changes its kind, an authority
# and addresses of a configuration that is refused. No client gets less than it has asked for; what is refused leaves nothing behind, and
# is told until a reload succeeds.
. "$(dirname "$0")/../lib.sh"
need python3 curl
UP=$(free_port)
python3 tests/concurrency/reload.py upstream "$UP" >"$W/up.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -sf "http://127.0.0.1:$UP/v2/" || fail "no registry"
entrepot_start "$UP" "  - {name: reg.test, insecure: true, endpoints: ['http://127.0.0.1:$UP']}"
DAEMON_PID=$ENTREPOT_PID timeout 100 python3 tests/concurrency/reload_doors.py "$W" "$W/config.yaml" "$UP" || fail "see above"
entrepot_stop
