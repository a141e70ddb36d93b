#!/usr/bin/env python3
"""Pulls an image as an engine does, and keeps nothing of it: pull.py HOST:PORT REPOSITORY:TAG [SEEN-FILE]

The manifest by tag, then config and layers, three at a time; every digest is checked, and nothing is asked twice: what fails once
fails the pull. Prints "SECONDS BYTES DIGEST STALL": of the blobs' bytes, the manifest's digest, and the longest time that went by
without a byte while one was waited for. SEEN-FILE gets a line for each answer: kind, digest, seconds, its Cache-Status.
LOGIN in the environment is USER:PASSWORD, sent as Basic; PATIENCE the seconds after which silence is a failure (20)."""
import base64
import concurrent.futures
import hashlib
import http.client
import json
import os
import sys
import time

PATIENCE = float(os.environ.get("PATIENCE", 20))
ACCEPT = ", ".join(["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
                    "application/vnd.docker.distribution.manifest.v2+json"])
seen, stalls = [], [0.0]


def fetch(host, path, kind, want=None, size=None):
    """The digest of what is answered, its length, and its beginning."""
    headers = {"Accept": ACCEPT} if kind == "manifest" else {}
    if "LOGIN" in os.environ:
        headers["Authorization"] = "Basic " + base64.b64encode(os.environ["LOGIN"].encode()).decode()
    conn = http.client.HTTPConnection(host, timeout=PATIENCE)
    start = last = time.monotonic()
    conn.request("GET", path, headers=headers)
    answer = conn.getresponse()
    digest, length, head = hashlib.sha256(), 0, b""
    while True:
        data = answer.read1(1 << 18)
        now = time.monotonic()
        stalls.append(now - last)
        last = now
        if not data:
            break
        digest.update(data)
        length += len(data)
        head = head + data if len(head) < 1 << 20 else head
    conn.close()
    got = "sha256:" + digest.hexdigest()
    seen.append(f"{kind} {got} {last - start:.3f} {answer.headers.get('Cache-Status', '-')}")
    if answer.status != 200:
        raise SystemExit(f"GET {path}: {answer.status} {head[:200]!r}")
    if got != (want or got) or length != (size or length):
        raise SystemExit(f"GET {path}: wrong bytes, {length} of {size} of {got}")
    return got, length, head


def pull(host, reference):
    repository, _, tag = reference.rpartition(":")
    repository, _, tag = (*reference.partition("@"),) if "@" in reference else (repository, "", tag)
    start = time.monotonic()
    digest, _, manifest = fetch(host, f"/v2/{repository}/manifests/{tag}", "manifest", tag if ":" in tag else None)
    parts = json.loads(manifest)
    parts = {part["digest"]: part["size"] for part in [parts["config"], *parts["layers"]]}
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(fetch, host, f"/v2/{repository}/blobs/{d}", "blob", d, n) for d, n in parts.items()]
        total = sum(job.result()[1] for job in jobs)
    return time.monotonic() - start, total, digest


status = 0
try:
    seconds, total, digest = pull(*sys.argv[1:3])
    print(f"{seconds:.2f} {total} {digest} {max(stalls):.2f}", flush=True)
except (SystemExit, OSError, http.client.HTTPException, ValueError, KeyError) as e:
    print(f"{sys.argv[1]} {sys.argv[2]}: {type(e).__name__} {e}", file=sys.stderr, flush=True)
    status = 1
if len(sys.argv) > 3:
    with open(sys.argv[3], "w") as f:
        f.write("".join(line + "\n" for line in seen))
os._exit(status)  # a thread may still wait for its answer
