"""A registry for doctor.sh: PORT FOLDER [CERTIFICATE KEY]. Files in the folder say what it does: `login` (basic, bearer), `ahead` (seconds
that its clock is ahead), `user` (name:password that it accepts)."""
import base64, os, ssl, sys, time
from http.server import ThreadingHTTPServer

from answering import Answering

port, folder = int(sys.argv[1]), sys.argv[2]


def setting(name):
    try:
        with open(os.path.join(folder, name)) as f:
            return f.read().strip()
    except FileNotFoundError:
        return ""


class Registry(Answering):
    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + int(setting("ahead") or 0))

    def do_GET(self):
        given = self.headers.get("Authorization", "")
        accepted = "Basic " + base64.b64encode(setting("user").encode()).decode()
        if self.path.startswith("/token"):
            good = given == accepted
            self.answer(200 if good else 401, b'{"token": "of-the-registry"}' if good else b"{}", Content_Type="application/json")
        elif setting("login") == "basic" and given != accepted:
            self.answer(401, b"{}", WWW_Authenticate='Basic realm="registry"')
        elif setting("login") == "bearer" and given != "Bearer of-the-registry":
            self.answer(401, b"{}", WWW_Authenticate=f'Bearer realm="http://127.0.0.1:{port}/token",service="registry"')
        else:
            self.answer(200 if self.path == "/v2/" else 404, b"{}", Docker_Distribution_Api_Version="registry/2.0")

    do_HEAD = do_GET


server = ThreadingHTTPServer(("127.0.0.1", port), Registry)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
