"""What reload-doors.sh asks of a daemon whose listeners, forward proxy among them, come and go: reload_doors.py FOLDER CONFIG UPSTREAM.
FOLDER has the admin socket, the log and (made by the daemon) the authority; CONFIG is what it runs under. The registry is reload.py's."""
import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time

from reload import TYPE, Admin, blobs_of, digest, manifest_of

FOLDER, CONFIG, UPSTREAM = sys.argv[1], sys.argv[2], int(sys.argv[3])
CA = FOLDER + "/authority.crt"
BASE = open(CONFIG).read()
PORT = int(BASE.split("127.0.0.1:")[1].split('"')[0])


def is_(got, want, what):
    if got != want:
        sys.exit(f"FAILED: {what}: {got!r} is not {want!r}")


def say(text):
    print("* " + text, flush=True)


def reserve():
    """Below the kernel's own range, as lib.sh's free_port."""
    while True:
        port = random.randrange(10240, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def config(listen=(), forward=None, hosts=None, more="", level="info"):
    """The first listener stays."""
    text = BASE.replace("listen: [", "listen: [" + "".join(f"{{address: '127.0.0.1:{p}'}}, " for p in listen))
    text = text.replace("log: {level: info}", f"log: {{level: {level}}}")
    if forward:
        text += (f"intercept: {{address: '127.0.0.1:{forward}', ca: {{cert: {CA}, key: {FOLDER}/authority.key}}"
                 + (f", hosts: [{hosts}]" if hosts else "") + "}\n")
    return text + more


def admin(method, path, body=None):
    c = Admin(FOLDER + "/admin.sock")
    c.request(method, path, body)
    r = c.getresponse()
    return r.status, json.loads(r.read())


def reload(text):
    with open(CONFIG, "w") as f:
        f.write(text)
    return admin("POST", "/v1/reload", "{}")


def reload_well(text, what):
    status, answer = reload(text)
    if status != 200 or answer["restart"]:
        sys.exit(f"FAILED: {what}: {status} {answer}")


def is_listened(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def get(path):
    c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    c.request("GET", path)
    r = c.getresponse()
    is_(r.status, 200, path)
    return r.read().decode()


def metric(name):
    return [line.split()[-1] for line in get("/metrics").splitlines() if line.startswith(name)]


# ---- clients of the forward proxy ----

def raw(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=15)
    return s


def head(s):
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        piece = s.recv(1)
        if not piece:
            break
        got += piece
    return got.decode()


def connect(s, target):
    s.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    return head(s).split("\r\n")[0]


def opened(port, host="reg.test"):
    """A connection to the registry, opened by the forward proxy, under our authority."""
    s = raw(port)
    answer = connect(s, host + ":443")
    if " 200 " not in answer:
        sys.exit(f"FAILED: CONNECT {host} at {port}: {answer!r}")
    return ssl.create_default_context(cafile=CA).wrap_socket(s, server_hostname=host)


def on(sock, host="reg.test"):
    c = http.client.HTTPConnection(host, timeout=15)
    c.sock = sock
    return c


def pull_manifest(port, name, host="reg.test"):
    c = on(opened(port, host), host)
    c.request("GET", f"/v2/{name}/manifests/1", headers={"Accept": TYPE})
    r = c.getresponse()
    is_((r.status, r.read()), (200, manifest_of(name)), f"a manifest by the forward proxy at {port}")
    c.close()


class SlowBlob:
    """A blob that takes 3 s, on an opened connection that is kept."""

    def __init__(self, port, name):
        self.want = blobs_of(name)[2]
        self.c = on(opened(port))
        self.c.request("GET", f"/v2/{name}/blobs/{digest(self.want)}")
        self.r = self.c.getresponse()
        is_(self.r.status, 200, "a slow blob")
        self.got = self.r.read(1000)

    def ends_well(self, what):
        self.got += self.r.read()
        is_(self.got == self.want, True, f"{what}: {len(self.got)} of {len(self.want)} bytes")
        is_(bool(self.c.sock and self.c.sock.recv(1)), False, f"{what}: its connection is open still")


class Echo:
    """A server that is no registry of ours, and a tunnel to it."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            s, _ = self.server.accept()
            threading.Thread(target=self.echo, args=(s,), daemon=True).start()

    def echo(self, s):
        while data := s.recv(4096):
            s.sendall(data)

    def tunnel(self, port):
        s = raw(port)
        answer = connect(s, f"127.0.0.1:{self.server.getsockname()[1]}")
        is_(" 200 " in answer, True, f"a tunnel: {answer!r}")
        return s


def read(s, length):
    got = b""
    while len(got) < length and (piece := s.recv(length - len(got))):
        got += piece
    return got


def talks(tunnel, text, what):
    tunnel.sendall(text)
    is_(read(tunnel, len(text)) == text, True, what)


def kept(port):
    """A kept connection to the forward proxy itself, between two requests."""
    s = raw(port)
    s.sendall(b"GET http://reg.test/v2/ HTTP/1.1\r\nHost: reg.test\r\n\r\n")
    first = head(s)
    length = int(first.lower().split("content-length: ")[1].split("\r\n")[0])
    read(s, length)
    is_(first.split()[1], "200", f"a request in the form of proxies: {first!r}")
    return s


def is_closed_soon(s, what):
    s.settimeout(8)
    try:
        got = s.recv(1)
    except OSError as e:
        got = e
    is_(got, b"", f"{what}: it is not closed")


def descriptors():
    pid = int(os.environ["DAEMON_PID"])
    return len(os.listdir(f"/proc/{pid}/fd"))


# ---- the story ----

def refused_authority():
    say("a reload with interception that is refused leaves no authority, in use or on the disk")
    forward = reserve()
    status, answer = reload(config(listen=[UPSTREAM], forward=forward, hosts="other.test"))
    is_((status != 200, f"127.0.0.1:{UPSTREAM}: the address is in use" in str(answer)), (True, True), f"the reload: {answer}")
    is_(is_listened(forward), False, "the forward proxy of a refused configuration is there")
    is_([f for f in os.listdir(FOLDER) if f.startswith("authority")], [], "files of the authority")
    is_(metric('entrepot_certificate_expiry_timestamp_seconds{name="intercept.ca"}'), [], "the authority, in metrics")
    reload_well(config(forward=forward), "a good one after it")
    pull_manifest(forward, "app/first")  # the authority is for its hosts, not for those of the refused one
    return forward


def moved(first):
    say("the forward proxy moves to another address: what is under way ends well, the next request has an answer")
    second, echo = reserve(), Echo()
    slow, tunnel, idle, next_one = SlowBlob(first, "app/slow-moved"), echo.tunnel(first), kept(first), kept(first)
    talks(tunnel, b"before", "a tunnel")
    reload_well(config(forward=second), "the forward proxy at another address")
    answer = connect(next_one, "reg.test:443")
    is_(" 200 " in answer, True, f"CONNECT on a kept connection of the old address: {answer!r}")
    c = on(ssl.create_default_context(cafile=CA).wrap_socket(next_one, server_hostname="reg.test"))
    c.request("GET", "/v2/app/kept/manifests/1", headers={"Accept": TYPE})
    r = c.getresponse()
    is_((r.status, r.read()), (200, manifest_of("app/kept")), "a manifest behind that CONNECT")
    is_(is_listened(first), False, "the old address is listened on")
    pull_manifest(second, "app/second")
    talks(tunnel, b"after", "a tunnel of the old address")
    slow.ends_well("a blob that was begun at the old address")
    is_closed_soon(idle, "a kept connection of the old address that asks nothing")
    talks(tunnel, b"x" * 100000, "a tunnel of the old address, later")
    return second, tunnel


def removed(second, tunnel):
    say("the forward proxy is removed")
    slow, idle = SlowBlob(second, "app/slow-removed"), kept(second)
    reload_well(config(), "without a forward proxy")
    is_(is_listened(second), False, "the removed address is listened on")
    answer = connect(idle, "reg.test:443")
    is_(" 200 " in answer, True, f"CONNECT on a kept connection of the removed address: {answer!r}")
    slow.ends_well("a blob that was begun at the removed address")
    talks(tunnel, b"still", "a tunnel of the removed address")
    tunnel.close()
    get("/v2/")


def changed_kind():
    say("an address of registries becomes the forward proxy, and back")
    port = reserve()
    reload_well(config(listen=[port]), "another listener")
    held = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for expected in ("another request before", "the last request on a kept connection"):
        held.request("GET", "/v2/")
        r = held.getresponse()
        is_((r.status, r.read()), (200, b"{}"), expected)
        if held.sock and expected.startswith("another"):
            reload_well(config(forward=port), "the same address as forward proxy")
    is_(held.sock, None, "the kept connection of the registries' listener is kept still")
    pull_manifest(port, "app/kind")
    old = kept(port)
    reload_well(config(listen=[port]), "and back")
    answer = connect(old, "reg.test:443")
    is_(" 200 " in answer, True, f"CONNECT on a kept connection: {answer!r}")
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    c.request("GET", "/v2/")
    is_(c.getresponse().status, 200, "the registries' listener")


def problem():
    return [p for p in admin("GET", "/v1/status")[1]["problems"] if p["what"] == "reload_refused"]


def taken_address():
    say("an address that is taken: nothing changes, and that is a problem until a reload succeeds")
    forward, other, another = reserve(), reserve(), reserve()
    good = config(listen=[other], forward=forward)
    reload_well(good, "a good one")
    is_((problem(), metric('entrepot_problem{what="reload_refused"}')), ([], ["0"]), "problems")
    tunnel, begun = Echo().tunnel(forward), int(time.time())
    for listen, moves_to in (([another, UPSTREAM], forward), ([another], UPSTREAM), ([UPSTREAM, another], another + 1)):
        status, answer = reload(config(listen=listen, forward=moves_to, level="debug"))
        is_((status != 200, "the address is in use" in str(answer)), (True, True), f"a taken address: {answer}")
        is_([is_listened(p) for p in (PORT, other, forward, another)], [True, True, True, False], "what is listened on")
        time.sleep(0.6)
    pull_manifest(forward, "app/unchanged")
    talks(tunnel, b"unhurt", "a tunnel")
    is_([c["key"] for c in admin("GET", "/v1/config")[1]["changes"] if c["key"] == "log.level"], ["log.level"], "what differs still")
    found = problem()
    is_((len(found), found[0]["about"], "the address is in use" in found[0]["why"]), (1, CONFIG, True), f"the problem: {found}")
    is_(begun - 1 <= found[0]["since"] <= begun + 1, True, # its clock is coarse
        f"it began with the first refusal, at {begun}: {found}")
    is_(f"{CONFIG}: its reload was refused, since 20" in get("/readyz"), True, f"readyz: {get('/readyz')}")
    is_([p["what"] for p in json.loads(get("/status.json"))["problems"]], ["reload_refused"], "the page")
    is_((metric('entrepot_problem{what="reload_refused"}'), metric("entrepot_reload_success")), (["1"], ["0"]), "metrics")
    with open(CONFIG, "w") as f:
        f.write("listen: [\n")
    is_(admin("POST", "/v1/reload", "{}")[0] != 200, True, "what is no YAML is accepted")
    is_("not YAML" in problem()[0]["why"] and problem()[0]["since"] == found[0]["since"], True, f"the last reason: {problem()}")
    reload_well(config(listen=[other], forward=forward, level="warn"), "a good one after them")
    is_((problem(), get("/readyz").split(), metric('entrepot_problem{what="reload_refused"}')), ([], ["ready"], ["0"]), "it is over")


first = refused_authority()
before = descriptors()
second, tunnel = moved(first)
removed(second, tunnel)
changed_kind()
taken_address()
reload_well(config(forward=first), "the last one")
for _ in range(100):
    if descriptors() <= before + 24:
        break
    time.sleep(0.1)
is_(descriptors() <= before + 24, True, f"{before} descriptors have become {descriptors()}")
