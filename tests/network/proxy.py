#!/usr/bin/env python3
"""proxy.py PORT LOG USER:PASSWORD: a proxy that wants a login; each request it carries is a line of LOG: CONNECT host:port, GET url."""
import base64
import http.client
import select
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

log = open(sys.argv[2], "a")
login = "Basic " + base64.b64encode(sys.argv[3].encode()).decode()


class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def is_let_in(self):
        if self.headers.get("Proxy-Authorization") == login:
            print(self.command, self.path.split("?")[0], file=log, flush=True)
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="corp"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_CONNECT(self):
        if not self.is_let_in():
            return
        host, _, port = self.path.rpartition(":")
        there = socket.create_connection((host.strip("[]"), int(port)))
        self.send_response(200)
        self.end_headers()
        ends = [self.connection, there]
        while True:
            for s in select.select(ends, [], [])[0]:
                data = s.recv(65536)
                if not data:
                    self.close_connection = True
                    there.close()
                    return
                ends[1 - ends.index(s)].sendall(data)

    def do_GET(self):
        if not self.is_let_in():
            return
        url = urlsplit(self.path)
        c = http.client.HTTPConnection(url.hostname, url.port or 80)
        headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-") and k.lower() != "connection"}
        c.request(self.command, url.path + ("?" + url.query if url.query else ""), headers=headers)
        r = c.getresponse()
        body = r.read()
        self.send_response(r.status)
        for k, v in r.getheaders():
            if k.lower() not in ("connection", "date", "server"):
                self.send_header(k, v)
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
