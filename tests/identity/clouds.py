#!/usr/bin/env python3
"""clouds.py PORT FOLDER HOST: a token service, and the parts of Amazon's, Google's and Azure's clouds that give out registry
credentials, as strict as their documentation. FOLDER holds key.pem and cert.pem (what docker-registry trusts), google.pub (of the
service account), and state.json, read anew for every request:

    anonymous     whether a token is given to nobody
    accounts      {user: password}: who may log in at the token service
    skew          seconds by which tokens end before the token service says so: what a clock that is wrong does
    down          parts that answer 503: token, ecr, gcp, azure
    aws           {id, secret, session}: the access key that signatures are checked against
    generation    raised by a test: what was given out under another one is no longer good
    grants        {user: [repositories]}: who may pull what ("*": all); without it, everybody everything

A line for each request goes to FOLDER/requests.log, without secrets. Sources: distribution's token specification; "Create a signed
AWS API request" and the ECR, STS and IMDSv2 pages of AWS; Google's "Using OAuth 2.0 for server to server applications" and
"Access Compute Engine metadata"; Microsoft's "Acquire an access token" (IMDS), "client credentials flow" and Azure/acr AAD-OAuth.md.
"""
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

port, folder, host = int(sys.argv[1]), sys.argv[2], sys.argv[3]
lock = threading.Lock()
issued = {}  # secret: (kind, generation)


def state():
    with open(f"{folder}/state.json") as f:
        return json.load(f)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def un64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def issue(kind):
    secret = f"canary-{kind}-" + os.urandom(12).hex()
    with lock:
        issued[secret] = (kind, state().get("generation", 0))
        with open(f"{folder}/secrets", "a") as f:
            f.write(secret + "\n")
    return secret


def is_issued(kind, secret):
    with lock:
        return issued.get(secret) == (kind, state().get("generation", 0))


def openssl(*args, data=b""):
    return subprocess.run(["openssl", *args], input=data, capture_output=True, check=True).stdout


def jwt(claims):
    der = openssl("x509", "-in", f"{folder}/cert.pem", "-outform", "DER")
    head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
    text = b64url(json.dumps(head).encode()) + "." + b64url(json.dumps(claims).encode())
    token = text + "." + b64url(openssl("dgst", "-sha256", "-sign", f"{folder}/key.pem", data=text.encode()))
    with lock, open(f"{folder}/secrets", "a") as f:
        f.write(token + "\n")
    return token


