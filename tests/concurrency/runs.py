#!/usr/bin/env python3
"""runs.py ENTREPOT FOLDER PORT UPSTREAM_PORT PATTERN: the cases of runs.sh. Each has a registry of its own, all of which are this process:
https://NAME.test, whose one repository is NAME. The name up to the first "-" says how the registry behaves."""
import base64
import glob
import hashlib
import http.client
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from http.server import ThreadingHTTPServer

from answering import Answering

ENTREPOT, W, PORT, UPSTREAM = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PATTERN = re.compile(sys.argv[5])
SANITIZED = "build-" in ENTREPOT
KIB, MIB, SEGMENT = 1 << 10, 1 << 20, 64 << 10
SIZE, RATE = 12 * MIB, 3 * MIB  # of a large blob; bytes a second of each connection
ALICE, BOB = ["Basic " + base64.b64encode(b"%s:not-a-real-one" % who).decode() for who in (b"alice", b"bob")]
rng = random.Random(161)
problems = []


# ---- the registries ----

class Registry:
    """What one registry has, how it behaves, and what was asked of it."""

    def __init__(self, name):
        self.name, self.kind = name, name.split("-")[0]
        self.lock = threading.Lock()
        self.blobs, self.rate, self.honest, self.closed = {}, None, False, False
        self.asked = []  # (digest, Range) of each request for a blob's bytes
        self.active, self.most = {}, 0  # bodies under way, by digest; the most at a time
        self.refused = self.misses = self.heads = 0
        self.signed = set()
        self.redirected, self.uses = 0, {}  # to another URL; of each of these

    def add(self, size, rate=None, data=None):
        data = rng.randbytes(size) if data is None else data
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        self.rate = rate or self.rate
        return digest

    def manifest(self):
        return json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "0" * 64, "size": 2},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": d, "size": len(b)}
                       for d, b in self.blobs.items()]}).encode()

    def begin(self, digest, text):
        with self.lock:
            n = len(self.asked)
            self.asked.append((digest, text))
            self.active[digest] = self.active.get(digest, 0) + 1
            self.most = max(self.most, self.active[digest])
            return n, self.active[digest]

    def end(self, digest):
        with self.lock:
            self.active[digest] -= 1

    def under_way(self):
        with self.lock:
            return sum(self.active.values())


registries = {}


def registry(name, rate=None):
    r = registries[name]
    r.rate = rate
    return r


