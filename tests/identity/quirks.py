#!/usr/bin/env python3
"""quirks.py PORT FOLDER: a registry whose repositories each have a habit that breaks caches; quirks.sh says what they are. Every
request is noted in FOLDER/requests as "METHOD path authorization"."""
import base64
import gzip
import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

port, folder = int(sys.argv[1]), sys.argv[2]
LAYER = b"a layer of few bytes, compressed or not\n" * 20
layer = "sha256:" + hashlib.sha256(LAYER).hexdigest()
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": layer, "size": len(LAYER)},
                       "layers": []}).encode()
manifest = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
realm = f"http://127.0.0.1:{port}/token"
lock = threading.Lock()

CHALLENGES = {  # repository: (WWW-Authenticate, the scope of the token that opens it)
    "noexpires": (f'Bearer realm="{realm}",service="s",scope="repository:q/noexpires:pull"', "repository:q/noexpires:pull"),
    "accesstoken": (f'Bearer realm="{realm}",service="s",scope="repository:q/accesstoken:pull"', "repository:q/accesstoken:pull"),
    "otherscope": (f'Bearer realm="{realm}",service="s",scope="repository:somewhere/else:pull"', "repository:somewhere/else:pull"),
    "otherhost": (f'Bearer realm="http://localhost:{port}/token",service="s",scope="repository:q/otherhost:pull"',
                  "repository:q/otherhost:pull"),
    "commas": (f'Basic realm="a, b", Bearer realm="{realm}",service="x, y",scope="repository:q/commas:pull,push"',
               "repository:q/commas:pull,push"),
    "noscope": (f'Bearer realm="{realm}",service="s"', "repository:q/noscope:pull"),
    "emptyscope": (f'Bearer realm="{realm}",service="s",scope=""', "repository:q/emptyscope:pull"),
    "noquotes": (f"bearer realm={realm}?of=me,service=s", "repository:q/noquotes:pull"),
    "realmquery": (f'Bearer realm="{realm}?service=s"', "repository:q/realmquery:pull"),
}


class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", length=True, **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        if length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        if length:
            self.wfile.write(body)
        else:
            for at in range(0, len(body), 100):
                part = body[at:at + 100]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")

    def token(self, url):
        q = parse_qs(url.query, keep_blank_values=True)
        scope, service = q.get("scope", [""])[0], q.get("service", [""])[0]
        if service != ("x, y" if "commas" in scope else "s") or len(q["service"]) > 1:
            return self.answer(400)
        if "noquotes" in scope and q.get("of") != ["me"]:
            return self.answer(400)
        token = base64.urlsafe_b64encode(scope.encode()).decode()
        if "noexpires" in scope:
            body = {"token": token}
        elif "accesstoken" in scope:
            body = {"access_token": token, "expires_in": 300}
        else:
            body = {"token": token, "expires_in": 300}
        self.answer(200, json.dumps(body).encode(), Content_Type="application/json")

    def do_GET(self):
        url, said = urlsplit(self.path), self.headers.get("Authorization", "-")
        with lock, open(f"{folder}/requests", "a") as f:
            f.write(f"{self.command} {url.path} {said}\n")
        if url.path == "/token":
            return self.token(url)
        parts = url.path.split("/")  # /v2/q/<quirk>/<kind>/<reference>
        quirk, kind, reference = parts[3], parts[4], parts[5]
        if quirk in CHALLENGES:
            challenge, scope = CHALLENGES[quirk]
            if said != "Bearer " + base64.urlsafe_b64encode(scope.encode()).decode():
                return self.answer(401, WWW_Authenticate=challenge)
        if quirk == "insufficient":
            wide = "repository:q/insufficient:pull registry:catalog:*"
            if said != "Bearer " + base64.urlsafe_b64encode(wide.encode()).decode():
                more = f'error="insufficient_scope",scope="{wide}"' if said != "-" else 'scope="repository:q/insufficient:pull"'
                return self.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",{more}')
        if quirk == "nochallenge" and said != "Basic " + base64.b64encode(b"user:canary-password").decode():
            return self.answer(401)
        if quirk == "missing":
            return self.answer(403)
        if quirk in ("head404", "head405") and self.command == "HEAD":
            return self.answer(int(quirk[4:]))
        if kind == "manifests":
            headers = {"Content_Type": "application/vnd.oci.image.manifest.v1+json"}
            if quirk != "nodigest":
                headers["Docker_Content_Digest"] = manifest
            if quirk == "gzip":
                return self.answer(200, gzip.compress(MANIFEST), Content_Encoding="gzip", **headers)
            return self.answer(200, MANIFEST, length=quirk != "nolength", **headers)
        if reference != layer:
            return self.answer(404)
        if quirk == "blobgzip":
            return self.answer(200, LAYER, Content_Encoding="gzip", Content_Type="application/octet-stream")
        return self.answer(200, LAYER, length=quirk != "nolength", Content_Type="application/octet-stream")

    do_HEAD = do_GET


with open(f"{folder}/digests", "w") as f:
    f.write(f"{manifest} {layer}\n")
ThreadingHTTPServer(("127.0.0.1", port), H).serve_forever()
