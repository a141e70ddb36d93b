#!/usr/bin/env python3
"""Pushes an image of made-up content to a registry: image.py HOST:PORT REPOSITORY:TAG SEED SIZE...

SIZE is of a layer: 48M, 300K, 5000. The same seed and size are the same bytes each time; a layer "SEED=SIZE" has a seed of its
own, so that images can share it. In the environment, MORE_TAGS="a b" are more names of the image, LOGIN=USER:PASSWORD is for a token
service, and with TAR each layer is an archive of one file, as engines unpack it. Prints the manifest's digest and the sum of the blobs' bytes."""
import base64
import hashlib
import http.client
import io
import json
import os
import random
import re
import sys
import tarfile
import urllib.parse

UNITS = {"K": 1 << 10, "M": 1 << 20}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def content(seed, size):
    """In pieces: random.randbytes() makes one big number of all."""
    source = random.Random(seed)
    return b"".join(source.randbytes(min(1 << 20, size - at)) for at in range(0, size, 1 << 20))


class Registry:
    def __init__(self, host, repository):
        self.host, self.repository, self.token = host, repository, None
        self.conn = http.client.HTTPConnection(host, timeout=20)

    def ask(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self.conn.request(method, path, body, headers)
        answer = self.conn.getresponse()
        text = answer.read()
        if answer.status == 401 and not self.token and "LOGIN" in os.environ:
            self.login(answer.headers["WWW-Authenticate"])
            return self.ask(method, path, body, headers)
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text[:200]}")
        return answer.headers

    def login(self, challenge):
        field = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        url = urllib.parse.urlsplit(field["realm"])
        conn = http.client.HTTPConnection(url.netloc, timeout=20)
        query = urllib.parse.urlencode({"service": field["service"], "scope": f"repository:{self.repository}:pull,push"})
        conn.request("GET", f"{url.path}?{query}",
                     headers={"Authorization": "Basic " + base64.b64encode(os.environ["LOGIN"].encode()).decode()})
        self.token = json.loads(conn.getresponse().read())["token"]

    def put_blob(self, data):
        where = self.ask("POST", f"/v2/{self.repository}/blobs/uploads/")["Location"]
        url = urllib.parse.urlsplit(where)
        self.ask("PUT", f"{url.path}?{url.query}&digest={digest(data)}", data, {"Content-Type": "application/octet-stream"})

    def put_manifest(self, tag, data, kind):
        self.ask("PUT", f"/v2/{self.repository}/manifests/{tag}", data, {"Content-Type": kind})


def descriptor(kind, data):
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}


def archive(name, data):
    out, member = io.BytesIO(), tarfile.TarInfo(name)
    member.size = len(data)
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def layer(seed, text, number):
    own, _, size = text.rpartition("=")
    unit = UNITS.get(size[-1], 1)
    data = content(own or f"{seed}-{number}", int(size.rstrip("KM")) * unit)
    return archive(f"file-{number}", data) if "TAR" in os.environ else data


def main(host, reference, seed, *sizes):
    repository, _, tag = reference.rpartition(":")
    registry = Registry(host, repository)
    layers = [layer(seed, size, i) for i, size in enumerate(sizes)]
    config = json.dumps({"os": "linux", "architecture": "amd64", "created": "2026-01-01T00:00:00Z", "author": seed,
                         "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]}}).encode()
    for data in (config, *layers):
        registry.put_blob(data)
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind,
                           "config": descriptor("application/vnd.oci.image.config.v1+json", config),
                           "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", data) for data in layers]}).encode()
    for name in (tag, *os.environ.get("MORE_TAGS", "").split()):
        registry.put_manifest(name, manifest, kind)
    print(digest(manifest), sum(len(data) for data in (config, *layers)))


main(*sys.argv[1:])
