#!/bin/bash
# A service manager keeps the listening sockets while the daemon restarts or has crashed: clients that connect meanwhile wait in their
# queues, and each is answered, also with other numbers of workers; addresses that are listened on no longer are given up.
. "$(dirname "$0")/../lib.sh"
need python3
cat >"$W/manager.py" <<'PY'
import fcntl, os, signal, socket, sys, threading, time
entrepot, tools, w, port, other = *sys.argv[1:4], *map(int, sys.argv[4:])
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notices.bind(w + "/notify")
bus = socket.socket(socket.AF_UNIX)  # it does not greet: who is stopped cannot know what for, and goes on nevertheless
bus.bind(w + "/bus")
bus.listen()
store, happened, changed = {}, [], threading.Condition()  # {name: sockets}

def same(a, b):
    return os.fstat(a).st_ino == os.fstat(b).st_ino

def note(text, fds):
    say = dict(line.split("=", 1) for line in text.strip().split("\n"))
    name = say.get("FDNAME")
    with changed:
        if "FDSTORE" in say:
            kept = store.setdefault(name, [])
            for fd in fds:
                os.close(fd) if any(same(fd, k) for k in kept) else kept.append(fd)
        elif "FDSTOREREMOVE" in say:
            for fd in store.pop(name, []):
                os.close(fd)
        else:
            happened.extend(say)
            for fd in fds:
                os.close(fd)
        changed.notify_all()

def listen_to_notices():
    while True:
        data, fds, _, _ = socket.recv_fds(notices, 4096, 64)
        for fd in fds:
            os.set_inheritable(fd, False)
        note(data.decode(), fds)
threading.Thread(target=listen_to_notices, daemon=True).start()

def wait(what, *args):
    with changed:
        assert changed.wait_for(lambda: what(*args), 20), (what.__name__, args, store, happened)
def has_happened(what):
    return what in happened
def is_kept(name, count):
    return len(store.get(name, [])) == count

def configure(workers, *listen):
    with open(w + "/config.yaml", "w", encoding="utf-8") as f:
        f.write(f"workers: {workers}\nlisten: [{', '.join(chr(34) + a + chr(34) for a in listen)}]\n"
                f"admin: {{socket: {w}/admin.sock}}\ncache: {{path: {w}/cache, min_free: 0B}}\n")

log = open(w + "/entrepot.log", "ab")
def start():
    with changed:
        happened.clear()
        handed = [(name, fd) for name, fds in store.items() for fd in reversed(fds)]
    pid = os.fork()
    if pid == 0:
        os.dup2(log.fileno(), 2)
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for _, fd in handed]  # out of the way
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i, inheritable=True)
        os.environ.update(NOTIFY_SOCKET=w + "/notify", DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={w}/bus")
        if handed:
            os.environ.update(LISTEN_FDS=str(len(handed)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=":".join(n for n, _ in handed))
        os.execv(entrepot, [entrepot, "serve", "--config", w + "/config.yaml"])
    return pid

def end(pid, sig):
    os.kill(pid, sig)
    os.waitpid(pid, 0)

def come(count=30, at=port):  # clients, each with a request
    clients = [socket.create_connection(("127.0.0.1", at), timeout=20) for _ in range(count)]
    for c in clients:
        c.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return clients
def are_answered(clients):
    for c in clients:
        got = c.recv(4096)
        assert got.startswith(b"HTTP/1.1 200 "), got
        c.close()
name = lambda at, host="127.0.0.1": f"kept {host},{at}"

pid = 0
try:
    configure(2, f"127.0.0.1:{port}")
    pid = start()
    wait(has_happened, "READY")
    assert is_kept(name(port), 2), store
    print("   clients that come after a crash wait for the next process")
    for workers, sockets in ((2, 2), (1, 2), (4, 4), (3, 4)):
        end(pid, signal.SIGKILL)
        clients = come()
        configure(workers, f"127.0.0.1:{port}")
        pid = start()
        are_answered(clients)
        wait(has_happened, "READY")
        assert is_kept(name(port), sockets), (workers, store)
        are_answered(come())
    print("   a listener that a reload adds is kept, too, one that it removes is not")
    happened.clear()
    configure(3, f"127.0.0.1:{port}", f"localhost:{other}")
    os.kill(pid, signal.SIGHUP)
    wait(is_kept, name(other), 3)
    are_answered(come(at=other))
    configure(3, f"127.0.0.1:{port}")
    os.kill(pid, signal.SIGHUP)
    wait(is_kept, name(other), 0)
    assert is_kept(name(port), 4), store
    print("   an address that the configuration has no longer is given up, and its port is free for another one")
    end(pid, signal.SIGKILL)
    configure(2, f"*:{port}")
    pid = start()
    wait(has_happened, "READY")
    assert is_kept(name(port), 0) and is_kept(name(port, "0.0.0.0"), 2), store
    are_answered(come())
    print("   clients that come while requests under way hold up a restart wait as well")
    hanging = socket.create_connection(("127.0.0.1", port))
    hanging.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
    time.sleep(0.3)
    begun = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    wait(has_happened, "STOPPING")
    time.sleep(1)
    clients = come()
    end(pid, signal.SIGTERM)
    assert time.monotonic() - begun < 8, "a bus that says nothing holds up the end"
    pid = start()
    are_answered(clients)
    wait(has_happened, "READY")
    print("   one that hangs is not waited for by those that come: the next may hang, too, before it listens")
    end(pid, signal.SIGKILL)
    os.environ.update(LD_PRELOAD=tools + "/hang.so", HANG_THREAD="serve-0", HANG_FILE=w + "/hang")
    pid = start()
    wait(has_happened, "READY")
    assert is_kept(name(port, "0.0.0.0"), 2), store
    open(w + "/hang", "w", encoding="utf-8").close()
    ended = os.WTERMSIG(os.waitpid(pid, 0)[1])
    pid = 0
    assert ended == signal.SIGABRT, ended
    wait(is_kept, name(port, "0.0.0.0"), 0)
finally:
    if pid:
        os.kill(pid, signal.SIGKILL)
PY
timeout 100 python3 "$W/manager.py" "$ENTREPOT" "$TOOLS" "$W" "$(free_port)" "$(free_port)" || fail "see above"