def put(connection, data, rate):
    """At `rate` bytes a second."""
    begun, sent = time.monotonic(), 0
    while sent < len(data):
        step = min(64 * KIB, max(rate // 20, 1)) if rate else MIB
        connection.sendall(data[sent:sent + step])
        sent += step
        if rate:
            time.sleep(max(begun + sent / rate - time.monotonic(), 0))


class Upstream(Answering):
    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = self.path.split("?")[0].split("/")
        if parts[1] == "signed":
            return self.on_signed(registries[parts[2]], parts[3], parts[4])
        if parts[1] == "elsewhere":
            return self.elsewhere(registries[parts[2]], parts[3], parts[4])
        r = registries.get(parts[2]) if len(parts) > 4 else None
        if not r:
            return self.answer(200)
        if (r.kind == "private" or r.closed) and self.headers.get("Authorization") != ALICE:
            return self.answer(401, WWW_Authenticate='Basic realm="x"')
        if parts[3] == "manifests":
            return self.answer(200, r.manifest(), Content_Type="application/vnd.oci.image.manifest.v1+json")
        if parts[4] not in r.blobs:
            r.misses += 1
            return self.answer(404)
        if self.command == "HEAD":
            r.heads += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(r.blobs[parts[4]])))
            return self.end_headers()
        if r.kind in ("cdn", "once"):
            with r.lock:
                r.redirected += 1
            return self.answer(307, Location="http://127.0.0.1:%d/elsewhere/%s/%s/%d" % (CDN, r.name, parts[4], r.redirected))
        if r.kind in ("signed", "unsigned"):
            with r.lock:
                n = r.redirected
                r.redirected += 1
                r.signed.add(str(n))
            return self.answer(307, Location="http://127.0.0.1:%d/signed/%s/%s/%d" % (UPSTREAM, r.name, parts[4], n))
        self.blob(r, parts[4])

    def on_signed(self, r, digest, n):
        """The URL is good for once; of "unsigned", every second one is not."""
        with r.lock:
            good = n in r.signed and (r.kind == "signed" or int(n) % 2 == 0)
            if good:
                r.signed.discard(n)
            else:
                r.refused += 1
        return self.blob(r, digest) if good else self.answer(403, b"<Error>Request has expired</Error>")

    def elsewhere(self, r, digest, n):
        """Of "once" each URL is good for three requests, the later ones for one."""
        with r.lock:
            r.uses[n] = r.uses.get(n, 0) + 1
            good = r.kind == "cdn" or r.uses[n] <= (3 if n == "1" else 1)
        assert not self.headers.get("Authorization"), "a login is sent elsewhere"
        return self.blob(r, digest) if good else self.answer(403, b"<Error>Request has expired</Error>")

    def blob(self, r, digest):
        text = self.headers.get("Range", "")
        n, now = r.begin(digest, text)
        try:
            self.body(r, digest, text, n, now)
        except OSError:
            self.close_connection = True
        finally:
            r.end(digest)

    def parts(self, data, text):
        """Several ranges, as nginx answers them."""
        out = b""
        for one in text[len("bytes="):].split(","):
            first, last = map(int, one.split("-"))
            out += b"\r\n--0007\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (first, last, len(data))
            out += data[first:last + 1]
        self.send_response(206)
        self.send_header("Content-Type", "multipart/byteranges; boundary=0007")
        out += b"\r\n--0007--\r\n"
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def body(self, r, digest, text, n, now):
        kind = "" if r.honest else r.kind
        data, size = r.blobs[digest], len(r.blobs[digest])
        second = n % 2 == 1
        first, last = span(text, size)
        if kind == "busy429" and now > 1 or kind == "busy503" and now > 1:
            r.refused += 1
            return self.answer(int(kind[4:]), b"{}", Retry_After="60")
        if kind == "parts" and "," in text:
            return self.parts(data, text)
        part = bool(text) and kind != "whole"
        if part and first >= size:
            return self.answer(416, Content_Range="bytes */%d" % size)
        etag = '"%d"' % (n if kind == "etag" else 0)
        if part and self.headers.get("If-Range", etag) != etag:
            part = False
        if not part:
            first, last = 0, size - 1
        body, total = data[first:last + 1], size
        if second and kind == "close":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if now > 1 and kind in ("hang", "busy429", "busy503"):
            time.sleep(0.1)  # one that was given up a moment ago may still be counted
            now = r.active[digest]
        if kind == "rests" and n > 0:
            time.sleep(1.5)
        if now > 1 and kind == "hang":
            select.select([self.connection], [], [], 12)  # unless it is given up
            self.close_connection = True
            return
        if second and part and kind == "shifted":
            first, last = first + 1, min(last + 1, size - 1)
        if second and part and kind == "total":
            total = size + 4096
        if second and part and kind == "fewer":
            last, body = first, body[:1]
        if now > 1 and part and kind in ("stingy", "dry"):
            last, body = first, body[:kind == "stingy"]
        if second and part and kind in ("more", "endless"):
            last = min(last + 1 * MIB, size - 1)
            body = data[first:last + 1]
        if second and kind == "wrong":
            body = bytes(b ^ 0x55 for b in body[:SEGMENT]) + body[SEGMENT:]
        self.send_response(206 if part else 200)
        self.send_header("ETag", etag)
        if part:
            self.send_header("Content-Range", "bytes %d-%d/%s" % (first, last, "*" if kind == "star" else total))
        if second and kind == "endless":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if second and kind in ("reset", "middle"):
            put(self.connection, body[:150 * KIB], r.rate)
            if kind == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
            self.close_connection = True
            return
        if kind == "rests" and n == 0:
            put(self.connection, body[:MIB], None)
            time.sleep(1.3)
            put(self.connection, body[MIB:], None)
            return
        put(self.connection, body, r.rate)
        while second and kind == "endless":
            put(self.connection, bytes(64 * KIB), r.rate)


def span(text, size):
    m = re.fullmatch(r"bytes=(\d*)-(\d*)", text)
    if not m:
        return 0, size - 1
    if not m[1]:
        return max(size - int(m[2]), 0), size - 1
    return int(m[1]), min(int(m[2] or size), size - 1)


class Server(ThreadingHTTPServer):
    request_queue_size = 200
    daemon_threads = True

    def get_request(self):
        s, address = super().get_request()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KIB)
        return s, address

    def handle_error(self, request, client_address):
        pass


# ---- the daemon ----

daemon = None


def start(names, folder="cache", cache=""):
    lines = ['listen: [{address: "127.0.0.1:%d"}]' % PORT, "admin: {socket: %s/admin.sock}" % W, "log: {level: %s}" % os.environ.get("LOG", "info"),
             "cache: {path: %s/%s, min_free: 0B%s}" % (W, folder, ", " + cache if cache else ""), "tags: {ttl: 1h, negative_ttl: 0s}", "upstreams:"]
    for name in names:
        lines.append("  - {name: %s.test, endpoints: [\"http://127.0.0.1:%d\"], insecure: true, %s}" % (
            name, UPSTREAM, MORE.get(name, "fetch: auto")))
    with open(W + "/config.yaml", "w") as f:
        f.write("\n".join(lines) + "\n")
    run()


def run():
    """It is started, with the configuration that is there."""
    global daemon
    log = open(W + "/entrepot.log", "ab")
    daemon = subprocess.Popen([ENTREPOT, "serve", "--config", W + "/config.yaml"], stdout=log, stderr=log)
    wait_for(lambda: daemon.poll() is not None or page("/readyz") is not None, "it does not start", 20)
    assert daemon.poll() is None, "it does not start"


def stop(how=signal.SIGTERM):
    daemon.send_signal(how)
    status = daemon.wait(40)
    assert how == signal.SIGKILL or status == 0, "it ended with %s" % status


def page(path):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (PORT, path), timeout=5) as r:
            return r.read().decode()
    except OSError:
        return None


def metric(name):
    return sum(float(line.split()[-1]) for line in page("/metrics").splitlines() if line.startswith(name))


def received(r):
    return metric('entrepot_upstream_received_bytes_total{upstream="%s.test"}' % r.name)


