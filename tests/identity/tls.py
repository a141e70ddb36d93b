#!/usr/bin/env python3
"""tls.py FOLDER: an https registry whose certificate is of a private authority (FOLDER/registry.pem), which lets in who shows a
certificate of FOLDER/clients.pem, and sends blobs to a CDN, whose certificate is of a public one (FOLDER/cdn.pem), and which asks
everybody for a certificate. The CDN gives tokens for repositories that begin with "tok", too, and is a mirror that has nothing. Ports
are written to FOLDER/ports; who came to FOLDER/came as "registry|cdn SUBJECT PATH"."""
import hashlib
import json
import os
import ssl
import sys
import threading
from http.server import ThreadingHTTPServer

from answering import Answering

folder = sys.argv[1]
TYPE = "application/vnd.oci.image.manifest.v1+json"


def layer(tag):
    return f"the layer of {tag}\n".encode() * 100


class H(Answering):
    def do_GET(self):
        cert = self.connection.getpeercert()
        name = dict(x[0] for x in cert["subject"])["commonName"] if cert else "-"
        with open(f"{folder}/came", "a") as f:
            f.write(f"{self.what} {name} {self.path}\n")
        if self.what == "cdn" and self.path.startswith("/token"):
            return self.answer(200, b'{"token":"t"}')
        if self.what == "cdn" and self.path.startswith("/v2/"):
            return self.answer(404)
        if self.what == "cdn":
            return self.answer(200, layer(self.path[1:]))
        if name == "-":
            return self.answer(403)
        if self.path.startswith("/v2/tok") and self.headers.get("Authorization") != "Bearer t":
            return self.answer(401, WWW_Authenticate=f'Bearer realm="https://127.0.0.1:{cdn.server_port}/token"')
        repository, kind, rest = self.path[4:].rsplit("/", 2)
        blob = layer(repository)
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        if kind == "manifests":
            m = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "config": {"mediaType": "x/y", "digest": digest, "size": len(blob)},
                            "layers": []}).encode()
            return self.answer(200, m, Content_Type=TYPE, Docker_Content_Digest="sha256:" + hashlib.sha256(m).hexdigest())
        if repository == "twice":  # of which the first counts
            self.send_response(307)
            self.send_header("Location", f"https://127.0.0.1:{cdn.server_port}/{repository}")
            self.send_header("Location", f"https://127.0.0.1:{registry.server_port}/v2/{repository}/manifests/1")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.answer(307, Location=f"https://127.0.0.1:{cdn.server_port}/{repository}", Connection="close")

    do_HEAD = do_GET


def server(what, wants_client):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/{what}.pem")
    if wants_client:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(f"{folder}/clients.pem")
    s = ThreadingHTTPServer(("127.0.0.1", 0), type(what, (H,), {"what": what}))
    s.socket = context.wrap_socket(s.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    return s


cdn, registry = server("cdn", True), server("registry", True)
with open(f"{folder}/ports.new", "w") as f:
    f.write(f"{registry.server_port} {cdn.server_port}\n")
os.rename(f"{folder}/ports.new", f"{folder}/ports")
threading.Event().wait()
