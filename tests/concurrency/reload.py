"""upstream PORT: a registry whose every repository has a manifest and three blobs of its own. A tag "slow" dribbles its last blob.
load PORT FOLDER: pulls a new repository after the other, and one again and again, until FOLDER/stop is there; prints how many.
reloads SOCKET CONFIG N: N configurations, each another one; fails at the first that is refused.
hold PORT NAME: a blob over a connection that is kept: prints "begun", reads on when a line comes, and says how the connection ends."""
import hashlib
import http.client
import http.server
import json
import os
import socket
import sys
import threading
import time

from answering import Answering

TYPE = "application/vnd.oci.image.manifest.v1+json"


def blobs_of(name):
    return [(f"{name} {i} " * 20000)[:150000].encode() for i in range(3)]


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def manifest_of(name):
    parts = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(b), "size": len(b)} for b in blobs_of(name)]
    return json.dumps({"schemaVersion": 2, "mediaType": TYPE, "config": {**parts[0], "mediaType": "application/vnd.oci.image.config.v1+json"},
                       "layers": parts[1:]}).encode()


class Registry(Answering):
    def do_GET(self):
        name, _, what = self.path[4:].partition("/manifests/")
        if what:
            return self.answer(200, manifest_of(name), Content_Type=TYPE, Docker_Content_Digest=digest(manifest_of(name)))
        name, _, what = self.path[4:].partition("/blobs/")
        for body in blobs_of(name):
            if digest(body) == what:
                if "slow" not in name:
                    return self.answer(200, body, Content_Type="application/octet-stream")
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                for at in range(0, len(body), 15000):
                    self.wfile.write(body[at:at + 15000])
                    time.sleep(0.3)
                return None
        return self.answer(200 if self.path == "/v2/" else 404)

    do_HEAD = do_GET


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def get(connection, path):
    connection.request("GET", path, headers={"Accept": TYPE})
    r = connection.getresponse()
    body = r.read()
    if r.status != 200:
        raise SystemExit(f"{path}: {r.status} {body[:200]}")
    return body


def pull(port, name):
    """As an engine does: another connection where the last one was closed between two requests."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    manifest = get(c, f"/v2/{name}/manifests/1")
    assert manifest == manifest_of(name), name
    for want in blobs_of(name):
        assert get(c, f"/v2/{name}/blobs/{digest(want)}") == want, name
    c.close()


def load(port, folder):
    counts, failed = [0, 0], []

    def work(nth):
        n = 0
        try:
            while not os.path.exists(folder + "/stop"):
                warm = nth % 2
                pull(port, "library/warm" if warm else f"library/cold-{nth}-{n}")
                counts[warm] += 1
                n += 1
                time.sleep(0.01)
        except BaseException as e:
            failed.append(f"{type(e).__name__}: {e}")
            open(folder + "/stop", "w").close()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise SystemExit("a pull failed: " + failed[0])
    print(*counts)


class Admin(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("entrepot", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def reloads(path, config, count):
    with open(config) as f:
        base = f.read()
    port = int(base.split("127.0.0.1:")[1].split('"')[0])
    for n in range(count):
        text = base.replace("stall_timeout: 10s", f"stall_timeout: {10 + n % 3}s\n    parallel: {1 + n % 4}")
        text += f"tags: {{ttl: {1 + n % 5}m}}\nlimits: {{connections: {500 + n}, misses: {200 + n}}}\ngc: {{grace: {30 + n % 7}m}}\n"
        text += f"policy: {{deny: ['docker.io/denied-{n}/**']}}\n"
        if n % 2:  # the only listener has another one, or other settings
            text = text.replace("]\nadmin", f", {{address: '127.0.0.1:{port}', upstream: docker.io}}]\nadmin").replace(
                f'{{address: "127.0.0.1:{port}"}}, ', "")
        if n % 3:
            text += f"  # more\nmetrics: {{address: 'unix:{os.path.dirname(config)}/m{n % 3}.sock'}}\n"
        with open(config + ".new", "w") as f:
            f.write(text)
        os.rename(config + ".new", config)
        c = Admin(path)
        c.request("POST", "/v1/reload", "{}")
        r = c.getresponse()
        answer = json.loads(r.read())
        if r.status != 200 or answer["restart"] or not answer["applied"]:
            raise SystemExit(f"reload {n}: {r.status} {answer}")
        time.sleep(0.03)  # pulls begin and end under each
    with open(config, "w") as f:
        f.write(base)
    c = Admin(path)
    c.request("POST", "/v1/reload", "{}")
    c.getresponse().read()


def hold(port, name):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    want = blobs_of(name)[2]
    c.request("GET", f"/v2/{name}/blobs/{digest(want)}")
    r = c.getresponse()
    got = r.read(1000)
    print("begun", flush=True)
    sys.stdin.readline()
    got += r.read()
    print("whole" if got == want else f"{len(got)} bytes", flush=True)
    print("open" if c.sock and c.sock.recv(1) else "closed", flush=True)


if __name__ == "__main__":
    what, argument = sys.argv[1:3]
    if what == "upstream":
        Server(("127.0.0.1", int(argument)), Registry).serve_forever()
    elif what == "load":
        load(int(argument), sys.argv[3])
    elif what == "reloads":
        reloads(argument, sys.argv[3], int(sys.argv[4]))
    else:
        hold(int(argument), sys.argv[3])