def offline(on):
    subprocess.run([ENTREPOT, "offline", "on" if on else "off", "--socket", W + "/admin.sock"], check=True, stdout=subprocess.DEVNULL)


def wait_for(is_so, what, seconds=10.0):
    end = time.monotonic() + seconds * (4 if SANITIZED else 1)
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.05)


# ---- clients ----

class Answer:
    def __init__(self, status, headers, body, cut):
        self.status, self.headers, self.body, self.cut = status, headers, body, cut
        self.cache = headers.get("Cache-Status", "")


def ask(r, path, span_text=None, method="GET", leave_after=None, timeout=30, **headers):
    """Of r's repository. `leave_after`: bytes, after which it closes the connection."""
    c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=timeout * (3 if SANITIZED else 1))
    if span_text:
        headers["Range"] = "bytes=" + span_text
    try:
        c.request(method, "/v2/%s/%s?ns=%s.test" % (r.name, path, r.name), headers={k.replace("_", "-"): v for k, v in headers.items()})
        a = c.getresponse()
        if leave_after is not None:
            return Answer(a.status, a.headers, a.read(leave_after) if leave_after else b"", True)
        try:
            return Answer(a.status, a.headers, a.read(), False)
        except http.client.IncompleteRead as e:
            return Answer(a.status, a.headers, e.partial, True)
        except ConnectionResetError:
            return Answer(a.status, a.headers, b"", True)
    finally:
        c.close()


def blob(r, digest, span_text=None, **more):
    return ask(r, "blobs/" + digest, span_text, **more)


def whole(r, digest, **more):
    """It is right."""
    a = blob(r, digest, **more)
    data = r.blobs[digest]
    assert a.status == 200 and a.body == data, "the whole: status %d, %d of %d bytes, %s, %s" % (
        a.status, len(a.body), len(data), a.cache, "wrong" if data[:len(a.body)] != a.body else "cut")
    return a


def piece(r, digest, text, **more):
    a = blob(r, digest, text, **more)
    first, last = span("bytes=" + text, len(r.blobs[digest]))
    assert a.status == 206 and a.body == r.blobs[digest][first:last + 1], "%s: status %d, %d bytes, %s %s" % (
        text, a.status, len(a.body), a.cache, a.body[:200] if a.status >= 400 else "")
    assert a.headers["Content-Range"] == "bytes %d-%d/%d" % (first, last, len(r.blobs[digest])), a.headers["Content-Range"]
    return a


def is_stored(digest):
    return bool(glob.glob("%s/cache/blobs/sha256/%s" % (W, digest[7:])))


def part_of(digest):
    return [p for p in glob.glob(W + "/cache/ingest/**", recursive=True) if digest[7:] in p]


CASES = []
MORE = {"hang": "fetch: auto, stall_timeout: 30s"}


def case(name, more=None, when="together"):
    """A case with a registry of that name."""
    def note(fn):
        CASES.append((name, fn, when))
        registries[name] = Registry(name)
        if more:
            MORE[name] = more
        return fn
    return note


def spread(names):
    """The same case for several registries."""
    def note(fn):
        for name in names.split():
            case(name)(fn)
        return fn
    return note


# ---- several connections ----

@case("fair")
def several_connections(r):
    d = r.add(2 * SIZE, 6 * MIB)
    whole(r, d)
    assert r.most >= 2, "over one connection"
    assert received(r) <= 1.02 * 2 * SIZE, received(r)


@spread("cdn once")
def one_redirect(r):
    """Where the registry has redirected the first connection to is where the others ask, as long as that is good."""
    d = r.add(2 * SIZE, 3 * MIB)
    whole(r, d)
    assert r.most >= 2 and len(r.asked) >= 2, "over one connection"
    assert received(r) <= 1.1 * 2 * SIZE, received(r)
    if r.kind == "cdn":
        assert r.redirected == 1 and r.uses["1"] == len(r.asked), (r.redirected, r.uses)
    else:
        assert r.redirected <= len(r.asked) and sum(r.uses.values()) <= len(r.asked) + 3, (r.redirected, r.uses)


