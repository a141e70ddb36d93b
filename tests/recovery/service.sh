#!/bin/bash
# What a service manager sees: sockets that it hands over, notices of readiness and of the end, log lines with a priority, modes of
# sockets whatever the umask; a start that fails says what failed, where.
. "$(dirname "$0")/../lib.sh"
need python3 curl
PORT=$(free_port)
cat >"$W/config.yaml" <<YAML
listen: [{address: "127.0.0.1:1"}, {address: "unix:$W/run/registry.sock", upstream: ghcr.io}]
admin: {socket: $W/run/admin/admin.sock}
cache: {path: $W/cache, min_free: 0B}
log: {format: journal}
YAML
umask 077
mkdir "$W/run"

say "a socket that is handed over is served, in place of the list; READY and STOPPING are told; SIGTERM twice ends it at once"
cat >"$W/manager.py" <<'PY'
import os, signal, socket, subprocess, sys, time, urllib.request
entrepot, w, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notices.bind(w + "/notify")
notices.settimeout(30)
listener = socket.create_server(("127.0.0.1", port))
def child():
    os.dup2(listener.fileno(), 3, inheritable=True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), NOTIFY_SOCKET=w + "/notify")
    os.execv(entrepot, [entrepot, "serve", "--config", w + "/config.yaml"])
log = open(w + "/entrepot.log", "ab")
pid = os.fork()
if pid == 0:
    os.dup2(log.fileno(), 2)
    child()
try:
    def notice(want):
        got = notices.recv(4096).decode()
        assert got.strip().split("\n")[0] == want, f"{got!r} where {want!r} is due"
        assert want != "RELOADING=1" or "\nMONOTONIC_USEC=" in got, "Type=notify-reload needs the time"
    notice("READY=1")
    get = lambda path: urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
    assert get("/readyz").read() == b"ready\n" and get("/v2/").status == 200
    modes = {name: oct(os.stat(f"{w}/run/{name}").st_mode & 0o777) for name in ("admin/admin.sock", "registry.sock")}
    assert modes == {"admin/admin.sock": "0o660", "registry.sock": "0o666"}, modes
    os.kill(pid, signal.SIGHUP)
    notice("RELOADING=1")
    notice("READY=1")
    # A request that never ends (its head stays unfinished) would hold the end up for half a minute; the second signal does not wait.
    hanging = socket.create_connection(("127.0.0.1", port))
    hanging.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
    time.sleep(0.3)
    os.kill(pid, signal.SIGTERM)
    notice("STOPPING=1")
    begun = time.monotonic()
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    status = os.waitpid(pid, 0)[1]
    pid = 0
    assert status == 0, status
    assert time.monotonic() - begun < 5, "the second SIGTERM was not taken"
    left = [name for name in ("admin/admin.sock", "registry.sock") if os.path.exists(f"{w}/run/{name}")]
    assert not left, left
finally:
    if pid:
        os.kill(pid, signal.SIGKILL)
PY
python3 "$W/manager.py" "$ENTREPOT" "$W" "$PORT" || fail "see above"
[ -s "$W/entrepot.log" ] || fail "nothing was logged"
grep -vE '^<[3-7]>' "$W/entrepot.log" && fail "log lines without a priority" || true

fails() { # WHAT IT SAYS: the start
    local status=0
    timeout 20 env "${@:2}" "$ENTREPOT" serve --config "$W/config.yaml" >"$W/refused.log" 2>&1 || status=$?
    is "$status" 1 "exit of a start that fails"
    grep -q "$1" "$W/refused.log" || fail "it does not say \"$1\": $(cat "$W/refused.log")"
}
say "folders that cannot be made, a disk that does not sync: the start fails, and says so"
sed -i 's|"127.0.0.1:1"|"127.0.0.1:'"$PORT"'"|' "$W/config.yaml"
fails "syncing the folders in $W/cache: Input/output error" LD_PRELOAD="$TOOLS/slow_sync.so" FAIL_SYNC=1
rm -rf "$W/run/admin"; echo "in the way" >"$W/run/admin"
fails "the admin socket: creating $W/run/admin/.*: Not a directory\|the admin socket: .*Not a directory"
rm -rf "$W/cache"; echo "in the way" >"$W/cache"
fails "$W/cache.*Not a directory"
