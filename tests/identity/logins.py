# A registry and a mirror before it, which misbehaves, on a port each; every request is written down, with its Authorization.
#   logins.py LOG REGISTRY-PORT MIRROR-PORT
# What they do is in the repository's name: secret/HOW/..., public/HOW/...: the mirror does not have it and says so in that way;
# guess/REGISTRY/MIRROR: how each answers for its blobs, once the mirror did not have the manifest; liar: HEAD says yes to all.
import base64, hashlib, json, sys, threading
from http.server import ThreadingHTTPServer

from answering import Answering

log, registry_port, mirror_port = open(sys.argv[1], "a", buffering=1), int(sys.argv[2]), int(sys.argv[3])
LAYER = b"layer " * 1000
DIGEST = "sha256:" + hashlib.sha256(LAYER).hexdigest()
PRIVATE = b"private " * 1000
DESCRIPTOR = {"digest": DIGEST, "size": len(LAYER)}
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **DESCRIPTOR},
                       "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **DESCRIPTOR}]}).encode()
USER = "Basic " + base64.b64encode(b"someone:of-the-registry").decode()
REALM = f"http://127.0.0.1:{registry_port}/token"


class Handler(Answering):
    def refuse(self, status, text, **headers):
        self.answer(status, json.dumps({"errors": [{"code": "DENIED", "message": text}]}).encode(), **headers)

    def has(self):
        if "/manifests/" in self.path:
            self.answer(200, MANIFEST, Content_Type="application/vnd.oci.image.manifest.v1+json",
                        Docker_Content_Digest="sha256:" + hashlib.sha256(MANIFEST).hexdigest())
        elif "/blobs/" in self.path:
            self.answer(200, PRIVATE if "/secret/" in self.path else LAYER, Content_Type="application/octet-stream")
        else:
            self.answer(200, b'{"name": "x", "tags": ["1"]}', Content_Type="application/json")

    def do_GET(self):
        registry = self.server.server_port == registry_port
        got = self.headers.get("Authorization")
        log.write(f"{'registry' if registry else 'mirror'} {self.command} {self.path} [{got}]\n")
        if self.path.startswith("/token"):
            return self.answer(200, json.dumps({"token": "for-" + ("someone" if got == USER else "nobody")}).encode())
        if "/secret/" in self.path or "/public/" in self.path:  # the mirror has nothing and asks for a login in many ways
            if not registry:
                how = self.path.split("/")[3]
                if how == "basic":
                    return self.refuse(401, "who is it?", WWW_Authenticate='Basic realm="mirror"')
                if how == "mute":
                    return self.refuse(401, "who is it?")
                if how == "realm":  # as if it were the registry
                    return self.refuse(401, "who is it?", WWW_Authenticate=f'Bearer realm="{REALM}",service="s",scope="s"')
                if how == "sick":
                    return self.refuse(503, "the merger of " + self.path)
                return self.refuse(404, "no such thing as " + self.path)
            if "/public/" in self.path or got in ("Bearer for-someone", "Bearer of-the-client", USER):
                return self.has()
            return self.refuse(401, "log in", WWW_Authenticate=f'Bearer realm="{REALM}",service="s",scope="s"')
        if "/guess/" in self.path:  # the registry has the manifest and refuses the blob, the mirror was only guessed to lack it
            if "/manifests/" in self.path:
                return self.has() if registry else self.refuse(404, "not here")
            of_registry, of_mirror = self.path.split("/")[3:5]
            how = int(of_registry if registry else of_mirror)
            if how == 401:
                return self.refuse(401, "registry says log in", WWW_Authenticate='Basic realm="the registry"')
            if how == 200:
                return self.has()
            return self.refuse(how, "registry says no" if registry else "mirror says no", Retry_After="1")
        if "/liar/" in self.path and self.command == "HEAD":
            return self.answer(200, b"lie")
        self.refuse(404, "nothing")

    do_HEAD = do_GET


servers = [ThreadingHTTPServer(("127.0.0.1", port), Handler) for port in (registry_port, mirror_port)]
for server in servers[1:]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
