#!/bin/bash
# Clients and registries that attack the forward proxy and TLS by name: no client gets more than it could have without us, no request is
# answered or cached in another registry's name, and nobody makes the daemon large. In a network of its own, with a second machine.
# PUSH_MIB, PUSHES: the size and number of the uploads at once.
[ -n "${ENTREPOT_NETNS:-}" ] || {
    unshare -n -m true 2>/dev/null || { echo "cannot make a network namespace here"; exit 77; }
    ENTREPOT_NETNS=1 exec unshare -n -m bash "$0" "$@"
}
. "$(dirname "$0")/../lib.sh"
need_root
need ip python3 curl
ulimit -n 16384 2>/dev/null || skip "needs 16384 file descriptors"
ip link set lo up
# What the kernel holds for a connection that nobody reads, where the machine allows it much more.
echo 4096 131072 4194304 >/proc/sys/net/ipv4/tcp_rmem 2>/dev/null || true
mount -t tmpfs none /run/netns 2>/dev/null || { mkdir -p /run/netns && mount -t tmpfs none /run/netns; }
ip netns add remote || skip "cannot make a second network namespace"
on_cleanup() { ip netns del remote 2>/dev/null; }
ip link add v0 type veth peer name v1 netns remote || skip "no veth in this kernel"
ip addr add 203.0.113.1/24 dev v0
ip link set v0 up
ip route add 198.51.100.0/24 via 203.0.113.2
on_remote() { ip netns exec remote "$@"; }
on_remote ip link set lo up
on_remote ip addr add 203.0.113.2/24 dev v1
on_remote ip addr add 198.51.100.9/32 dev lo
on_remote ip addr add 203.0.113.3/24 dev v1
on_remote ip link set v1 up
on_remote ip route add blackhole 198.51.100.77/32
cat >"$W/hosts" <<'EOT'
127.0.0.1 localhost
127.0.0.1 rebind.test
169.254.169.254 metadata.test
10.0.0.5 private.test
127.0.0.1 mixed.test
10.0.0.5 mixed.test
203.0.113.1 own.test
EOT
mount --bind "$W/hosts" /etc/hosts
echo "nameserver 127.0.0.1" >"$W/resolv.conf"
mount --bind "$W/resolv.conf" /etc/resolv.conf
export FORWARD BY_NAME PLAIN SINK CA=$W/cache/ca.crt DAEMON_PID
GHCR=$(free_port) DOCKER=$(free_port) PORT=$(free_port) FORWARD=$(free_port) BY_NAME=$(free_port) SINK=$(free_port)
PLAIN=$PORT
for r in "$GHCR ghcr" "$DOCKER docker"; do
    python3 tests/network/hostile_doors.py registry $r "$W/requests" &
    PIDS+=($!)
done
python3 tests/network/hostile_doors.py sink "$SINK" &
PIDS+=($!)
SINK_HOST=198.51.100.9 GREETING=far ip netns exec remote python3 tests/network/hostile_doors.py sink 9000 &
PIDS+=($!)
for p in "$GHCR" "$DOCKER"; do wait_for 10 curl -sf "http://127.0.0.1:$p/v2/" || fail "no registry"; done
echo not-secret >"$W/password"
is_sanitized && export SANITIZED=1 LONGEST=${LONGEST:-400}
configure() { # ALLOW
    cat >"$W/config.yaml" <<YAML
listen:
  - address: 127.0.0.1:$PORT
  - {address: "127.0.0.1:$BY_NAME", intercept: true}
intercept: {address: "0.0.0.0:$FORWARD", allow: [$1]}
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
log: {level: debug}
workers: 2
upstreams:
  - {name: ghcr.io, endpoints: ["http://127.0.0.1:$GHCR"], insecure: true}
  - {name: docker.io, endpoints: ["http://127.0.0.1:$DOCKER"], insecure: true}
  - {name: plain.test, endpoints: ["http://127.0.0.1:$GHCR"], insecure: true}
  - name: own.io
    endpoints: ["http://127.0.0.1:$GHCR"]
    insecure: true
    credentials: {username: user, password_file: $W/password}
YAML
}
start() { # ALLOW
    configure "$1"
    entrepot_run || fail "entrepot does not start"
    DAEMON_PID=$ENTREPOT_PID
}
case_of() { # CASE [COMMAND...]
    local c=$1
    shift
    [ -z "${ONLY:-}" ] || [[ " $ONLY " = *" $c "* ]] || return 0
    say "$c"
    "$@" timeout "${LONGEST:-120}" python3 tests/network/hostile_doors.py "$c" >"$W/case" 2>&1 || { cat "$W/case"; fail "$c"; }
    grep '^  ' "$W/case" || true
}
start '127.0.0.0/8, 203.0.113.2'
is "$(stat -c %a "$W/cache/ca.key")" 600 "the authority's key"
for c in targets names local poison smuggling headers hostile_answers logins resumption insecure greetings connections tunnels uploads; do
    case_of "$c"
done
PROXY_HOST=203.0.113.1 case_of remote on_remote
if [ -z "${ONLY:-}" ]; then
    grep '^POST /v2/hop/ ' "$W/requests" | tail -n 1 >"$W/hop"
    grep -q "host=ghcr.io login=None cookie host x-empty x-forwarded-proto x-other$" "$W/hop" || fail "headers: $(cat "$W/hop")"
    ! grep -qE "host=(evil|docker.io:|x)" "$W/requests" || fail "another host: $(grep -E 'host=(evil|x)' "$W/requests" | head -n 3)"
    ! grep -E '^[A-Z]+ [^ ]*(hidden|in-body)' "$W/requests" || fail "a request that was smuggled"
fi
entrepot_stop
! grep -qE "dXNlcjpub3Qtc2VjcmV0|not-secret" "$W/entrepot.log" || fail "a login is in the log"
start '127.0.0.1'
PROXY_HOST=203.0.113.1 case_of remote_denied on_remote
case_of crowd
entrepot_stop
