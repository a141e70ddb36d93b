"""upstream PORT FOLDER: a registry at real.localhost and new.localhost, which is none under other names, and never answers at hang*.localhost.
flood PORT UPSTREAM_PORT: 2000 made-up hosts under the same pattern, and 2000 for upstreams_any, 16 at once.
busy PORT UPSTREAM_PORT: 70 hosts that never answer, where there may be 64; one more; and a registry that has answered before."""
import hashlib
import http.client
import http.server
import select
import ssl
import sys
import threading
import time

BODY = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers["Host"].startswith("hang"):
            self.rfile.read(1)
            self.close_connection = True
            return
        if not self.headers["Host"].startswith(("real.", "new.")):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
        self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(BODY).hexdigest())
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(BODY)

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


def flood(port, upstream):
    hosts = [f"made-up-{i}.localhost:{upstream}" for i in range(2000)] + [f"127.1.{i // 250}.{i % 250 + 1}:9" for i in range(2000)]
    codes, lock = {}, threading.Lock()

    def ask():
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while True:
            with lock:
                if not hosts:
                    return
                host = hosts.pop()
            c.request("GET", f"/v2/app/manifests/1?ns={host}")
            r = c.getresponse()
            r.read()
            with lock:
                codes[r.status] = codes.get(r.status, 0) + 1

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(codes)
    if sum(codes.values()) != 4000 or set(codes) - {404, 502, 503, 504}:
        sys.exit(f"answers: {codes}")


def busy(port, upstream):
    def ask(host):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        c.request("GET", f"/v2/app/manifests/1?ns={host}.localhost:{upstream}")
        return c

    def answer(c):
        r = c.getresponse()
        r.read()
        c.close()
        return r.status, r.getheader("Retry-After")

    def check(what, got, want):
        if got != want:
            sys.exit(f"{what}: {got}, not {want}")

    waiting = [ask(f"hang{i}") for i in range(70)]
    deadline = time.monotonic() + 10
    refused = []
    while len(refused) < 6 and time.monotonic() < deadline:
        refused = select.select([c.sock for c in waiting], [], [], 0.2)[0]
    check("refused of 70", len(refused), 6)
    for c in waiting:
        if c.sock in refused:
            check("one of them", answer(c), (503, "2"))
    check("one more", answer(ask("more")), (503, "2"))
    check("one that has answered before", answer(ask("real")), (200, None))
    for c in waiting:
        c.close()
    while (got := answer(ask("more"))) == (503, "2") and time.monotonic() < deadline + 20:
        time.sleep(0.2)
    check("once they have gone", got, (404, None))


if sys.argv[1] == "upstream":
    server = Server(("127.0.0.1", int(sys.argv[2])), Registry)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{sys.argv[3]}/cert.pem", f"{sys.argv[3]}/key.pem")
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()
else:
    {"flood": flood, "busy": busy}[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
