#!/usr/bin/env python3
"""A registry that begins its answers late: late.py PORT REGISTRY-HOST:PORT FILE.

FILE has three numbers, the seconds before the head of a manifest, of half of the blobs, and of the other half; which half a blob is of
is decided by its digest. All else is passed on as it is."""
import http.client
import http.server
import socketserver
import sys
import time

PORT, REGISTRY, FILE = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class Late(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        with open(FILE) as f:
            manifests, some, others = map(float, f.read().split())
        if "/manifests/" in self.path:
            time.sleep(manifests)
        elif "/blobs/sha256:" in self.path:
            time.sleep(some if int(self.path.partition("sha256:")[2][:2], 16) % 2 else others)
        upstream = http.client.HTTPConnection(REGISTRY, timeout=30)
        upstream.request(self.command, self.path, headers={k: v for k, v in self.headers.items() if k.lower() != "connection"})
        answer = upstream.getresponse()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() != "connection":
                self.send_header(name, value)
        self.end_headers()
        while self.command != "HEAD" and (data := answer.read1(1 << 16)):
            self.wfile.write(data)
        upstream.close()

    do_HEAD = do_GET


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", PORT), Late).serve_forever()
