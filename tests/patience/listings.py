#!/usr/bin/env python3
"""A registry whose lists come in pages, and a client that follows them.

    listings.py serve PORT FOLDER    FOLDER/state (JSON, read at each request):
        fail        status of every answer, 0: as it should be
        fail_next   status of every page but the first
        refers      what */app answers to who asks for referrers: a status, or "html" for a web page
        slow        seconds before each answer
        slow_lists  the same, of lists of tags
        signatures  how many the image has (of 5)
    listings.py crawl URL            prints what all pages list, one entry a line; fails as a client would

Repositories: */app has the referrers API (pages of 2), */old has not (404, as distribution 2.8 says it) and keeps the list in
the tag that stands in for it; */mute answers 200 with a web page; the pages of */ring lead in a ring; */null lists nothing as Go does;
*/huge has all tags on one page (n of them, 100 bytes each), */lost a next page without a query.
What it says of signatures is JSON as Go reads it, and few others: a key twice, "\\u0000" in a text. FOLDER/log has a line a request, FOLDER/names what is what.
"""
import hashlib
import http.client
import http.server
import json
import re
import socketserver
import sys
import time
import urllib.parse

OCI = "application/vnd.oci.image."
TAGS = ["a", "b", "c", "d", "e"]
content, manifests, names = {}, {}, {}


def keep(data, to):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    to[digest] = data
    return digest


def descriptor(digest, data, kind):
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def make_manifest(name, **more):
    config = b'{"name": "%s"}' % name.encode()
    layer = b"layer of " + name.encode()
    doc = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", **more,
           "config": descriptor(keep(config, content), config, OCI + "config.v1+json"),
           "layers": [descriptor(keep(layer, content), layer, OCI + "layer.v1.tar")]}
    data = json.dumps(doc).encode()
    names[name] = keep(data, manifests)
    return names[name], data


def make_all():
    image, data = make_manifest("image")
    make_manifest("bare")
    for i in range(5):
        make_manifest(f"signature{i}", artifactType="application/x-odd" if i % 2 else "application/x-even",
                      annotations={"k": "a\0b"},
                      subject=descriptor(image, data, OCI + "manifest.v1+json"))


def referrers(digest, count):
    listed = [names[f"signature{i}"] for i in range(count)] if digest == names["image"] else []
    return [{**descriptor(d, manifests[d], OCI + "manifest.v1+json"),
             "artifactType": json.loads(manifests[d])["artifactType"], "annotations": {"k": "a\0b"}} for d in listed]


