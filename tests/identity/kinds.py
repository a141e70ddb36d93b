#!/usr/bin/env python3
"""kinds.py FOLDER: registries as they are documented, one a port: who is asked what, what a token service says to nobody, to a wrong
login, and to a right one that may not read this. Ports are written to FOLDER/ports as "kind port". What happens is told by files in
FOLDER that a test writes, of a kind each: "KIND.cut" (REPOSITORY BYTES: the next GET of its layer breaks off there, and every token
ends), "KIND.ends" (a number: with another one, tokens end), "KIND.password" (alice's), "KIND.ended" (one that ECR says was good once),
"KIND.redirects" (to URLs that are signed for GET), "KIND.ends-with-403". Every request is noted in FOLDER/requests as "kind method path
status scheme".

kinds.py --layer KIND/REPOSITORY prints the digest of its layer.

"KIND.evil" is the address of the other registry of adversary.py, which notes what it is sent. Layers of repositories whose names end in
"-away" are there; for one that ends in "-lured" its token service is named in the challenge; manifests of "-moved" are there. These two
are as good as not there for everybody but the cache: what a client does that comes by itself is no affair of ours."""
import base64
import hashlib
import json
import os
import sys
import tarfile
import threading
import time
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from answering import Answering

folder = sys.argv[1]
TYPE = "application/vnd.oci.image.manifest.v1+json"
lock = threading.Lock()


def error(code, message):
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


# scheme; what the token service answers to nobody about what is private, to a wrong login, to a right one that may not read it; what the
# registry answers to a token (or login) that is good and opens too little. 200: a token, which opens nothing.
KINDS = {
    "ghcr": ("Bearer", 403, 403, 403, 403, error("DENIED", "requested access to the resource is denied")),
    "gitlab": ("Bearer", 403, 401, 403, 401, error("DENIED", "access forbidden")),
    "acr": ("Bearer", 401, 401, 200, 401, error("UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization")),
    "hub": ("Bearer", 200, 401, 200, 401, error("UNAUTHORIZED", "authentication required")),
    "quay": ("Bearer", 200, 401, 200, 401, error("UNAUTHORIZED", "access to the requested resource is not authorized")),
    "harbor": ("Bearer", 200, 401, 200, 401, error("UNAUTHORIZED", "unauthorized to access repository")),
    "gar": ("Bearer", 200, 401, 200, 403, error("DENIED", 'Permission "artifactregistry.repositories.downloadArtifacts" denied')),
    "artifactory": ("Bearer", 401, 401, 403, 403, error("UNAUTHORIZED", "The client does not have permission")),
    "nexus": ("Basic", 0, 401, 0, 403, error("UNAUTHORIZED", "access to the requested resource is not authorized")),
    "ecr": ("Basic", 0, 401, 0, 403, error("DENIED", "not authorized to perform: ecr:BatchGetImage")),
}
EXPIRED = error("DENIED", "Your authorization token has expired. Reauthenticate and try again.")


def layer_of(name):
    """A tar archive of one file; it is of 4 MiB, or 256 KiB, as a whole."""
    seed = hashlib.sha256(name.encode()).digest()
    size = 1 if name.endswith("-small") else 16
    data = b"".join(hashlib.sha256(seed + bytes([i])).digest() * 8192 for i in range(size))[: (size << 18) - 1536]
    file = tarfile.TarInfo("data")
    file.size = len(data)
    return file.tobuf(tarfile.USTAR_FORMAT) + data + bytes(1024)


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


if folder == "--layer":
    print(digest(layer_of(sys.argv[2])))
    sys.exit()


def image(repository):
    with lock:
        if repository not in IMAGES:
            layer = layer_of(repository)
            config = b'{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["%s"]}}' % digest(layer).encode()
            manifest = json.dumps({
                "schemaVersion": 2, "mediaType": TYPE,
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
                "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer), "size": len(layer)}],
            }).encode()
            IMAGES[repository] = {digest(x): x for x in (layer, config, manifest)} | {"manifest": manifest}
        return IMAGES[repository]


IMAGES = {}


def said(name, default=""):
    try:
        with open(f"{folder}/{name}") as f:
            return f.read().strip() or default
    except FileNotFoundError:
        return default


def may_read(user, repository):
    return repository.startswith("public/") or (user == "alice" and repository.startswith("private/"))


