#!/usr/bin/env python3
"""Clients that want much at once, and their registry: bounds.py upstream PORT | misses|idle|busy PORT | flood|unread PORT FILE.

The registry never answers for repositories whose name begins with "hang"; blobs of those whose name begins with "big" are 32 MiB of zeros."""
import hashlib
import json
import socket
import sys
import threading
import time

CONFIG = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
TYPE = "application/vnd.oci.image.manifest.v1+json"
BIG = 32 << 20


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "layers": [], "config": {
    "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(CONFIG), "size": len(CONFIG)}}).encode()


def serve(c):
    with c, c.makefile("rb") as lines:
        while True:
            request = lines.readline().split()
            while lines.readline().strip():
                pass
            if len(request) < 2:
                return
            method, path = request[0].decode(), request[1].decode()
            if "/hang" in path:
                while c.recv(1):
                    pass
                return
            if "/big" in path:
                c.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n".encode())
                for _ in range(BIG >> 20 if method == "GET" else 0):
                    c.sendall(bytes(1 << 20))
                continue
            body, kind = (CONFIG, "application/octet-stream") if "/blobs/" in path else (MANIFEST, TYPE)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            c.sendall(head.encode() + (body if method == "GET" else b""))


def serve_until_gone(c):
    try:
        serve(c)
    except OSError:
        pass


def upstream(port):
    s = socket.create_server(("127.0.0.1", port), backlog=512)
    while True:
        threading.Thread(target=serve_until_gone, args=(s.accept()[0],), daemon=True).start()


def connect():
    return socket.create_connection(("127.0.0.1", PORT), timeout=15)


def send(c, path, end=b"\r\n\r\n"):
    c.sendall(f"GET {path} HTTP/1.1\r\nHost: cache".encode() + end)
    return c


def answer(c):
    """Status and headers; 0: the connection was closed without an answer."""
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            more = c.recv(65536)
            if not more:
                return 0, {}
            data += more
    except ConnectionResetError:
        return 0, {}
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers["content-length"]):
        body += c.recv(65536)
    return int(lines[0].split()[1]), headers


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: {got}, not {want}")


def misses():
    """30 tags of a registry that hangs, where 5 may wait; another registry beside it."""
    waiting = [send(connect(), f"/v2/hang{i}/manifests/1") for i in range(5)]
    time.sleep(0.5)
    for i in range(25):
        c = connect()
        status, headers = answer(send(c, f"/v2/hangs{i}/manifests/1"))
        check("more misses than may wait", status, 503)
        check("Retry-After", headers.get("retry-after"), "2")
        c.close()
    joins = send(connect(), "/v2/hang0/manifests/1")  # the same as one under way: joins it
    c = connect()
    check("another registry", answer(send(c, "/v2/well.test/app/manifests/1"))[0], 200)
    joins.settimeout(0.3)
    try:
        sys.exit(f"one that joins another is answered: {answer(joins)}")
    except TimeoutError:
        pass
    for c in waiting + [joins, c]:
        c.close()


def idle():
    """100 connections that have asked once and are kept, where 40 may be: each new one is served."""
    kept = []
    for i in range(100):
        kept.append(connect())
        check(f"connection {i}", answer(send(kept[-1], "/v2/"))[0], 200)
    check("the first one", answer(kept[0])[0], 0)
    check("the last one", answer(send(kept[-1], "/v2/"))[0], 200)
    for c in kept:
        c.close()


def busy():
    """40 that are in the middle of a request, and 10 more."""
    heads = [send(connect(), "/v2/", b"") for i in range(40)]
    time.sleep(0.3)
    for i in range(10):
        c = connect()
        status, headers = answer(send(c, "/v2/"))
        check("one more", status, 503)
        check("Retry-After", headers.get("retry-after"), "1")
        c.close()
    for c in heads:
        check("one of them", answer(send_end(c))[0], 200)
        c.close()
    time.sleep(0.3)
    check("afterwards", answer(send(connect(), "/v2/"))[0], 200)


def send_end(c):
    c.sendall(b"\r\n\r\n")
    return c


def flood(ready):
    """As many tags that hang as there can be, and again."""
    held, begun = [], time.monotonic()
    while time.monotonic() - begun < 60:
        for i in range(300 - len(held)):
            try:
                held.append(send(connect(), f"/v2/hang{time.monotonic_ns()}/manifests/1"))
            except OSError:
                pass
        for c in list(held):
            c.settimeout(0.001)
            try:
                if not c.recv(4096):
                    raise ConnectionResetError
            except TimeoutError:
                continue
            except OSError:
                c.close()
                held.remove(c)
        if time.monotonic() - begun > 2:
            open(ready, "w").close()


def unread(ready):
    """200 blobs that are passed on to clients which read nothing of them; FILE is made when they have begun. Beside them one that reads,
    and 20 for which there is no place."""
    held = [send(connect(), f"/v2/big{i}/blobs/sha256:{i:064x}") for i in range(199)]
    for c in held:
        check("one that is not read", c.recv(12, socket.MSG_PEEK), b"HTTP/1.1 200")
    zeros = hashlib.sha256(bytes(BIG)).hexdigest()
    c = send(connect(), f"/v2/big/blobs/sha256:{zeros}")
    got = hashlib.sha256()
    with c, c.makefile("rb") as f:
        while f.readline().strip():
            pass
        for _ in range(BIG >> 16):
            got.update(f.read(1 << 16))
    check("one that is read", got.hexdigest(), zeros)
    time.sleep(0.5)
    held.append(send(connect(), "/v2/big/blobs/sha256:" + "f" * 64))
    check("the last one", held[-1].recv(12, socket.MSG_PEEK), b"HTTP/1.1 200")
    for i in range(20):
        c = connect()
        status, headers = answer(send(c, f"/v2/bigger/blobs/sha256:{i:064x}"))
        check("one more", status, 503)
        check("Retry-After", headers.get("retry-after"), "1")
        c.close()
    open(ready, "w").close()
    sys.stdin.read()


if sys.argv[1] == "upstream":
    upstream(int(sys.argv[2]))
PORT = int(sys.argv[2])
{"misses": misses, "idle": idle, "busy": busy, "flood": lambda: flood(sys.argv[3]), "unread": lambda: unread(sys.argv[3])}[sys.argv[1]]()
