#!/usr/bin/env python3
"""endless.py PORT LOG: a registry that does not end. Each request is a line of LOG ("GET path"), and each that ends because the other
side has gone, "gone path". By repository:
  fine          a blob of SIZE bytes, whose digest is that of its bytes: tag N is an image with one layer
  endless       a blob, as fast as it goes, without a length and without an end
  error/STATUS  an answer with that status and a body without an end
  slow          the blobs of `fine`, with their length, at 4 MiB a second
  unsaid        the blobs of `fine`, without their length
  trickle       a byte a second, of whatever is asked for
  silent        no answer"""
import hashlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIZE = 4 << 20
port, log = int(sys.argv[1]), open(sys.argv[2], "a")
lock = threading.Lock()
blobs = {}


def say(*words):
    with lock:
        print(*words, file=log, flush=True)


def image(n):
    body = hashlib.sha256(b"%d" % n).digest() * (SIZE // 32)
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    blobs[digest] = body
    config = b'{"n": %d}' % n
    of_config = "sha256:" + hashlib.sha256(config).hexdigest()
    blobs[of_config] = config
    return json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": of_config, "size": len(config)},
                       "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": SIZE}]}).encode()


class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def head(self, status, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def endlessly(self, status, piece, pause):
        self.head(status, ("Transfer-Encoding", "chunked"), ("Content-Type", "application/octet-stream"))
        while True:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(pause)

    def in_chunks(self, body):
        self.head(200, ("Transfer-Encoding", "chunked"), ("Content-Type", "application/octet-stream"))
        for at in range(0, len(body), 1 << 18):
            piece = body[at:at + (1 << 18)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def whole(self, body, kind, pause=0):
        first, status, more = 0, 200, []
        if self.headers["Range"]:
            first, status = int(self.headers["Range"][6:].split("-")[0]), 206
            more = [("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")]
        self.head(status, ("Content-Length", str(len(body) - first)), ("Content-Type", kind), *more)
        for at in range(first, len(body) if self.command == "GET" else 0, 1 << 18):
            self.wfile.write(body[at:at + (1 << 18)])
            time.sleep(pause)

    def answer(self):
        parts = self.path.strip("/").split("/")
        if len(parts) < 4:
            return self.head(200, ("Content-Length", "0"))
        repository, (kind, reference) = [p for p in parts[1:-2] if p != "library"], parts[-2:]
        if repository[0] == "silent":
            self.rfile.read(1)
            raise BrokenPipeError
        if repository[0] == "endless":
            return self.endlessly(200, bytes(1 << 18), 0)
        if repository[0] == "error":
            return self.endlessly(int(repository[1]), bytes(1 << 18), 0)
        if repository[0] == "trickle":
            return self.endlessly(200, b" ", 1)
        if kind == "manifests":
            return self.whole(image(int(reference)), "application/vnd.oci.image.manifest.v1+json")
        if reference not in blobs:
            return self.head(404, ("Content-Length", "0"))
        if repository[0] == "unsaid" and self.command == "GET":
            return self.in_chunks(blobs[reference])
        return self.whole(blobs[reference], "application/octet-stream", 1 / 16 if repository[0] == "slow" else 0)

    def do_GET(self):
        say(self.command, self.path)
        try:
            self.answer()
        except OSError:
            say("gone", self.path)
            self.close_connection = True

    do_HEAD = do_GET


class S(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


S(("127.0.0.1", port), H).serve_forever()
