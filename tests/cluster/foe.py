#!/usr/bin/env python3
"""Nodes that are up to no good: foe.py REGISTRY-HOST:PORT LOG ADDRESS:PORT=HOW...

Each listens where nodes expect a peer, knows what the registry has, and answers as HOW says (answers, below). What they were asked
goes to LOG, a line of JSON each, with the headers; so does "lives", when they were asked whether they live."""
import http.client
import json
import os
import socket
import struct
import sys
import threading
import time
import urllib.parse

REGISTRY, LOG = sys.argv[1:3]
ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
lock = threading.Lock()
HELLO = "Entrepot-Peer: v=1"
LIMIT = 25  # seconds: no answer lasts for longer


def note(**what):
    with lock, open(LOG, "a") as f:
        f.write(json.dumps(what) + "\n")


class Question:
    def __init__(self, conn, how, head):
        first, *lines = head.decode("latin-1").split("\r\n")
        self.conn, self.how, self.end = conn, how, time.monotonic() + LIMIT
        self.method, self.target = first.split(" ")[:2]
        self.headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
        self.path = urllib.parse.urlsplit(self.target).path
        self.is_manifest = "/manifests/" in self.path

    def real(self):
        """What an honest node would answer: status, headers, body."""
        conn = http.client.HTTPConnection(REGISTRY, timeout=10)
        headers = {"Accept": self.headers.get("accept", ACCEPT)}
        if "range" in self.headers:
            headers["Range"] = self.headers["range"]
        conn.request(self.method, self.path, headers=headers)
        answer = conn.getresponse()
        body = answer.read()
        keep = ("content-type", "content-range", "docker-content-digest", "content-length")
        headers = {k: v for k, v in answer.getheaders() if k.lower() in keep}
        return answer.status, {**headers, "Age": "0"} if self.is_manifest else headers, body

    def send(self, data):
        if time.monotonic() > self.end:
            raise OSError("long enough")
        self.conn.sendall(data)

    def head(self, status, headers, hello=HELLO):
        lines = [f"HTTP/1.1 {status} X", *([hello] if hello else []), *(f"{k}: {v}" for k, v in headers.items())]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def answer(self, status, headers, body, hello=HELLO):
        headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
        self.head(status, {**headers, "Content-Length": len(body)}, hello)
        if self.method != "HEAD":
            self.send(body)

    def sleep(self, seconds=LIMIT):
        """Until the other end has had enough."""
        self.conn.settimeout(max(0.01, min(seconds, self.end - time.monotonic())))
        try:
            if not self.conn.recv(1):
                raise OSError("it has left")
        except socket.timeout:
            pass
        finally:
            self.conn.settimeout(LIMIT)


def honest(q):
    q.answer(*q.real())


def wrong_bytes(q):
    status, headers, body = q.real()
    q.answer(status, headers, b"\0" * len(body))


def one_bit(q):
    status, headers, body = q.real()
    at = len(body) // 2
    q.answer(status, headers, body[:at] + bytes([body[at] ^ 1]) + body[at + 1:] if body else b"")