@case("whole")
def no_ranges(r):
    """It answers 200 to a Range: one connection, for the next blobs too."""
    d, other, third = [r.add(n, RATE) for n in (SIZE, SIZE // 2, 3 * MIB)]
    whole(r, d)
    tried = len(r.asked)
    assert tried <= 5, r.asked  # each second in which this process sends nothing is worth one
    whole(r, other)
    assert len(r.asked) == tried + 1, r.asked
    for text in "700000-800000", "0-99", "-100", "2900000-99999999":
        piece(r, third, text)


@spread("whole-cold")
def no_ranges_cold_piece(r):
    """A piece is what shows that there are no ranges: what comes before it is not thrown away."""
    d = r.add(4 * MIB, 4 * MIB)
    piece(r, d, "3000000-3000099")
    whole(r, d)
    assert received(r) <= 1.02 * 4 * MIB, "%d bytes were received" % received(r)


@spread("busy429 busy503")
def one_connection_alone(r):
    d, other, third = [r.add(n, RATE) for n in (SIZE, SIZE // 2, SIZE)]
    first = threading.Thread(target=tried, args=(whole, r, d))
    first.start()
    wait_for(lambda: r.refused > 0, "no second connection")
    a = ask(r, "manifests/1")
    assert a.status == 200, a.status
    piece(r, other, "0-999")
    first.join()
    assert r.refused <= 2, r.refused
    refused = r.refused
    whole(r, other)
    assert r.refused == refused, "a second connection is tried again, for another blob"
    before = received(r)
    piece(r, third, "9000000-9000999")
    assert received(r) - before <= 4 * SEGMENT, "%d bytes for a piece, after a second connection was refused" % (received(r) - before)


def tried(fn, *args):
    try:
        return fn(*args)
    except Exception as e:
        problems.append("%s: %s: %s" % (args[0].name, type(e).__name__, e))


# ---- connections that fail beside others ----

@spread("close reset middle hang shifted total fewer stingy dry more endless etag unsigned")
def every_second_connection(r):
    d = r.add(SIZE, RATE)
    whole(r, d)
    assert len(r.asked) + r.refused >= 2, "over one connection"
    wait_for(lambda: is_stored(d), "it is not stored")
    assert len(r.asked) <= 25, "%d requests" % len(r.asked)
    more = {"more": 4 * MIB, "endless": 4 * MIB, "etag": SIZE}.get(r.name, 0)
    assert received(r) <= 1.1 * SIZE + more, "%d bytes were received" % received(r)
    wait_for(lambda: r.under_way() == 0, "connections remain", 16 if r.name == "hang" else 3)


@case("rests")
def connection_that_goes_on(r):
    """The only connection stands still for longer than a second, and goes on when another has been begun for the rest, but has brought nothing
    yet: what it sends then is not received for nothing."""
    d = r.add(SIZE, RATE)
    whole(r, d)
    assert len(r.asked) >= 2, "no other connection was tried"
    assert received(r) <= 1.2 * SIZE, "%d bytes were received" % received(r)


@case("wrong")
def wrong_bytes(r):
    d = r.add(SIZE, RATE)
    a = blob(r, d)
    assert len(r.asked) >= 2, "over one connection"
    assert a.cut and len(a.body) < SIZE, (a.status, len(a.body))
    wait_for(lambda: not part_of(d), "wrong bytes are kept: %s" % part_of(d))
    assert not is_stored(d)
    r.honest = True
    whole(r, d)


@spread("star-piece fewer-piece more-piece endless-piece shifted-piece total-piece close-piece")
def bad_second_answer_for_pieces(r):
    """A client reads piece after piece."""
    d = r.add(2 * MIB, 4 * MIB)
    for text in "0-999", "1000000-1070000", "300000-300099", "-99", "600000-600999":
        piece(r, d, text)
    assert len(r.asked) <= 40, "%d requests" % len(r.asked)
    assert received(r) <= (2.1 if r.kind == "star" else 1.5) * MIB, received(r)


@case("endless-one", "fetch: lazy, parallel: 1")
def endless_answer_of_the_only_connection(r):
    """It is not read for ever, nor does it keep others from being asked."""
    d = r.add(4 * MIB, 4 * MIB)
    piece(r, d, "0-999")
    piece(r, d, "1000000-1000999")
    piece(r, d, "3000000-3000999", timeout=3)
    wait_for(lambda: r.under_way() == 0, "an answer without end is read", 3)


# ---- pieces ----

@case("pieces")
def pieces(r):
    for size in 1, SEGMENT, 16 * SEGMENT, 16 * SEGMENT + 1, 3 * MIB:
        spans = ["0-0", "-1", "0-%d" % (size + 5), "-%d" % (size + 9), "%d-%d" % (size - 1, size - 1)]
        if size > SEGMENT:
            spans += ["0-99", "%d-%d" % (size // 2, size // 2 + 999), "%d-%d" % (SEGMENT - 1, SEGMENT), "%d-" % (size - 9),
                      "-%d" % SEGMENT, "%d-%d" % (size - 100, size + 100)]
        for text in spans:
            d, before = r.add(size), received(r)
            first, last = span("bytes=" + text, size)
            piece(r, d, text)
            due = size if last + 1 >= size and first * 2 < size else last - first + 1 + 2 * SEGMENT
            assert received(r) - before <= due, "%d of %d: %d bytes" % (last - first + 1, size, received(r) - before)
            piece(r, d, text)
        d, before = r.add(size), received(r)
        for text in "%d-" % size, "%d-%d" % (size + 1, size + 9):
            a = blob(r, d, text)
            assert a.status == 416 and a.headers["Content-Range"] == "bytes */%d" % size, (size, text, a.status, a.headers.items())
        whole(r, d)
        assert received(r) - before <= size + SEGMENT, received(r) - before
    empty = r.add(0)
    for text in "0-0", "-1", "0-", "5-9":
        a = blob(r, empty, text)
        assert (a.status, a.body) in ((416, a.body), (200, b"")), (text, a.status)
    whole(r, empty)


@case("pieces-head")
def heads(r):
    d = r.add(3 * MIB)
    etag = '"%s"' % d
    for _ in range(2):
        a = blob(r, d, "0-9", method="HEAD")
        assert a.status == 200 and a.headers["Content-Length"] == str(3 * MIB), (a.status, a.headers.items())
        piece(r, d, "2000000-2000009", If_Range=etag)
    assert received(r) <= 2 * SEGMENT, received(r)
    a = blob(r, d, "2000000-2000009", If_Range='"another"')
    assert a.status == 200 and a.body == r.blobs[d], a.status


@case("pieces-beyond")
def beyond_the_end(r):
    """A 416 does not fetch the blob."""
    d = r.add(SIZE, RATE)
    a = blob(r, d, "%d-" % (SIZE + 1))
    assert a.status == 416 and a.headers["Content-Range"] == "bytes */%d" % SIZE, (a.status, a.headers.items())
    time.sleep(1)
    assert received(r) <= 8 * SEGMENT, "%d bytes were received" % received(r)


@case("leaver")
def client_of_a_piece_leaves(r):
    d = r.add(4 * SIZE, RATE)
    blob(r, d, "10000000-20000000", leave_after=100 * KIB)
    wait_for(lambda: r.under_way() == 0, "its connection goes on", 8)
    assert received(r) <= 10 * MIB + 2 * SEGMENT, received(r)


@case("lazy", "fetch: lazy")
def lazy(r):
    d = r.add(3 * MIB)
    piece(r, d, "1000000-1000099")
    text = "0-%d" % (2 * MIB)
    piece(r, d, text)
    time.sleep(0.3)
    assert not is_stored(d) and received(r) <= 2 * MIB + 3 * SEGMENT, received(r)
    whole(r, d)
    assert received(r) <= 3 * MIB + 3 * SEGMENT, received(r)


@case("eager", "fetch: whole")
def eager(r):
    d = r.add(3 * MIB)
    piece(r, d, "1000000-1000099")
    wait_for(lambda: is_stored(d), "the rest is not fetched")
    assert received(r) <= 1.02 * 3 * MIB, received(r)


@case("alone", "fetch: auto, parallel: 1")
def alone(r):
    d, other = r.add(SIZE, 2 * RATE), r.add(MIB)
    whole(r, d)
    assert r.most == 1 and received(r) <= SIZE * 1.02, (r.most, received(r))
    for text in "500000-500999", "0-99", "-99":
        piece(r, other, text)
    assert received(r) <= SIZE * 1.02 + 6 * SEGMENT


@case("several")
def several_ranges(r):
    d = r.add(4 * MIB, 8 * MIB)
    piece(r, d, "1000000-1999999")
    a = blob(r, d, "0-9,1500000-1500009,3000000-3000009")
    data = r.blobs[d]
    at = [a.body.find(data[k:k + 10]) for k in (0, 1500000, 3000000)]
    assert a.status == 206 and -1 < at[0] < at[1] < at[2], (a.status, at)
    assert received(r) <= 1000000 + 8 * SEGMENT, received(r)


@case("parts")
def several_in_one(r):
    """Where the registry takes several ranges, many pieces are few requests, each byte comes once, and is the right one."""
    d = r.add(8 * MIB, 8 * MIB)
    data = r.blobs[d]
    places = [k * 32768 + k * 7 % 900 for k in range(200)]
    a = blob(r, d, ",".join("%d-%d" % (k, k + 99) for k in places))
    assert a.status == 206, a.status
    at = -1
    for k in places:
        at = a.body.find(data[k:k + 100], at + 1)
        assert at >= 0, k
    assert len(r.asked) <= 12, r.asked
    assert received(r) <= 200 * (2 * SEGMENT + 200), received(r)


@case("crowd")
def crowd(r):
    d = r.add(6 * MIB, 1 * MIB)
    chance = random.Random(5)
    plans = [(chance.randrange(6 * MIB - 1), chance.randrange(1, 300000), chance.random()) for _ in range(40)]

    def one(first, n, luck):
        text = "%d-%d" % (first, min(first + n, 6 * MIB) - 1)
        if luck < 0.5:
            blob(r, d, text, leave_after=int(n * luck))
        else:
            piece(r, d, text)
    threads = [threading.Thread(target=tried, args=(lambda r, *p: one(*p), r, *p)) for p in plans]
    for t in threads:
        t.start()
        time.sleep(0.02)
    for t in threads:
        t.join()
    whole(r, d)
    assert received(r) <= 1.1 * 6 * MIB, "%d bytes were received" % received(r)
    wait_for(lambda: r.under_way() == 0, "connections remain")


# ---- who may read ----

@case("private")
def private(r):
    d = r.add(4 * MIB, MIB)
    begun = threading.Thread(target=tried, args=(lambda *_: blob(r, d, "0-2999999", Authorization=ALICE), r))
    begun.start()
    wait_for(lambda: r.under_way() > 0, "it is not asked")
    time.sleep(0.3)
    for headers in {}, {"Authorization": BOB}:
        for text in "0-999", None:
            a = blob(r, d, text, **headers)
            assert a.status in (401, 403, 404), "while it is under way: %d" % a.status
    piece(r, d, "0-999", Authorization=ALICE)
    begun.join()
    for headers in {}, {"Authorization": BOB}:
        a = blob(r, d, "0-999", **headers)
        assert a.status in (401, 403, 404), "behind it: %d" % a.status


def at(host, repo, path, text, **headers):
    """Of any repository of a registry, under its name or that of another."""
    c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    try:
        c.request("GET", "/v2/%s/%s?ns=%s.test" % (repo, path, host), headers=dict(headers, **({"Range": "bytes=" + text} if text else {})))
        a = c.getresponse()
        return Answer(a.status, a.headers, a.read(), False)
    except (http.client.IncompleteRead, ConnectionResetError):
        return Answer(0, {}, b"", True)
    finally:
        c.close()


def no_leak(r, d, sought, others, when):
    """Nobody gets a byte of what is here of r's blob, however it is asked for."""
    first, last = span("bytes=" + sought, len(r.blobs[d]))
    secret = r.blobs[d][first:last + 1]
    for repo in (r.name,) + others:
        for headers in {}, {"Authorization": BOB}, {"Authorization": "Bearer x"}:
            for text in sought, "%d-%d" % (first + 100, last - 100), "%d-" % first, "%d-%d,%d-%d" % (first, first + 9, last - 9, last), None:
                a = at(r.name, repo, "blobs/" + d, text, **headers)
                assert a.status in (401, 403, 404), "%s: %s of %s as %s: %d, %s" % (when, text, repo, headers, a.status, a.cache)
                assert secret[100:110] not in a.body and secret[:10] not in a.body, (when, repo, headers, text)


@case("private-kept", when="alone")
def private_kept(r):
    """What came under a client's identity stays as a part, for those whom the registry lets in, online and offline, and for nobody else:
    not through a public repository either whose manifest names the blob."""
    named, evil = registries["public-named"], registries["evil"]
    d, sought = r.add(3 * MIB), "1000000-1099999"
    alice = {"Authorization": ALICE}
    piece(r, d, sought, **alice)
    wait_for(lambda: metric("entrepot_ingests") == 0, "a fetch remains")
    assert [os.stat(p).st_mode & 0o777 for p in part_of(d)] == [0o600], part_of(d)
    named.blobs[d] = r.blobs[d]
    assert at(r.name, named.name, "manifests/1", None).status == 200
    del named.blobs[d]
    others = (named.name, "kept", "theirs-none")
    for how in None, signal.SIGTERM, signal.SIGKILL:
        if how:
            stop(how)
            run()
            offline(True)
            assert blob(r, d, sought, **alice).status in (401, 403), "its registry cannot be asked about alice"
            no_leak(r, d, sought, others, "offline after a restart by %s" % how)
            offline(False)
        asked = len(r.asked)
        no_leak(r, d, sought, others, "online, %s" % how)
        for _ in range(2):
            a = piece(r, d, sought, **alice)
            assert a.cache == "entrepot; hit; detail=partial", (how, a.cache)
        assert len(r.asked) == asked, "it is fetched again: %s" % r.asked[asked:]
        offline(True)
        assert piece(r, d, sought, **alice).cache == "entrepot; hit; detail=partial", how
        no_leak(r, d, sought, others, "offline beside alice, %s" % how)
        assert blob(r, d, "2000000-2000999", **alice).status == 404
        offline(False)
    # A registry of bob's own, which has something of that digest: it gets what it has.
    evil.blobs[d] = rng.randbytes(3 * MIB)
    a = at(evil.name, evil.name, "blobs/" + d, sought)
    assert a.status == 206 and a.body == evil.blobs[d][1000000:1100000], (a.status, len(a.body))
    piece(r, d, sought, **alice)
    whole(r, d, **alice)
    wait_for(lambda: is_stored(d), "it is not stored")
    assert os.stat("%s/cache/blobs/sha256/%s" % (W, d[7:])).st_mode & 0o777 == 0o400, "the whole is as private as the part"
    no_leak(r, d, sought, others, "the whole")


for other in "public-named", "evil":
    case(other, when="alone")(lambda r: None)


@case("unnamed", when="alone")
def unnamed(r):
    """A piece of a blob that no manifest has named is served again to the repository that it was fetched for, offline too."""
    d, sought = r.add(3 * MIB), "1000000-1099999"
    piece(r, d, sought)
    wait_for(lambda: metric("entrepot_ingests") == 0, "a fetch remains")
    for how in None, signal.SIGTERM, signal.SIGKILL:
        if how:
            stop(how)
            run()
        offline(True)
        assert piece(r, d, sought).cache == "entrepot; hit; detail=partial", how
        for repo in "kept", "theirs-none":
            assert at(r.name, repo, "blobs/" + d, sought).status == 404, "another repository has not proved to contain it"
        offline(False)


@case("turned", when="alone")
def turned_private(r):
    """What came of a public repository is not shown to everybody once it is known to be private."""
    d = r.add(3 * MIB)
    assert ask(r, "manifests/1").status == 200
    piece(r, d, "1000000-1000999")
    wait_for(lambda: metric("entrepot_ingests") == 0, "a fetch remains", 20)
    r.closed = True
    assert ask(r, "manifests/2", Authorization=ALICE).status == 200
    for headers in {}, {"Authorization": BOB}:
        a = blob(r, d, "1000000-1000999", **headers)
        assert a.status in (401, 403, 404), "what is here: %d, %s" % (a.status, a.cache)
    piece(r, d, "2000000-2000999", Authorization=ALICE)
    for text in "1000000-1000999", "2000000-2000999":
        for headers in {}, {"Authorization": BOB}:
            a = blob(r, d, text, **headers)
            assert a.status in (401, 403, 404), "%s: %d, %s" % (text, a.status, a.cache)


@case("theirs")
def another_registrys_part(r):
    d = r.add(3 * MIB)
    ask(r, "manifests/1")
    piece(r, d, "1000000-1000999")
    theirs, none = registries["theirs-too"], registries["theirs-none"]
    theirs.blobs[d] = r.blobs[d]
    assert blob(none, d, "1000000-1000999").status == 404 and none.misses > 0
    piece(theirs, d, "1000000-1000999")
    assert theirs.asked and received(theirs) >= 1000, "another registry's bytes are used"


for other in "theirs-too", "theirs-none":
    registries[other] = Registry(other)


# ---- the registry is away, the daemon is gone ----

@case("kept", when="alone")
def kept(r):
    d = r.add(3 * MIB)
    sought = "1000000-1099999"
    ask(r, "manifests/1")
    piece(r, d, sought)
    heads = r.heads
    assert blob(r, d, method="HEAD").cache == "entrepot; hit; detail=partial" and r.heads == heads
    wait_for(lambda: metric("entrepot_ingests") == 0, "a fetch remains")
    for how in None, signal.SIGTERM, signal.SIGKILL:
        if how:
            stop(how)
            run()
        offline(True)
        a = piece(r, d, sought)
        assert a.cache == "entrepot; hit; detail=partial", (how, a.cache)
        a = blob(r, d, method="HEAD", timeout=5)
        assert (a.status, a.headers["Content-Length"]) == (200, str(3 * MIB)), (how, a.status)
        assert a.cache == "entrepot; hit; detail=partial", (how, a.cache)
        for text in "2000000-2000999", "0-99", "1000000-2000000", "-9", None:
            begun = time.monotonic()
            a = blob(r, d, text, timeout=5)
            assert a.status == 404 and time.monotonic() - begun < 3, (how, text, a.status)
        a = blob(r, d, "0-9,1050000-1050009", timeout=5)
        assert a.status == 404 or a.cut, (how, a.status)
        a = blob(r, d, "%d-" % (3 * MIB), timeout=5)
        assert a.status in (404, 416), (how, a.status)
        offline(False)
    # The registry fails meanwhile: what is here stays.
    held, r.blobs[d] = r.blobs.pop(d), b""
    r.blobs.clear()
    assert blob(r, d, timeout=5).status == 404
    r.blobs[d] = held
    before = received(r)
    whole(r, d)
    assert received(r) - before <= 3 * MIB - SEGMENT, "what was here is fetched again: %d" % (received(r) - before)
    wait_for(lambda: is_stored(d), "it is not stored")


@case("stopped", when="alone")
def stopped(r):
    for how in signal.SIGTERM, signal.SIGKILL:
        d = r.add(32 * MIB, 4 * MIB)
        seen = [(time.monotonic(), received(r))]
        client = threading.Thread(target=lambda: blob(r, d) if d else None)
        client.start()
        before = seen[0][1]
        while seen[-1][1] - before < 16 * MIB:
            time.sleep(0.05)
            seen.append((time.monotonic(), received(r)))
        several = r.under_way()
        stop(how)
        client.join()
        run()
        if how == signal.SIGTERM:
            had = seen[-1][1] - before
        else:
            had = max([n for t, n in seen if t < seen[-1][0] - 1.2], default=before) - before - 8 * MIB
        whole(r, d)
        assert several >= 2, "over one connection"
        assert received(r) <= 32 * MIB - had + 2 * MIB, "%s: of %d that were here, %d were received again" % (
            how, had, received(r) + had - 32 * MIB)
        before = 0


@case("down", when="alone")
def down(r):
    """A part survives a registry that is down when the rest is asked for."""
    d = r.add(6 * MIB, 3 * MIB)
    blob(r, d, leave_after=2 * MIB)
    time.sleep(0.2)
    stop()
    run()
    held = dict(r.blobs)
    r.blobs.clear()
    a = blob(r, d, timeout=10)
    assert a.status == 404, a.status
    r.blobs.update(held)
    whole(r, d)
    assert received(r) <= 4.5 * MIB, "a part was dropped since the registry did not answer: %d" % received(r)


@case("small", when="small")
def larger_than_the_cache(r):
    d = r.add(24 * MIB, 100 * MIB)
    ask(r, "manifests/1")
    text = "20000000-20000999"
    piece(r, d, text)
    assert received(r) <= 4 * SEGMENT, "%d bytes of a piece of a blob that the cache has no room for" % received(r)
    wait_for(lambda: metric("entrepot_ingests") == 0, "a fetch remains")
    offline(True)
    assert piece(r, d, text).cache == "entrepot; hit; detail=partial"
    offline(False)
    whole(r, d)
    assert not is_stored(d)


@case("bound", when="bound")
def larger_than_blob_max(r):
    d = r.add(6 * MIB, 100 * MIB)
    text = "5000000-5000999"
    piece(r, d, text)
    assert received(r) <= 4 * SEGMENT, "%d bytes of a piece of a blob that is larger than blob_max" % received(r)
    whole(r, d)
    assert not is_stored(d)


def command(*words, status=0):
    p = subprocess.run([ENTREPOT, *words, "--socket", W + "/admin.sock"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
    assert p.returncode == status, "%s: %d, %s" % (words, p.returncode, p.stdout.decode())
    return p.stdout.decode()


@case("listed", when="alone")
def listed(r):
    """ls and inspect tell how much is here of layers that are not whole: while a fetch has them, at rest, after a restart."""
    d, other = r.add(3 * MIB), r.add(2 * MIB)
    name = "listed.test/listed:1"
    ask(r, "manifests/1")
    pieces = "1000000-1099999", "-5000"  # 4 KiB segments: 104 KiB, and of the last one a part

    def shown():
        ls = json.loads(command("ls", name, "--json"))["images"][0]
        layers = json.loads(command("inspect", name, "--json"))["platforms"][0]["layers"]
        return ls["partial_size"], ls["size"] - ls["partial_size"], ls["cached"], [(l["cached"], l["partial_size"]) for l in layers]

    whole_size = len(r.manifest())
    assert shown() == (0, whole_size, False, [(False, 0)] * 2), shown()
    for text in pieces:
        piece(r, d, text)
    due = (1099999 // 4096 - 1000000 // 4096 + 1) * 4096 + 3 * MIB - (3 * MIB - 5000) // 4096 * 4096
    expected = (due, whole_size, False, [(False, due), (False, 0)])
    assert shown() == expected, "while a fetch has it: %s, not %s" % (shown(), expected)
    wait_for(lambda: metric("entrepot_ingests") == 0, "a fetch remains")
    assert shown() == expected, "at rest: %s, not %s" % (shown(), expected)
    stop()
    run()
    assert shown() == expected, "after a restart: %s, not %s" % (shown(), expected)
    size = "%d KiB" % (due / 1024)
    assert "(partial, %s of 3.0 MiB)" % size in command("inspect", name), command("inspect", name)
    assert "incomplete (partial: %s)" % size in command("ls", name), command("ls", name)
    for digest in d, other:
        whole(r, digest)
        wait_for(lambda: is_stored(digest), "it is not stored")
    assert shown() == (0, whole_size + 5 * MIB, False, [(True, 0)] * 2), shown()


@case("damaged", when="alone")
def damaged(r):
    """verify compares what is here of a blob with what is promised; what it finds damaged is dropped, and fetched again."""
    d, other = r.add(3 * MIB), r.add(2 * MIB)
    ask(r, "manifests/1")
    for digest in d, other:
        piece(r, digest, "1000000-1099999")
    wait_for(lambda: metric("entrepot_ingests") == 0, "a fetch remains")

    def verify(status):
        return json.loads(command("verify", "--rate", "0", "--json", status=status).splitlines()[-1])
    sound = verify(0)
    assert (sound["partial"], sound["partial_damaged"], sound["ok"]) == (2 + earlier_parts(d, other), 0, True), sound
    with open(part_of(d)[0], "r+b") as f:
        f.truncate(1050000)
    text = command("verify", "--rate", "0", status=1)
    assert "%s: its part lacks bytes from 1050000 on" % d in text and "1 damaged and dropped" in text, text
    assert not part_of(d) and part_of(other)
    assert verify(0)["partial_damaged"] == 0
    piece(r, d, "1000000-1099999")


def earlier_parts(*others):
    """Of cases before this one."""
    return len([p for p in glob.glob(W + "/cache/ingest/*.part") if not any(d[7:] in p for d in others)])


# ---- all of them ----

def attempt(name, fn):
    begun = time.monotonic()
    try:
        fn(registries[name])
        said = "ok"
    except Exception as e:
        said = "%s: %s" % (type(e).__name__, e)
        if not isinstance(e, AssertionError):
            said += "\n" + traceback.format_exc()
        problems.append("%s: %s" % (name, said))
    if os.environ.get("SHOW"):
        print("%-14s %5.1f s  %s" % (name, time.monotonic() - begun, said.split("\n")[0]), flush=True)


def chosen(when):
    return [(name, fn) for name, fn, w in CASES if w == when and PATTERN.search(name)]


def all_together():
    """As many at a time as this process can serve at the rates that they have: a registry that is late looks like one that hangs."""
    free = threading.Semaphore(16)

    def in_turn(name, fn):
        with free:
            attempt(name, fn)

    threads = [threading.Thread(target=in_turn, args=c) for c in chosen("together")]
    for t in threads:
        t.start()
    for t in threads:
        t.join(180)


def main():
    global CDN
    server = Server(("127.0.0.1", UPSTREAM), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cdn = Server(("127.0.0.1", 0), Upstream)
    CDN = cdn.server_address[1]
    threading.Thread(target=cdn.serve_forever, daemon=True).start()
    later = {name: when for name, _, when in CASES if when != "together"}
    alone = [name for name in later if later[name] == "alone"]
    start([name for name in registries if name not in later])  # there may be 64 upstreams
    all_together()
    try:
        wait_for(lambda: metric("entrepot_ingests") == 0, "%d ingests remain" % metric("entrepot_ingests"), 12)
    except AssertionError as e:
        problems.append(str(e))
    stop()
    start(alone)
    for c in chosen("alone"):
        attempt(*c)
    stop()
    for name, cache in ("small", "max_size: 16MiB"), ("bound", "max_size: 64MiB, blob_max: 4MiB"):
        if chosen(name):
            start([name], name, cache)
            attempt(*chosen(name)[0])
            stop()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
try:
    main()
finally:
    if daemon and daemon.poll() is None:
        daemon.kill()
        daemon.wait()
print("\n".join(problems) or "%d cases" % len(CASES))
sys.exit(bool(problems))
