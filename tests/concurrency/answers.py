#!/usr/bin/env python3
"""answers.py ENTREPOT FOLDER PORT UPSTREAM_PORT PATTERN: the cases of answers.sh. Each has a registry of its own, https://NAME.test, all of
which are this process; each serves a single range as it should."""
import hashlib
import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import ThreadingHTTPServer

from answering import Answering

ENTREPOT, W, PORT, UPSTREAM = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PATTERN = re.compile(sys.argv[5])
PATIENCE = 3 if "build-" in ENTREPOT else 1
KIB, MIB = 1 << 10, 1 << 20
rng = random.Random(16)
problems = []
registries, MORE, CASES = {}, {}, []


class Registry:
    def __init__(self, name):
        self.name, self.blobs, self.asked, self.rate, self.lock = name, {}, [], 0, threading.Lock()
        self.hang = None  # of a request: how many seconds it brings nothing, and after how many bytes

    def add(self, size):
        data = rng.randbytes(size)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def several(self):
        return sum("," in text for _, text in self.asked)


# ---- answers to several ranges ----

def part(data, first, last, head=b"Content-Type: application/octet-stream\r\n", total=None, says=None):
    a, b = says or (first, last)
    return b"\r\n--0007\r\n%sContent-Range: bytes %d-%d/%d\r\n\r\n" % (head, a, b, total or len(data)) + data[first:last + 1]


END = b"\r\n--0007--\r\n"


def multipart(data, spans, **more):
    return b"".join(part(data, a, b, **more) for a, b in spans) + END


def joined(spans):
    """Those that are near to one another are one, as a registry may do."""
    out = [spans[0]]
    for a, b in spans[1:]:
        if a - out[-1][1] < 60 * KIB:
            out[-1] = (out[-1][0], b)
        else:
            out.append((a, b))
    return out


