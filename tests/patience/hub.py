#!/usr/bin/env python3
"""A registry that counts and limits as Docker Hub does, and misbehaves on demand: hub.py PORT-FILE

A GET of a manifest counts, a HEAD and blobs do not; past the limit a GET of a manifest is answered 429
(https://docs.docker.com/docker-hub/usage/pulls/). Its images are made up: library/<name>:<tag> is what /_set says, image
number n of it is the same each time.

  /_set?mode=ok|429|500|503|hang|reset   what happens to every request under /v2/
  /_set?limit=100 &remaining=7 &retry_after=30     -1: no limit; what is left; seconds to say with 429 (0: nothing)
  /_move?name=app&tag=1&image=3          from now on the tag is image 3; image=-1: it is gone
  /_account?user=u&password=p&remaining=3          from now on only accounts are served, each with a limit of its own
  /_counts, /_zero                       what was asked for; forget that
"""
import asyncio
import base64
import gzip
import hashlib
import io
import json
import os
import random
import re
import socket
import sys
import tarfile
import urllib.parse

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
state = {"mode": "ok", "limit": -1, "remaining": -1, "retry_after": 0}
tags, blobs, manifests = {}, {}, {}
accounts = {}
counts = {"get": {}, "head": {}, "blobs": 0, "counted": 0, "refused": 0}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make(name, n):
    """Image n of a repository; prints nothing, keeps its parts. Every image has the base layer of its repository."""
    layers, ids = [], []
    for seed in (f"{name}-base", f"{name}-{n}"):
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as t:
            info = tarfile.TarInfo(seed)
            info.size = 20000
            t.addfile(info, io.BytesIO(random.Random(seed).randbytes(info.size)))
        data = gzip.compress(tar.getvalue(), mtime=0)
        layers.append(data)
        ids.append(digest(tar.getvalue()))
        blobs[digest(data)] = data
    config = json.dumps({"os": "linux", "architecture": "amd64", "created": f"2026-01-01T00:00:{n % 60:02}Z", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": ids}}).encode()
    blobs[digest(config)] = config
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": digest(d), "size": len(d)}
                   for d in layers]}).encode()
    manifests[digest(manifest)] = manifest
    return digest(manifest)


def control(path, query):
    q = dict(urllib.parse.parse_qsl(query))
    if path == "/_set":
        for k, v in q.items():
            state[k] = v if k == "mode" else int(v)
    elif path == "/_move":
        key = (q["name"], q["tag"])
        if int(q["image"]) < 0:
            tags.pop(key, None)
        else:
            tags[key] = make(q["name"], int(q["image"]))
        return 200, {}, (tags.get(key, "") + "\n").encode()
    elif path == "/_account":
        token = base64.b64encode(f"{q['user']}:{q['password']}".encode()).decode()
        accounts["Basic " + token] = {"user": q["user"], "remaining": int(q["remaining"])}
    elif path == "/_counts":
        return 200, {}, json.dumps(counts).encode()
    elif path == "/_zero":
        counts.update({"get": {}, "head": {}, "blobs": 0, "counted": 0, "refused": 0})
    return 200, {}, b"ok\n"


def error(status, code, message):
    return status, {}, json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def limits(headers, budget):
    if state["limit"] >= 0:
        headers["ratelimit-limit"] = f"{state['limit']};w=21600"
        headers["ratelimit-remaining"] = f"{max(budget['remaining'], 0)};w=21600"
        headers["docker-ratelimit-source"] = budget.get("user", "192.0.2.1")
    return headers


def answer_manifest(method, name, ref, budget):
    kind = "head" if method == "HEAD" else "get"
    counts[kind][f"{name}/{ref}"] = counts[kind].get(f"{name}/{ref}", 0) + 1
    d = ref if ":" in ref else tags.get((name, ref))
    if d not in manifests:
        return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
    if method == "GET" and state["limit"] >= 0:
        if budget["remaining"] <= 0:
            counts["refused"] += 1
            status, headers, body = error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
            if state["retry_after"]:
                headers["Retry-After"] = str(state["retry_after"])
            return status, limits(headers, budget), body
        budget["remaining"] -= 1
    counts["counted"] += method == "GET"
    return 200, limits({"Content-Type": MANIFEST, "Docker-Content-Digest": d}, budget), manifests[d]


def answer(method, path, query, authorization):
    if path.startswith("/_"):
        return control(path, query)
    if state["mode"] in ("429", "500", "503"):
        counts["refused"] += 1
        status, headers, body = error(int(state["mode"]), "TOOMANYREQUESTS" if state["mode"] == "429" else "UNAVAILABLE", "no")
        if state["mode"] == "429" and state["retry_after"]:
            headers["Retry-After"] = str(state["retry_after"])
        return status, headers, body
    budget = accounts.get(authorization, None) if accounts else state
    if budget is None:
        status, headers, body = error(401, "UNAUTHORIZED", "authentication required")
        return status, {"WWW-Authenticate": 'Basic realm="hub"'}, body
    if path == "/v2/":
        return 200, {}, b"{}"
    parts = path.split("/")
    if len(parts) < 5 or parts[1] != "v2":
        return error(404, "UNSUPPORTED", "no such page")
    name, kind, ref = "/".join(parts[2:-2]).removeprefix("library/"), parts[-2], parts[-1]
    if kind == "manifests":
        return answer_manifest(method, name, ref, budget)
    if kind == "blobs" and ref in blobs:
        counts["blobs"] += method == "GET"
        return 200, {"Docker-Content-Digest": ref}, blobs[ref]
    return error(404, "BLOB_UNKNOWN", "blob unknown")


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target = head.split(b" ", 2)[:2]
            path, _, query = target.decode().partition("?")
            found = re.search(rb"\r\nauthorization: ([^\r]*)", head, re.I)
            authorization = found.group(1).decode() if found else ""
            if not path.startswith("/_"):
                if state["mode"] == "hang":
                    await asyncio.sleep(3600)
                if state["mode"] == "reset":
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    break
            status, headers, body = answer(method.decode(), urllib.parse.unquote(path), query, authorization)
            headers.setdefault("Content-Type", "application/json")
            headers["Content-Length"] = str(len(body))
            out = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
            writer.write(out.encode() + (b"" if method == b"HEAD" else body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0, backlog=4096)
    with open(sys.argv[1] + ".new", "w") as f:
        f.write(str(server.sockets[0].getsockname()[1]))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    async with server:
        await server.serve_forever()


asyncio.run(main())
