"""What the engines of many nodes ask for: nodes.py HOST:PORT NODES TAGS-FILE STATE-FILE [RETRIES]

Every node looks up each tag (HEAD), and fetches what it has not got: manifest by digest, config, layers. STATE-FILE keeps
what the nodes have, from one run to the next. Prints how many requests that were, and the digests seen; anything but 200 and
right bytes is an error; a 5xx is asked again RETRIES times first (0 unless said), and the second number printed says how often."""
import hashlib
import json
import os
import pickle
import socket
import sys
import threading
import time

host, port = sys.argv[1].split(":")
nodes, tags = int(sys.argv[2]), [line.split() for line in open(sys.argv[3])]
state = pickle.load(open(sys.argv[4], "rb")) if os.path.exists(sys.argv[4]) else {}
retries = int(sys.argv[5]) if len(sys.argv) > 5 else 0
seen, requests, failed, lock = set(), 0, 0, threading.Lock()
ACCEPT = ("Accept: application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, "
          "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json\r\n")


class Client:
    def __init__(self):
        self.sock = socket.create_connection((host, int(port)), 60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf, self.count, self.failed = b"", 0, 0

    def ask(self, method, path):
        for _ in range(retries):
            status, headers, body = self.ask_once(method, path)
            if status < 500:
                break
            self.failed += 1
            time.sleep(0.05)
        else:
            status, headers, body = self.ask_once(method, path)
        if status != 200:
            raise SystemExit(f"{method} {path}: {status} {body[:200]}")
        return headers, body

    def ask_once(self, method, path):
        self.count += 1
        self.sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{ACCEPT}\r\n".encode())
        while b"\r\n\r\n" not in self.buf:
            self.more(path)
        head, _, self.buf = self.buf.partition(b"\r\n\r\n")
        status = int(head[9:12])
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = 0 if method == "HEAD" else int(headers[b"content-length"])
        while len(self.buf) < size:
            self.more(path)
        body, self.buf = self.buf[:size], self.buf[size:]
        return status, headers, body

    def more(self, path):
        data = self.sock.recv(1 << 16)
        if not data:
            raise SystemExit(f"{path}: cut off")
        self.buf += data


def check(d, body):
    if "sha256:" + hashlib.sha256(body).hexdigest() != d:
        raise SystemExit(f"{d}: wrong bytes")


def pull(client, have, name, tag):
    headers, _ = client.ask("HEAD", f"/v2/library/{name}/manifests/{tag}")
    d = headers[b"docker-content-digest"].decode()
    seen.add(d)
    if d in have:
        return
    _, body = client.ask("GET", f"/v2/library/{name}/manifests/{d}")
    check(d, body)
    manifest = json.loads(body)
    for part in [manifest["config"], *manifest["layers"]]:
        if part["digest"] not in have:
            _, body = client.ask("GET", f"/v2/library/{name}/blobs/{part['digest']}")
            check(part["digest"], body)
            have.add(part["digest"])
    have.add(d)


def run(first, step):
    global requests, failed
    client = Client()
    for node in range(first, nodes, step):
        for name, tag in tags:
            pull(client, state.setdefault(node, set()), name, tag)
    with lock:
        requests += client.count
        failed += client.failed


failures = []


def guarded(*args):
    try:
        run(*args)
    except BaseException as e:
        failures.append(e)


threads = [threading.Thread(target=guarded, args=(i, 8)) for i in range(8)]
for t in threads:
    t.start()
for t in threads:
    t.join()
if failures:
    raise SystemExit(f"{len(failures)} failed: {failures[0]!r}")
pickle.dump(state, open(sys.argv[4], "wb"))
print(requests, failed, *sorted(seen))
