"""Clients of a listener with TLS, good and bad, and the registry behind it.

    tls_listener.py registry PORT FOLDER           one blob (FOLDER/blob) and one manifest
    tls_listener.py CASE PORT FOLDER [PID]         a case of tls-listener.sh; FOLDER has the certificates
"""
import contextlib
import hashlib
import http.server
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

REPO = "/v2/library/big"


def say_wrong(text):
    sys.exit(f"FAILED: {text}")


def same(got, want, what):
    if got != want:
        say_wrong(f"{what}: {got!r} is not {want!r}")


# ---- the registry ----

class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, kind, digest):
        size, range_of = len(body), self.headers.get("Range")
        if range_of:
            begin, end = range_of.removeprefix("bytes=").split("-")
            body = body[int(begin):int(end or size) + 1]
        self.send_response(206 if range_of else 200)
        if range_of:
            self.send_header("Content-Range", f"bytes {begin}-{int(begin) + len(body) - 1}/{size}")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        try:
            if self.command == "GET":
                self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def do_GET(self):
        body, path = BLOB
        digest = path.rsplit("/", 1)[1]
        if "/blobs/" in self.path:
            return self.answer(body, "application/octet-stream", digest)
        layer = '{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}' % (digest, len(body))
        config = layer.replace("layer.v1.tar", "config.v1+json")
        kind = "application/vnd.oci.image.manifest.v1+json"
        body = f'{{"schemaVersion":2,"mediaType":"{kind}","config":{config},"layers":[{layer}]}}'.encode()
        return self.answer(body, kind, "sha256:" + hashlib.sha256(body).hexdigest())

    do_HEAD = do_GET


# ---- clients ----

def context(least=None, most=None, cert=None, alpn=("http/1.1",), ca="ca"):
    c = ssl.create_default_context(cafile=f"{FOLDER}/{ca}.crt")
    if least:
        c.minimum_version = least
    if most:
        c.maximum_version = most
    if cert:
        c.load_cert_chain(f"{FOLDER}/{cert}.crt", f"{FOLDER}/{cert}.key")
    if alpn:
        c.set_alpn_protocols(list(alpn))
    return c


def connect(ctx=None, session=None, timeout=20):
    s = socket.create_connection(("127.0.0.1", PORT), timeout=timeout)
    return (ctx or context()).wrap_socket(s, server_hostname="localhost", session=session)


def request(path, more="", method="GET"):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost:{PORT}\r\n{more}\r\n".encode()


class Answers:
    """What comes on one connection."""

    def __init__(self, s):
        self.s, self.rest = s, bytearray()

    def take(self, n):
        while len(self.rest) < n:
            more = self.s.recv(262144)
            if not more:
                raise EOFError(f"{len(self.rest)} of {n} bytes")
            self.rest += more
        out = bytes(self.rest[:n])
        del self.rest[:n]
        return out

    def head(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1)
        lines = head.decode().split("\r\n")
        fields = dict((k.lower(), v) for k, v in (line.split(": ", 1) for line in lines[1:] if line))
        return int(lines[0].split()[1]), fields

    def next(self):
        status, fields = self.head()
        return status, fields, self.take(int(fields.get("content-length", 0)))


def get(path, more="", ctx=None):
    with connect(ctx) as s:
        s.sendall(request(path, more))
        return Answers(s).next()


def blob():
    data = open(f"{FOLDER}/blob", "rb").read()
    return data, f"{REPO}/blobs/sha256:" + hashlib.sha256(data).hexdigest()