# What the body of the answer is; None: that status alone, or a single range.
BODIES = {
    "right": lambda d, s: multipart(d, s),
    "missing": lambda d, s: multipart(d, s[:1] + s[2:]),
    "firstonly": lambda d, s: multipart(d, s[:1]),
    "lastonly": lambda d, s: multipart(d, s[-1:]),
    "empty": lambda d, s: END,
    "nothing": lambda d, s: b"",
    "order": lambda d, s: multipart(d, s[::-1]),
    "twice": lambda d, s: multipart(d, [x for x in s for _ in (0, 1)]),
    "overlap": lambda d, s: multipart(d, [(max(a - 5 * KIB, 0), b) for a, b in s]),
    "joined": lambda d, s: multipart(d, joined(s)),
    "shifted": lambda d, s: b"".join(part(d, a, b, says=(a + 4096, b + 4096)) for a, b in s) + END,
    "total": lambda d, s: multipart(d, s, total=len(d) + 4096),
    "norange": lambda d, s: b"".join(b"\r\n--0007\r\nContent-Type: x/y\r\n\r\n" + d[a:b + 1] for a, b in s) + END,
    "backwards": lambda d, s: b"".join(part(d, a, b, says=(b, a)) for a, b in s) + END,
    "boundary": lambda d, s: multipart(d, s).replace(b"\r\n--0007\r\n", b"\r\n==0008\r\n"),
    "noend": lambda d, s: multipart(d, s)[:-len(END)],
    "lines": lambda d, s: multipart(d, s, head=b"X-Y: z\r\n" * 50),
    "line": lambda d, s: multipart(d, s, head=b"X-Y: " + b"z" * 2000 + b"\r\n"),
    "larger": lambda d, s: multipart(d, [(a, min(b + 8 * KIB, len(d) - 1)) for a, b in s]),
    "smaller": lambda d, s: multipart(d, [(a, a + (b - a) // 2) for a, b in s]),
    "few": lambda d, s: b"".join(part(d, a, b - 100, says=(a, b)) for a, b in s) + END,
    "page": lambda d, s: b"<html>Log in here</html>" * 2000,
}


class Upstream(Answering):
    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def do_GET(self):
        p = self.path.split("?")[0].split("/")
        r = registries.get(p[2]) if len(p) > 4 else None
        if not r or p[4] not in r.blobs:
            return self.answer(200 if not r else 404)
        data, text = r.blobs[p[4]], self.headers.get("Range", "")
        with r.lock:
            r.asked.append((p[4], text))
            hang, r.hang = (r.hang, None) if self.command == "GET" else (None, r.hang)
        spans = [(int(a), min(int(b or len(data)), len(data) - 1)) for a, b in re.findall(r"(\d+)-(\d*)", text)]
        if text.startswith("bytes=-"):
            spans = [(max(len(data) - int(text[7:]), 0), len(data) - 1)]
        if len(spans) == 1 and spans[0][0] >= len(data):
            return self.answer(416)
        kind = r.name.split("-")[0]
        if kind == "relaywhole":
            return self.one(data, [])
        if len(spans) > 1:
            return self.to_several(kind, data, spans)
        self.one(data, spans, r.rate, hang)

    do_HEAD = do_GET

    def one(self, data, spans, rate=0, hang=None):
        first, last = spans[0] if spans else (0, len(data) - 1)
        self.send_response(206 if spans else 200)
        if spans:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (first, last, len(data)))
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        if self.command == "HEAD":
            return
        begun, at = time.monotonic(), first
        while at <= last:
            if hang and at - first >= hang[1]:
                stuck = time.monotonic()
                while time.monotonic() - stuck < hang[0]:
                    time.sleep(0.1)
                self.close_connection = True
                return
            n = min(last + 1 - at, 64 * KIB if rate or hang else 4 * MIB)
            self.wfile.write(data[at:at + n])
            at += n
            if rate:
                time.sleep(max(begun + (at - first) / rate - time.monotonic(), 0))

    def to_several(self, kind, data, spans):
        if kind.startswith("status"):
            return self.answer(int(kind[6:]), b"no")
        if kind == "whole":
            return self.one(data, [])
        if kind == "single":
            return self.one(data, spans[:1])
        if kind == "single2":
            return self.one(data, spans[1:2])
        if kind == "span":
            return self.one(data, [(spans[0][0], spans[-1][1])])
        if kind == "closed":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        body = BODIES["right" if kind in ("cut", "once") else kind](data, spans)
        self.send_response(206)
        self.send_header("Content-Type", "multipart/byteranges; boundary=0007")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind == "cut":
            self.close_connection = True
            body = body[:len(body) * 2 // 3]
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 200
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


# ---- the daemon, and clients ----

daemon = None


def start():
    global daemon
    lines = ['listen: [{address: "127.0.0.1:%d"}]' % PORT, "admin: {socket: %s/admin.sock}" % W, "log: {level: %s}" % os.environ.get("LOG", "info"),
             "cache: {path: %s/cache, min_free: 0B, blob_max: 64MiB}" % W, "tags: {ttl: 1h, negative_ttl: 0s}", "upstreams:"]
    for name in registries:
        lines.append("  - {name: %s.test, endpoints: [\"http://127.0.0.1:%d\"], insecure: true, %s}" % (
            name, UPSTREAM, MORE.get(name, "stall_timeout: 20s")))
    with open(W + "/config.yaml", "w") as f:
        f.write("\n".join(lines) + "\n")
    log = open(W + "/entrepot.log", "ab")
    daemon = subprocess.Popen([ENTREPOT, "serve", "--config", W + "/config.yaml"], stdout=log, stderr=log)
    end = time.monotonic() + 20
    while page("/readyz") is None:
        assert daemon.poll() is None and time.monotonic() < end, "it does not start"
        time.sleep(0.05)


def page(path):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (PORT, path), timeout=5) as r:
            return r.read().decode()
    except OSError:
        return None


def received(r):
    name = 'entrepot_upstream_received_bytes_total{upstream="%s.test"}' % r.name
    return sum(float(line.split()[-1]) for line in page("/metrics").splitlines() if line.startswith(name))


def connect(r, digest, ranges, timeout=30, buffer=None):
    c = socket.socket()
    if buffer:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    c.settimeout(timeout * PATIENCE)
    c.connect(("127.0.0.1", PORT))
    more = "Range: bytes=%s\r\n" % ranges if ranges else ""
    c.sendall(("GET /v2/%s/blobs/%s?ns=%s.test HTTP/1.1\r\nHost: x\r\n%s\r\n" % (r.name, digest, r.name, more)).encode())
    return c


def get(r, digest, ranges=None, pause=0.0, **more):
    c = connect(r, digest, ranges, **more)
    try:
        time.sleep(pause)
        a = http.client.HTTPResponse(c)
        a.begin()
        return a.status, a.read(), a.headers
    finally:
        c.close()


def piece(r, digest, first, last, **more):
    status, body, _ = get(r, digest, "%d-%d" % (first, last), **more)
    assert status == 206 and body == r.blobs[digest][first:last + 1], "%d-%d: %d, %d bytes" % (first, last, status, len(body))


def several(r, digest, spans):
    """They are right, each in its part."""
    status, body, headers = get(r, digest, ",".join("%d-%d" % s for s in spans))
    data = r.blobs[digest]
    assert status == 206, "status %d, %s" % (status, body[:100])
    boundary = headers["Content-Type"].split("boundary=")[1].encode()
    for a, b in spans:
        head = b"--" + boundary + b"\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (a, b, len(data))
        body = body[2:] if body.startswith(b"\r\n") else body
        assert body.startswith(head + data[a:b + 1]), "other bytes in %d-%d" % (a, b)
        body = body[len(head) + b - a + 1:]
    assert body == b"\r\n--" + boundary + b"--\r\n", body[:100]


def case(names, more=""):
    """A case, of each of these registries."""
    def note(fn):
        for name in names.split():
            CASES.append((name, fn))
            registries[name] = Registry(name)
            if more:
                MORE[name] = more
        return fn
    return note


SPANS = [(k * 50000 + 100, k * 50000 + 300) for k in range(1, 41)]

# Registries that have no such answer, each in its way: the second blob is not asked for like that.
REFUSE = "status400 status413 status416 status431 whole single single2 span empty nothing order overlap joined shifted total norange " \
    "backwards boundary lines line larger page"
# Those whose answer is of use, or breaks: it does not say that the next one would.
SEND = "right missing firstonly lastonly twice noend smaller cut"
# Nothing that tells of ranges: they are asked for one by one, this time.
FAIL = "closed status500 status502"


@case(REFUSE + " " + SEND + " " + FAIL)
def answer_to_several(r):
    first, second = r.add(4 * MIB), r.add(4 * MIB)
    several(r, first, SPANS)
    before, kind = r.several(), r.name
    assert before > 0, "the registry was not asked for several"
    assert len(r.asked) <= 2 * len(SPANS) + 12, "%d requests" % len(r.asked)
    # What was asked of it, and once more what was received and could not be used.
    assert received(r) <= (2 * len(SPANS) * 12 * KIB) + (4 * MIB if kind in ("whole", "span", "page") else 0), received(r)
    several(r, second, SPANS)
    if kind in REFUSE.split():
        assert r.several() == before, "it is asked for several again, for another blob"
    elif kind in SEND.split():
        assert r.several() > before, "after an answer that was of use, it is not asked for several again"
    status, body, _ = get(r, first)
    assert status == 200 and body == r.blobs[first], "the whole: %d, %d bytes" % (status, len(body))


@case("few")
def parts_shorter_than_they_say(r):
    """What follows is taken for bytes of the blob, and never for the whole of it."""
    d, other = r.add(4 * MIB), r.add(4 * MIB)
    get(r, d, ",".join("%d-%d" % s for s in SPANS))
    before = r.several()
    c = connect(r, d, None)
    a = http.client.HTTPResponse(c)
    try:
        a.begin()
        assert len(a.read()) < 4 * MIB, "wrong bytes, to the last one"
    except (http.client.IncompleteRead, ConnectionResetError):
        pass
    finally:
        c.close()
    status, body, _ = get(r, d)
    assert status == 200 and body == r.blobs[d], "the whole, again: %d, %d bytes" % (status, len(body))
    several(r, other, SPANS)
    assert r.several() == before, "it is asked for several again"


# ---- clients that wait for several connections ----

@case("gaps gapslazy", "fetch: lazy")
def slow_reader_over_gaps(r):
    """It reads on where pieces are here, and has not come to the next gap when the connection that brought the first one ends."""
    d = r.add(48 * MIB)
    for first in 8 * MIB, 16 * MIB:
        piece(r, d, first, first + 99)
    last = 48 * MIB - 1 if r.name == "gapslazy" else 20 * MIB
    status, body, _ = get(r, d, "0-%d" % last, pause=0.5, buffer=64 * KIB, timeout=8)
    assert status == 206 and body == r.blobs[d][:last + 1], (status, len(body))
    assert received(r) <= last + 4 * MIB, received(r)


@case("silent silentlazy silentsmall silentthrice", "stall_timeout: 25s, parallel: 4")
def connection_that_hangs(r):
    """In the middle of the blob, and the only one: another brings the rest soon, and all bytes come about once."""
    small = r.name == "silentsmall"
    d = r.add(MIB + 500000 if small else 12 * MIB)
    r.hang = (22, 512 * KIB)
    begun = time.monotonic()
    client = threading.Thread(target=lambda: done.append(get(r, d)))
    done = []
    client.start()
    for _ in range(2 if r.name == "silentthrice" else 0):
        time.sleep(0.5)
        while len(r.asked) < 2:
            time.sleep(0.05)
        r.hang = (22, 3 * MIB)
    client.join()
    took = time.monotonic() - begun
    status, body, _ = done[0]
    assert status == 200 and body == r.blobs[d], (status, len(body))
    assert took < 8 * PATIENCE, "it took %.1f s" % took
    assert received(r) <= 1.1 * len(body), received(r)


@case("silentpiece", "stall_timeout: 25s, parallel: 4, fetch: lazy")
def connection_for_a_piece_hangs(r):
    d = r.add(12 * MIB)
    piece(r, d, 0, 99)
    r.hang = (22, 0)
    begun = time.monotonic()
    piece(r, d, 5 * MIB, 5 * MIB + 200000)
    assert time.monotonic() - begun < 8 * PATIENCE, "it took %.1f s" % (time.monotonic() - begun)


@case("silentall", "stall_timeout: 4s, parallel: 4")
def registry_that_hangs(r):
    """All of its connections: it is not asked again and again, and it has its time."""
    d = r.add(12 * MIB)
    piece(r, d, 0, 99)
    stop = threading.Event()

    def hang():
        while not stop.is_set():
            r.hang = r.hang or (22, 0)
            time.sleep(0.005)
    threading.Thread(target=hang, daemon=True).start()
    time.sleep(0.1)
    before, begun = len(r.asked), time.monotonic()
    c = connect(r, d, "%d-%d" % (5 * MIB, 6 * MIB), timeout=60)
    time.sleep(9)
    asked = len(r.asked) - before
    stop.set()
    r.hang = None
    c.close()
    assert 1 <= asked <= 12, "%d requests in 9 s" % asked


# ---- without caching ----

@case("relay")
def piece_without_caching(r):
    """Of a blob that is not kept: the registry is asked for the piece alone, and little of it is held for a client that does not read."""
    d, at_end = r.add(80 * MIB), r.add(66 * MIB)
    piece(r, d, 50 * MIB + 5, 74 * MIB + 5)
    assert received(r) <= 24 * MIB + 64 * KIB, r.asked
    c = connect(r, d, "%d-%d" % (10 * MIB, 40 * MIB), buffer=64 * KIB)
    before = received(r)
    time.sleep(1)
    assert received(r) - before <= 8 * MIB, "%d bytes for a client that does not read" % (received(r) - before)
    a = http.client.HTTPResponse(c)
    a.begin()
    assert a.status == 206 and a.read() == r.blobs[d][10 * MIB:40 * MIB + 1]
    c.close()
    before = received(r)
    status, body, _ = get(r, d, "-%d" % (3 * MIB))
    assert status == 206 and body == r.blobs[d][-3 * MIB:], (status, len(body))
    assert received(r) - before <= 3 * MIB + 64 * KIB, received(r) - before
    for ranges, first in ("%d-%d" % (MIB, 66 * MIB - 1), MIB), ("%d-%d" % (7, 99 * MIB), 7), ("-%d" % (60 * MIB), 6 * MIB), \
            ("%d-" % (50 * MIB), 50 * MIB), ("%d-" % MIB, MIB):
        status, body, _ = get(r, at_end, ranges)
        assert status == 206 and body == r.blobs[at_end][first:], (ranges, status, len(body))
    assert get(r, d, "%d-%d" % (80 * MIB, 81 * MIB))[0] == 416


@case("relaywhole")
def piece_without_caching_or_ranges(r):
    d = r.add(70 * MIB)
    piece(r, d, 30 * MIB, 50 * MIB)
    assert get(r, d)[1] == r.blobs[d]


# ---- all of them ----

def attempt(name, fn):
    begun = time.monotonic()
    try:
        fn(registries[name])
        result = "ok"
    except Exception as e:
        result = "%s: %s" % (type(e).__name__, e)
        problems.append("%s: %s" % (name, result))
    if os.environ.get("SHOW"):
        print("%-14s %5.1f s  %s" % (name, time.monotonic() - begun, result), flush=True)


def main():
    server = Server(("127.0.0.1", UPSTREAM), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    start()
    free = threading.Semaphore(20)  # more at a time would be late, which looks as if they hung

    def in_turn(*c):
        with free:
            attempt(*c)

    threads = [threading.Thread(target=in_turn, args=c) for c in CASES if PATTERN.search(c[0])]
    for t in threads:
        t.start()
    for t in threads:
        t.join(180)
    daemon.terminate()
    if daemon.wait(40) != 0:
        problems.append("it ended with %s" % daemon.returncode)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    main()
finally:
    if daemon and daemon.poll() is None:
        daemon.kill()
        daemon.wait()
print("\n".join(problems) or "%d cases" % len(CASES))
sys.exit(bool(problems))
