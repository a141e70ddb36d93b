#!/usr/bin/env python3
"""several_ranges.py PORT UPSTREAM_PORT: asks the entrepot at PORT for several ranges of blobs, of which it is the registry, and reads the
answers as strictly as the strictest client: parts in the order of the request, nothing between them, the length exact."""
import hashlib
import http.client
import random
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, UPSTREAM = int(sys.argv[1]), int(sys.argv[2])
MIB = 1 << 20
SIZE, LARGE = 6 * MIB + 12345, 9 * MIB  # LARGE: larger than blob_max, so never kept
rng = random.Random(16)
blobs, gates, asked = {}, {}, []
problems = []
PART_HEAD = re.compile(rb"Content-Type: application/octet-stream\r\nContent-Range: bytes (\d+)-(\d+)/(\d+)\r\n\r\n")


def make_blob(size):
    """Bytes that look like what is between parts, too."""
    data = bytearray(rng.randbytes(size))
    for at in range(0, size - 100, 4096):
        data[at:at + 8] = b"\r\n--" + b"%04x" % (at & 0xffff)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    blobs[digest] = bytes(data)
    return digest


class Registry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        digest = self.path.split("/")[-1]
        data = blobs.get(digest, b"{}")
        at, end = 0, len(data)
        part = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", ""))
        if part:
            at, end = int(part[1]), min(end, int(part[2] or end) + 1)
        self.send_response(206 if part else 200)
        self.send_header("Content-Length", str(end - at))
        if part:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (at, end - 1, len(data)))
        self.end_headers()
        asked.append(digest)
        if self.command == "HEAD":
            return
        for upto, gate in gates.get(digest, []):  # in pieces, each when the test lets it
            if at < upto < end:
                self.wfile.write(data[at:upto])
                at = upto
                if not gate.wait(20):
                    problems.append("the registry waited in vain at %d" % upto)
        self.wfile.write(data[at:end])

    do_HEAD = do_GET


class Client:
    """One connection for all requests, so that a length that is wrong spoils the next one."""

    def __init__(self):
        self.c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)

    def begin(self, digest, ranges, method="GET", **headers):
        self.digest = digest
        self.c.request(method, "/v2/x/blobs/" + digest, headers={"Range": "bytes=" + ranges, **headers})
        self.r = self.c.getresponse()
        return self.r

    def read(self, n):
        got = self.r.read(n)
        assert len(got) == n, "it ends early"
        return got

    def part_head(self, boundary, first):
        """The header of a part, up to its span."""
        head = self.read(len(boundary) + (4 if first else 6))
        assert head == (b"" if first else b"\r\n") + b"--" + boundary + b"\r\n", head
        text = self.r.readline() + self.r.readline() + self.r.readline()
        m = PART_HEAD.fullmatch(text)
        assert m and int(m[3]) == len(blobs[self.digest]), text
        return int(m[1]), int(m[2])

    def expect(self, spans, between=None):
        """That the answer to begin() is of these spans; `between` is called after each."""
        r, data = self.r, blobs[self.digest]
        if spans is None:
            assert r.status == 200 and r.read() == data, (r.status, "where the whole is due")
            return
        assert r.status == 206, r.status
        if len(spans) == 1:
            a, b = spans[0]
            assert r.headers["Content-Range"] == "bytes %d-%d/%d" % (a, b, len(data)), r.headers
            assert r.headers["Content-Type"] == "application/octet-stream" and r.read() == data[a:b + 1]
            return
        boundary = re.fullmatch("multipart/byteranges; boundary=([0-9a-f]{32})", r.headers["Content-Type"])[1].encode()
        assert "Content-Range" not in r.headers and "Transfer-Encoding" not in r.headers
        for n, (a, b) in enumerate(spans):
            assert self.part_head(boundary, n == 0) == (a, b), "another part than (%d, %d)" % (a, b)
            assert self.read(b - a + 1) == data[a:b + 1], "other bytes in (%d, %d)" % (a, b)
            if between:
                between(n)
        assert r.read() == b"\r\n--" + boundary + b"--\r\n"

    def ask(self, digest, ranges, spans, **headers):
        self.begin(digest, ranges, **headers)
        self.expect(spans)


def text_of(spans):
    return ",".join("%d-%d" % s for s in spans)


