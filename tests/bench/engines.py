#!/usr/bin/env python3
"""engines.py WHAT URL FILE [ARGUMENT...]: what engines ask on the wire, asked again; prints the seconds that it took.

FILE is what URL serves: each byte that comes is compared with it.

plain N           N clients at once, each the whole blob in one request (containerd 1.6, docker, skopeo)
parallel MIB N    containerd 2.1: the first request is "bytes=0-", each further one "bytes=OFFSET-"; of each MIB are
                  read and the connection is closed; N at a time
closed MIB N      the same in closed ranges, over connections that are kept
lazy SEED         stargz snapshotter: "bytes=0-1" (redirects), HEAD (size), the footer, the TOC, then files in chunks of
                  50 000 bytes, several ranges in a request
update N BYTES    podman, zstd:chunked: the manifest and the tar-split in one request of two ranges, the N pieces that
                  are missing in one more
image MIB N       URL is a manifest, FILE a folder of blobs: manifest, config, then the layers. MIB 0: three at a time,
                  each in one request; else as "parallel" does, N connections for all layers together
"""
import concurrent.futures
import http.client
import json
import mmap
import os
import random
import re
import sys
import threading
import time
import urllib.parse

BUFFER = 256 << 10
LAYERS_AT_ONCE = 3
CHUNK = 50000
TOC = 400000 # of a layer of 200 MB with some thousand files
FOOTER = 51


class Blob:
    """What a URL has to answer, and what comes of it."""

    def __init__(self, url, file):
        u = urllib.parse.urlsplit(url)
        self.host, self.path = u.netloc, u.path
        with open(file, "rb") as f:
            self.content = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self.content)

    def connect(self):
        return http.client.HTTPConnection(self.host, timeout=120)

    def get(self, conn, ranges=None, method="GET"):
        headers = {"Accept-Encoding": "identity", "User-Agent": "engine"}
        if ranges:
            headers["Range"] = "bytes=" + ranges
        conn.request(method, self.path, headers=headers)
        answer = conn.getresponse()
        if answer.status not in (200, 206):
            sys.exit(f"{self.path} {ranges}: {answer.status}")
        return answer

    def take(self, answer, at, length):
        """Reads so much of the answer, which has to be what is at `at`."""
        buf = memoryview(bytearray(min(BUFFER, max(length, 1))))
        end = at + length
        while at < end:
            n = answer.readinto(buf[:min(len(buf), end - at)])
            if n == 0:
                sys.exit(f"{self.path}: cut short at {at} of {self.size}")
            if bytes(buf[:n]) != self.content[at:at + n]:
                sys.exit(f"{self.path}: wrong bytes at {at}")
            at += n

    def take_whole(self, limiter=None):
        with limiter or threading.Semaphore():
            answer = self.get(self.connect())
            self.take(answer, 0, self.size)

    def take_part(self, conn, begin, end):
        """One range; an upstream that ignores it sends all."""
        answer = self.get(conn, f"{begin}-{end - 1}")
        if answer.status == 200:
            self.take(answer, 0, self.size)
        else:
            self.take(answer, begin, end - begin)

    def take_pieces(self, conn, pieces, end_of_200):
        """Several ranges in one request: parts, maybe joined. True if the blob came instead, up to end_of_200."""
        answer = self.get(conn, ",".join(f"{a}-{b - 1}" for a, b in pieces))
        if answer.status == 200:
            self.take(answer, 0, end_of_200)
            answer.close()
            conn.close() # what is left of it comes to nobody; http.client connects again
            return True
        covered = []
        for begin, end in parts_of(answer):
            self.take(answer, begin, end - begin)
            covered.append((begin, end))
        for a, b in pieces:
            if not any(begin <= a and b <= end for begin, end in covered):
                sys.exit(f"{self.path}: {a}-{b - 1} was not answered")
        answer.read()
        return False


def parts_of(answer):
    """The ranges of a 206, each just before its bytes are to be read."""
    kind = answer.headers["Content-Type"] or ""
    if not kind.startswith("multipart/byteranges"):
        yield range_of(answer.headers["Content-Range"])
        return
    boundary = b"--" + re.search(r'boundary="?([^";]+)', kind).group(1).encode()
    content_range = None
    while True:
        line = answer.readline().rstrip(b"\r\n")
        if line == boundary + b"--":
            return
        if not line and content_range:
            yield range_of(content_range)
            content_range = None
        elif line.lower().startswith(b"content-range:"):
            content_range = line.split(b":", 1)[1].decode()
        elif not line and answer.isclosed():
            sys.exit("multipart/byteranges without an end")


