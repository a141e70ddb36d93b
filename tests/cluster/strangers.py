#!/usr/bin/env python3
"""Requests at a node's address for peers, from who is none: strangers.py NODE:PORT OTHER-NODE:PORT SECRET-FILE FOES-LOG DIGEST TARGET [crowd]

TARGET is a blob that the node has, DIGEST says which. FOES-LOG is what foe.py was asked by real nodes, with their proofs."""
import hashlib
import hmac
import json
import os
import socket
import sys
import time

NODE, OTHER, SECRET_FILE, FOES_LOG, DIGEST, TARGET = sys.argv[1:7]
SECRET = open(SECRET_FILE).read().strip().encode()
PEER = "v=1; hops=2; from=" + OTHER
failures = []


def proof(method="GET", target=TARGET, to=NODE, peer=PEER, byte_range="", authorization="", at=0, secret=SECRET, nonce=None):
    """As cluster/proof.h has it."""
    head = f"t={int(time.time() * 1000) + at}; n={nonce or os.urandom(16).hex()}"
    text = "".join(f"{len(part)} {part}\n" for part in (head, method, target, to, peer, byte_range, authorization))
    return f"{head}; m={hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()}"


def ask(headers, method="GET", target=TARGET, to=NODE):
    """The status (0: closed without an answer), the headers, the body."""
    host, _, port = to.partition(":")
    with socket.create_connection((host, int(port)), 5) as s:
        s.settimeout(5)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {to}", "Connection: close", *headers]
        try:
            s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            data = b""
            while more := s.recv(1 << 18):
                data += more
        except OSError:
            pass
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head[9:12] or 0) if head else 0, head.decode("latin-1"), body


def expect(what, want, got):
    print(f"  {what:44} {got}")
    if not want:
        failures.append(f"{what}: {got}")


def has_bytes(body):
    return "sha256:" + hashlib.sha256(body).hexdigest() == DIGEST


def refused(what, headers, **request):
    status, head, body = ask(headers, **request)
    expect(what, (status == 0 or 400 <= status < 500) and len(body) < 2000 and "Cache-Status" not in head, status)


def good(**how):
    return ["Entrepot-Peer: " + how.get("peer", PEER), "Entrepot-Proof: " + proof(**how)]


def proofs():
    hello = "Entrepot-Peer: " + PEER
    status, _, body = ask(good())
    expect("a right proof", status == 200 and has_bytes(body), status)
    refused("no header at all", [])
    refused("no proof", [hello])
    for text in ("", "x", "t=1", "t=; n=; m=", "A" * 5000, "t=" + "9" * 30 + proof()[15:], "t=-1" + proof()[15:], proof() + "0", proof()[:-1]):
        refused(f"a proof that is {text[:20]!r}...", [hello, "Entrepot-Proof: " + text])
    text = proof()
    refused("one digit is wrong", [hello, "Entrepot-Proof: " + text[:-1] + ("0" if text[-1] != "0" else "1")])
    refused("by another secret", good(secret=b"x" * 48))
    refused("by no secret", good(secret=b""))
    once = good()
    status, _, body = ask(once)
    expect("a right proof again", status == 200, status)
    refused("the same one, a second time", once)
    refused("the same one, at another node", once, to=OTHER)
    refused("for another node", good(to=OTHER))
    refused("for another target", good(target=TARGET.replace("/blobs/", "/blobs/x")))
    refused("for another registry", good(), target=TARGET.replace("docker.io", "ghcr.io"))
    refused("for another method", good(method="HEAD"))
    refused("for another range", [*good(), "Range: bytes=0-9"])
    refused("for more of a range", [*good(byte_range="bytes=0-9"), "Range: bytes=0-99"])
    refused("for another login", [*good(), "Authorization: Basic eDp5"])
    refused("for another peer", ["Entrepot-Peer: v=1; hops=1; from=127.0.9.9:1", "Entrepot-Proof: " + proof()])
    for minutes in (-10, -2, 2, 10):
        refused(f"{minutes} minutes old", good(at=-minutes * 60000))
    refused("a wrong proof before the right one", [hello, "Entrepot-Proof: " + proof(secret=b"no"), "Entrepot-Proof: " + proof()])
    status, _, body = ask([hello, "Entrepot-Proof: " + proof(), "Entrepot-Proof: " + proof(secret=b"no")])
    expect("a wrong proof after the right one", status in (0, 200) or 400 <= status < 500, status)


def captured():
    """What a real node has sent to a foe, sent on by it."""
    lines = [json.loads(line) for line in open(FOES_LOG)]
    lines = [line for line in lines if "/blobs/" in line.get("target", "")][-5:]
    if not lines:
        failures.append("no real proof was captured")
    for line in lines:
        headers = [f"{k}: {v}" for k, v in line["headers"].items() if k in ("entrepot-peer", "entrepot-proof", "range")]
        for to in (NODE, OTHER):
            refused("a real node's proof, sent on", headers, target=line["target"], to=to)


def pages():
    for target in ("/", "/metrics", "/healthz", "/status.json", "/events", "/v2/", "/v2/_catalog", "/v2/library/app/tags/list", "/cluster/life",
                   "/v2/../../etc/passwd", "http://127.0.0.1:5050/v2/", "*", "/cluster/life?digest=" + DIGEST + "&at=0"):
        refused("page " + target[:32], [], target=target)
    for method in ("PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
        refused("method " + method, [], method=method)
    refused("method CONNECT", [], method="CONNECT", target="127.0.0.1:5050")
    for target in ("/metrics", "/status.json", "/events", "/", "/v1/status", "http://127.0.0.1:5050/v2/"):
        status, _, body = ask(good(target=target), target=target)
        expect("with a right proof, page " + target, status == 0 or 400 <= status < 500, status)
    for method in ("PUT", "POST", "DELETE"):
        status, _, body = ask(good(method=method), method=method)
        expect("with a right proof, method " + method, status == 0 or 400 <= status < 500, status)
    for peer in ("v=0; hops=1", "v=1; hops=0", "v=1; hops=9", "hops=1", "v=x", ";;;;", "v=1; hops=1; from=" + "a" * 5000):
        status, _, body = ask(good(peer=peer))
        expect(f"with a right proof, {peer[:30]!r}", status < 500 and not (status == 200 and not has_bytes(body)), status)


def clients():
    """At the address for clients the headers of peers mean nothing."""
    to = NODE.replace(":5443", ":5000")
    status, head, _ = ask(["Entrepot-Peer: " + PEER], target=TARGET.replace("sha256:", "sha256:00000000")[:-8], to=to)
    expect("have, at the address for clients", status == 404 and "life=" not in head, status)
    status, _, _ = ask([], target="/cluster/life?digest=" + DIGEST + "&at=0", to=to, method="HEAD")
    expect("life, at the address for clients", status == 404, status)


def crowd():
    """Connections that say nothing, half a request, or too much; kept open while pulls go on."""
    held = []
    host, _, port = NODE.partition(":")
    for i in range(200):
        s = socket.create_connection((host, int(port)), 5)
        s.setblocking(False)
        try:
            s.send([b"", b"GET /v2/ HT", os.urandom(200), b"GET / HTTP/1.1\r\nX: " + b"y" * 60000][i % 4])
        except OSError:
            pass
        held.append(s)
    print("held", flush=True)
    sys.stdin.read()


if len(sys.argv) > 7:
    crowd()
else:
    proofs()
    captured()
    pages()
    clients()
    for failure in failures:
        print("FAILED:", failure)
    sys.exit(1 if failures else 0)