class Registry(Answering):
    def answer(self, status, body=b"", **headers):
        with lock, open(f"{folder}/requests", "a") as f:
            f.write(f"{self.kind} {self.command} {self.path} {status} {(self.headers.get('Authorization') or '-').split()[0]}\n")
        super().answer(status, body, **headers)

    def said(self, name, default=""):
        return said(f"{self.kind}.{name}", default)

    def account(self, user, password):
        """Who it is; None: nobody of ours."""
        passwords = {"alice": self.said("password", "canary-alice-1"), "bob": "canary-bob"}
        return user if user in passwords and passwords[user] == password else None

    def basic(self):
        value = self.headers.get("Authorization", "")
        if not value.startswith("Basic "):
            return None
        return base64.b64decode(value[6:]).decode().partition(":")[::2]

    def token(self, url):
        q, login = parse_qs(url.query), self.basic()
        scope = q.get("scope", [""])[0]
        repository = scope.split(":")[1] if scope.count(":") == 2 else ""
        _, to_nobody, to_wrong, to_other, _, refusal = KINDS[self.kind]
        user = self.account(*login) if login else ""
        if user is None:
            return self.answer(to_wrong, refusal)
        if not may_read(user, repository):
            status = to_other if user else to_nobody
            if status != 200:
                return self.answer(status, refusal)
        raw = f"{user} {repository} {self.said('ends', '0')}"
        self.answer(200, json.dumps({"token": base64.urlsafe_b64encode(raw.encode()).decode(), "expires_in": 300}).encode())

    def who(self, repository):
        """The user and None, or None and the status of the refusal."""
        scheme, _, to_wrong, _, too_little, _ = KINDS[self.kind]
        value = self.headers.get("Authorization", "")
        if scheme == "Basic":
            login = self.basic()
            if not login:
                return None, 401
            if self.kind == "ecr" and login[0] == "alice" and login[1] == self.said("ended"):
                return None, 0
            user = self.account(*login)
            return (user, None) if user and may_read(user, repository) else (None, too_little if user else to_wrong)
        if not value.startswith("Bearer "):
            return None, 401
        try:
            user, opens, made = base64.urlsafe_b64decode(value[7:]).decode().split(" ")
        except ValueError:  # it is of another token service
            return None, 401
        if made != self.said("ends", "0"):
            return None, 0 if self.said("ends-with-403") else 401
        return (user, None) if opens == repository and may_read(user, repository) else (None, too_little)

    def image(self, repository):
        return image(f"{self.kind}/{repository}")

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/token":
            return self.token(url)
        if url.path.startswith("/signed/"):  # a storage's URL that is signed for GET
            if self.command == "HEAD":
                return self.answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
            return self.send(*url.path[8:].rsplit("/", 1))
        repository, _, rest = url.path[4:].rpartition("/")
        repository, _, what = repository.rpartition("/")
        if repository.endswith(("-lured", "-moved")) and not self.headers.get("User-Agent", "").startswith("entrepot/"):
            return self.answer(404, error("NAME_UNKNOWN", "repository name not known to registry"))
        here = f"http://127.0.0.1:{self.server.server_port}"
        scheme, realm = KINDS[self.kind][0], f"{self.said('evil') if repository.endswith('-lured') else here}/token"
        user, refusal = (None, 401) if url.path == "/v2/" else self.who(repository)
        if refusal == 0:
            return self.answer(403, EXPIRED)
        if refusal:
            bearer = f'Bearer realm="{realm}",service="{self.kind}",scope="repository:{repository}:pull"'
            if self.headers.get("Authorization", "").startswith("Bearer "):
                bearer += ',error="invalid_token"'
            more = {"WWW_Authenticate": bearer if scheme == "Bearer" else f'Basic realm="{self.kind}"'} if refusal == 401 else {}
            return self.answer(refusal, KINDS[self.kind][5], **more)
        if what == "manifests":
            m = self.image(repository)["manifest"]
            if repository.endswith("-moved"):
                return self.answer(307, Location=self.said("evil") + self.path)
            if rest not in ("1", digest(m)):
                return self.answer(404, error("MANIFEST_UNKNOWN", "manifest unknown"))
            return self.answer(200, m, Content_Type=TYPE, Docker_Content_Digest=digest(m))
        if what != "blobs" or rest not in self.image(repository):
            return self.answer(404, error("BLOB_UNKNOWN", "blob unknown"))
        if repository.endswith("-away") and len(self.image(repository)[rest]) > 100000:
            return self.answer(307, Location=f"{self.said('evil')}/back/{self.server.server_port}/signed/{repository}/{rest}")
        if self.said("redirects"):
            return self.answer(307, Location=f"/signed/{repository}/{rest}")
        self.send(repository, rest)

    do_HEAD = do_GET

    def do_POST(self):  # none of them has the OAuth 2 way of asking for a token
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(405)

    def send(self, repository, rest):
        body = self.image(repository)[rest]
        if self.command == "HEAD":
            self.answer(200, body)
            return
        first = int(self.headers["Range"].split("=")[1].split("-")[0]) if self.headers.get("Range") else 0
        cut = self.said("cut").split()
        end = len(body)
        if cut and cut[0] == repository and len(body) > 100000:
            os.unlink(f"{folder}/{self.kind}.cut")
            end = int(cut[1])
        with lock, open(f"{folder}/requests", "a") as f:
            f.write(f"{self.kind} {self.command} {self.path} {206 if first else 200} {(self.headers.get('Authorization') or '-').split()[0]}\n")
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body) - first))
        self.send_header("ETag", f'"{rest[7:20]}"')
        self.end_headers()
        self.wfile.write(body[first:end])
        self.wfile.flush()
        if end < len(body):
            time.sleep(0.3)  # what was sent is there; then everything ends at once
            ended = int(self.said("ends", "0")) + 1
            with open(f"{folder}/{self.kind}.ends", "w") as f:
                f.write(str(ended))
            self.close_connection = True


servers = []
for kind in KINDS:
    handler = type(kind, (Registry,), {"kind": kind})
    servers.append((kind, ThreadingHTTPServer(("127.0.0.1", 0), handler)))
    threading.Thread(target=servers[-1][1].serve_forever, daemon=True).start()
with open(f"{folder}/ports.new", "w") as f:
    f.writelines(f"{kind} {s.server_port}\n" for kind, s in servers)
os.rename(f"{folder}/ports.new", f"{folder}/ports")
threading.Event().wait()
