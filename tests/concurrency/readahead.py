#!/usr/bin/env python3
"""readahead.py PORT UPSTREAM_PORT CASE...: the cases of readahead.sh, all at once. The registry is this process; its repository test/CASE has
one image of eight layers, and sends the last byte of a layer only when the case allows it."""
import base64
import hashlib
import http.client
import json
import os
import sys
import threading
import time
import traceback
from http.server import ThreadingHTTPServer

from answering import Answering

PORT, UPSTREAM, CASES = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
LAYERS, SIZE = 8, 3 << 20
ALICE, LOGIN = ("Basic " + base64.b64encode(b"alice%s:not-a-real-one" % at).decode() for at in (b"", b"@ahead.test"))
problems = []


class Image:
    def __init__(self, case):
        self.case, self.lock = case, threading.Lock()
        self.layers = [os.urandom(SIZE) for _ in range(LAYERS)]
        self.digests = ["sha256:" + hashlib.sha256(b).hexdigest() for b in self.layers]
        self.config = b'{"architecture":"amd64","os":"linux","case":"%s"}' % case.encode()
        self.go_on = [threading.Event() for _ in self.layers]
        self.asked = [0] * LAYERS   # requests of each layer's bytes
        self.broken = 0             # that the cache broke off
        self.under_way = self.most = 0
        note = {"annotations": {"containerd.io/snapshot/stargz/toc.digest": "sha256:" + "0" * 64}}
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": len(self.config),
                       "digest": "sha256:" + hashlib.sha256(self.config).hexdigest()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": d, "size": SIZE,
                        **(note if case == "seekable" and n > 0 else {})} for n, d in enumerate(self.digests)]}).encode()

    def begun(self):
        with self.lock:
            return [n + 1 for n in range(LAYERS) if self.asked[n]]

    def release(self, *layers):
        for n in layers:
            self.go_on[n - 1].set()


images = {case: Image(case) for case in CASES}


class Registry(Answering):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = self.path.split("?")[0].split("/")
        image = images.get(parts[3]) if len(parts) > 5 else None
        if not image:
            return self.answer(200)
        if image.case == "private" and self.headers.get("Authorization") != ALICE:
            return self.answer(401, WWW_Authenticate='Basic realm="x"')
        if parts[4] == "manifests":
            return self.answer(200, image.manifest, Content_Type="application/vnd.oci.image.manifest.v1+json")
        if parts[5] not in image.digests:
            return self.answer(200, image.config)
        n = image.digests.index(parts[5])
        if image.case == "refused" and n > 0:
            with image.lock:
                image.asked[n] += 1
            return self.answer(403)
        if self.headers.get("Range"):
            first, last = self.headers["Range"].split("=")[1].split("-")
            data = image.layers[n][int(first):int(last or SIZE - 1) + 1]
            return self.answer(206, data, Content_Range="bytes %s-%d/%d" % (first, int(first) + len(data) - 1, SIZE))
        with image.lock:
            image.asked[n] += 1
            image.under_way += 1
            image.most = max(image.most, image.under_way)
        self.send_response(200)
        self.send_header("Content-Length", str(SIZE))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        try:
            self.wfile.write(image.layers[n][:1000])
            self.connection.settimeout(0.1)
            while not image.go_on[n].is_set():
                try:
                    if not self.connection.recv(1):
                        raise OSError("broken off")
                except TimeoutError:
                    pass
            self.connection.settimeout(None)
            self.wfile.write(image.layers[n][1000:])
        except OSError:
            image.broken += 1
            self.close_connection = True
        finally:
            with image.lock:
                image.under_way -= 1


class Client:
    """A request that is under way."""

    def __init__(self, image, path, **headers):
        self.image, self.c = image, http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
        if image.case == "private":
            headers["Authorization"] = LOGIN
        self.c.request("GET", "/v2/ahead.test/test/%s/%s" % (image.case, path), headers=headers)

    def end(self):
        r = self.c.getresponse()
        body = r.read()
        self.c.close()
        return r.status, body

    def leave(self):
        self.c.close()


def layer(image, n, **headers):
    return Client(image, "blobs/" + image.digests[n - 1], **headers)


def manifest(image):
    status, body = Client(image, "manifests/v1").end()
    assert (status, body) == (200, image.manifest), status


def wait_for(what, seconds=12):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


def takes(image, *clients):
    for n, c in clients:
        assert c.end() == (200, image.layers[n - 1]), "layer %d is not what it should be" % n


def begun_are(image, *layers):
    assert wait_for(lambda: image.begun() == list(layers)), "begun: %s, not %s" % (image.begun(), list(layers))
    time.sleep(0.3)
    assert image.begun() == list(layers), "begun: %s, not %s" % (image.begun(), list(layers))


def wasted():
    c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    c.request("GET", "/metrics")
    page = c.getresponse().read().decode()
    return int(page.split('entrepot_readahead_blobs_total{result="wasted"} ')[1].split("\n")[0])