def segments(s):
    """With data, that came: tcpi_data_segs_in."""
    return struct.unpack_from("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232), 152)[0]


def figure(name):
    for line in get("/metrics")[2].decode().splitlines():
        if line.startswith(name + " "):
            return int(float(line.split()[1]))
    return say_wrong(f"no {name}")


def resident(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) // 1024
    return 0


# ---- cases ----

def versions():
    for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for alpn in (None, ("http/1.1",), ("h2", "http/1.1")):
            with connect(context(v, v, alpn=alpn)) as s:
                same(s.selected_alpn_protocol(), "http/1.1" if alpn else None, f"ALPN of {alpn}")
                s.sendall(request("/healthz"))
                same(Answers(s).next()[2], b"ok\n", f"{v}")
    try:
        connect(context(alpn=("h2",))).close()
        say_wrong("a client that speaks HTTP/2 alone is accepted")
    except ssl.SSLError:
        pass
    status, fields, _ = get("/v2/", "User-Agent: docker/28\r\n")
    same((status, fields["www-authenticate"].split(",")[0]), (401, f'Bearer realm="https://localhost:{PORT}/token"'), "the login")


def requests():
    data, path = blob()
    with connect() as s:
        a = Answers(s)
        for _ in range(3):
            s.sendall(request("/healthz"))
            same(a.next()[2], b"ok\n", "keep-alive")
        ranges = [(0, 0), (5, 16388), (1 << 20, (3 << 20) + 7), (len(data) - 1, len(data) - 1), (0, 40000)] * 20
        s.sendall(b"".join(request(path, f"Range: bytes={f}-{t}\r\n") for f, t in ranges))
        for f, t in ranges:
            status, _, body = a.next()
            same((status, body == data[f:t + 1]), (206, True), f"range {f}-{t} in a row of requests")
        # A head in pieces, a record each; and an answer with its end.
        for b in request("/healthz", "Connection: close\r\n"):
            s.sendall(bytes([b]))
        same(a.next()[2], b"ok\n", "a byte a record")
        same(s.recv(1), b"", "the end of the connection")
    with connect() as s:  # what it does not read does not make it drop what it has said
        with contextlib.suppress(OSError):  # a slow client may be told before all of it is sent
            s.sendall(request("/healthz", "Connection: close\r\n") + bytes(100000))
        same(Answers(s).next()[2], b"ok\n", "before what is not read")
    # A ticket, an answer and the end of the connection wait for each other, where OpenSSL and not the kernel encrypts. A ticket
    # may go before, if this machine is slow.
    with connect() as s:
        begin = segments(s)
        s.sendall(request("/healthz", "Connection: close\r\n"))
        same(Answers(s).next()[2], b"ok\n", "the last answer")
        same(s.recv(1), b"", "the end behind it")
        count = segments(s) - begin
    if count > 2 and not os.path.exists("/proc/net/tls_stat"):
        say_wrong(f"an answer and its end came in {count} segments")


def slow():
    """Clients that read a little and wait: each holds little, and the one that goes on gets all of it."""
    data, path = blob()
    before, all_of_them = resident(PID), []
    for _ in range(SLOW_READERS):
        s = connect()
        s.sendall(request(path))
        s.recv(1000)
        all_of_them.append(s)
    time.sleep(0.5)
    used = resident(PID) - before
    print(f"{len(all_of_them)} slow readers: {used} MiB")
    if used > 24 and not SANITIZED:
        say_wrong(f"{used} MiB for {len(all_of_them)} slow readers")
    with connect() as s:
        s.sendall(request(path))
        a = Answers(s)
        same(int(a.head()[1]["content-length"]), len(data), "the length")
        for i in range(20):
            same(a.take(50000) == data[i * 50000:(i + 1) * 50000], True, "a slow reader's bytes")
            time.sleep(0.02)
        same(a.take(20 << 20) == data[1000000:1000000 + (20 << 20)], True, "the rest of a slow reader's bytes")
    for s in all_of_them:
        s.close()


def hanging():
    """More clients that stop in the handshake than there are places for: others are served, these are cut off."""
    hello = handshake_bytes(context())[0]
    idle = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(700)]
    for s in idle[100:]:
        s.sendall(hello[:60])
    time.sleep(1.1)
    for _ in range(5):
        begin = time.monotonic()
        same(get("/healthz")[2], b"ok\n", "a good client beside them")
        if time.monotonic() - begin > 3:
            say_wrong(f"a good client waited for {time.monotonic() - begin:.1f} s")
    until = time.monotonic() + 14
    for s in idle:
        s.settimeout(max(until - time.monotonic(), 0.1))
        try:
            s.recv(100)
        except ConnectionResetError:
            pass
        except TimeoutError:
            say_wrong("a handshake that hangs is never cut off")


