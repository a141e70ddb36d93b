"""Pulls images again and again, as an engine does, until it is terminated: pulls.py URL WORKERS OUT IMAGE...

Each pull is a manifest, then its blobs, on one connection; a kept connection that was closed before an answer began is opened once
more, as Go's HTTP client does. OUT is one JSON object: pulls that went through, what failed and how (refused: nobody listens; cut: an
answer that broke off; status: an error; digest: wrong bytes), the longest pull with what took longest in it, and the time from the
first to the last failure.
"""
import hashlib
import http.client
import json
import signal
import sys
import threading
import time
from urllib.parse import urlsplit

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
stop = threading.Event()
lock = threading.Lock()
seen = {"pulls": 0, "refused": 0, "cut": 0, "status": 0, "digest": 0, "longest": 0.0, "what": []}
failures = []


class Failed(Exception):
    def __init__(self, kind, what):
        super().__init__(f"{kind}: {what}")
        self.kind = kind


class Registry:
    def __init__(self, url):
        self.at = urlsplit(url)
        self.connection = None

    def connect(self):
        self.connection = http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=60)
        try:
            self.connection.connect()
        except OSError as e:
            raise Failed("refused", e) from e

    def ask(self, path):
        kept = self.connection is not None
        if not kept:
            self.connect()
        try:
            self.connection.request("GET", path, headers={"Accept": ACCEPT})
            return self.connection.getresponse()
        except (OSError, http.client.HTTPException) as e:
            if not kept:
                raise Failed("cut", f"{path}: {e!r}") from e
            self.connection = None
            return self.ask(path)

    def get(self, path, digest=None):
        answer = self.ask(path)
        try:
            body = answer.read()
        except (OSError, http.client.HTTPException) as e:
            raise Failed("cut", f"{path}: {e!r}") from e
        if answer.will_close:
            self.connection = None
        if answer.status != 200:
            raise Failed("status", f"{path}: {answer.status} {body[:200]!r}")
        if digest and "sha256:" + hashlib.sha256(body).hexdigest() != digest:
            raise Failed("digest", path)
        return body


def pull(url, image):
    name, tag = image.rsplit(":", 1)
    registry = Registry(url)
    took = []

    def get(*args):
        began = time.monotonic()
        body = registry.get(*args)
        took.append((round(time.monotonic() - began, 2), args[0], time.strftime("%T")))
        return body

    manifest = json.loads(get(f"/v2/{name}/manifests/{tag}"))
    for blob in [manifest["config"], *manifest["layers"]]:
        get(f"/v2/{name}/blobs/{blob['digest']}", blob["digest"])
    return max(took)


def work(url, images, turn):
    while not stop.is_set():
        began = time.monotonic()
        try:
            slowest = pull(url, images[turn % len(images)])
            with lock:
                seen["pulls"] += 1
                seconds = round(time.monotonic() - began, 2)
                if seconds > seen["longest"]:
                    seen["longest"], seen["in_it"] = seconds, "{} s for {}, until {}".format(*slowest)
        except Failed as e:
            with lock:
                seen[e.kind] += 1
                failures.append(time.monotonic())
                if e.kind != "refused" and len(seen["what"]) < 10:
                    seen["what"].append(str(e))
            stop.wait(0.1)
        turn += 1
        stop.wait(0.02)


def main():
    url, workers, out, *images = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [threading.Thread(target=work, args=(url, images, i)) for i in range(int(workers))]
    for t in threads:
        t.start()
    stop.wait()
    for t in threads:
        t.join()
    seen["gap"] = round(failures[-1] - failures[0], 2) if failures else 0
    with open(out, "w", encoding="utf-8") as f:
        json.dump(seen, f)


main()
