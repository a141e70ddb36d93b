#!/usr/bin/env python3
"""Attacks on a node's address for peers: attack.py outsider|insider NODE:PORT CLIENTS:PORT SECRET-FILE PID BLOB

An outsider has no secret; an insider has the cluster's. NODE has the blob of library/app that BLOB names, and PID is its daemon's. Each
attack is bounded; afterwards the node still answers an honest client, within a second, with the right bytes."""
import hashlib
import hmac
import os
import re
import socket
import sys
import threading
import time

WHO, NODE, CLIENTS, SECRET_FILE, PID, BLOB = sys.argv[1:7]
SECRET = open(SECRET_FILE).read().strip().encode()
TARGET = f"/v2/library/app/blobs/{BLOB}?ns=docker.io"
OWN_PAGES = ("/", "/metrics", "/status.json", "/events", "/readyz", "/v1/status", "/v2/_catalog", "/token", "/v2/library/app/tags/list")
with open(f"/proc/{PID}/maps") as maps:  # a sanitizer keeps what is freed
    ROOM = 20 if "san.so" in maps.read() else 1
failures = []


def expect(what, good, got):
    print(f"  {what[:70]:70} {str(got)[:60]}", flush=True)
    if not good:
        failures.append(f"{what}: {got}")


def memory():
    """Resident, in KiB."""
    with open(f"/proc/{PID}/status") as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


def connect(to=NODE, seconds=5, own=None):
    host, _, port = to.partition(":")
    s = socket.create_connection((host, int(port)), seconds, (own, 0) if own else None)
    s.settimeout(seconds)
    return s


def proof(method="GET", target=TARGET, peer="v=1; hops=2", byte_range="", authorization="", to=NODE):
    head = f"t={int(time.time() * 1000)}; n={os.urandom(16).hex()}"
    text = "".join(f"{len(part)} {part}\n" for part in (head, method, target, to, peer, byte_range, authorization))
    return f"{head}; m={hmac.new(SECRET, text.encode('latin-1'), hashlib.sha256).hexdigest()}"


def signed(method="GET", target=TARGET, peer="v=1; hops=2", byte_range="", more=()):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {NODE}", f"Entrepot-Peer: {peer}",
             "Entrepot-Proof: " + proof(method, target, peer, byte_range), *more]
    return "\r\n".join(lines + ([f"Range: {byte_range}"] if byte_range else [])) + "\r\n\r\n"


def read_all(s, most=64 << 20):
    data = b""
    try:
        while len(data) < most and (more := s.recv(1 << 18)):
            data += more
    except OSError:
        pass
    return data


def raw(text, to=NODE, seconds=1.0):
    """Everything that comes back until the node closes, or is silent."""
    with connect(to, seconds) as s:
        try:
            s.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))
        except OSError:
            pass
        return read_all(s)


