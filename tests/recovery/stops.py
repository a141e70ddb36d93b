"""The stops of stops.sh. A registry in this process sends slowly; each round starts a daemon, has clients and commands at work, and stops it."""
import hashlib, http.client, http.server, json, os, random, signal, subprocess, sys, threading, time

ENTREPOT, TOOLS, W, PORT, STOPS, SEED = sys.argv[1:4] + [int(a) for a in sys.argv[4:7]]
rnd = random.Random(SEED)
SLOW = SANITIZED = "build-" in ENTREPOT
FINISH_S = 25       # what a registry that is this slow needs at most, within the daemon's 30 s
END_S = 120 if SANITIZED else 90
BLOBS = {}          # digest -> bytes


def put(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    BLOBS[digest] = data
    return {"digest": digest, "size": len(data)}


def image(n):
    filler = random.Random(n)
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "n": n}).encode())
    layers = [put(filler.randbytes(size)) for size in (3_000_000, 200_000, 5_000)]
    return put(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **l} for l in layers]}).encode())


IMAGES = [image(n) for n in range(8)]


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path.split("/")[-1]
        if name.isdigit() and int(name) < len(IMAGES):
            name = IMAGES[int(name)]["digest"]
        data = BLOBS.get(name)
        if data is None:
            self.send_response(200 if self.path == "/v2/" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        kind = "application/vnd.oci.image.manifest.v1+json" if "/manifests/" in self.path else "application/octet-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", name)
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            for at in range(0, len(data), 100_000):     # about a second for a large layer
                self.wfile.write(data[at:at + 100_000])
                time.sleep(0.03)
        except OSError:
            self.close_connection = True

    do_HEAD = do_GET


class Client(threading.Thread):
    """One request: when it was begun, and whether its answer came whole and right."""

    def __init__(self, digest):
        super().__init__(daemon=True)
        self.digest, self.begun, self.result = digest, time.monotonic(), "nothing"

    def run(self):
        try:
            conn = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
            conn.request("GET", "/v2/library/app/blobs/" + self.digest)
            got = conn.getresponse()
            body = got.read()
            self.result = "whole" if got.status == 200 and body == BLOBS[self.digest] else f"status {got.status}, {len(body)} bytes"
        except (OSError, http.client.HTTPException) as e:
            self.result = f"{type(e).__name__}: {e}"


def layout():
    root = f"{W}/layout"
    os.makedirs(root + "/blobs/sha256")
    entries = []
    for n in range(100, 130):
        m = image(n) if n < 103 else put(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **put(b'{"n":%d}' % n)}, "layers": []}).encode())
        entries.append({"mediaType": "application/vnd.oci.image.manifest.v1+json", **m,
                        "annotations": {"org.opencontainers.image.ref.name": f"docker.io/library/local:{n}"}})
    for digest, data in BLOBS.items():
        with open(f"{root}/blobs/sha256/{digest[7:]}", "wb") as f:
            f.write(data)
    json.dump({"schemaVersion": 2, "manifests": entries}, open(root + "/index.json", "w"))
    json.dump({"imageLayoutVersion": "1.0.0"}, open(root + "/oci-layout", "w"))
    return root


def start(sync_ms):
    log = open(f"{W}/entrepot.log", "ab")
    env = dict(os.environ, LD_PRELOAD=f"{TOOLS}/slow_sync.so", SLOW_SYNC_MS=str(sync_ms))
    p = subprocess.Popen([ENTREPOT, "serve", "--config", f"{W}/config.yaml"], stdout=log, stderr=log, env=env)
    for _ in range(1200):
        try:
            conn = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
            conn.request("GET", "/readyz")
            if conn.getresponse().status == 200:
                return p
        except OSError:
            pass
        if p.poll() is not None:
            break
        time.sleep(0.05)
    return fail(p, f"it does not start: {p.poll()}")


def fail(p, why):
    if p.poll() is None:
        p.kill()
    sys.exit(f"FAILED (seed {SEED}): {why}")


