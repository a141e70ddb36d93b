#!/usr/bin/env python3
"""adversary.py FOLDER REAL TLS TOKENS EVIL: two registries, each with its token service. FOLDER holds cert.pem and key.pem.

REAL is the port of the one that people have logins for, TLS the same over TLS, TOKENS its token service. Its repositories:

    team/app          wants a token of its own service; its layers lie at the other registry (a redirect)
    team/basic        wants a name and a password itself
    team/post         its token service speaks OAuth 2 (POST) alone
    team/moved        its manifests are at the other registry (a redirect)
    team/astray       its blobs are at a store (a redirect) that asks for a login at a token service of its own
    team/movedtoken   its token service sends GET to the other one's
    team/movedpost    its token service refuses GET, and sends POST to the other one's (307)
    team/lured        its challenge names the other registry's token service
    team/plain        its challenge names a token service without TLS

EVIL is the other one: it challenges whoever comes, by its own token service, or for */basic by Basic, gives a token to everybody
and has team/app for who brings one. What is asked for at /back/PORT/... it sends back, to that port of 127.0.0.1. Everything that it is
ever sent is written to FOLDER/evil, Basic decoded too. What the first registry's token service is asked for is in FOLDER/asked, as
"USER SCOPE", what it refuses as "USER refused".

FOLDER/accounts: lines "USER PASSWORD". A user may read everything at the first registry."""
import base64
import gzip
import hashlib
import io
import json
import os
import ssl
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

folder = sys.argv[1]
real, tls, tokens, evil = map(int, sys.argv[2:6])
lock = threading.Lock()
issued = set()


def make_image():
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        info = tarfile.TarInfo("hello")
        info.size = 6
        t.addfile(info, io.BytesIO(b"hello\n"))
    layer = gzip.compress(tar.getvalue(), mtime=0)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar.getvalue()).hexdigest()]}}).encode()

    def entry(kind, data):
        return {"mediaType": kind, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": entry("application/vnd.docker.container.image.v1+json", config),
        "layers": [entry("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)]}).encode()
    return manifest, {"sha256:" + hashlib.sha256(b).hexdigest(): b for b in (manifest, config, layer)}, layer


manifest, blobs, layer = make_image()
with open(f"{folder}/digest", "w") as f:
    f.write("sha256:" + hashlib.sha256(manifest).hexdigest())


def accounts():
    with open(f"{folder}/accounts") as f:
        return dict(line.split() for line in f)


def note(name, text):
    with lock, open(f"{folder}/{name}", "a") as f:
        f.write(text + "\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    def basic(self):
        """USER, PASSWORD of the Authorization header."""
        said = self.headers.get("Authorization", "")
        if not said.startswith("Basic "):
            return None, None
        return base64.b64decode(said[6:]).decode().split(":", 1)

    def bearer(self):
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def give(self, name):
        path = urlsplit(self.path).path
        digest = path.rsplit("/", 1)[1]
        if "/manifests/" in path:
            self.answer(200, manifest, "application/vnd.docker.distribution.manifest.v2+json")
        elif digest not in blobs:
            self.answer(404, b'{"errors": [{"code": "BLOB_UNKNOWN"}]}')
        elif blobs[digest] is layer and name == "team/app" and self.server.role == "real":
            self.answer(307, Location=f"http://127.0.0.1:{evil}/layer/{digest}")
        else:
            self.answer(200, blobs[digest], "application/octet-stream")

    def token(self, user):
        token = "canary-token-" + os.urandom(8).hex()
        with lock:
            issued.add(token)
        note("secrets", token)
        self.answer(200, json.dumps({"token": token, "access_token": token, "expires_in": 300}).encode())

    # ---- the registry that people have logins for ----

    def on_real(self):
        path = urlsplit(self.path).path
        if not path.startswith("/v2/") or path.count("/") < 4:
            return self.answer(404)
        name = "/".join(path.split("/")[2:-2])
        here = f"http://127.0.0.1:{tokens}"
        realm = {"team/lured": f"http://127.0.0.1:{evil}/token", "team/post": here + "/post",
                 "team/movedtoken": here + "/movedtoken", "team/movedpost": here + "/movedpost"}.get(name, here + "/token")
        if self.server.port == tls and name != "team/plain":
            realm = realm.replace(f"http://127.0.0.1:{tokens}", f"https://localhost:{tls}")
        if name == "team/basic":
            user, password = self.basic()
            if user and accounts().get(user) == password:
                return self.give(name)
            note("asked", f"{user} {'refused' if user else 'nobody'}")
            return self.answer(401, b"{}", WWW_Authenticate='Basic realm="real"')
        if self.bearer() not in issued:
            return self.answer(401, b'{"errors": [{"code": "UNAUTHORIZED"}]}', WWW_Authenticate=
                               f'Bearer realm="{realm}",service="real",scope="repository:{name}:pull"')
        if name == "team/astray" and "/blobs/" in path:
            return self.answer(307, Location=f"http://localhost:{evil}/astray")
        if name == "team/moved":
            return self.answer(307, Location=f"http://127.0.0.1:{evil}/v2/{name}/manifests/1")
        self.give(name)

    def on_tokens(self, body):
        url = urlsplit(self.path)
        elsewhere = f"http://127.0.0.1:{evil}/token"
        if url.path == "/movedtoken":
            return self.answer(302, Location=elsewhere)
        if url.path in ("/post", "/movedpost") and self.command == "GET":
            return self.answer(405)
        if url.path == "/movedpost":
            return self.answer(307, Location=elsewhere)
        form = parse_qs(body or url.query)
        user, password = self.basic() if self.command == "GET" else (form["username"][0], form["password"][0])
        if not user or accounts().get(user) != password:
            note("asked", f"{user or 'nobody'} refused")
            return self.answer(401, b'{"errors": [{"code": "UNAUTHORIZED"}]}')
        note("asked", f"{user} {form.get('scope', [''])[0]}")
        self.token(user)

    # ---- the other one ----

    def on_evil(self, body):
        user, password = self.basic()
        note("evil", f"{self.command} {self.path}\n{self.headers}{body}" + (f"\nbasic {user}:{password}" if user else ""))
        path = urlsplit(self.path).path
        if path.startswith("/layer/"):
            return self.answer(200, layer, "application/octet-stream")
        if path == "/astray":
            return self.answer(401, b"{}", WWW_Authenticate=f'Bearer realm="http://localhost:{evil}/token",service="real",'
                               'scope="repository:team/astray:pull"')
        if path.startswith("/back/"):
            port, _, rest = path[6:].partition("/")
            return self.answer(307, Location=f"http://127.0.0.1:{port}/{rest}")
        if path == "/token":
            return self.answer(200, b'{"token": "for-everybody", "expires_in": 300}')
        if "/basic/" in path:
            return self.answer(401, b"{}", WWW_Authenticate='Basic realm="evil"')
        if path.startswith("/v2/team/app/") and self.bearer() == "for-everybody":
            return self.give("team/app")
        self.answer(401, b"{}", WWW_Authenticate=f'Bearer realm="http://127.0.0.1:{evil}/token",service="evil"')

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.server.role == "evil":
            self.on_evil(body)
        elif self.server.role == "tokens" or not self.path.startswith("/v2/"):
            self.on_tokens(body)
        else:
            self.on_real()

    do_GET = do_HEAD = do_POST = do_PUT = serve

    def log_message(self, *args):
        pass


def start(port, role, encrypted=False):
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.port, server.role = port, role
    if encrypted:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


start(tls, "real", True)
start(tokens, "tokens")
start(evil, "evil")
start(real, "real")
threading.Event().wait()