def range_of(text):
    begin, end = re.match(r"\s*bytes (\d+)-(\d+)/", text).groups()
    return int(begin), int(end) + 1


def at_once(count, tasks):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for done in concurrent.futures.as_completed([pool.submit(t) for t in tasks]):
            done.result()


def plain(blob, clients):
    at_once(clients, [blob.take_whole] * clients)


def parallel(blob, mib, connections, limiter=None):
    chunk = mib << 20
    limiter = limiter or threading.Semaphore(connections)
    first = threading.Event() # its answer says whether there are ranges

    def take(begin):
        if begin > 0:
            first.wait()
        with limiter:
            conn = blob.connect()
            answer = blob.get(conn, f"{begin}-")
            first.set()
            if answer.status == 200:
                sys.exit(f"{blob.path}: 200 to a range")
            blob.take(answer, begin, min(chunk, blob.size - begin))
            answer.close()
            conn.close()

    at_once(connections, [lambda b=b: take(b) for b in range(0, blob.size, chunk)])


def closed(blob, mib, connections):
    chunk = mib << 20
    kept = threading.local()

    def take(begin):
        if not hasattr(kept, "conn"):
            kept.conn = blob.connect()
        blob.take_part(kept.conn, begin, min(begin + chunk, blob.size))

    at_once(connections, [lambda b=b: take(b) for b in range(0, blob.size, chunk)])


def lazy(blob, seed):
    conn = blob.connect()
    blob.take_part(conn, 0, 2)
    blob.get(conn, method="HEAD").read()
    footer = blob.size - FOOTER
    toc = footer - TOC
    blob.take_part(conn, footer, blob.size)
    blob.take_part(conn, toc, footer)
    chunks = random.Random(seed)
    for _ in range(6): # files: of two chunks and of one, at different places
        first, second = sorted(chunks.sample(range(toc // CHUNK - 2), 2))
        pieces = [(first * CHUNK, (first + 2) * CHUNK), (second * CHUNK, (second + 1) * CHUNK)]
        if second <= first + 2:
            pieces = [(first * CHUNK, (second + 1) * CHUNK)]
        if blob.take_pieces(conn, pieces, blob.size):
            return # it keeps a whole blob that it is given


def update(blob, count, size):
    conn = blob.connect()
    manifest = blob.size - 200000
    step = manifest // count
    missing = [(n * step + 4321, n * step + 4321 + size) for n in range(count)]
    for pieces in [(manifest, manifest + 120000), (manifest + 120008, blob.size - 72)], missing:
        blob.take_pieces(conn, pieces, pieces[-1][1]) # of a 200 it skips what it did not ask for


def image(blob, folder, mib, connections):
    """The manifest's entries are blobs beside it."""
    blob.take_whole()
    manifest = json.loads(blob.content[:])
    limiter = threading.Semaphore(connections if mib else LAYERS_AT_ONCE)
    base = f"http://{blob.host}" + blob.path.rsplit("/", 2)[0] + "/blobs/"

    def take(entry):
        layer = Blob(base + entry["digest"], os.path.join(folder, entry["digest"]))
        if mib and layer.size > mib << 20:
            parallel(layer, mib, connections, limiter)
        else:
            layer.take_whole(limiter)

    at_once(64, [lambda e=e: take(e) for e in [manifest["config"]] + manifest["layers"]])


def main():
    what, url, file, numbers = sys.argv[1], sys.argv[2], sys.argv[3], [int(n) for n in sys.argv[4:]]
    folder = None
    if what == "image":
        folder = file
        file = os.path.join(folder, "..", "manifests", url.rsplit("/", 1)[1])
    blob = Blob(url, file)
    begin = time.monotonic()
    if what == "image":
        image(blob, folder, *numbers)
    else:
        {"plain": plain, "parallel": parallel, "closed": closed, "lazy": lazy, "update": update}[what](blob, *numbers)
    print(f"{time.monotonic() - begin:.3f}")


main()