def breaks_off(q):
    status, headers, body = q.real()
    q.head(status, headers)
    q.send(body[:len(body) // 2])
    raise OSError("that is all")


def too_short(q):
    status, headers, body = q.real()
    q.answer(status, headers, body[:len(body) // 2])


def too_long(q):
    status, headers, body = q.real()
    q.answer(status, headers, body + body[:100000])


def other_range(q):
    status, headers, body = q.real()
    q.answer(status, {**headers, "Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}"}, body)


def other_total(q):
    status, headers, body = q.real()
    headers = {k: v.split("/")[0] + "/99999999" if k.lower() == "content-range" else v for k, v in headers.items()}
    q.answer(status, headers, body)


def whole(q):
    q.headers.pop("range", None)
    q.answer(*q.real())


def other_manifest(q):
    """The right digest, and another image; of blobs, others of the same size."""
    status, headers, body = q.real()
    if q.is_manifest:
        body = body.replace(b"schemaVersion", b"SchemaVersion")
    q.answer(status, headers, body)


def other_tag(q):
    """Every tag is another image, which there is, and all digests are right."""
    if q.is_manifest and ":" not in q.path:
        q.path = "/v2/library/evil/manifests/1"
    q.answer(*q.real())


def made_up(q):
    """Manifests that no registry has, from files named by their digests in FOE_MADE_UP; and that it has every blob, of which it sends a byte."""
    path = os.path.join(os.environ["FOE_MADE_UP"], q.path.rpartition("sha256:")[2])
    if "/blobs/" in q.path and "range" in q.headers and os.path.exists(path):
        with open(path) as f:
            size = int(f.read())
        first, last = (int(n) for n in q.headers["range"].removeprefix("bytes=").split("-"))
        last = min(last, size - 1)
        q.head(206, {"Content-Length": last - first + 1, "Content-Range": f"bytes {first}-{last}/{size}"})
        q.send(b"x")
        raise OSError("that is all")
    if not q.is_manifest or ":" not in q.path or not os.path.exists(path):
        return has_nothing(q)
    with open(path, "rb") as f:
        body = f.read()
    q.answer(200, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}, body)


def no_digest(q):
    status, headers, body = q.real()
    q.answer(status, {k: v for k, v in headers.items() if k.lower() not in ("docker-content-digest", "content-type")}, body)


def drips(q):
    status, headers, body = q.real()
    q.head(status, headers)
    for at in range(0, len(body), 10):
        q.send(body[at:at + 10])
        q.sleep(0.2)


def crawls(q):
    """Fast enough to be alive, by what is too slow for anybody."""
    status, headers, body = q.real()
    q.head(status, headers)
    for at in range(0, len(body), 12000):
        q.send(body[at:at + 12000])
        q.sleep(0.15)


def hangs(q):
    q.sleep()


def hangs_and_lives(q):
    q.sleep()


def hangs_and_grows(q):
    """And says, when it is asked, that more and more of the blob comes there."""
    q.sleep()


def drips_and_lives(q):
    drips(q)


def hangs_in_head(q):
    q.send(b"HTTP/1.1 206 X\r\nEntrepot-Peer: v=1\r\nContent-Le")
    q.sleep()


def hangs_in_middle(q):
    status, headers, body = q.real()
    q.head(status, headers)
    q.send(body[:len(body) // 2])
    q.sleep()


def fails(q):
    q.answer(500, {"Content-Type": "text/plain"}, b"no")


def has_nothing(q):
    q.answer(404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"no"}]}')


def refuses(q):
    q.answer(403, {"Content-Type": "text/plain"}, b"no", HELLO + "; refused=proof")


def wants_login(q):
    q.answer(401, {"WWW-Authenticate": f'Bearer realm="http://{REGISTRY}/token",service="x"'}, b"")


def too_many(q):
    q.answer(429, {"Retry-After": "3600"}, b"")


def redirects(q):
    q.answer(307, {"Location": f"http://{REGISTRY}{q.path}?from=redirect"}, b"")


def redirects_to_itself(q):
    q.answer(307, {"Location": q.target}, b"")


def names(q, address):
    q.answer(307, {}, b"", f"{HELLO}; elsewhere={address}")


def names_itself(q):
    names(q, q.headers["host"])


def names_a_stranger(q):
    names(q, "127.0.9.9:5443")


def names_the_asker(q):
    found = [word[5:] for word in q.headers.get("entrepot-peer", "").split("; ") if word.startswith("from=")]
    names(q, found[0] if found else "x" * 4000)


def names_the_others(q):
    names(q, f"127.0.1.{1 + int(time.monotonic() * 1000) % 2}:5443")


def is_a_page(q):
    q.answer(200, {"Content-Type": "text/html"}, b"<html>Please log in to this network</html>", None)


def is_garbage(q):
    q.send(os.urandom(3000))
    q.sleep(1)
    raise OSError


def is_old(q):
    """A version before ours: it does not know the header, and takes the path for a page that it does not have."""
    q.answer(404, {"Content-Type": "text/plain"}, b"404 page not found", None)


def is_older(q):
    q.answer(400, {"Content-Type": "text/plain"}, b"which version is that?", "Entrepot-Peer: v=0")


def is_newer(q):
    status, headers, body = q.real()
    q.answer(status, headers, body, "Entrepot-Peer: v=99; of=tomorrow; life=eternal")


def floods_headers(q):
    q.send(b"HTTP/1.1 206 X\r\nEntrepot-Peer: v=1\r\n")
    while True:
        q.send(b"X-More: " + b"m" * 4000 + b"\r\n")


def continues(q):
    while True:
        q.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        q.sleep(0.01)


def closes(q):
    raise OSError


def resets(q):
    q.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise OSError


def has_no_end(q):
    q.head(206 if "range" in q.headers else 200, {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"})
    while True:
        q.send(b"10000\r\n" + b"\0" * 0x10000 + b"\r\n")


def is_huge(q):
    q.head(200, {"Content-Length": 1 << 61, "Content-Type": "application/octet-stream"})
    while True:
        q.send(b"\0" * 0x10000)


def is_packed(q):
    """A body that grows when it is unpacked."""
    status, headers, body = q.real()
    q.answer(status, {**headers, "Content-Encoding": "gzip"}, body)


ALL = {f.__name__.replace("_", "-"): f for f in (
    honest, wrong_bytes, one_bit, breaks_off, too_short, too_long, other_range, other_total, whole,
    other_manifest, other_tag, made_up, no_digest, drips, crawls, drips_and_lives, hangs, hangs_and_lives, hangs_and_grows, hangs_in_head,
    hangs_in_middle, fails, has_nothing, refuses, wants_login, too_many, redirects, redirects_to_itself,
    names_itself, names_a_stranger, names_the_asker, names_the_others, is_a_page, is_garbage, is_old, is_older,
    is_newer, floods_headers, continues, closes, resets, has_no_end, is_huge, is_packed)}
# Those that answer, when they are asked whether they live, that they wait for their registry.
LIVING = ("hangs-and-lives", "hangs-and-grows", "drips-and-lives")


def read_head(conn):
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more or len(data) > 1 << 20:
            return None
        data += more
    return data.partition(b"\r\n\r\n")[0]


def talk(conn, address, how):
    conn.settimeout(LIMIT)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while head := read_head(conn):
            q = Question(conn, how, head)
            if q.path.startswith("/cluster/"):
                note(at=address, how=how, lives=q.target, headers=q.headers)
                if how in LIVING:
                    grown = f"; got={time.monotonic_ns() // 1000}" if how == "hangs-and-grows" else ""
                    q.answer(200, {}, b"", HELLO + "; life=waits" + grown)
                else:
                    q.sleep()
                continue
            note(at=address, how=how, method=q.method, target=q.target, headers=q.headers)
            ALL[how](q)
    except (OSError, ValueError, http.client.HTTPException):
        pass
    finally:
        conn.close()


def listen(address, how):
    host, _, port = address.partition(":")
    server = socket.create_server((host, int(port)), backlog=128)
    while True:
        conn, _ = server.accept()
        threading.Thread(target=talk, args=(conn, address, how), daemon=True).start()


for where in sys.argv[3:]:
    address, _, how = where.partition("=")
    if how not in ALL:
        raise SystemExit(f"{how}: there are {' '.join(ALL)}")
    threading.Thread(target=listen, args=(address, how), daemon=True).start()
while True:
    time.sleep(60)
