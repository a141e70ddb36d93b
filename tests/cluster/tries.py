#!/usr/bin/env python3
"""What one may try for a private image, at one address: tries.py URL MANIFEST-DIGEST BLOB... [-- HEADER...]

Paths under several repositories, whole, in part and by HEAD: any answer of 2xx, any of 5xx, and any body that could be a part of
a blob is a failure. In the environment, LOGIN is USER:PASSWORD, TLS a folder that has peers-ca.crt, and the certificate that CERT
names. Prints how many requests that were."""
import base64
import http.client
import os
import ssl
import sys
import urllib.parse

url, digest, *rest = sys.argv[1:]
blobs, headers = (rest[:rest.index("--")], rest[rest.index("--") + 1:]) if "--" in rest else (rest, [])
sent = {k: v.strip() for k, _, v in (line.partition(":") for line in headers)}
if "LOGIN" in os.environ:
    sent["Authorization"] = "Basic " + base64.b64encode(os.environ["LOGIN"].encode()).decode()
where = urllib.parse.urlsplit(url)


def connect():
    if where.scheme == "http":
        return http.client.HTTPConnection(where.netloc, timeout=10)
    context = ssl.create_default_context(cafile=os.environ["TLS"] + "/peers-ca.crt")
    if "CERT" in os.environ:
        context.load_cert_chain(f"{os.environ['TLS']}/{os.environ['CERT']}.crt", f"{os.environ['TLS']}/{os.environ['CERT']}.key")
    return http.client.HTTPSConnection(where.netloc, timeout=10, context=context)


conn = connect()


def ask(method, path, more):
    """The status and the body; 0: no answer, which is one too."""
    global conn
    for attempt in range(2):
        try:
            conn.request(method, path, headers={**sent, **more})
            answer = conn.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as e:
            if isinstance(e, TimeoutError):
                raise SystemExit(f"{url}: {method} {path}: no answer in ten seconds")
            conn.close()
            conn = connect()
    return 0, b""


paths = ["manifests/1", "manifests/" + digest, *("blobs/" + b for b in blobs), "tags/list", "referrers/" + digest]
WAYS = [("GET", {}), ("GET", {"Range": "bytes=5-"}), ("HEAD", {})]
tries = [("team/secret/" + p, *way) for p in paths for way in WAYS] + [("docker.io/team/secret/" + p, "GET", {}) for p in paths]
tries += [(f"{r}/{p}", "GET", {}) for r in ("team/bob", "library/public", "team/absent") for p in paths[1:-2]]
count = 0
for target, method, more in tries:
    status, body = ask(method, f"/v2/{target}?ns=docker.io", more)
    count += 1
    if 200 <= status < 300 or status >= 500 or len(body) > 2000:
        raise SystemExit(f"{url}: {method} {target} {more}: {status} with {len(body)} bytes: {body[:100]!r}")
print(count)
