"""A store that misbehaves: it does what the first segment of a path says. Prints nothing; logs a line a request to the file given.

    shared_foes.py PORT LOG
"""
import http.server
import socketserver
import sys
import time

BLOB = b"0123456789" * 20000
DENIED = b"<Error><Code>AccessDenied</Code></Error>"


class Foe(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not False:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def part(self, body, first, last, total):
        self.answer(206, body, Content_Range=f"bytes {first}-{last}/{total}")

    def error(self, status, code, **headers):
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode(), Content_Type="application/xml", **headers)

    def drip(self, seconds, chunk=b"x", pause=0.1):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.wfile.write(chunk)
            self.wfile.flush()
            time.sleep(pause)

    # ---- what is asked for by a reader ----

    def do_GET(self):
        mode = self.note()
        if "/sha256/00/00" in self.path and not mode.startswith("always-"):
            return self.error(404, "NoSuchKey")
        getattr(self, "get_" + mode.removeprefix("always-").replace("-", "_"), self.get_plain)()

    def get_plain(self):
        asked = self.headers.get("Range")
        if not asked:
            return self.answer(200, BLOB)
        first, last = asked.removeprefix("bytes=").split("-")
        last = min(int(last or len(BLOB)), len(BLOB) - 1)
        self.part(BLOB[int(first) : last + 1], int(first), last, len(BLOB))

    def get_slow(self):
        time.sleep(3)
        self.get_plain()

    def get_slow_head(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.drip(3, b"X-A: b\r\n")

    def get_silent(self):
        time.sleep(20)

    def get_500(self):
        self.error(500, "InternalError")

    def get_503(self):
        self.error(503, "SlowDown", Retry_After="1")

    def get_html(self):
        self.answer(200, b"<html>Welcome to the hotel</html>", Content_Type="text/html; charset=utf-8")

    def get_html_404(self):
        self.answer(404, b"<html>no such page</html>", Content_Type="text/html")

    def get_whole_for_range(self):
        self.answer(200, BLOB)

    def get_other_range(self):
        self.part(BLOB[:100], 0, 99, len(BLOB))

    def get_range_too_long(self):
        self.part(BLOB[100:301], 100, 300, len(BLOB))

    def get_range_too_short(self):
        self.part(BLOB[100:150], 100, 149, len(BLOB))

    def get_wrong_length(self):
        self.answer(206, BLOB[100:150], Content_Range=f"bytes 100-199/{len(BLOB)}")

    def get_two_lengths(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n01234567890123456789")

    def get_no_range(self):
        self.answer(206, BLOB[100:200])

    def get_gzip(self):
        self.answer(200, BLOB, Content_Encoding="gzip")

    def get_chunked(self):
        self.answer(200, b"5\r\n01234\r\n0\r\n\r\n", length=False, Transfer_Encoding="chunked")

    def get_endless(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        self.drip(20, b"x" * 65536, 0.01)

    def get_endless_error(self):
        self.wfile.write(b"HTTP/1.1 403 No\r\n\r\n")
        self.drip(20, b"<Error>" * 1000, 0.01)

    def get_endless_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.drip(20, b"X-A: b\r\n" * 1000, 0.01)

    def get_cut(self):
        self.answer(200, BLOB[:1000], length=len(BLOB))
        self.close_connection = True

    def get_stall(self):
        self.answer(200, BLOB[:1000], length=len(BLOB))
        time.sleep(20)

    def get_redirect(self):
        self.answer(307, Location=f"http://127.0.0.1:{self.server.server_port}/plain{self.path}")

    def get_redirect_away(self):
        self.answer(301, b"<Error><Code>PermanentRedirect</Code></Error>", Location="http://169.254.169.254/x")

    def get_not_http(self):
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.close_connection = True

    def get_drop(self):
        self.close_connection = True

    # ---- and by a writer ----

    def do_HEAD(self):
        if self.note() == "put-head-500":
            return self.answer(500)
        self.answer(404)

    def do_POST(self):
        mode, body = self.note(), self.body()
        if "uploads=" in self.path:
            if mode == "put-no-id":
                return self.answer(200, b"<html>hello</html>")
            return self.answer(200, b"<R><UploadId>a/b+c&amp;d</UploadId></R>")
        if mode == "put-late-error":
            return self.answer(200, b"   <Error><Code>InternalError</Code></Error>")
        if mode == "put-complete-412":
            return self.error(412, "PreconditionFailed")
        if mode == "put-bare" and self.headers.get("If-None-Match"):
            return self.error(501, "NotImplemented")
        self.answer(200, b"<R/>" if body.count(b"<Part>") else b"<Error/>")

    def do_DELETE(self):
        self.note()
        self.answer(204)

    def do_PUT(self):
        mode = self.note()
        if mode == "put-507":
            self.body()
            return self.error(507, "InsufficientStorage")
        if mode == "put-early":
            self.close_connection = True
            return self.error(503, "SlowDown", Connection="close")
        self.body()
        if mode in ("put-part-500", "put-500"):
            return self.error(500, "InternalError")
        if mode == "put-bad-tag":
            return self.answer(200, ETag='"</ETag><x>"')
        self.answer(200, ETag='"tag"')

    # ---- both ----

    def body(self):
        left, out = int(self.headers.get("Content-Length", 0)), b""
        while left > 0:
            piece = self.rfile.read(min(left, 1 << 20))
            if not piece:
                raise ConnectionError
            left -= len(piece)
            out = piece
        return out

    def note(self):
        with open(sys.argv[2], "a") as log:
            print(self.command, self.path, self.headers.get("If-None-Match", "-"), file=log)
        return self.path.split("/")[1]


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


Server(("127.0.0.1", int(sys.argv[1])), Foe).serve_forever()
