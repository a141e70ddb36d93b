"""What the registries of the tests have in common; lib.sh puts this folder on Python's path."""
from http.server import BaseHTTPRequestHandler


class Answering(BaseHTTPRequestHandler):
    """A request that is answered with a status, a body and headers: Content_Type="text/plain"."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
