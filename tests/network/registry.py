#!/usr/bin/env python3
"""registry.py PORT LOG [CERT KEY]: a registry on every address, for the scripts of this folder. Each request is a line of LOG:
METHOD Host path, and what came along of Authorization and Proxy-Authorization. Repositories:
  x                   a manifest under any tag, a blob under any digest
  to/HOST             blobs are elsewhere: a redirect to http://HOST:8000/v2/x/blobs/...
  token/SECONDS/LIFE  wants a token; the service takes SECONDS to give one, which is good for LIFE seconds from when it was asked for
  token/down          ... the service's gateway answers 504"""
import hashlib
import json
import socket
import ssl
import sys
import threading
import time
from http.server import ThreadingHTTPServer

from answering import Answering

port, log = int(sys.argv[1]), open(sys.argv[2], "a")
scheme = "https" if len(sys.argv) > 3 else "http"
lock = threading.Lock()


class H(Answering):
    def token(self, seconds, life):
        born = time.time()
        if seconds == "down":
            return self.answer(504)
        time.sleep(float(seconds))
        token = f"{seconds}-until-{born + float(life)}"
        self.answer(200, json.dumps({"token": token, "expires_in": int(life)}).encode())

    def is_let_in(self, seconds):
        begun, _, end = self.headers.get("Authorization", "").partition("-until-")
        return begun == "Bearer " + seconds and time.time() < float(end)

    def do_GET(self):
        host = self.headers["Host"]
        with lock:
            print(self.command, host, self.path.split("?")[0], *[h for h in ("Authorization", "Proxy-Authorization") if h in self.headers],
                  file=log, flush=True)
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[0] == "token":
            return self.token(parts[1], parts[2])
        if len(parts) < 4:
            return self.answer(200)
        repository, (kind, reference) = parts[1:-2], parts[-2:]
        if repository[0] == "to" and kind == "blobs":
            return self.answer(307, Location=f"http://{repository[1]}:8000/v2/x/blobs/{reference}")
        if repository[0] == "token" and not self.is_let_in(repository[1]):
            way = (repository + ["0"])[1:3]
            realm = f"{scheme}://{host}/token/{way[0]}/{way[1]}"
            return self.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",scope="repository:{"/".join(repository)}:pull"')
        if kind == "blobs":
            return self.answer(200, reference.encode(), Content_Type="application/octet-stream")
        body = json.dumps({"schemaVersion": 2, "manifests": [], "annotations": {"n": reference}}).encode()
        self.answer(200, body, Content_Type="application/vnd.oci.image.index.v1+json",
                    Docker_Content_Digest="sha256:" + hashlib.sha256(body).hexdigest())

    do_HEAD = do_GET


class S(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 64

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def finish_request(self, request, address):
        if scheme == "https":
            request = tls.wrap_socket(request, server_side=True)
        super().finish_request(request, address)

    def handle_error(self, *args):
        pass


if scheme == "https":
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[3], sys.argv[4])
S(("::", port), H).serve_forever()