def command(*args):
    return subprocess.Popen([ENTREPOT, *args, "--socket", f"{W}/admin.sock"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def one(n, root):
    sync_ms = rnd.choice([0, 10, 50, 200] + ([3000] if STOPS >= 50 else [500]))
    p = start(sync_ms)
    clients, commands = [], []
    work = rnd.sample(["blobs", "pull", "import", "gc", "rm", "verify"], rnd.randint(1, 4))
    if n == 1 and "blobs" not in work: # the first has a request under way and one signal, the second two
        work.append("blobs")
    if "blobs" in work:
        wanted = [d for d in BLOBS if len(BLOBS[d]) >= 200_000]
        clients = [Client(d) for d in rnd.choices(wanted, k=rnd.randint(2, 8))]
        for c in clients:
            c.start()
    if "pull" in work:
        commands += [command("pull", f"docker.io/library/app:{i}") for i in rnd.sample(range(len(IMAGES)), 3)]
    if "import" in work:
        commands.append(command("import", root))
    if "gc" in work:
        commands.append(command("gc", "--to", "0"))
    if "rm" in work:
        commands.append(command("rm", f"docker.io/library/app:{rnd.randrange(8)}"))
    if "verify" in work:
        commands.append(command("verify"))
    time.sleep(rnd.random() * rnd.choice([0.1, 0.5, 1.5]))
    if n == 1:
        time.sleep(1.5 if SANITIZED else 0.3)
    double = rnd.random() < 0.5 and n > 1 or n == 2
    p.send_signal(signal.SIGTERM)
    told = time.monotonic()
    if double:
        time.sleep(rnd.random() * rnd.choice([0.001, 0.05, 0.5]))
        p.send_signal(rnd.choice([signal.SIGTERM, signal.SIGINT]))
    try:
        status = p.wait(END_S)
    except subprocess.TimeoutExpired:
        subprocess.run(["gdb", "-p", str(p.pid), "-batch", "-ex", "thread apply all bt 12"], stdin=subprocess.DEVNULL, check=False) \
            if os.environ.get("STACKS") else None
        fail(p, f"stop {n}: it has not ended after {END_S} s ({work}, syncs of {sync_ms} ms, {'two signals' if double else 'one'})")
    took = time.monotonic() - told
    if status != 0:
        fail(p, f"stop {n}: it ended with {status} ({work}, syncs of {sync_ms} ms, {'two signals' if double else 'one'})")
    for c in clients:
        c.join(70)
    for c in commands:
        try:
            c.wait(60)
        except subprocess.TimeoutExpired:
            c.kill()
            fail(p, f"stop {n}: a command goes on although the daemon has ended: {c.args}")
    # What the daemon had 100 ms before the signal it had accepted.
    early = [c for c in clients if c.begun < told - (1.0 if SANITIZED else 0.1)]
    cut = [c.result for c in early if c.result != "whole"]
    if cut and not double and took < FINISH_S:
        fail(p, f"stop {n}: cut after {took:.1f} s, although there was time: {cut} ({work}, syncs of {sync_ms} ms)")
    check = subprocess.run([f"{TOOLS}/check_cache", f"{W}/cache"], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        fail(p, f"stop {n}: {check.stdout}{check.stderr}")
    print(f"stop {n}: {'+'.join(work)}, syncs of {sync_ms} ms, {'two signals' if double else 'one signal'}: {took:.1f} s, "
          f"{sum(c.result == 'whole' for c in clients)} of {len(clients)} answers whole", flush=True)
    return double, len(early)


def pin_first():
    """Six pulls wait for syncs of half a second; a pin of what is here waits for the commit under way and its own."""
    p = start(500)
    if command("pull", "docker.io/library/app:0").wait(60) != 0:
        fail(p, "a pull on a slow disk")
    pulls = [command("pull", f"docker.io/library/app:{n}") for n in range(1, 7)]
    took = []
    for verb in ("pin", "unpin"):
        time.sleep(0.7)
        begun = time.monotonic()
        if command(verb, "docker.io/library/app:0").wait(60) != 0:
            fail(p, f"{verb} on a slow disk")
        took.append(time.monotonic() - begun)
    busy = sum(c.poll() is None for c in pulls)
    if any(c.wait(120) != 0 for c in pulls):
        fail(p, "a pull on a slow disk")
    p.send_signal(signal.SIGTERM)
    if p.wait(END_S) != 0:
        fail(p, "it ended with an error")
    print(f"pin and unpin behind six pulls on a slow disk: {took[0]:.1f} and {took[1]:.1f} s, {busy} pulls went on", flush=True)
    if busy == 0:
        fail(p, "the pulls were too short to say anything")
    if max(took) > (8 if SANITIZED else 3):
        fail(p, "pins wait behind pulls")


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open(f"{W}/config.yaml", "w") as f:
        f.write(f"""listen: [{{address: "127.0.0.1:{PORT}"}}]
admin: {{socket: {W}/admin.sock}}
cache: {{path: {W}/cache, min_free: 0B, max_size: 30MiB}}
gc: {{grace: 1s, interval: 1s}}
upstreams:
  - name: docker.io
    endpoints: ["http://127.0.0.1:{server.server_address[1]}"]
    insecure: true
""")
    root = layout()
    pin_first()
    rounds = [one(n, root) for n in range(1, STOPS + 1)]
    if STOPS >= 10 and not (any(d for d, _ in rounds) and any(e and not d for d, e in rounds)):
        sys.exit("FAILED: there was no double signal, or no request under way at a single one")


main()
