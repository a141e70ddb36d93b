"""Registries and clients for hostile-doors.sh.

    hostile_doors.py registry PORT NAME LOG     a registry, of which some paths misbehave
    hostile_doors.py CASE                       a client; environment: FORWARD, BY_NAME, PLAIN (ports), PROXY_HOST, CA, DAEMON_PID
"""
import concurrent.futures
import hashlib
import os
import re
import select
import selectors
import socket
import ssl
import struct
import sys
import threading
import time
import zlib

LAYER = b"a layer of the registry " * 1000


# ---- a registry ----

class Ended(Exception):
    pass


class Wire:
    """What comes on a socket."""

    def __init__(self, sock):
        self.sock, self.rest, self.most = sock, bytearray(), 1 << 18

    def more(self):
        data = self.sock.recv(self.most)
        if not data:
            raise Ended(f"{len(self.rest)} bytes are left: {bytes(self.rest[:200])!r}")
        self.rest += data

    def take(self, n):
        while len(self.rest) < n:
            self.more()
        out = bytes(self.rest[:n])
        del self.rest[:n]
        return out

    def line(self):
        while b"\n" not in self.rest:
            self.more()
        return self.take(self.rest.index(b"\n") + 1)

    def head(self):
        while b"\r\n\r\n" not in self.rest:
            self.more()
        first, *lines = self.take(self.rest.index(b"\r\n\r\n") + 4).decode("latin-1").split("\r\n")[:-2]
        return first, [tuple(part.strip() for part in line.split(":", 1)) for line in lines]

    def chunks(self):
        while size := int(self.line().split(b";")[0], 16):
            while size > 0:
                if not self.rest:
                    self.more()
                piece = self.take(min(size, len(self.rest)))
                size -= len(piece)
                yield piece
            self.take(2)
        while self.line() != b"\r\n":
            pass

    def body(self, fields):
        if "chunked" in fields.get("transfer-encoding", ""):
            yield from self.chunks()
            return
        left = int(fields.get("content-length", 0))
        while left > 0:
            if not self.rest:
                self.more()
            piece = self.take(min(left, len(self.rest)))
            left -= len(piece)
            yield piece


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_of(name):
    return name.encode() + LAYER


def manifest_of(name, repository, tag):
    layer = layer_of(name)
    one = '{"mediaType":"%s","digest":"%s","size":%d}'
    config = one % ("application/vnd.oci.image.config.v1+json", sha256(layer), len(layer))
    layers = one % ("application/vnd.oci.image.layer.v1.tar", sha256(layer), len(layer))
    kind = "application/vnd.oci.image.manifest.v1+json"
    return kind, (f'{{"schemaVersion":2,"mediaType":"{kind}","config":{config},"layers":[{layers}],'
                  f'"annotations":{{"from":"{name} {repository}","tag":"{tag}"}}}}').encode()


def flood(sock, data, seconds):
    """Sends it again and again, while there is somebody."""
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            sock.sendall(data)
    except OSError:
        pass
    raise Ended


def reads_nothing(w, fields):
    time.sleep(30)
    raise Ended


def answers_early(w, fields):
    w.sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\nConnection: close\r\n\r\nlarge\n")
    for _ in w.body(fields):
        pass


def answers_early_and_goes_on(w, fields):
    w.sock.sendall(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in w.body(fields):
        w.sock.sendall(b"1\r\nx\r\n")
    w.sock.sendall(b"0\r\n\r\n")


def many_interim(w, fields):
    flood(w.sock, b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\nX: " + b"y" * 900 + b"\r\n\r\n", 20)


def endless_headers(w, fields):
    w.sock.sendall(b"HTTP/1.1 200 OK\r\n")
    flood(w.sock, b"X-Header: " + b"y" * 900 + b"\r\n", 20)


def long_header(w, fields):
    w.sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    flood(w.sock, b"y" * 65536, 20)


def many_large_headers(w, fields):
    w.sock.sendall(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 90000) for i in range(90)) +
                   b"Content-Length: 2\r\n\r\nok")


def trailers(w, fields):
    w.sock.sendall(b"HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n"
                   b"Content-Length: 5\r\nSet-Cookie: trailer\r\n\r\n")


def endless_trailers(w, fields):
    w.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
    flood(w.sock, b"X-Trailer: " + b"y" * 900 + b"\r\n", 20)


def one_line(w, fields):
    w.sock.sendall(b"HTTP/1.1 200 OK\r\n" + bytes.fromhex(w.target.split("/")[3]) +
                   b"\r\nX-Good: good\r\nContent-Length: 2\r\n\r\nok")


def two_lengths(w, fields):
    w.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 50\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n")


def length_and_chunks(w, fields):
    w.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")