# ---- the cases ----

def order(image):
    """Three beyond what was asked for, and each layer once."""
    manifest(image)
    one = layer(image, 1)
    begun_are(image, 1, 2, 3, 4)
    two = layer(image, 2)
    begun_are(image, 1, 2, 3, 4, 5)
    image.release(1, 2)
    takes(image, (1, one), (2, two))
    begun_are(image, 1, 2, 3, 4, 5)
    image.release(*range(3, 9))
    takes(image, *[(n, layer(image, n)) for n in range(3, 9)])
    assert image.asked == [1] * LAYERS, image.asked
    assert image.most <= 6, image.most


def stored(image):
    """What has been read ahead is here when it is asked for, and then the next ones are begun."""
    manifest(image)
    one = layer(image, 1)
    begun_are(image, 1, 2, 3, 4)
    image.release(2, 3, 4)
    begun_are(image, 1, 2, 3, 4, 5, 6, 7)
    takes(image, (3, layer(image, 3)), (2, layer(image, 2)))
    image.release(*range(1, 9))
    takes(image, (1, one), *[(n, layer(image, n)) for n in range(4, 9)])
    assert image.asked == [1] * LAYERS, image.asked


def pieces(image):
    """Nothing of an image that is fetched in pieces, though its config is fetched whole."""
    manifest(image)
    c = Client(image, "blobs/sha256:" + hashlib.sha256(image.config).hexdigest())
    assert c.end() == (200, image.config)
    image.release(3)
    piece = layer(image, 3, Range="bytes=8192-12287").end()
    assert piece == (206, image.layers[2][8192:12288]), piece[0]
    one = layer(image, 1)
    begun_are(image, 1)
    image.release(1)
    takes(image, (1, one))


def turned(image):
    """A client asks for a piece: what was begun is given up, and the client of a whole layer gets it."""
    manifest(image)
    one = layer(image, 1)
    begun_are(image, 1, 2, 3, 4)
    piece = layer(image, 5, Range="bytes=8192-12287").end()
    assert piece == (206, image.layers[4][8192:12288]), piece[0]
    assert wait_for(lambda: wasted() >= 3, 4), "given up: %d" % wasted()  # "gone" counts some later
    image.release(1)
    takes(image, (1, one))
    assert image.begun() == [1, 2, 3, 4], image.begun()


def seekable(image):
    """Layers that are made for pieces, all but the first here, once one of them is requested whole."""
    manifest(image)
    one = layer(image, 1)
    begun_are(image, 1)
    two = layer(image, 2)
    begun_are(image, 1, 2, 3, 4, 5)
    image.release(*range(1, 9))
    takes(image, (1, one), (2, two), *[(n, layer(image, n)) for n in range(3, 9)])
    assert image.asked == [1] * LAYERS, image.asked


def refused(image):
    """A refusal is not repeated, and no other layer is tried; the client gets its own answer."""
    manifest(image)
    one = layer(image, 1)
    assert wait_for(lambda: len(image.begun()) > 1), image.begun()
    time.sleep(0.3)
    assert image.begun()[-1] <= 4 and max(image.asked[1:]) <= 1, image.asked
    image.release(1)
    takes(image, (1, one))
    assert layer(image, 2).end()[0] in (401, 403), "the refusal is not passed on"


def private(image):
    """With the identity of the client."""
    manifest(image)
    one = layer(image, 1)
    begun_are(image, 1, 2, 3, 4)
    image.release(*range(1, 9))
    takes(image, (1, one), *[(n, layer(image, n)) for n in range(2, 9)])
    assert image.asked == [1] * LAYERS, image.asked
    c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    c.request("GET", "/v2/ahead.test/test/private/blobs/" + image.digests[4])
    assert c.getresponse().status == 401


def gone(image):
    """The client goes: what is read ahead for it is given up. The next one finds all in order."""
    manifest(image)
    layer(image, 1).leave()
    assert wait_for(lambda: len(image.begun()) == 4), image.begun()
    assert wait_for(lambda: image.under_way == 0, 25), "still under way: %d" % image.under_way
    assert image.broken >= 3, image.broken
    image.release(*range(1, 9))
    takes(image, *[(n, layer(image, n)) for n in range(1, 9)])


def none(image):
    manifest(image)
    one = layer(image, 1)
    begun_are(image, 1)
    image.release(1)
    takes(image, (1, one))


def lazy(image):
    none(image)


def run(case):
    try:
        globals()[case](images[case])
    except Exception:
        problems.append("%s: %s" % (case, traceback.format_exc()))


server = ThreadingHTTPServer(("127.0.0.1", UPSTREAM), Registry)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
threads = [threading.Thread(target=run, args=(case,)) for case in CASES]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("\n".join(problems) or "%d cases" % len(CASES))
sys.exit(1 if problems else 0)
