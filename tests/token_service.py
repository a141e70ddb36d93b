#!/usr/bin/env python3
"""A registry's token service: token_service.py ADDRESS FOLDER USER PASSWORD.

It speaks TLS with FOLDER/auth.crt and auth.key, and signs with FOLDER/tokens.key, whose certificate FOLDER/tokens.crt the registry has.
Everybody may pull from library/; the user may do everything. Both forms of request are answered: GET with Basic (Docker's own) and POST
(OAuth 2). Since it is here, it is also a registry that can be searched (search.example)."""
import base64, http.server, json, os, ssl, subprocess, sys, time, urllib.parse

ADDRESS, FOLDER, USER, PASSWORD = sys.argv[1:5]
pem = open(f"{FOLDER}/tokens.crt").read()
CERTIFICATE = "".join(pem.split("-----")[2].split())


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(service, scopes, user):
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":", 2)
        allowed = actions.split(",") if user else ["pull"] if name.startswith("library/") and "pull" in actions else []
        if allowed:
            access.append({"type": kind, "name": name, "actions": allowed})
    now = int(time.time())
    head = {"typ": "JWT", "alg": "RS256", "x5c": [CERTIFICATE]}
    claims = {"iss": "tokens", "sub": user, "aud": service, "exp": now + 300, "nbf": now - 5, "iat": now, "jti": os.urandom(8).hex(), "access": access}
    signed = b64(json.dumps(head).encode()) + b"." + b64(json.dumps(claims).encode())
    sign = ["openssl", "dgst", "-sha256", "-sign", f"{FOLDER}/tokens.key"]
    return (signed + b"." + b64(subprocess.run(sign, input=signed, stdout=subprocess.PIPE, check=True).stdout)).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def user_of(self, form):
        """The user, nobody (""), or None: a wrong login."""
        name, password = form.get("username", [""])[0], form.get("password", [""])[0]
        basic = self.headers.get("Authorization", "")
        if basic.startswith("Basic "):
            name, _, password = base64.b64decode(basic[6:]).decode().partition(":")
        if not name and not password:
            return ""
        return name if (name, password) == (USER, PASSWORD) else None

    def answer_token(self, form):
        user = self.user_of(form)
        if user is None:
            self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong name or password"}]})
            return
        scopes = [one for scope in form.get("scope", []) for one in scope.split()]
        made = token(form.get("service", [""])[0], scopes, user)
        self.answer(200, {"token": made, "access_token": made, "expires_in": 300})

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/token":
            self.answer_token(urllib.parse.parse_qs(url.query))
        elif url.path in ("/v1/_ping", "/v2/"):
            self.answer(200, {})
        elif url.path == "/v1/search":
            self.answer(200, {"num_results": 1, "results": [{"name": "found/by-search", "description": "", "star_count": 1}]})
        else:
            self.answer(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if urllib.parse.urlsplit(self.path).path == "/token":
            self.answer_token(urllib.parse.parse_qs(body))
        else:
            self.answer(404, {})

    def log_message(self, form, *arguments):
        print(self.headers.get("Host", "") if hasattr(self, "headers") else "", form % arguments, flush=True)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def get_request(self):
        connection, peer = super().get_request()
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{FOLDER}/auth.crt", f"{FOLDER}/auth.key")
Server((ADDRESS, 443), Handler).serve_forever()