def handshake_bytes(ctx):
    """The two flights of a client, recorded."""
    flights, into, out = [], ssl.MemoryBIO(), ssl.MemoryBIO()
    o = ctx.wrap_bio(into, out, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as s:
        while True:
            try:
                o.do_handshake()
                flights.append(out.read())
                return flights
            except ssl.SSLWantReadError:
                flight = out.read()
                if flight:
                    flights.append(flight)
                    s.sendall(flight)
                into.write(s.recv(65536))


def breaking():
    """A client may break off anywhere, with a FIN or a reset; and send anything."""
    _, path = blob()
    begin = figure("entrepot_connections")
    for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        total = sum(len(f) for f in handshake_bytes(context(v, v)))
        for at in range(0, total + 40, 23):
            break_at(context(v, v), at, path, at % 2)
    noise = random.Random(17)
    for _ in range(200):
        with socket.create_connection(("127.0.0.1", PORT), timeout=10) as s:
            hello = bytearray(handshake_bytes(context())[0]) if noise.random() < 0.3 else bytearray(noise.randbytes(300))
            for _ in range(3):
                hello[noise.randrange(len(hello))] = noise.randrange(256)
            s.sendall(hello)
            s.settimeout(0.02)
            try:
                s.recv(1000)
            except OSError:
                pass
    for _ in range(60):
        if figure("entrepot_connections") <= begin:
            return
        time.sleep(0.1)
    say_wrong(f"{figure('entrepot_connections')} connections are left, of {begin}")


def break_at(ctx, at, path, reset):
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = ctx.wrap_bio(into, out, server_hostname="localhost")
    asked = False
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as s:
        if reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        left = at
        while left > 0:
            try:
                if not asked:
                    o.do_handshake()
                    o.write(request(path))
                    asked = True
            except ssl.SSLWantReadError:
                pass
            flight = out.read()
            s.sendall(flight[:left])
            left -= len(flight)
            if asked or left <= 0:
                return
            into.write(s.recv(65536))


def resumption():
    for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        ctx, session = context(v, v, CERT), None
        for nth in range(3):
            with connect(ctx, session) as s:
                same(s.session_reused, nth > 0, f"{v}: the session of connection {nth + 1}")
                s.sendall(request("/healthz"))
                same(Answers(s).next()[2], b"ok\n", "after that")
                if nth > 0 and v == ssl.TLSVersion.TLSv1_3:  # clients use a ticket once (RFC 8446 C.4): there must be another
                    same(s.session.id != session.id, True, "a new ticket after a resumption")
                session = s.session  # with TLS 1.3 it comes behind the handshake


def name_of_server():
    with connect() as s:
        return dict(x[0] for x in s.getpeercert()["subject"])["commonName"]


def replace(name):
    for kind in ("crt", "key"):  # as cert-manager and certbot do: one after the other
        subprocess.run(["cp", f"{FOLDER}/{name}.{kind}", f"{FOLDER}/new"], check=True)
        os.rename(f"{FOLDER}/new", f"{FOLDER}/live.{kind}")
        time.sleep(0.05)


def wait_for_name(name):
    for _ in range(50):
        if name_of_server() == name:
            return
        time.sleep(0.1)
    say_wrong(f"the certificate is still {name_of_server()}, not {name}")


def reload():
    """The certificate changes while clients are served: no connection notices, new ones get the new one."""
    over, done, wrong = threading.Event(), [0], []

    def pull():
        while not over.is_set():
            try:
                same(get("/healthz")[2], b"ok\n", "beside the change")
                done[0] += 1
            except (OSError, EOFError, SystemExit) as e:
                wrong.append(repr(e))

    data, path = blob()
    with connect() as old, connect() as busy:
        busy.sendall(request(path))
        a = Answers(busy)
        a.head()
        a.take(100000)
        pulls = [threading.Thread(target=pull) for _ in range(4)]
        for t in pulls:
            t.start()
        for name in ("second", "first", "second"):
            replace(name)
            wait_for_name(name)
        with open(f"{FOLDER}/live.key", "w") as f:
            f.write("no key\n")
        time.sleep(2.5)
        same(name_of_server(), "second", "the certificate beside a key that is none")
        replace("first")
        wait_for_name("first")
        over.set()
        for t in pulls:
            t.join()
        old.sendall(request("/healthz"))
        same(Answers(old).next()[2], b"ok\n", "the connection from before")
        same(a.take(30 << 20) == data[100000:100000 + (30 << 20)], True, "the blob that began before")
    same(wrong, [], f"what failed of {done[0] + len(wrong)} requests")


def clients():
    for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        same(get("/healthz", ctx=context(v, v, "client"))[2], b"ok\n", "a client with a certificate")
        for cert in (None, "stranger"):
            try:
                get("/healthz", ctx=context(v, v, cert))
            except (ssl.SSLError, ConnectionResetError, EOFError):
                continue
            say_wrong(f"{v}: the certificate {cert} is accepted")


def plain():
    for method in ("GET", "HEAD", "POST"):
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as s:
            s.sendall(request("/v2/", method=method))
            got = b""
            while more := s.recv(1000):
                got += more
            same((got.split(b"\r\n")[0], b"speaks TLS" in got), (b"HTTP/1.1 400 Bad Request", method != "HEAD"), "plain HTTP")


case, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PID = sys.argv[4] if len(sys.argv) > 4 else "self"
SANITIZED = os.environ.get("SANITIZED") == "1"
SLOW_READERS = int(os.environ.get("SLOW_READERS", "200"))
CERT = os.environ.get("CLIENT_CERT")
if case == "registry":
    BLOB = blob()
    http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Registry).serve_forever()
globals()[case]()
