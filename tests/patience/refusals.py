#!/usr/bin/env python3
"""A registry that refuses in many ways, by the repository's name: refusals.py PORT."""
import http.server
import json
import socketserver
import sys

PORT = int(sys.argv[1])


def error(message, detail=None, code="DENIED"):
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = self.path.split("/")[2] if self.path.startswith("/v2/") else ""
        sent = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            self.answer(200, b'{"token":"' + b"t" * 100000 + b'"}')
        elif name == "missing":
            self.answer(404, error("manifest unknown", {"Tag": "1"}, "MANIFEST_UNKNOWN"))
        elif name == "forbidden":
            self.answer(403, error("your plan\x1b[31m does not\nallow it", "ask the owner"))
        elif name == "broken":
            self.answer(500, error("the database is away", code="UNKNOWN"))
        elif name == "html":
            self.answer(503, b"<html>try later</html>")
        elif name == "echo" and not sent:
            self.answer(401, error("who is there?"), [("WWW-Authenticate", "Basic realm=x")])
        elif name == "echo":
            self.answer(403, error("you sent " + sent))
        elif name == "private" and not sent:
            self.answer(401, error("who is there?"), [("WWW-Authenticate", "Basic realm=x")])
        elif name == "private":
            index = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
            self.answer(200, index, [("Content-Type", "application/vnd.oci.image.index.v1+json")])
        elif name == "endless":
            self.send_response(403)
            self.end_headers()
            self.close_connection = True
            try:
                while self.command == "GET":
                    self.wfile.write(b" " * 65536)
            except OSError:
                pass
        elif name == "header":
            self.answer(200, b"{}", [("X-Long", "x" * 150000)])
        elif name == "token":
            realm = 'Bearer realm="http://127.0.0.1:%d/token",service="s"' % PORT
            self.answer(401, b"", [("WWW-Authenticate", realm)])
        elif name == "large":
            self.answer(200, b" " * (4 << 20) + b"{}")
        elif name == "limited":
            self.answer(429, error("10 pulls an hour", code="TOOMANYREQUESTS"), [("Retry-After", "60")])
        else:
            self.answer(404, b"")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


Server(("127.0.0.1", PORT), Handler).serve_forever()
