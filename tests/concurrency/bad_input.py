"""Raw requests and what must come back. Each case: name, bytes, expected status (0: no answer), whether the connection ends."""
import json, re, socket, sys

PORT = int(sys.argv[1])
H = b"Host: entrepot\r\n"
D = b"a" * 64


def get(target, headers=H, method=b"GET"):
    return method + b" " + target + b" HTTP/1.1\r\n" + headers + b"\r\n"


CASES = [
    # names, tags, digests
    ("upper-case name", get(b"/v2/Library/x/manifests/1"), 400, False),
    ("name with dots first", get(b"/v2/library/.x/manifests/1"), 400, False),
    ("double slash", get(b"/v2/library//x/manifests/1"), 400, False),
    ("empty name", get(b"/v2//manifests/1"), 400, False),
    ("no name", get(b"/v2/manifests/1"), 404, False),
    ("path traversal", get(b"/v2/../../etc/passwd/manifests/1"), (400, 404), False),
    ("path traversal in a digest", get(b"/v2/x/blobs/../../../etc/passwd"), 400, False),
    ("escaped traversal", get(b"/v2/%2e%2e/%2e%2e/manifests/1"), 400, False),
    ("escaped slash", get(b"/v2/a%2fb/manifests/1"), 400, False),
    ("escaped NUL", get(b"/v2/a%00b/manifests/1"), 400, False),
    ("bad escape", get(b"/v2/a%zz/manifests/1"), 400, False),
    ("very long name", get(b"/v2/" + b"a" * 300 + b"/manifests/1"), 400, False),
    ("longer than any name", get(b"/v2/" + b"a/" * 3000 + b"manifests/1"), 400, False),
    ("tag of 129", get(b"/v2/x/manifests/" + b"t" * 129), 400, False),
    ("tag with a blank character", get(b"/v2/x/manifests/a!b"), 400, False),
    ("tag that begins with a dash", get(b"/v2/x/manifests/-a"), 400, False),
    ("short digest", get(b"/v2/x/blobs/sha256:abc"), 400, False),
    ("upper-case digest", get(b"/v2/x/blobs/sha256:" + b"A" * 64), 400, False),
    ("unknown algorithm", get(b"/v2/x/blobs/md5:" + b"a" * 32), 400, False),
    ("long digest", get(b"/v2/x/blobs/sha256:" + D + b"a"), 400, False),
    ("blob by tag", get(b"/v2/x/blobs/latest"), 400, False),
    ("referrers of a tag", get(b"/v2/x/referrers/latest"), 400, False),
    ("unknown upstream", get(b"/v2/x/manifests/1?ns=nowhere.example"), 404, False),
    ("unknown upstream in the path", get(b"/v2/nowhere.example/x/manifests/1"), 404, False),
    ("ns that is no host", get(b"/v2/x/manifests/1?ns=../../x"), 404, False),
    ("ns that is too long", get(b"/v2/x/manifests/1?ns=" + b"a." * 2000), (404, 400), False),
    ("no such page", get(b"/v3/"), 404, False),
    ("not in an offline cache", get(b"/v2/x/blobs/sha256:" + D), 404, False),
    ("a push", get(b"/v2/x/blobs/uploads/", H + b"Content-Length: 0\r\n", b"POST"), 405, False),
    ("a delete", get(b"/v2/x/manifests/1", H, b"DELETE"), 405, False),
    # limits
    ("long target", get(b"/" + b"x" * 9000), 414, True),
    ("many headers", get(b"/v2/", H + b"".join(b"X-%d: y\r\n" % i for i in range(120))), 431, True),
    ("a head over 128 KiB", get(b"/v2/", H + b"X-A: " + b"y" * 140000 + b"\r\n"), 431, True),
    ("a body over 1 MiB", get(b"/v2/", H + b"Content-Length: 2000000\r\n", b"POST"), 413, True),
    ("a chunk over 1 MiB", get(b"/v2/", H + b"Transfer-Encoding: chunked\r\n", b"POST") + b"200000\r\n" + b"z" * 0x200000, 413, True),
    # framing
    ("two lengths", get(b"/v2/", H + b"Content-Length: 3\r\nContent-Length: 4\r\n", b"POST") + b"abcd", 400, True),
    ("two equal lengths", get(b"/v2/", H + b"Content-Length: 3\r\nContent-Length: 3\r\n", b"POST") + b"abc", 400, True),
    ("length and chunks", get(b"/v2/", H + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"POST") + b"0\r\n\r\n", 400, True),
    ("chunks and length", get(b"/v2/", H + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"POST") + b"0\r\n\r\n", 400, True),
    ("an unknown coding", get(b"/v2/", H + b"Transfer-Encoding: gzip\r\n", b"POST"), 400, True),
    ("a negative length", get(b"/v2/", H + b"Content-Length: -1\r\n", b"POST"), 400, True),
    ("a length that is no number", get(b"/v2/", H + b"Content-Length: 3x\r\n", b"POST"), 400, True),
    ("a length past 64 bits", get(b"/v2/", H + b"Content-Length: 99999999999999999999999\r\n", b"POST"), 400, True),
    ("a chunk size that is no number", get(b"/v2/", H + b"Transfer-Encoding: chunked\r\n", b"POST") + b"xyz\r\n", 400, True),
    ("bare LF", b"GET /v2/ HTTP/1.1\nHost: entrepot\n\n", 400, True),
    ("bare LF in the middle", b"GET /v2/ HTTP/1.1\r\nHost: entrepot\nX: y\r\n\r\n", 400, True),
    ("bare CR", b"GET /v2/ HTTP/1.1\r\nHost: entrepot\rX: y\r\n\r\n", 400, True),
    ("folded header", get(b"/v2/", H + b"X-A: b\r\n c\r\n"), 400, True),
    ("blank before the colon", get(b"/v2/", H + b"X-A : b\r\n"), 400, True),
    ("a header without a colon", get(b"/v2/", H + b"nonsense\r\n"), 400, True),
    ("a NUL in a header", get(b"/v2/", H + b"X-A: b\0c\r\n"), 400, True),
    ("no Host", b"GET /v2/ HTTP/1.1\r\n\r\n", 400, True),
    ("two Hosts", get(b"/v2/", H + H), 400, True),
    ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, True),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505), True),
    ("HTTP/3.7", b"GET /v2/ HTTP/3.7\r\nHost: x\r\n\r\n", (400, 505), True),
    ("CONNECT", b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", (400, 405), True),
    ("an expectation", get(b"/v2/", H + b"Expect: miracles\r\n"), 417, True),
    ("target without a slash", get(b"v2/"), 400, True),
    # and what is odd, but right
    ("absolute form", get(b"http://entrepot/v2/"), 200, False),
    ("absolute form without a host", get(b"http:///v2/"), 400, True),
    ("empty lines first", b"\r\n\r\n" + get(b"/v2/"), 200, False),
    ("HTTP/1.0", b"GET /v2/ HTTP/1.0\r\n\r\n", 200, True),
    ("a body nobody wants", get(b"/v2/", H + b"Content-Length: 3\r\n") + b"abc", 200, False),
    ("pipelining", get(b"/v2/") * 20, 200, False),
    ("broken range", get(b"/v2/", H + b"Range: bytes=9-1\r\n"), 200, False),
]