def statuses(data):
    """Of all answers in it."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def answer(text, **how):
    data = raw(text, **how)
    head, _, body = data.partition(b"\r\n\r\n")
    return (statuses(head) or [0])[0], head, body


def refused(what, text, **how):
    data = raw(text, **how)
    got = statuses(data)
    expect(what, all(400 <= status < 600 for status in got) and len(data) < 4000 * max(1, len(got)), got or "closed")


def honest(what):
    """A client of the node still gets its blob."""
    begun = time.monotonic()
    status, _, body = answer(f"GET {TARGET} HTTP/1.1\r\nHost: {CLIENTS}\r\nConnection: close\r\n\r\n", to=CLIENTS, seconds=5)
    took = time.monotonic() - begun
    right = status == 200 and "sha256:" + hashlib.sha256(body).hexdigest() == BLOB
    expect(f"a client, {what}", right and took < 1, f"{status}, {took:.2f} s")


# ---- without the secret ----

def odd_targets():
    for target in (*OWN_PAGES, "/cluster/life/../../v2/library/app/blobs/" + BLOB, "/cluster/life/..", "//cluster/life", "/cluster%2flife",
                   "/cluster/life%00", "/./v2/", "/v2/..%2f..%2fetc/passwd", f"http://{CLIENTS}/metrics", f"http://{CLIENTS}{TARGET}",
                   "http://169.254.169.254/", "https://127.0.0.1/", "file:///etc/passwd", "*", "/" + "a" * 60000, "/?" + "a" * 8000):
        refused("GET " + target[:60], f"GET {target} HTTP/1.1\r\nHost: {CLIENTS}\r\nConnection: close\r\n\r\n")
    for host in (CLIENTS, "docker.io", "registry.example.com", "127.0.0.1", "", "a" * 300):
        refused("Host " + host[:40], f"GET {TARGET} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    for target in (CLIENTS, "127.0.0.1:22", "docker.io:443", "/"):
        refused("CONNECT " + target, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
    for text in ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0" * 3000, "\r\n" * 9000):
        refused("a head that is " + repr(text[:30]), text)


def smuggling():
    """One request is refused, and what follows on the connection is no other one's."""
    inner = f"GET /metrics HTTP/1.1\r\nHost: {CLIENTS}\r\n\r\n"
    post = f"POST {TARGET} HTTP/1.1\r\nHost: {NODE}\r\n"
    for what, text in (
            ("a body that looks like a request", post + f"Content-Length: {len(inner)}\r\n\r\n" + inner),
            ("two lengths", post + f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n\r\n" + inner),
            ("a length and chunks", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner),
            ("chunked, in a way", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner),
            ("chunked, twice", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + inner),
            ("a negative length", post + "Content-Length: -1\r\n\r\n" + inner),
            ("an endless length", post + "Content-Length: 99999999999999999999\r\n\r\n" + inner),
            ("a chunk of an absurd size", post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + inner),
            ("a folded header", f"GET {TARGET} HTTP/1.1\r\nHost: x\r\nEntrepot-Peer: v=1;\r\n hops=2\r\n\r\n" + inner),
            ("line feeds alone", f"GET {TARGET} HTTP/1.1\nHost: x\n\n" + inner),
            ("many at once", inner * 50)):
        refused(what, text)
    # The first one is proved; what follows it needs a proof of its own.
    first = signed("HEAD", "/cluster/life")
    got = statuses(raw(first + inner + f"GET {TARGET} HTTP/1.1\r\nHost: {NODE}\r\n\r\n" + first))
    expect("behind a proved one: others, and the same again", got[:1] == [200] and 200 not in got[1:], got)


def slow_and_large():
    """Heads that come slowly, are too large, or never end; connections that say nothing: memory is bounded, clients are served."""
    before, held = memory(), []
    with connect() as s:
        begun = time.monotonic()
        try:
            s.sendall(b"GET / HTTP/1.1\r\n")
            while time.monotonic() < begun + 5:
                s.sendall(b"X-More: " + b"m" * 8000 + b"\r\n")
                time.sleep(0.01)
        except OSError:
            pass
        took = time.monotonic() - begun
    expect("a head without an end is ended", took < 4, f"{took:.1f} s")
    for count, what, text in ((1500, "that say nothing", b""), (300, "with half a head", b"GET / HTTP/1.1\r\nX: " + b"y" * 30000)):
        for _ in range(count):
            try:  # beyond their bound connections are reset
                s = connect(seconds=2)
                held.append(s)
                s.setblocking(False)
                s.send(text)
            except OSError:
                pass
        grown = memory() - before
        expect(f"{count} connections {what}", grown < ROOM * 120 << 10, f"{grown} KiB more, {grown / len(held):.1f} a connection")
        honest("beside them")
    for s in held:
        s.close()


def many_refusals():
    """Each costs a hash: of large headers, by several at once."""
    peer, count, stop = "v=1; hops=2; from=" + "a" * 20000, [0], time.monotonic() + 2

    def ask():
        text = (f"GET {TARGET} HTTP/1.1\r\nHost: {NODE}\r\nEntrepot-Peer: {peer}\r\n"
                f"Entrepot-Proof: t={int(time.time() * 1000)}; n={'0' * 31}1; m={'0' * 64}\r\n\r\n").encode()
        while time.monotonic() < stop:
            try:
                with connect() as s:
                    for _ in range(20):
                        s.sendall(text)
                        count[0] += s.recv(4000).count(b"HTTP/1.1 403")
            except OSError:
                pass

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    honest("beside wrong proofs with 20 KiB of headers")
    for t in threads:
        t.join()
    expect("wrong proofs with 20 KiB of headers", count[0] > 0, f"{count[0]} refused in 2 s")


# ---- with the secret ----

def odd_questions():
    """Words of the header that make no sense: right bytes or an error, and the node lives."""
    numbers = ("9223372036854775807", "-9223372036854775808", "99999999999999999999", "-1", "0", "1", "4096", "x", "")
    for number in numbers:
        for byte_range in ("", "bytes=0-9", "bytes=1-9223372036854775806", "bytes=9223372036854775806-", "bytes=-1", "bytes=0-0,5-9"):
            status, _, body = answer(signed(peer=f"v=1; hops=2; size={number}; have", byte_range=byte_range, more=["Connection: close"]))
            if status not in (200, 206, 404, 416):
                expect(f"size={number}, Range {byte_range}", False, status)
    expect("sizes and ranges", True, "as they should")
    absent = "sha256:" + "5" * 64
    for number in numbers:
        for digest in (BLOB, absent, "sha256:x", "sha512:" + "5" * 64):
            target = f"/cluster/life?digest={digest}&at={number}"
            status = answer(signed("HEAD", target, more=["Connection: close"]))[0]
            if status != 200:
                expect(target, False, status)
    expect("places in a blob", True, "as they should")
    for peer in ("v=1; hops=1; not=" + "a" * 500, "v=1; hops=1; insist; not=; from=", "v=1; hops=1; named; have; insist", "v=1; hops=2; ;;; ;",
                 "v=1; hops=2; from=" + NODE, "v=1; hops=99999999999", "v=-1; hops=1", "v=1; hops=1; from=\xff\xfe", "v=1; hops=1" + "; x" * 200):
        status, _, body = answer(signed(target=TARGET, peer=peer, byte_range="bytes=0-9", more=["Connection: close"]))
        expect(peer[:60], status in (206, 307, 403, 404), status)


def own_pages():
    for target in (*OWN_PAGES, f"http://{CLIENTS}/metrics", "/cluster/life/../../metrics", "//metrics", "/cluster/lifetime", "/v2/"):
        status, _, body = answer(signed(target=target, more=["Connection: close"]))
        expect("GET " + target[:60], 400 <= status < 600 and len(body) < 2000, status)


def other_registries():
    """What is no registry of the configuration is asked for by nobody."""
    taken = []
    with socket.create_server(("127.0.0.1", 0)) as trap:
        port = trap.getsockname()[1]
        trap.settimeout(0.05)
        for name in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "169.254.169.254", f"docker.io@127.0.0.1:{port}", f"docker.io%40127.0.0.1:{port}",
                     f"127.0.0.1:{port}/x", f"http://127.0.0.1:{port}", "docker.io%00.example.com", "docker.io.", "DOCKER.IO%23", "..", "%2e%2e"):
            target = f"/v2/library/app/manifests/1?ns={name}"
            status = answer(signed(target=target, more=["Connection: close"]))[0]
            try:
                taken.append(trap.accept())
            except OSError:
                pass
            expect("ns=" + name, 400 <= status < 500 or (status == 200 and name == "docker.io."), status)
    expect("connections to what is no registry", not taken, len(taken))


