"""The stop of waiting.sh: a registry that leaves every request waiting, each in its own way."""
import hashlib, http.server, os, signal, socket, subprocess, sys, threading, time

ENTREPOT, TOOLS, W, PORT = sys.argv[1:4] + [int(sys.argv[4])]
SANITIZED = "build-" in ENTREPOT
SMALL = b"a layer that is here"
LARGE = bytes(3_000_000)
MISSING = "sha256:" + "1" * 64
over = threading.Event()
asked = {}          # what has come to the registry, and how often


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def head(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self):
        repository = self.path.split("?")[0].removeprefix("/v2").removeprefix("/library").split("/")[1]
        asked[repository] = asked.get(repository, 0) + 1
        self.close_connection = True
        if self.path == "/v2/":
            self.head(200, Content_Length=0)
        elif repository == "token":
            self.head(401, WWW_Authenticate=f'Bearer realm="http://127.0.0.1:{self.server.server_address[1]}/service",service="s"', Content_Length=0)
        elif repository == "helper":
            self.head(401, WWW_Authenticate='Basic realm="r"', Content_Length=0)
        elif repository == "here":
            self.head(200, Content_Length=len(SMALL))
            self.wfile.write(SMALL)
        elif repository == "body":
            self.head(200, Content_Length=len(LARGE))
            self.wfile.write(LARGE[:1_500_000])
            over.wait()
        elif repository == "unsaid":
            self.head(200, Transfer_Encoding="chunked")
            self.wfile.write(b"5\r\nbytes\r\n")
            over.wait()
        elif repository == "limited" and asked[repository] == 1:
            self.head(200, Content_Length=len(LARGE))
            self.wfile.write(LARGE[:1_500_000])
        elif repository == "limited":
            self.head(429, Retry_After=30, Content_Length=0)
        elif repository == "broken":    # each time a little later
            self.head(200, Content_Length=len(LARGE))
            self.wfile.write(LARGE[:1_000])
        else:
            over.wait()

    do_HEAD = do_GET


# What to ask for, and what shows that it is being waited for.
REQUESTS = {
    "manifest": "/v2/manifest/manifests/1",
    "blob": f"/v2/blob/blobs/{MISSING}",
    "token": "/v2/token/manifests/1?ns=token.example",
    "tags": "/v2/tags/tags/list",
    "referrers": f"/v2/referrers/referrers/{MISSING}",
    "body": f"/v2/body/blobs/{digest(LARGE)}",
    "unsaid": f"/v2/unsaid/blobs/{digest(b'unsaid')}",
    "limited": f"/v2/limited/blobs/{digest(LARGE + b'limited')}?ns=limited.example",
    "broken": f"/v2/broken/blobs/{digest(LARGE + b'broken')}",
    "private": "/v2/private/manifests/1?ns=private.example",     # with the client's own login
    "helper": "/v2/helper/manifests/1?ns=helper.example",
}


def send(method, path, address=None):
    s = socket.socket(socket.AF_UNIX if address else socket.AF_INET)
    s.settimeout(30)
    s.connect(address or ("127.0.0.1", PORT))
    body = b'{"references": ["docker.io/library/pulled:1"]}' if method == "POST" else b""
    login = "Authorization: Basic dTpw\r\n" if "private" in path else ""
    s.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{login}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return s


def wait_until(what, is_so):
    end = time.monotonic() + (60 if SANITIZED else 20)
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"FAILED: no sign of this: {what} ({asked})")
        time.sleep(0.02)


def is_ready():
    try:
        with send("GET", "/readyz") as s:
            return b" 200 " in s.recv(1000)
    except OSError:
        return False


def fetch_small():
    """All of its bytes have come, and are not kept yet: the disk is slow."""
    got = b""
    with send("GET", f"/v2/here/blobs/{digest(SMALL)}") as s:
        while SMALL not in got:
            piece = s.recv(65536)
            if not piece:
                sys.exit(f"FAILED: a small blob: {got}")
            got += piece


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    server = Server(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    with open(f"{W}/config.yaml", "w") as f:
        f.write(f"""listen: [{{address: "127.0.0.1:{PORT}"}}]
admin: {{socket: {W}/admin.sock}}
cache: {{path: {W}/cache, min_free: 0B, max_size: 30MiB}}
upstreams:
  - {{name: docker.io, endpoints: ["{endpoint}"], insecure: true}}
  - {{name: limited.example, endpoints: ["{endpoint}"], insecure: true}}
  - {{name: private.example, endpoints: ["{endpoint}"], insecure: true, access: client}}
  - {{name: token.example, endpoints: ["{endpoint}"], insecure: true}}
  - {{name: helper.example, endpoints: ["{endpoint}"], insecure: true, credentials: [{{helper: hangs}}]}}
""")
    log = open(f"{W}/entrepot.log", "ab")
    env = dict(os.environ, LD_PRELOAD=f"{TOOLS}/slow_sync.so", SLOW_SYNC_MS="600")
    p = subprocess.Popen([ENTREPOT, "serve", "--config", f"{W}/config.yaml"], stdout=log, stderr=log, env=env)
    try:
        wait_until("it serves", lambda: p.poll() is not None or is_ready())
        open_requests = {name: send("GET", path) for name, path in REQUESTS.items()}
        open_requests["pull"] = send("POST", "/v1/pull", f"{W}/admin.sock")
        for name in (*REQUESTS, "service", "pulled"):
            wait_until(f"{name} is asked for", lambda: asked.get(name, 0) >= (2 if name in ("limited", "broken") else 1))
        wait_until("the helper is asked", lambda: os.path.exists(f"{W}/helper-asked"))
        fetch_small()
        open_requests["ls"] = send("GET", "/v1/images", f"{W}/admin.sock")
        open_requests["gc"] = send("POST", "/v1/gc", f"{W}/admin.sock")
        time.sleep(0.2)     # they have come, and wait for the small blob
        told = time.monotonic()
        p.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        p.send_signal(signal.SIGTERM)
        status = p.wait(60 if SANITIZED else 20)
        print(f"{len(open_requests)} requests waited; it ended after {time.monotonic() - told:.1f} s with {status}", flush=True)
        if status != 0:
            sys.exit("FAILED: it ended with an error")
        for name, s in open_requests.items():
            try:
                while s.recv(1 << 20):
                    pass
            except ConnectionError:
                pass
            except TimeoutError:
                sys.exit(f"FAILED: {name} is not told")
    finally:
        over.set()
        if p.poll() is None:
            p.kill()
    check = subprocess.run([f"{TOOLS}/check_cache", f"{W}/cache"], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        sys.exit(f"FAILED: {check.stdout}{check.stderr}")


main()