def talk(data):
    s = socket.create_connection(("127.0.0.1", PORT), timeout=10)
    try:
        s.sendall(data)
    except OSError:
        pass  # refused before all of it was taken
    got, closed = b"", False
    s.settimeout(3)
    try:
        while True:
            chunk = s.recv(65536)
            if not chunk:
                closed = True
                break
            got += chunk
            m = re.search(rb"\r\n\r\n", got)
            n = re.search(rb"Content-Length: (\d+)", got)
            if m and n and len(got) >= m.end() + int(n.group(1)):
                s.settimeout(0.25)  # all of one answer: is the connection kept?
    except socket.timeout:
        pass
    except ConnectionResetError:
        closed = True
    s.close()
    return got, closed


failures = 0
for name, data, want, end in CASES:
    got, closed = talk(data)
    m = re.match(rb"HTTP/1\.1 (\d+) ", got)
    status = int(m.group(1)) if m else 0
    problem = None
    if status not in (want if isinstance(want, tuple) else (want,)):
        problem = "status %s where %s was due" % (status, want)
    elif closed != end:
        problem = "connection %s" % ("closed" if closed else "kept")
    elif status >= 400:
        try:
            error = json.loads(got.split(b"\r\n\r\n", 1)[1])["errors"][0]
            if not error["code"] or not error["message"]:
                problem = "an error without code or message"
        except Exception as e:
            problem = "no error JSON: %s in %r" % (e, got[-200:])
    elif name == "pipelining" and got.count(b"HTTP/1.1 200 OK") != 20:
        problem = "%d answers to 20 requests" % got.count(b"HTTP/1.1 200 OK")
    if problem:
        failures += 1
    print("%-32s %3d %-6s %s" % (name, status, "closed" if closed else "kept", problem or "ok"))
print("%d cases, %d wrong" % (len(CASES), failures))
sys.exit(1 if failures else 0)
