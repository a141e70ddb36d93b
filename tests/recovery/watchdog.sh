#!/bin/bash
# A loop that hangs: the log names it, the process aborts, and starts again with what it had; without a service manager and with one,
# for which the loops' turning is reported. A process that was stopped as a whole goes on.
. "$(dirname "$0")/../lib.sh"
need python3 strace

cat >"$W/watch.py" <<'PY'
import concurrent.futures, os, signal, socket, subprocess, sys, time, urllib.request
entrepot, tools, w = sys.argv[1:4]
LIMIT = 10
def name(pid, thread):
    try:
        with open(f"/proc/{pid}/task/{thread}/comm") as f:
            return f.read().strip()
    except (FileNotFoundError, ProcessLookupError): # it has ended meanwhile, as the one of the start's checks does
        return ""

class Case:
    """A daemon of its own, of which THREAD can be made to hang."""
    def __init__(self, name, thread, watchdog_us=None, stderr=None):
        self.dir, self.stderr = f"{w}/{name}", stderr
        os.mkdir(self.dir)
        self.hang = f"{self.dir}/hang"
        self.env = dict(os.environ, LD_PRELOAD=f"{tools}/hang.so", HANG_THREAD=thread, HANG_FILE=self.hang)
        if watchdog_us:
            self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.notices.bind(f"{self.dir}/notify")
            self.notices.settimeout(0.2)
            self.env.update(NOTIFY_SOCKET=f"{self.dir}/notify", WATCHDOG_USEC=str(watchdog_us))
        with open(f"{self.dir}/config.yaml", "w") as f:
            f.write(f'listen: [{{address: "unix:{self.dir}/r.sock"}}]\nadmin: {{socket: {self.dir}/a.sock}}\n'
                    f"cache: {{path: {self.dir}/cache, min_free: 0B}}\nworkers: 1\n")
        self.start()
    def start(self):
        for sock in ("r.sock", "a.sock"):
            if os.path.exists(f"{self.dir}/{sock}"):
                os.unlink(f"{self.dir}/{sock}")
        log = self.stderr or open(f"{self.dir}.log", "ab")
        self.process = subprocess.Popen([entrepot, "serve", "--config", f"{self.dir}/config.yaml"], env=self.env, stderr=log)
        until = time.monotonic() + 20
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < until, f"{self.dir}: it does not start"
            time.sleep(0.1)
        self.threads = {name(self.process.pid, t) for t in os.listdir(f"/proc/{self.process.pid}/task")}
        assert self.env["HANG_THREAD"] in self.threads, self.threads
    def answers(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(2)
        try:
            s.connect(f"{self.dir}/r.sock")
            s.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return s.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            return False
        finally:
            s.close()
    def goes_on(self):
        """On a busy machine not at once."""
        until = time.monotonic() + 8
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True
    def log(self):
        return open(f"{self.dir}.log").read()
    def pings(self, seconds):
        count, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                count += self.notices.recv(4096) == b"WATCHDOG=1"
            except TimeoutError:
                pass
        return count
    def end(self):
        self.process.terminate()
        assert self.process.wait(20) == 0, f"{self.dir}: exit {self.process.returncode}"

def hangs(name, thread, says, low=LIMIT - 1, high=LIMIT + 6, **more):
    """It aborts in time, and is there again."""
    c = Case(name, thread, **more)
    open(c.hang, "w").close()
    begun = time.monotonic()
    status = c.process.wait(40)
    took = time.monotonic() - begun
    assert status == -signal.SIGABRT, f"{name}: exit {status}"
    assert low <= took <= high, f"{name}: after {took:.1f} s"
    assert f"the loop {says} has not turned for" in c.log(), c.log()
    if "-asan" not in entrepot and "-tsan" not in entrepot:
        where = c.log().split(f"entrepot: thread {thread} is here:\n")
        assert len(where) == 2 and "hang.so" in where[1].split("crash:")[0] and "crash: SIGABRT in thread watchdog" in where[1], c.log()
    os.unlink(c.hang)
    c.start()
    c.end()
def short():
    """Less than the limit: it goes on."""
    c = Case("short", "serve-0")
    open(c.hang, "w").close()
    time.sleep(LIMIT - 4)
    os.unlink(c.hang)
    time.sleep(LIMIT - 4)
    assert c.goes_on()
    c.end()
def late():
    """While it stops, something hangs: a signal that comes three seconds after the drain ends it; one before that is early."""
    c = Case("late", "fetch-0")
    open(c.hang, "w").close()
    time.sleep(0.2)
    c.process.terminate()
    time.sleep(1.5)
    c.process.terminate()
    time.sleep(4)
    assert c.process.poll() is None, f"late: exit {c.process.returncode}"
    c.process.terminate()
    status = c.process.wait(5)
    assert status == -signal.SIGTERM, f"late: exit {status}"
def stopped():
    """As a whole, with a loop that would be busy when it goes on."""
    c = Case("stopped", "serve-0")
    open(c.hang, "w").close()
    time.sleep(3)
    c.process.send_signal(signal.SIGSTOP)
    time.sleep(LIMIT + 5)
    c.process.send_signal(signal.SIGCONT)
    time.sleep(2.5)
    os.unlink(c.hang)
    time.sleep(1.5)
    assert c.goes_on() and "turned" not in c.log(), c.log()
    c.end()
def reported():
    """A service manager is told, as often as it wants, while all loops turn; with a limit that leaves time for the log."""
    hangs("managed", "fetch-0", "fetch-0", 1, 6, watchdog_us=4000000)
    c = Case("reported", "serve-0", watchdog_us=4000000)
    assert c.pings(3) >= 2, "no pings"
    c.process.send_signal(signal.SIGSTOP)
    c.pings(0.5)
    assert c.pings(2) == 0, "pings of a stopped process"
    c.process.send_signal(signal.SIGCONT)
    assert c.pings(3) >= 1, "no pings after it goes on"
    c.end()
def traced():
    """Somebody looks at it: it goes on, and says so."""
    c = Case("traced", "serve-0", watchdog_us=4000000)
    tracer = subprocess.Popen(["strace", "-qq", "-f", "-e", "trace=none", "-o", "/dev/null", "-p", str(c.process.pid)])
    until = time.monotonic() + 10
    while f"TracerPid:\t{tracer.pid}\n" not in open(f"/proc/{c.process.pid}/status").read():
        assert tracer.poll() is None and time.monotonic() < until, "it is not traced"
        time.sleep(0.1)
    open(c.hang, "w").close()
    time.sleep(4)
    assert "the loop serve-0 does not turn; the process is being traced, and goes on" in c.log(), c.log()
    os.unlink(c.hang)
    tracer.terminate()
    tracer.wait(10)
    assert c.answers()
    c.end()
def log_hangs():
    """What should be logged cannot be: nobody reads the pipe, which is full."""
    r, wr = os.pipe()
    c = Case("pipe", "serve-0", watchdog_us=4000000, stderr=wr)
    os.set_blocking(wr, False)
    try:
        while os.write(wr, b"x" * 4096):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(wr, True)
    open(c.hang, "w").close()
    status = c.process.wait(30)
    ended = [-signal.SIGALRM] if "-asan" not in entrepot and "-tsan" not in entrepot else [-signal.SIGALRM, -signal.SIGABRT]
    assert status in ended, f"exit {status}" # a sanitizer's runtime writes no frames of ours, which hang
    os.close(r)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for job in [pool.submit(hangs, "main", "entrepot", "main"), pool.submit(hangs, "serve", "serve-0", "serve-0"), pool.submit(short),
                pool.submit(stopped), pool.submit(reported), pool.submit(traced), pool.submit(late),
                pool.submit(log_hangs)]:
        job.result()
PY
say "loops that hang, a process that is stopped, a service manager, a log that hangs"
ulimit -c 0
python3 "$W/watch.py" "$ENTREPOT" "$TOOLS" "$W" || fail "see above"