def short_length_and_chunks(w, fields):
    poison = b"okHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    w.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" %
                   (len(poison), poison))


def answers_twice(w, fields):
    w.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")


EVIL = {f.__name__: f for f in (reads_nothing, answers_early, answers_early_and_goes_on, many_interim, endless_headers,
                                long_header, many_large_headers, trailers, endless_trailers, one_line,
                                two_lengths,
                                length_and_chunks, short_length_and_chunks, answers_twice)}


class Registry:
    def __init__(self, port, name, log):
        self.name, self.log, self.lock = name, open(log, "a", buffering=1), threading.Lock()
        self.tags = {}
        server = socket.create_server(("127.0.0.1", int(port)), backlog=512)
        threading.stack_size(256 << 10)
        while True:
            threading.Thread(target=self.serve, args=(server.accept()[0],), daemon=True).start()

    def serve(self, sock):
        w = Wire(sock)
        try:
            while self.answer(w):
                pass
        except (Ended, OSError, ValueError):
            pass
        sock.close()

    def answer(self, w):
        first, headers = w.head()
        method, target, _ = first.split(" ", 2)
        fields = {k.lower(): v for k, v in headers}
        self.log.write(f"{method} {target} host={fields.get('host')} login={fields.get('authorization')} "
                       f"{' '.join(sorted(fields))}\n")
        w.target = target
        if target.startswith("/evil/"):
            EVIL[target.split("/")[2]](w, fields)
            return True
        crc, got, whole = 0, 0, bytearray()
        for piece in w.body(fields):
            crc, got = zlib.crc32(piece, crc), got + len(piece)
            if got < 65536:
                whole += piece
        status, more, body = self.page(method, target, fields, bytes(whole))
        more += f"X-Got: {got}\r\nX-Crc: {crc}\r\nContent-Length: {len(body)}\r\n"
        w.sock.sendall(f"HTTP/1.1 {status} X\r\n{more}\r\n".encode() + (b"" if method == "HEAD" else body))
        return fields.get("connection") != "close"

    def page(self, method, target, fields, body):
        path = target.split("?")[0]
        if path.startswith("/v2/secret/") and fields.get("authorization") != "Basic dXNlcjpub3Qtc2VjcmV0":
            return 401, 'WWW-Authenticate: Basic realm="x"\r\n', b"{}"
        if m := re.fullmatch("/v2/(.+)/manifests/(.+)", path):
            if method == "PUT":
                self.tags[m[1], m[2]] = body
                return 201, f"Docker-Content-Digest: {sha256(body)}\r\n", b""
            kind, text = manifest_of(self.name, m[1], m[2])
            if m[2].startswith("sha256:"):
                kind, text = manifest_of(self.name, m[1], "latest")
                if sha256(text) != m[2]:
                    return 404, "", b"{}"
            text = self.tags.get((m[1], m[2]), text)
            return 200, f"Content-Type: {kind}\r\nDocker-Content-Digest: {sha256(text)}\r\n", text
        if m := re.fullmatch("/v2/(.+)/blobs/(sha256:.+)", path):
            text = layer_of(self.name)
            return (200, f"Docker-Content-Digest: {m[2]}\r\n", text) if sha256(text) == m[2] else (404, "", b"{}")
        if "/blobs/uploads/" in path:
            return (201 if method == "PUT" else 202), f"Location: {path}/1\r\nRange: 0-0\r\n", b""
        return 200, f"X-From: {self.name}\r\n", f"{self.name} {method} {target}".encode()


# ---- a client ----

HOST = os.environ.get("PROXY_HOST", "127.0.0.1")
SANITIZED = bool(os.environ.get("SANITIZED"))
PATIENCE = 80 if SANITIZED else 20  # seconds for an answer, of a machine that does other things too


def port(name):
    return int(os.environ[name])


def trust(least=None, most=None):
    c = ssl.create_default_context(cafile=os.environ["CA"])
    if least:
        c.minimum_version = least
    if most:
        c.maximum_version = most
    return c


def plain(name="FORWARD", timeout=PATIENCE):
    return socket.create_connection((HOST, port(name)), timeout=timeout)


