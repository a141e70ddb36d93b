#!/usr/bin/env python3
"""pushes.py REGISTRY_PORT CA PROXY_PORT FILE CHUNK_MIB: pushes the file as a blob to https://reg.test, as engines do, and prints the
seconds that it took. PROXY_PORT 0: to the registry itself. CHUNK_MIB 0: in one PUT; else in PATCHes of so much and a PUT."""
import hashlib
import http.client
import mmap
import socket
import ssl
import sys
import time
import urllib.parse

registry, ca, proxy, path, chunk = sys.argv[1:]
with open(path, "rb") as f:
    content = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
digest = "sha256:" + hashlib.sha256(content).hexdigest()


class Client(http.client.HTTPSConnection):
    """The name reg.test leads to REGISTRY_PORT here."""

    def connect(self):
        s = socket.create_connection(("127.0.0.1", int(proxy) or int(registry)), timeout=120)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if int(proxy):
            s.sendall(b"CONNECT reg.test:443 HTTP/1.1\r\nHost: reg.test:443\r\n\r\n")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += s.recv(1)
            if b" 200 " not in head:
                sys.exit(head.decode())
        self.sock = ssl.create_default_context(cafile=ca).wrap_socket(s, server_hostname="reg.test")


def ask(conn, method, target, want, body=b"", headers=()):
    conn.putrequest(method, target)
    for name, value in (("Content-Length", len(body)), ("Content-Type", "application/octet-stream"), *headers):
        conn.putheader(name, value)
    conn.endheaders()
    for at in range(0, len(body), 256 << 10):
        conn.send(body[at:at + (256 << 10)])
    answer = conn.getresponse()
    text = answer.read()
    if answer.status != want:
        sys.exit(f"{method} {target}: {answer.status} {text[:200]}")
    where = urllib.parse.urlsplit(answer.headers["Location"])
    return where.path + (f"?{where.query}" if where.query else "")


begin = time.monotonic()
c = Client("reg.test")
to = ask(c, "POST", "/v2/pushed/blobs/uploads/", 202)
view, step = memoryview(content), int(chunk) << 20
for at in range(0, len(view) if step else 0, step or 1):
    piece = view[at:at + step]
    to = ask(c, "PATCH", to, 202, piece, [("Content-Range", f"{at}-{at + len(piece) - 1}")])
ask(c, "PUT", to + ("&" if "?" in to else "?") + "digest=" + digest, 201, view[:0] if step else view)
print(f"{time.monotonic() - begin:.3f}")
