#!/usr/bin/env python3
"""The referrers API for a registry that has none: referrers_api.py PORT REGISTRY-PORT [N]

It stands before docker-registry, passes everything on, and notes which manifests name a subject (distribution-spec, "Pushing
Manifests with Subject", "Listing Referrers"). With N, it gives N of them at a time.
"""
import hashlib
import http.client
import http.server
import json
import sys
import urllib.parse

PAGE = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
INDEX = "application/vnd.oci.image.index.v1+json"
referrers = {}  # by path of the listing: descriptors


def descriptor(body):
    """What a listing says of a manifest."""
    doc = json.loads(body)
    d = {"mediaType": doc["mediaType"], "digest": "sha256:" + hashlib.sha256(body).hexdigest(), "size": len(body)}
    d["artifactType"] = doc.get("artifactType") or doc["config"]["mediaType"]
    if "annotations" in doc:
        d["annotations"] = doc["annotations"]
    return d


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":  # as Go sends what may be empty
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def pass_on(self):
        body = self.body()
        registry = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]), timeout=30)
        registry.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():  # Accept comes more than once
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                registry.putheader(name, value)
        if self.command not in ("GET", "HEAD"):
            registry.putheader("Content-Length", str(len(body)))
        registry.endheaders(body)
        answer = registry.getresponse()
        got = answer.read()
        headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in ("transfer-encoding", "connection")]
        if not answer.getheader("Content-Length"):
            headers.append(("Content-Length", str(len(got))))
        if self.command == "PUT" and "/manifests/" in self.path and answer.status == 201:
            headers += self.note(body)
        self.reply(answer.status, headers, got)
        registry.close()

    def note(self, body):
        subject = json.loads(body).get("subject")
        if not subject:
            return []
        listing = referrers.setdefault(self.path.split("/manifests/")[0] + "/referrers/" + subject["digest"], [])
        if descriptor(body) not in listing:
            listing.append(descriptor(body))
        return [("OCI-Subject", subject["digest"])]

    def list_referrers(self, path, query):
        found, headers = referrers.get(path, []), [("Content-Type", INDEX)]
        if "artifactType" in query:
            found = [d for d in found if d["artifactType"] == query["artifactType"]]
            headers.append(("OCI-Filters-Applied", "artifactType"))
        first = int(query.get("from", "0"))
        if len(found) > first + PAGE:
            more = urllib.parse.urlencode({**query, "from": first + PAGE})
            headers.append(("Link", f'<{path}?{more}>; rel="next"'))
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": found[first : first + PAGE]}).encode()
        self.reply(200, headers + [("Content-Length", str(len(body)))], body)

    def serve(self):
        parts = urllib.parse.urlsplit(self.path)
        if self.command == "GET" and "/referrers/" in parts.path:
            self.list_referrers(parts.path, dict(urllib.parse.parse_qsl(parts.query)))
        else:
            self.pass_on()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