def some_spans(n, size=SIZE, largest=4000):
    """Small ones in ascending order, with gaps, as of files that are not here."""
    step = size // n
    return [(a, a + rng.randrange(min(largest, step * 3 // 4 - 1))) for a in (i * step + rng.randrange(step // 4) for i in range(n))]


LAST = SIZE - 1
CASES = [  # ranges, what is sent
    ("0-0", [(0, 0)]),
    ("0-99,200-299", [(0, 99), (200, 299)]),
    ("0-9,10-19,20-29", [(0, 9), (10, 19), (20, 29)]),  # containers/image counts them
    ("-100,0-9", [(LAST - 99, LAST), (0, 9)]),
    ("100-199,0-149,190-210", [(0, 210)]),
    ("500-599,100-199,150-160,0-9", [(500, 599), (100, 199), (0, 9)]),
    ("0-3000000,3500000-", [(0, 3000000), (3500000, LAST)]),
    ("5000000-,1-1,0-0,1000000-4000000,3-3", [(5000000, LAST), (1, 1), (0, 0), (1000000, 4000000), (3, 3)]),
    ("0-16383,20000-36383,40000-56384", [(0, 16383), (20000, 36383), (40000, 56384)]),
    ("0-9,%d-,-0,20-29" % SIZE, [(0, 9), (20, 29)]),
    ("%d-,0-9" % SIZE, [(0, 9)]),
    ("0-,-1", [(0, LAST)]),
    ("0-9,20-19", None),
]
for n in 2, 100, 1000, 4096:
    spans = some_spans(n)
    CASES.append((text_of(spans), spans))
    CASES.append((text_of(reversed(spans)), spans[::-1]))
spans = some_spans(500, largest=20000)
CASES += [(text_of(spans), spans), (text_of(some_spans(5000)), None), (text_of(some_spans(4097)), None)]


def warm(c):
    digest = make_blob(SIZE)
    c.ask(digest, "0-", [(0, LAST)])
    before = asked.count(digest)
    for ranges, spans in CASES:
        c.ask(digest, ranges, spans)
    r = c.begin(digest, "%d-,-0" % SIZE)
    assert r.status == 416 and r.headers["Content-Range"] == "bytes */%d" % SIZE and r.read()
    c.ask(digest, "0-1,3-4", [(0, 1), (3, 4)], **{"If-Range": '"%s"' % digest})
    c.ask(digest, "0-1,3-4", None, **{"If-Range": '"other"'})
    r = c.begin(digest, "0-1,3-4", method="HEAD")
    assert r.status == 200 and int(r.headers["Content-Length"]) == SIZE and r.read() == b""
    assert asked.count(digest) == before, "something was fetched again"
    return digest


def cold(c):
    """Each of another blob that nobody has asked for."""
    for ranges, spans in CASES:
        digest = make_blob(SIZE)
        c.ask(digest, ranges, spans)
    digest = make_blob(SIZE)
    r = c.begin(digest, "%d-,-0" % SIZE)
    assert r.status == 416 and r.read()


def arriving(c):
    """Each part comes as soon as the registry has sent it."""
    digest = make_blob(SIZE)
    spans = [(100, 199), (1000, 2 * MIB), (2 * MIB + 5, 2 * MIB + 90), (3 * MIB, 3 * MIB + 9), (5 * MIB, LAST)]
    steps = [threading.Event() for _ in range(3)]
    gates[digest] = [(500, steps[0]), (2 * MIB + 100, steps[1]), (4 * MIB, steps[2])]
    due = {0: 0, 2: 1, 3: 2}  # after these parts the registry may go on
    c.begin(digest, text_of(spans))
    c.expect(spans, between=lambda n: steps[due[n]].set() if n in due else None)


def without_caching(c):
    """It comes once and in its order: ranges that ascend are sent, for others the whole."""
    spans = some_spans(300, LARGE) + [(LARGE - 50, LARGE - 1)]
    backwards = [(5 * MIB, 5 * MIB + 99), (10, 19)]
    for want in spans, [(0, LARGE // 2), (LARGE // 2 + 1, LARGE - 2)]:
        c.ask(make_blob(LARGE), text_of(want), want)
    c.ask(make_blob(LARGE), text_of(backwards), None)


def many_clients(digest):
    """At once, of a blob that is here and of one that arrives, as slow and as fast readers."""
    other = make_blob(SIZE)
    go_on = threading.Event()
    gates[other] = [(3 * MIB, go_on)]

    def run(n):
        try:
            want = some_spans(50 + 37 * n, largest=40000)
            c = Client()
            for d in digest, other:
                c.begin(d, text_of(want))
                c.expect(want, between=lambda i: time.sleep(0.01) if n % 4 == 0 and i % 20 == 0 else None)
        except Exception as e:
            problems.append("client %d: %s %s" % (n, type(e).__name__, e))
    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    go_on.set()
    for t in threads:
        t.join()


def one_that_leaves(digest):
    """In the midst of a part, of a blob that is here and of one that arrives."""
    other = make_blob(SIZE)
    for d in digest, other:
        for after in 0, 1, 1000, 100000:
            s = socket.create_connection(("127.0.0.1", PORT))
            s.sendall(b"GET /v2/x/blobs/%s HTTP/1.1\r\nHost: x\r\nRange: bytes=0-3000000,3000002-\r\n\r\n" % d.encode())
            while after > 0:
                after -= len(s.recv(after))
            s.close()


threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", UPSTREAM), Registry).serve_forever, daemon=True).start()
client = Client()
here = warm(client)
cold(client)
arriving(client)
without_caching(client)
one_that_leaves(here)
many_clients(here)
client.ask(here, "0-1,3-4", [(0, 1), (3, 4)])
print("\n".join(problems) or "%d cases, warm and cold" % len(CASES))
sys.exit(bool(problems))