def say_connect(target, more=b"", timeout=PATIENCE):
    """(status, socket) of CONNECT to a target of bytes."""
    s = plain(timeout=timeout)
    s.sendall(b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
    w = Wire(s)
    w.most = 1 # what comes behind the head is the tunnel's
    status, _, body = answer(w, connects=True)
    if os.environ.get("TELL"):
        print(target[:60], status, body)
    return status, s


def opened(host, ctx=None, session=None):
    status, s = say_connect(host.encode() + b":443")
    assert status == 200, (host, status)
    return (ctx or trust()).wrap_socket(s, server_hostname=host, session=session)


def answer(w, head=False, connects=False):
    """(status, fields, body); interim answers are passed over."""
    while True:
        first, headers = w.head()
        status = int(first.split()[1])
        if status >= 200:
            break
    fields = {k.lower(): v for k, v in headers}
    if head or status in (204, 304) or (connects and status == 200):
        return status, fields, b""
    return status, fields, b"".join(w.body(fields))


def ask(host, method, path, headers=(), body=b"", s=None, name=None):
    """In an opened connection; `name` is what its Host header says."""
    own = s or opened(host)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {name or host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    own.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    out = answer(Wire(own), method == "HEAD")
    if not s:
        own.close()
    return out


def memory():
    """Of the daemon, MiB."""
    with open(f"/proc/{os.environ['DAEMON_PID']}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) / 1024


def peak():
    with open(f"/proc/{os.environ['DAEMON_PID']}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) / 1024


def descriptors():
    return len(os.listdir(f"/proc/{os.environ['DAEMON_PID']}/fd"))


def bounded(what, before, most):
    now = memory()
    print(f"  {what}: {before:.1f} MiB -> {now:.1f} MiB, {descriptors()} descriptors")
    if not SANITIZED:
        assert now - before <= most, (what, before, now)


def wait_until(what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, what
        time.sleep(0.05)


# ---- names ----

def targets():
    """What CONNECT gets, by its target. A name in another spelling is a tunnel to that name, which nobody has here."""
    long = b"a" * 65536
    for target, good in ((b"ghcr.io:443", {200}), (b"GHCR.IO:443", {200}), (b"ghcr.io:443:443", {400}), (b":443", {400}),
                         (b"ghcr.io", {400}), (b"ghcr.io:", {400}), (b"ghcr.io:0", {400}), (b"ghcr.io:65536", {400}),
                         (b"ghcr.io:99999999999999999999", {400}), (b"ghcr.io:-1", {400}), (b"ghcr.io:+443", {400}),
                         (b"user:pw@ghcr.io:443", {400}), (b"*.ghcr.io:443", {400}), (b"*:443", {400}),
                         (b"ghcr.io:443/", {400}), (b"ghcr.io:443#x", {400}), (b"http://ghcr.io:443", {400}),
                         (b"/v2/", {400}), (b"[::1%25lo]:80", {400}), (b"[fe80::1%lo]:80", {400}), (b"[::1:80", {400}),
                         (b"[]:80", {400}), (b"::1:80", {400}), (b"ghcr.io%00:443", {400}), (b"ghcr.io\x00:443", {400}),
                         (b"ghcr.io\t:443", {400}), (b"gh cr.io:443", {400, 505}), (b"ghcr.io\xff:443", {400}),
                         (b"xn--ghcr-io.evil:443", {502}), (b"docker.io.evil:443", {502}), (b"ghcr.io.:443", {502}),
                         (b"ghcr.io..:443", {400, 502}), (b".ghcr.io:443", {400, 502}), (b"-:443", {400, 502}),
                         (b"a.ghcr.io:443", {502}), (long + b":443", {400, 414}), (long[:255] + b":443", {400, 502}),
                         (b".".join([b"a"] * 120) + b".ghcr.io:443", {502}), (b"a:1", {502}), (b"\xc3\xa4.io:443", {400})):
        try:
            status, s = say_connect(target)
        except (Ended, ConnectionError) as e:
            raise AssertionError((target[:60], e)) from e
        s.close()
        assert status in good, (target[:60], status)


def hello(name, kind=0, raw=None):
    """A ClientHello of TLS 1.2 with this server name; None: without."""
    entry = struct.pack(">BH", kind, len(name)) + name if name is not None else b""
    data = raw if raw is not None else struct.pack(">H", len(entry)) + entry
    sni = struct.pack(">HH", 0, len(data)) + data if name is not None or raw is not None else b""
    ext = (sni + bytes.fromhex("000a00040002001700 0b00020100 000d000400020403".replace(" ", "")))
    body = (b"\x03\x03" + bytes(32) + b"\0" + bytes.fromhex("0002c02b") + b"\x01\0" + struct.pack(">H", len(ext)) + ext)
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(part)) + part
                    for part in (message[i:i + 16384] for i in range(0, len(message), 16384)))


def says(data):
    """'hello' or the alert that is answered; None: it is closed."""
    s = plain("BY_NAME")
    s.sendall(data)
    try:
        head = Wire(s).take(7)
    except (Ended, ConnectionError):
        return None
    finally:
        s.close()
    return "hello" if head[0] == 22 else head[6]


def names():
    """The server's name decides, on a listener with TLS by name."""
    assert says(hello(b"ghcr.io")) == "hello"
    assert says(hello(b"GHCR.io")) == "hello"
    for name in (None, b"", b"127.0.0.1", b"::1", b"*.ghcr.io", b"*", b"docker.io.evil", b"ghcr.io.", b".ghcr.io",
                 b"ghcr.io:443", b"ghcr.io:443:443", b"user@ghcr.io", b"ghcr.io ", b" ghcr.io", b"gh cr.io",
                 b"ghcr.io\0", b"ghcr.io\0.evil", b"evil\0ghcr.io", b"ghcr.io/", b"xn--ghcr-io.evil", b"a.ghcr.io",
                 "ghcr.ıo".encode(), b"fe80::1%lo", b"localhost", b"auth.docker.io", b"io", b"2130706433", b"a" * 254,
                 b"a" * 60000, b"a." * 30000 + b"ghcr.io"):
        got = says(hello(name))
        assert got in (112, 50, 47, 22, None), (name and name[:40], got)
    for raw in (b"", b"\0", b"\xff\xff", b"\0\x0a\0\0\x07ghcr.i", b"\0\x0b\0\0\x07ghcr.io",
                b"\0\x14" + b"\0\0\x07ghcr.io" * 2, b"\0\x0a\x01\0\x07ghcr.io"):
        got = says(hello(None, raw=raw))
        assert got != "hello", (raw, got)


# ---- where tunnels lead ----

NOT_PUBLIC = (b"127.0.0.1", b"localhost", b"x.localhost", b"127.1", b"2130706433", b"0x7f000001", b"0177.0.0.1", b"0", b"0.0.0.0",
              b"169.254.169.254", b"169.254.1.1", b"10.0.0.5", b"172.16.0.1", b"192.168.1.1", b"100.64.0.1", b"[::1]", b"[::]",
              b"[::ffff:127.0.0.1]", b"[::ffff:169.254.169.254]", b"[64:ff9b::7f00:1]", b"[2002:7f00:1::]", b"[fe80::1]",
              b"[fd00::1]", b"[fd00:ec2::254]", b"224.0.0.1", b"255.255.255.255", b"rebind.test", b"metadata.test",
              b"private.test", b"mixed.test", b"203.0.113.1", b"own.test", b"[2001:2::1]")


def remote():
    """A client of another machine: no tunnel to what is for this machine's own clients alone."""
    for host in NOT_PUBLIC:
        status, s = say_connect(host + b":" + os.environ["PLAIN"].encode())
        s.close()
        assert status == 403, (host, status)
    status, s = say_connect(b"198.51.100.9:9000")
    assert status == 200, status
    s.sendall(b"hello")
    assert Wire(s).take(3) == b"far"
    assert ask("ghcr.io", "GET", "/v2/")[0] == 200


def remote_denied():
    """A client that intercept.allow does not have."""
    for target in (b"ghcr.io:443", b"198.51.100.9:9000", b"127.0.0.1:80"):
        status, s = say_connect(target)
        s.close()
        assert status == 403, (target, status)
    s = plain()
    s.sendall(b"GET http://plain.test/v2/ HTTP/1.1\r\nHost: plain.test\r\n\r\n")
    assert answer(Wire(s))[0] == 403


def local():
    """A client of this machine goes where the machine can go; CONNECT is for the forward proxy alone."""
    for host in (b"127.0.0.1", b"localhost", b"rebind.test"):
        status, s = say_connect(host + b":" + os.environ["PLAIN"].encode())
        assert status == 200, (host, status)
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(Wire(s))[0] == 200
        s.close()
    s = plain("PLAIN")
    s.sendall(b"CONNECT ghcr.io:443 HTTP/1.1\r\nHost: ghcr.io:443\r\n\r\n")
    assert answer(Wire(s))[0] == 405
    s = opened("ghcr.io")
    s.sendall(b"CONNECT ghcr.io:443 HTTP/1.1\r\nHost: ghcr.io\r\n\r\n")
    assert answer(Wire(s))[0] == 405
    for path, status in (("/metrics", 400), ("/v2/", 400), ("http://127.0.0.1/metrics", 403)):
        s = plain()
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: plain.test\r\n\r\n".encode())
        assert answer(Wire(s))[0] == status, path


# ---- inside an opened connection ----

def poison():
    """Whatever a request in a connection for ghcr.io says of other hosts, it is about ghcr.io; and it is not cached as another's."""
    for path in ("a/x/manifests/latest?ns=docker.io", "a/x/manifests/latest?ns=ghcr.io", "docker.io/a/x/manifests/latest",
                 "ghcr.io/a/x/manifests/latest"):
        status, _, body = ask("ghcr.io", "GET", f"/v2/{path}")
        assert status == 200 and f'"from":"ghcr {path.split("/manifests")[0]}"'.encode() in body, (path, status, body)
    for name in ("docker.io", "registry-1.docker.io", "evil.test", "127.0.0.1", "ghcr.io.evil", "x"):
        for method in ("GET", "PUT", "DELETE"):
            status, _, body = ask("ghcr.io", method, "/v2/a/x/manifests/latest", name=name)
            assert status == 421, (name, method, status, body)
        status, _, body = ask("ghcr.io", "GET", f"http://{name}/v2/a/x/manifests/latest")
        assert status == 421, (name, status, body)
        status, _, body = ask("ghcr.io", "GET", f"https://{name}/v2/")
        assert status == 421, (name, status, body)
    for name in ("ghcr.io", "GHCR.IO", "ghcr.io:443"):
        assert ask("ghcr.io", "GET", "/v2/", name=name)[0] == 200, name
    status, _, body = ask("ghcr.io", "POST", "https://ghcr.io/v2/absolute/", name="evil.test")
    assert status == 200 and b"POST /v2/absolute/" in body, (status, body)
    # What is cached for either is its own.
    for host, name in (("docker.io", "docker"), ("ghcr.io", "ghcr")):
        for path in ("a/x", "docker.io/a/x", "ghcr.io/a/x"):
            status, _, body = ask(host, "GET", f"/v2/{path}/manifests/latest")
            assert status == 200 and f'"from":"{name} {path}"'.encode() in body, (host, path, status, body)
    s = plain("PLAIN")
    for ns, want in (("docker.io", b'"from":"docker a/x"'), ("ghcr.io", b'"from":"ghcr a/x"')):
        s.sendall(f"GET /v2/a/x/manifests/latest?ns={ns} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert want in answer(Wire(s))[2]


def smuggling():
    """Requests whose end is unclear are refused, and nothing behind them is a request."""
    hidden = b"GET /v2/hidden/ HTTP/1.1\r\nHost: ghcr.io\r\n\r\n"
    for head in (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 4\r\nContent-Length: 90\r\n",
                 b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"Transfer-Encoding: xchunked\r\n",
                 b"Transfer-Encoding: chunked, identity\r\n", b"Transfer-Encoding : chunked\r\n", b"Content-Length: +4\r\n",
                 b"Content-Length: 4, 4\r\n", b"Content-Length: 0x4\r\n", b"Content-Length: -1\r\n",
                 b"Transfer-Encoding: \x0bchunked\r\n", b"Content-Length: 4\n", b"X: y\r\n Content-Length: 4\r\n",
                 b"Content-Length: 99999999999999999999999\r\n", b"X: a\rContent-Length: 0\r\n"):
        s = opened("ghcr.io")
        s.sendall(b"POST /v2/first/ HTTP/1.1\r\nHost: ghcr.io\r\n" + head + b"\r\n0\r\n\r\n" + hidden)
        w, seen = Wire(s), []
        try:
            while True:
                seen.append(answer(w))
        except (Ended, OSError):
            pass
        assert [status for status, _, _ in seen] == [400], (head, [(a, c[:80]) for a, _, c in seen])
        s.close()
    # Behind a body that is passed on, the next one is another request.
    s = opened("ghcr.io")
    s.sendall(b"PATCH /v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: ghcr.io\r\nTransfer-Encoding: chunked\r\n\r\n" +
              b"".join(b"1000\r\n" + b"GET /v2/in-body/ HTTP/1.1\r\n".ljust(4096, b"x") + b"\r\n" for _ in range(64)) +
              b"0\r\nHost: evil.test\r\nContent-Length: 99\r\n\r\n" + b"GET /v2/second/ HTTP/1.1\r\nHost: ghcr.io\r\n\r\n" +
              b"PUT /v2/a/manifests/t HTTP/1.1\r\nHost: ghcr.io\r\nContent-Length: 2\r\n\r\n{}GET /v2/third/ HTTP/1.1\r\n"
              b"Host: ghcr.io\r\n\r\n")
    w = Wire(s)
    status, fields, _ = answer(w)
    assert (status, fields["x-got"]) == (202, str(64 * 4096)), (status, fields)
    assert answer(w)[2] == b"ghcr GET /v2/second/"
    assert answer(w)[0] == 201
    assert answer(w)[2] == b"ghcr GET /v2/third/"


def headers():
    """Headers for one connection alone are not passed on, and what the client names none of its own can remove Host."""
    status, _, _ = ask("ghcr.io", "POST", "/v2/hop/", ["Connection: X-Mine, Authorization, Host, close", "X-Mine: 1", "Te: x",
                                                       "Proxy-Authorization: Basic eDp5", "Keep-Alive: 9", "Upgrade: h2c",
                                                       "Cookie: a=b", "X-Other: 1", "X-Empty:"])
    assert status == 200, status


def hostile_answers():
    """Of a registry that misbehaves the client gets an error, or what is sound of its answer; the daemon's memory stays."""
    before = memory()
    passed = 0
    for line in (b"X-A: one\rX-B: two", b"X\rSet-Cookie: evil=1", b"Transfer-Encoding : chunked", b"Content-Length : 9",
                 b"Content Length: 1", b"no colon", b": none", b"X-A: a\r\n Transfer-Encoding: chunked", b"X\0Y: z", b"X: y\0z",
                 b"X-\xe4: y", b"X-A:\x0b\x0c\x1b[31m", b"X\t: y", b"\"X\": y", b"Connection: X-A, X-Good\r\nX-A: a"):
        s = opened("ghcr.io")
        s.sendall(b"GET /evil/one_line/%s HTTP/1.1\r\nHost: ghcr.io\r\nConnection: close\r\n\r\n" % line.hex().encode())
        text = b""
        while piece := s.recv(65536):
            text += piece
        lines = text.split(b"\r\n\r\n")[0].split(b"\r\n")
        assert lines[0].split()[1] in (b"200", b"502"), (line, lines)
        assert all(re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\r\n\0\x0b\x1b]*", each) for each in lines[1:]), (line, lines)
        assert not any(each.lower().startswith((b"set-cookie", b"transfer-encoding", b"content length")) for each in lines), lines
        assert sum(each.lower().startswith(b"content-length:") for each in lines) == 1, (line, lines)
        passed += lines[0].endswith(b"200 OK")
    assert passed >= 8, passed
    for path, good in (("trailers", {200}), ("two_lengths", {502}), ("length_and_chunks", {200}),
                       ("short_length_and_chunks", {200}),
                       ("answers_twice", {200})):
        s = opened("ghcr.io")
        try:
            status, fields, body = ask("ghcr.io", "GET", f"/evil/{path}", s=s)
        except Ended:
            status, fields, body = 502, {}, b""
        except TimeoutError as e:
            raise AssertionError(path) from e
        assert status in good and "set-cookie" not in fields and "x-t" not in fields, (path, status, fields, body)
        assert status != 200 or body == b"ok" or (path[:5] == "short" and body.endswith(b"poison")), (path, body)
        if status == 200:
            status, _, body = ask("ghcr.io", "GET", "/v2/after/", s=s)
            assert (status, body) == (200, b"ghcr GET /v2/after/"), (path, status, body)
    for path in ("endless_headers", "long_header", "many_large_headers", "many_interim"):
        begun = time.monotonic()
        status, _, body = ask("ghcr.io", "GET", f"/evil/{path}")
        assert status == 502, (path, status, body)
        assert time.monotonic() - begun < 10, path
    begun = time.monotonic()
    try:
        status = ask("ghcr.io", "GET", "/evil/endless_trailers")[0]
        assert status == 502, status
    except (Ended, OSError):
        pass
    assert time.monotonic() - begun < 10
    bounded("a registry that misbehaves", before, 8)


# ---- logins ----

LOGIN = "Authorization: Basic dXNlcjpub3Qtc2VjcmV0"


def logins():
    """Who has no login of its own gets nothing of what another's login has got; logins go to the opened host alone."""
    path = "/v2/secret/x/manifests/latest"
    assert ask("ghcr.io", "GET", path)[0] == 401
    status, _, body = ask("ghcr.io", "GET", path, [LOGIN])
    assert status == 200, status
    digest = re.search(rb'"digest":"(sha256:[0-9a-f]+)"', body)[1].decode()
    blob = f"/v2/secret/x/blobs/{digest}"
    assert ask("ghcr.io", "GET", blob, [LOGIN])[2] == layer_of("ghcr")
    for own in ([], ["Authorization: Basic dXNlcjp3cm9uZw=="], ["Authorization: Bearer x"], ["Authorization: Negotiate x"],
                ["Authorization: Basic"], ["Authorization: "], ["X-Forwarded-User: user"]):
        for method in ("GET", "HEAD"):
            for p in (path, blob, f"/v2/secret/x/manifests/{sha256(body)}", "/v2/secret/x/tags/list"):
                status = ask("ghcr.io", method, p, own)[0]
                assert status in (401, 403), (own, method, p, status)
    # On a connection that another request has used with a login: logins are the requests' own.
    s = opened("ghcr.io")
    assert ask("ghcr.io", "GET", path, [LOGIN], s=s)[0] == 200
    assert ask("ghcr.io", "GET", path, s=s)[0] == 401
    assert ask("ghcr.io", "POST", "/v2/secret/x/blobs/uploads/", [LOGIN], s=s)[0] == 202
    assert ask("ghcr.io", "POST", "/v2/secret/x/blobs/uploads/", s=s)[0] == 401
    # The cache's own login is for pulls: with none of its own, a client's push has none.
    assert ask("own.io", "GET", path)[0] == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert ask("own.io", method, "/v2/secret/x/blobs/uploads/1")[0] == 401, method
    assert ask("own.io", "PUT", path, body=b"{}")[0] == 401


def resumption():
    """A session of one host is not resumed for another one."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        ctx = trust(version, version)
        s = opened("ghcr.io", ctx)
        ask("ghcr.io", "GET", "/v2/", s=s)
        session = s.session
        assert opened("ghcr.io", ctx, session).session_reused
        other = opened("docker.io", ctx, session)
        assert not other.session_reused and dict(other.getpeercert()["subject"][0])["commonName"] == "docker.io"
        assert b"docker GET" in ask("docker.io", "POST", "/v2/x/", s=other)[2].replace(b"POST", b"GET")
        s = ctx.wrap_socket(plain("BY_NAME"), server_hostname="docker.io", session=session)
        assert not s.session_reused


# ---- many ----

def greetings():
    """Clients that hang in the handshake hold up no others, and cost little."""
    before, held = memory(), []
    for i in range(600):
        s = say_connect(b"ghcr.io:443")[1]
        s.sendall((b"", b"\x16", hello(b"ghcr.io")[:40])[i % 3])
        held.append(s)
    begun = time.monotonic()
    assert ask("ghcr.io", "GET", "/v2/")[0] == 200
    assert time.monotonic() - begun < 8
    bounded("600 clients that hang in the handshake", before, 24)
    for s in held:
        s.close()


def connections():
    before, held = memory(), []
    for _ in range(1000):
        held.append(opened("ghcr.io"))
    bounded("1000 connections with TLS", before, 48)
    assert ask("ghcr.io", "GET", "/v2/", s=held[500])[0] == 200
    for s in held:
        s.close()
    wait_until(lambda: descriptors() < 100)


def answered(sockets):
    """Those from which something can be read."""
    look = select.poll()
    for s in sockets:
        look.register(s, select.POLLIN)
    readable = {fd for fd, _ in look.poll(0)}
    return [s for s in sockets if s.fileno() in readable]


def tunnels():
    """1024 at once, and no more; also of those that are not connected yet."""
    before, held, fds = memory(), [], descriptors()
    target = b"127.0.0.1:" + os.environ["SINK"].encode()
    for _ in range(1024):
        status, s = say_connect(target)
        assert status == 200, (len(held), status)
        held.append(s)
    status, s = say_connect(target)
    assert status == 503, status
    bounded("1024 tunnels", before, 16)
    assert ask("ghcr.io", "GET", "/v2/")[0] == 200
    for s in held[:512]:  # half of them are half-open
        s.shutdown(socket.SHUT_WR)
    for s in held:
        s.close()
    wait_until(lambda: descriptors() <= fds + 16)
    waiting = []
    for _ in range(1100):
        s = plain()
        s.sendall(b"CONNECT 198.51.100.77:9 HTTP/1.1\r\nHost: x\r\n\r\n")
        waiting.append(s)
    # Several loops take them, each at its pace: which ones are too many is not known.
    wait_until(lambda: len(answered(waiting)) >= 76)
    refused = [answer(Wire(s))[0] for s in answered(waiting)]
    assert refused == [503] * 76, refused
    assert descriptors() <= fds + 1100 + 1024 + 80, descriptors()
    for s in waiting:
        s.close()
    wait_until(lambda: descriptors() <= fds + 16)


PIECE = os.urandom(1 << 20)


def begin_upload(s, path="/v2/a/blobs/uploads/1"):
    s.sendall(f"PATCH {path} HTTP/1.1\r\nHost: ghcr.io\r\nTransfer-Encoding: chunked\r\n\r\n".encode())


def uploads():
    """Uploads that pause, that break off, that a registry does not read or answers early: bounded, and others go on."""
    before, held = memory(), []
    for i in range(100):
        s = opened("ghcr.io")
        begin_upload(s, ("/v2/a/blobs/uploads/1", "/evil/reads_nothing")[i % 2])
        s.sendall(b"10000\r\n" + (PIECE[:65536] + b"\r\n" if i % 4 else PIECE[:30000]))
        held.append(s)
    assert ask("ghcr.io", "GET", "/v2/")[0] == 200
    for s in held[1::2]:  # until it is told to stop
        s.settimeout(0.05)
        sent = 0
        try:
            while sent < 64 << 20:
                s.sendall(b"40000\r\n" + PIECE[:0x40000] + b"\r\n")
                sent += 0x40000
        except TimeoutError:
            pass
        assert sent < 32 << 20, "nothing holds it back"
    bounded("50 uploads that pause, 50 that are not read", before, 40)
    for s in held:
        s.close()
    status, s = 0, opened("ghcr.io")
    begin_upload(s, "/evil/answers_early")
    s.settimeout(10)
    try:
        for _ in range(16):
            s.sendall(b"100000\r\n" + PIECE + b"\r\n")
    except OSError:
        pass
    assert answer(Wire(s))[0] == 413
    s = opened("ghcr.io")
    begin_upload(s, "/evil/answers_early_and_goes_on")
    for _ in range(16):
        s.sendall(b"100000\r\n" + PIECE + b"\r\n")
    s.sendall(b"0\r\n\r\n")
    status, _, body = answer(Wire(s))
    assert status == 202 and len(body) >= 16 and set(body) == {ord("x")}, (status, len(body))
    bounded("after that", before, 40)


def push(i, size, all_here):
    s = opened("ghcr.io")
    begin_upload(s)
    crc = 0
    for at in range(size >> 20):
        if at == 1:
            all_here.wait(4 * PATIENCE)
        s.sendall(b"100000\r\n" + PIECE + b"\r\n")
        crc = zlib.crc32(PIECE, crc)
    s.sendall(b"0\r\n\r\n")
    w = Wire(s)
    status, fields, _ = answer(w)
    assert (status, fields["x-got"]) == (202, str(size)), (i, status, fields)
    assert int(fields["x-crc"]) == crc, i
    text = b'{"n":%d}' % i
    assert ask("ghcr.io", "PUT", f"/v2/a/manifests/{i}", body=text, s=s)[0] == 201
    s.close()


def pull(i, all_here):
    host, name = (("ghcr.io", "ghcr"), ("docker.io", "docker"))[i % 2]
    s = opened(host)
    status, _, text = ask(host, "GET", f"/v2/b/x{i % 5}/manifests/latest", s=s)
    assert status == 200 and text == manifest_of(name, f"b/x{i % 5}", "latest")[1], (i, status, text)
    for n in range(20):
        if n == 1:
            all_here.wait(4 * PATIENCE)
        status, _, body = ask(host, "GET", f"/v2/b/x{i % 5}/blobs/{sha256(layer_of(name))}", s=s)
        assert status == 200 and body == layer_of(name), (i, status)
    s.close()


def crowd():
    """Pushes and pulls at once, all of them in the middle: all bytes are right."""
    size, count = int(os.environ.get("PUSH_MIB", "4")) << 20, int(os.environ.get("PUSHES", "200"))
    begun, all_here = time.monotonic(), threading.Barrier(2 * count)
    with concurrent.futures.ThreadPoolExecutor(2 * count) as pool:
        for done in [pool.submit(do, *args, all_here) for i in range(count) for do, *args in ((push, i, size), (pull, i))]:
            done.result()
    print(f"  {count} pushes of {size >> 20} MiB and {count} pulls: {time.monotonic() - begun:.1f} s, "
          f"at most {peak():.1f} MiB")
    if not SANITIZED:
        assert peak() <= 48, peak()


def insecure():
    """A registry without TLS, through the forward proxy: uploads of any size; its Host is the URL's."""
    s = plain()
    s.sendall(b"PATCH http://plain.test/v2/a/blobs/uploads/1 HTTP/1.1\r\nHost: evil.test\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(4):
        s.sendall(b"100000\r\n" + PIECE + b"\r\n")
    s.sendall(b"0\r\n\r\n")
    status, fields, _ = answer(Wire(s))
    assert (status, fields["x-got"]) == (202, str(4 << 20)), (status, fields)


def sink(number):
    """Accepts, says at most a greeting, and closes when the other side has."""
    server = socket.create_server((os.environ.get("SINK_HOST", "127.0.0.1"), number), backlog=2048)
    look = selectors.DefaultSelector()
    look.register(server, selectors.EVENT_READ)
    while True:
        for key, _ in look.select():
            if key.fileobj is server:
                s = server.accept()[0]
                s.sendall(os.environ.get("GREETING", "").encode())
                look.register(s, selectors.EVENT_READ)
            elif not key.fileobj.recv(65536):
                look.unregister(key.fileobj)
                key.fileobj.close()


if __name__ == "__main__":
    if sys.argv[1] == "registry":
        Registry(*sys.argv[2:])
    elif sys.argv[1] == "sink":
        sink(int(sys.argv[2]))
    else:
        globals()[sys.argv[1]]()