def random_digests(count):
    """Blobs that there are not, one after another on a few connections."""
    before, begun, seen = memory(), time.monotonic(), {}

    def ask(n):
        s = connect()
        for i in range(n):
            target = f"/v2/library/app/blobs/sha256:{os.urandom(32).hex()}?ns=docker.io"
            peer = f"v=1; hops={1 + i % 2}; size={i << 20}; from=127.0.{i % 200}.{i // 200 % 200}:5443" + ("; have" if i % 4 == 3 else "")
            try:
                s.sendall(signed("HEAD" if i % 3 else "GET", target, peer, "" if i % 3 else f"bytes={i << 12}-{(i << 12) + 9}").encode())
                head = s.recv(65536)
            except OSError:
                head = b""
            status = (statuses(head) or [0])[0]
            seen[status] = seen.get(status, 0) + 1
            if not status or b"Connection: close" in head:
                s.close()
                s = connect()
        s.close()

    threads = [threading.Thread(target=ask, args=(count // 4,)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    grown = memory() - before
    expect(f"{count} blobs that there are not", 200 not in seen and 206 not in seen and grown < ROOM * 60 << 10, f"{seen}, {grown} KiB more, {time.monotonic() - begun:.1f} s")


if WHO == "outsider":
    odd_targets()
    smuggling()
    slow_and_large()
    many_refusals()
else:
    odd_questions()
    own_pages()
    other_registries()
    random_digests(int(os.environ.get("DIGESTS", "1000")))
honest("after all of it")
for failure in failures:
    print("FAILED:", failure)
sys.exit(1 if failures else 0)
