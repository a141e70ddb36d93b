#!/usr/bin/env python3
"""pass_registry.py PORT: a registry that takes pushes, for pass.sh: manifests by tag, uploads in one PATCH, whose answer tells the digest of
what came. /asked/NAME says how often that manifest was requested. PATCH of /v2/x/blobs/uploads/refuse is answered 413 at once. Everything wants "Authorization: Bearer good" but pulls."""
import hashlib
import json
import sys
from http.server import ThreadingHTTPServer

from answering import Answering

tags, asked = {}, []
TYPE = "application/vnd.oci.image.index.v1+json"


def digest_of(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


class H(Answering):
    def pieces(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.rfile.readline(), 16):
            while size:
                piece = self.rfile.read(min(size, 1 << 16))
                size -= len(piece)
                yield piece
            self.rfile.readline()
        self.rfile.readline()

    def write(self):
        if self.headers.get("Authorization") != "Bearer good":
            return self.answer(401, WWW_Authenticate='Bearer realm="https://auth.reg.test/token",service="reg.test"')
        if self.path.endswith("/refuse"):
            self.close_connection = True
            return self.answer(413, b'{"errors":[{"code":"SIZE_INVALID"}]}', Connection="close")
        name = self.path.split("/")[-1]
        if name == "interim":
            return self.interim()
        body = hashlib.sha256()
        kept = b""
        for piece in self.pieces():
            body.update(piece)
            kept = piece
        digest = "sha256:" + body.hexdigest()
        if self.command == "PATCH":
            return self.answer(202, Location="/v2/x/blobs/uploads/next?_state=a%2Fb", Docker_Upload_Digest=digest, Set_Cookie="at=2")
        if self.command == "DELETE":
            for tag in [t for t, b in tags.items() if name in (t, digest_of(b))]:
                del tags[tag]
            return self.answer(202)
        tags[name] = kept
        self.answer(201, Docker_Content_Digest=digest)

    def interim(self):
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nX-Hint: 1\r\n\r\n")
        for _ in self.pieces():
            pass
        self.wfile.write(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
                         b"2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n")

    do_PUT = do_PATCH = do_DELETE = do_POST = write

    def do_GET(self):
        name = self.path.split("?")[0].split("/")[-1]
        if self.path == "/v2/":
            return self.write()
        if self.path.startswith("/asked/"):
            return self.answer(200, str(asked.count(name)).encode())
        if "/tags/list" in self.path:
            return self.answer(200, json.dumps({"name": "x", "tags": sorted(tags)}).encode(), Content_Type="application/json")
        if "/manifests/" not in self.path:
            return self.answer(200, self.path.encode(), X_Range=self.headers.get("Range", ""), X_Cookie=self.headers.get("Cookie", ""))
        asked.append(name)
        by_digest = {digest_of(b): b for b in tags.values()}
        found = tags.get(name) or by_digest.get(name)
        if not found:
            return self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        self.answer(200, found, Content_Type=TYPE, Docker_Content_Digest=digest_of(found))

    do_HEAD = do_GET


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