def signature_of(secret, method, path, query, headers, signed, body, date, region, service):
    """SigV4, from the specification; `headers` in lower case."""
    canonical = "\n".join([
        method, quote(path, safe="/-_.~") or "/",
        "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(parse_qsl(query, True))),
        "".join(f"{h}:{' '.join(headers.get(h, '').split())}\n" for h in signed), ";".join(signed),
        hashlib.sha256(body).hexdigest()])
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in (date[:8], region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Refused(Exception):
    def __init__(self, status, why):
        super().__init__(why)
        self.status, self.why = status, why


def need(condition, status, why):
    if not condition:
        raise Refused(status, why)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return status

    def serve(self):
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        self.url, self.state = url, state()
        self.lower = {k.lower(): v for k, v in self.headers.items()}
        why = ""
        try:
            for prefix, part, fn in PAGES:
                if url.path.startswith(prefix):
                    need(part not in self.state.get("down", []), 503, f"{part} is down")
                    status = fn(self)
                    break
            else:
                raise Refused(404, "no such page")
        except Refused as r:
            why = r.why
            status = self.answer(r.status, {"error": r.why})
        with lock, open(f"{folder}/requests.log", "a") as f:
            f.write(f"{self.command} {url.path} {status} {why}\n")

    do_GET = do_POST = do_PUT = serve

    def form(self):
        need(self.command == "POST", 405, "POST it")
        need(self.lower.get("content-type", "").startswith("application/x-www-form-urlencoded"), 415, "not a form")
        return {k: v[0] for k, v in parse_qs(self.body.decode(), True).items()}

    # ---- the token service ----

    def knows(self, user, password):
        return self.state.get("accounts", {}).get(user) == password or any(
            user == name and is_issued(kind, password)
            for name, kind in (("AWS", "ecr"), ("oauth2accesstoken", "gcp"), ("kubelet", "kubelet")))

    def token(self):
        fields, user = {k: v[0] for k, v in parse_qs(self.url.query, True).items()}, None
        if self.command == "POST":
            fields = self.form()
            if fields.get("grant_type") == "refresh_token":
                secret = fields.get("refresh_token", "")
                need(is_issued("acr", secret) or secret in self.state.get("identity_tokens", []), 401, "bad refresh token")
                user = "(refresh token)"
            else:
                need(fields.get("grant_type") == "password", 400, "grant_type")
                need(self.knows(fields.get("username"), fields.get("password")), 401, "bad password")
                user = fields["username"]
        elif "authorization" in self.lower:
            kind, _, value = self.lower["authorization"].partition(" ")
            need(kind == "Basic", 401, "not Basic")
            user, _, password = base64.b64decode(value).decode().partition(":")
            need(self.knows(user, password), 401, "bad password")
        else:
            need(self.state.get("anonymous"), 401, "no anonymous tokens")
        need(fields.get("service") == "registry", 400, "service")
        now, access = int(time.time()), []
        for scope in fields.get("scope", "").split(" "):
            parts = scope.split(":")
            if len(parts) < 3:
                continue
            name, actions = ":".join(parts[1:-1]), parts[-1].split(",")
            grants = self.state.get("grants")
            mine = (["*"] if grants is None else []) + (grants or {}).get(user or "", []) + (grants or {}).get("", [])
            if "*" in mine or name in mine:
                access.append({"type": parts[0], "name": name, "actions": actions})
        skew = self.state.get("skew")
        # docker-registry allows for a minute of skew
        end = now + 300 if skew is None else now - 60 + skew
        token = jwt({"iss": "clouds", "sub": user or "", "aud": "registry", "exp": end, "nbf": now - 900, "iat": now - 900,
                     "jti": os.urandom(8).hex(), "access": access})
        return self.answer(200, {self.state.get("token_key", "access_token" if self.command == "POST" else "token"): token,
                                 **({} if self.state.get("no_expiry") else {"expires_in": 300})})

    # ---- Amazon ----

    def check_signature(self, service, region):
        kind, _, rest = self.lower.get("authorization", "").partition(" ")
        need(kind == "AWS4-HMAC-SHA256", 403, "MissingAuthenticationToken")
        parts = dict(p.strip().split("=", 1) for p in rest.split(","))
        key, aws = parts["Credential"].split("/"), self.state["aws"]
        signed, date = parts["SignedHeaders"].split(";"), self.lower.get("x-amz-date", "")
        need(key[0] == aws["id"], 403, "UnrecognizedClientException")
        need(key[1:] == [date[:8], region, service, "aws4_request"], 403, f"scope {key[1:]}")
        need(abs(time.time() - time.mktime(time.strptime(date, "%Y%m%dT%H%M%SZ")) + time.timezone) < 300, 403, "date")
        need({"host", "x-amz-date"} <= set(signed) <= set(self.lower), 403, f"SignedHeaders {signed}")
        if aws.get("session"):
            need(self.lower.get("x-amz-security-token") == aws["session"], 403, "security token")
            need("x-amz-security-token" in signed, 403, "the security token is not signed")
        want = signature_of(aws["secret"], self.command, self.url.path, self.url.query, self.lower, signed, self.body,
                            date, region, service)
        need(parts["Signature"] == want, 403, "SignatureDoesNotMatch")

    def ecr(self):
        public = "public" in host
        self.check_signature("ecr-public" if public else "ecr", "us-east-1" if public else "eu-west-1")
        need(self.command == "POST" and self.lower.get("content-type") == "application/x-amz-json-1.1", 400, "type")
        target = "SpencerFrontendService" if public else "AmazonEC2ContainerRegistry_V20150921"
        need(self.lower.get("x-amz-target") == f"{target}.GetAuthorizationToken", 400, "X-Amz-Target")
        asked = json.loads(self.body)
        need(asked == ({} if public else {"registryIds": ["123456789012"]}), 400, "body")
        data = {"authorizationToken": base64.b64encode(b"AWS:" + issue("ecr").encode()).decode(),
                "expiresAt": time.time() + 43200}
        return self.answer(200, {"authorizationData": data if public else [{**data, "proxyEndpoint": f"https://{host}"}]},
                           "application/x-amz-json-1.1")

    def key_json(self):
        aws = self.state["aws"]
        return {"Code": "Success", "AccessKeyId": aws["id"], "SecretAccessKey": aws["secret"], "Token": aws["session"],
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))}

    def imds(self):
        path = self.url.path
        if path == "/latest/api/token":
            need(self.command == "PUT", 405, "PUT it")
            ttl = int(self.lower.get("x-aws-ec2-metadata-token-ttl-seconds", 0))
            need(1 <= ttl <= 21600, 400, "ttl")
            return self.answer(200, issue("imds").encode(), "text/plain")
        need(self.command == "GET" and is_issued("imds", self.lower.get("x-aws-ec2-metadata-token", "")), 401, "IMDSv2 only")
        if path == "/latest/meta-data/iam/security-credentials/":
            return self.answer(200, b"node-role", "text/plain")
        need(path == "/latest/meta-data/iam/security-credentials/node-role", 404, "path")
        return self.answer(200, self.key_json())

    def container(self):
        need(self.lower.get("authorization") == self.state.get("container_token"), 401, "container token")
        return self.answer(200, self.key_json())

    def sts(self):
        f, aws = self.form(), self.state["aws"]
        need(f.get("Action") == "AssumeRoleWithWebIdentity" and f.get("Version") == "2011-06-15", 400, "Action")
        need(f.get("RoleArn") == "arn:aws:iam::123456789012:role/pull" and f.get("RoleSessionName"), 400, "RoleArn")
        need(f.get("WebIdentityToken") == self.state.get("web_identity"), 403, "InvalidIdentityToken")
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        xml = ("<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
               "<AssumeRoleWithWebIdentityResult><Credentials>"
               f"<AccessKeyId>{aws['id']}</AccessKeyId><SecretAccessKey>{aws['secret']}</SecretAccessKey>"
               f"<SessionToken>{aws['session']}</SessionToken><Expiration>{end}</Expiration>"
               "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>")
        return self.answer(200, xml.encode(), "text/xml")

    # ---- Google ----

    def gcp_metadata(self):
        need(self.command == "GET" and self.lower.get("metadata-flavor") == "Google", 403, "Metadata-Flavor")
        need(self.url.path == "/computeMetadata/v1/instance/service-accounts/default/token", 404, "path")
        return self.answer(200, {"access_token": issue("gcp"), "expires_in": 3599, "token_type": "Bearer"})

    def gcp_token(self):
        f = self.form()
        need(f.get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer", 400, "grant_type")
        head, claims, signature = f.get("assertion", "..").split(".")
        with tempfile.NamedTemporaryFile() as s:
            s.write(un64url(signature))
            s.flush()
            try:
                openssl("dgst", "-sha256", "-verify", f"{folder}/google.pub", "-signature", s.name, data=f"{head}.{claims}".encode())
            except subprocess.CalledProcessError:
                raise Refused(400, "invalid_grant: Invalid JWT Signature")
        head, claims, now = json.loads(un64url(head)), json.loads(un64url(claims)), time.time()
        need(head.get("alg") == "RS256" and head.get("typ") == "JWT" and head.get("kid") == "key-1", 400, "header")
        need(claims.get("iss") == "puller@project.iam.gserviceaccount.com", 400, "iss")
        need(claims.get("aud") == "https://oauth2.googleapis.com/token", 400, "aud")
        need("cloud-platform" in claims.get("scope", ""), 400, "scope")
        need(now - 60 < claims["iat"] < now + 60 and claims["iat"] < claims["exp"] <= claims["iat"] + 3600, 400, "times")
        return self.answer(200, {"access_token": issue("gcp"), "expires_in": 3599, "token_type": "Bearer"})

    # ---- Azure ----

    def azure_metadata(self):
        q = {k: v[0] for k, v in parse_qs(self.url.query).items()}
        need(self.command == "GET" and self.lower.get("metadata") == "true", 400, "Metadata: true")
        need(q.get("api-version") == "2018-02-01" and q.get("resource") == "https://management.azure.com/", 400, "query")
        return self.answer(200, {"access_token": issue("entra"), "expires_in": "3599", "resource": q["resource"]})

    def entra(self):
        f = self.form()
        need(self.url.path == "/entra/tenant-1/oauth2/v2.0/token", 404, "tenant")
        need(f.get("grant_type") == "client_credentials" and f.get("client_id") == "client-1", 400, "client")
        need(f.get("scope") == "https://management.azure.com/.default", 400, "scope")
        if "client_assertion" in f:
            need(f.get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", 400, "type")
            need(f["client_assertion"] == self.state.get("federated"), 401, "client_assertion")
        else:
            need(f.get("client_secret") == self.state.get("client_secret"), 401, "invalid_client")
        return self.answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": issue("entra")})

    def acr_exchange(self):
        f = self.form()
        need(f.get("grant_type") == "access_token" and f.get("service") == host, 400, "service")
        need(is_issued("entra", f.get("access_token", "")), 401, "access_token")
        return self.answer(200, {"refresh_token": issue("acr")})

    def kubelet(self):
        return self.answer(200, issue("kubelet").encode(), "text/plain")


PAGES = [
    ("/token", "token", Handler.token),
    ("/ecr", "ecr", Handler.ecr),
    ("/sts", "ecr", Handler.sts),
    ("/latest/", "ecr", Handler.imds),
    ("/container", "ecr", Handler.container),
    ("/computeMetadata/", "gcp", Handler.gcp_metadata),
    ("/gcp-token", "gcp", Handler.gcp_token),
    ("/metadata/identity/oauth2/token", "azure", Handler.azure_metadata),
    ("/entra/", "azure", Handler.entra),
    ("/oauth2/exchange", "azure", Handler.acr_exchange),
    ("/kubelet", "kubelet", Handler.kubelet),
]


def check_vectors():
    """The published test suite of Signature Version 4: get-vanilla, post-vanilla, get-vanilla-query-order-key-case."""
    for method, query, want in (
            ("GET", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            ("GET", "Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500")):
        headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}
        got = signature_of("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", method, "/", query, headers, ["host", "x-amz-date"],
                           b"", "20150830T123600Z", "us-east-1", "service")
        assert got == want, (method, query, got)


check_vectors()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


Server(("127.0.0.1", port), Handler).serve_forever()