def index(entries):
    text = json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries})
    return ('{"schemaVersion": 1, ' + text[1:]).encode()


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", kind="application/json", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def unknown(self, code):
        self.answer(404, json.dumps({"errors": [{"code": code, "message": "unknown"}]}).encode())

    def page(self, entries, size, query):
        """The entries of this page, and the headers that lead to the next."""
        start = int(query.get("at", ["0"])[0])
        rest = entries[start + size:]
        # Three links, one header or more, longer than a kilobyte, absolute, unquoted: RFC 8288 allows all of it.
        more = urllib.parse.urlencode({**{k: v[0] for k, v in query.items()}, "at": start + size, "token": "x" * 2500})
        here = self.path.split("?")[0]
        links = [("Link", f'<{here}?first>; rel="first", <https://elsewhere.example{here}?{more}#f>; title="a, <b>; c"; REL=Next'),
                 ("Link", '</terms>; rel="license"')]
        return entries[start:start + size], links if rest else []

    def do_GET(self):
        state = json.load(open(folder + "/state"))
        with open(folder + "/log", "a") as log:
            print(self.command, self.path[:200], file=log)
        time.sleep(state.get("slow", 0))
        path, _, text = self.path.partition("?")
        query = urllib.parse.parse_qs(text)
        if state.get("fail"):
            self.answer(state["fail"], headers=[("Retry-After", "1")])
        elif state.get("fail_next") and "at" in query:
            self.answer(state["fail_next"])
        elif m := re.fullmatch(r"/v2/(.+)/tags/list", path):
            self.tags(m[1], query, state)
        elif m := re.fullmatch(r"/v2/(.+)/referrers/(.+)", path):
            self.referrers(m[1], m[2], query, state)
        elif m := re.fullmatch(r"/v2/(.+)/manifests/(.+)", path):
            self.manifest(m[1], m[2], state)
        elif (m := re.fullmatch(r"/v2/(.+)/blobs/(.+)", path)) and m[2] in content:
            self.answer(200, content[m[2]], "application/octet-stream")
        else:
            self.unknown("NAME_UNKNOWN")

    do_HEAD = do_GET

    def tags(self, repo, query, state):
        if "none" in repo:
            self.unknown("NAME_UNKNOWN")
        elif "mute" in repo:
            self.answer(200, b"<html>", "text/html")
        elif not query.get("n", ["2"])[0].isdigit():
            self.answer(400)
        elif "huge" in repo:
            self.answer(200, json.dumps({"name": repo, "tags": ["%0100d" % i for i in range(int(query["n"][0]))]}).encode())
        elif "lost" in repo:
            self.answer(200, b'{"name": "lost", "tags": ["a"]}', headers=[("Link", '</v2/lost/page2>; rel="next"')])
        elif "ring" in repo:
            at = int(query.get("at", ["0"])[0])
            self.answer(200, b'{"name": "ring", "tags": ["a"]}', headers=[("Link", f'<?at={at % 3 + 1}>; rel="next"')])
        else:
            time.sleep(state.get("slow_lists", 0))
            tags, links = self.page(TAGS, int(query.get("n", ["2"])[0]), query)
            self.answer(200, json.dumps({"name": repo, "tags": tags}).encode(), headers=links)

    def referrers(self, repo, digest, query, state):
        if "none" in repo:
            self.unknown("NAME_UNKNOWN")
        elif "mute" in repo:
            self.answer(200, b"<html>", "text/html")
        elif "old" in repo:
            self.answer(404, b"404 page not found\n", "text/plain; charset=utf-8")
        elif "null" in repo:
            self.answer(200, b'{"schemaVersion": 2, "manifests": null}')
        elif state.get("refers") == "html":
            self.answer(200, b"<html>", "text/html")
        elif state.get("refers"):
            self.answer(state["refers"])
        else:
            listed, wanted = referrers(digest, state["signatures"]), query.get("artifactType")
            if wanted:
                listed = [d for d in listed if d["artifactType"] == wanted[0]]
            entries, headers = self.page(listed, 2, query)
            if wanted:
                headers = headers + [("OCI-Filters-Applied", "artifactType")]
            self.answer(200, index(entries), OCI + "index.v1+json", headers)

    def manifest(self, repo, reference, state):
        if "old" in repo and reference == names["image"].replace(":", "-") and state["signatures"]:
            self.answer(200, index(referrers(names["image"], state["signatures"])), OCI + "index.v1+json")
        elif reference in TAGS + ["1"]:
            self.answer(200, manifests[names["image"]], OCI + "manifest.v1+json")
        elif reference in manifests:
            self.answer(200, manifests[reference], OCI + "manifest.v1+json")
        else:
            self.unknown("MANIFEST_UNKNOWN")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def crawl(url):
    for _ in range(20):
        parts = urllib.parse.urlsplit(url)
        c = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        c.request("GET", url[len(f"{parts.scheme}://{parts.netloc}"):], headers={"User-Agent": "crawler"})
        r = c.getresponse()
        body = r.read()
        if r.status != 200:
            sys.exit(f"{r.status} {body[:200]}")
        doc = json.loads(body)
        for entry in doc.get("tags", doc.get("manifests")):
            print(entry if isinstance(entry, str) else entry["digest"])
        links = r.msg.get_all("Link") or []
        if not links:
            return
        if len(links) > 1 or not links[0].endswith('; rel="next"'):
            sys.exit(f"clients take the first link, whatever it is: {links}")
        following = urllib.parse.urljoin(url, links[0][1:links[0].index(">")])
        if following == url:
            break
        url = following
    sys.exit("the list has no end")


make_all()
if sys.argv[1] == "crawl":
    crawl(sys.argv[2])
else:
    folder = sys.argv[3]
    with open(folder + "/names", "w") as out:
        json.dump(names, out)
    Server(("127.0.0.1", int(sys.argv[2])), Registry).serve_forever()
