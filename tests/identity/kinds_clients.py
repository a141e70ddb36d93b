#!/usr/bin/env python3
"""kinds_clients.py FOLDER PORT: clients of the registries that kinds.py plays, through the cache at PORT, each as its engine does it:
"engine" (containerd, BuildKit, oras) follows the challenge and brings the registry's own token, and asks for the rest of a body that
ends early; "login" has a listener of one upstream, to which it sends its name and password; "shared" sends NAME@REGISTRY and a password
for whatever it asks at PORT. In each cell they are led to the other registry of adversary.py as well, which gets nothing of them. Prints the matrix, and then tells stories;
fails on what is wrong."""
import base64
import hashlib
import http.client
import json
import re
import sys
import threading
import time
from urllib.parse import quote, urlsplit

folder, port = sys.argv[1], int(sys.argv[2])
kinds = dict(line.split() for line in open(f"{folder}/ports"))
listeners = dict(line.split() for line in open(f"{folder}/listeners"))
wrong = []
LOGINS = {"right": ("alice", "canary-alice-1"), "wrong": ("alice", "canary-wrong"), "other": ("bob", "canary-bob"), None: None}


def basic(login):
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def write(name, text):
    with open(f"{folder}/{name}", "w") as f:
        f.write(text)


class Answer:
    """An answer, and how its body ended: "whole", "short" or "reset"."""

    def __init__(self, at, path, headers, method="GET"):
        c = http.client.HTTPConnection("127.0.0.1", at, timeout=20)
        c.request(method, path, headers=headers)
        r = c.getresponse()
        self.status, self.headers, self.body, self.end = r.status, r.headers, b"", "whole"
        try:
            while piece := r.read1(65536):
                self.body += piece
            if method == "GET" and len(self.body) < int(r.headers.get("Content-Length", 0)):
                self.end = "short"
        except http.client.IncompleteRead:
            self.end = "short"
        except ConnectionError:
            self.end = "reset"
        c.close()
        self.cache = self.headers.get("Cache-Status", "")


class Client:
    def __init__(self, kind, how, login, name=None):
        self.kind, self.login, self.auth = kind, login, {}
        self.engine, self.shared = how == "engine", how == "shared"
        self.at = int(listeners[kind]) if how == "login" else port
        self.prefix = f"{kind}.test/" if self.shared else ""
        self.query = f"?ns={name or kind + '.test'}" if self.engine else ""
        if login and self.shared:
            self.auth = {"Authorization": basic((f"{login[0]}@{kind}.test", login[1]))}
        elif login and not self.engine:
            self.auth = {"Authorization": basic(login)}

    def follow(self, challenge, repository):
        """As containerd's authorizer: with its login, or for a token without."""
        if challenge.startswith("Basic "):
            if not self.login:
                return False
            self.auth = {"Authorization": basic(self.login)}
            return True
        p = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        u = urlsplit(p["realm"])
        c = http.client.HTTPConnection(u.hostname, u.port, timeout=10)
        path = f"{u.path}?service={quote(p['service'])}&scope={quote(p.get('scope', f'repository:{repository}:pull'))}"
        c.request("GET", path, headers={"Authorization": basic(self.login)} if self.login else {})
        r = c.getresponse()
        body = r.read()
        if r.status != 200:
            return False
        self.auth = {"Authorization": "Bearer " + json.loads(body)["token"]}
        return True

    def ask(self, repository, what, method="GET", **more):
        path = f"/v2/{self.prefix}{repository}/{what}{self.query}"
        a = Answer(self.at, path, self.auth | more, method)
        challenge = a.headers.get("WWW-Authenticate")
        if a.status == 401 and challenge and self.engine and self.follow(challenge, repository):
            a = Answer(self.at, path, self.auth | more, method)
        return a

    def lure(self, how):
        """Whatever leads to the other registry. An engine has a login for each: evil.test gets nobody's from it."""
        auth = {} if self.engine else self.auth
        for repository in ("team/app", "team/basic"):
            Answer(port, f"/v2/evil.test/{repository}/manifests/1", auth)
            Answer(self.at, f"/v2/{repository}/manifests/1?ns=evil.test", auth)
        a = self.ask(f"private/{how}-moved", "manifests/1")
        check(a.status in (401, 403), f"{self.kind}, {how}: what was moved: {a.status}")
        if self.engine and a.headers.get("WWW-Authenticate"):
            self.follow(a.headers["WWW-Authenticate"], f"private/{how}-moved")

    def pull(self, repository):
        """Status, the manifest's and layer's answers, and whether what came is right."""
        m = self.ask(repository, "manifests/1")
        if m.status != 200:
            return m, None, False
        layer = json.loads(m.body)["layers"][0]
        b = self.ask(repository, f"blobs/{layer['digest']}")
        got, ends = b.body, [b.end]
        while b.end == "short" and self.engine and len(ends) < 4:
            b2 = self.ask(repository, f"blobs/{layer['digest']}", Range=f"bytes={len(got)}-")
            if b2.status != 206:
                break
            got += b2.body
            ends.append(b2.end)
            if b2.end == "whole":
                break
        b.ends = ends
        return m, b, "sha256:" + hashlib.sha256(got).hexdigest() == layer["digest"]


def check(ok, text):
    if not ok:
        wrong.append(text)
    return ok


def upstream_gets(kind):
    return sum(1 for l in open(f"{folder}/requests") if l.startswith(kind + " GET /") and ("/blobs/" in l or "/signed/" in l) and l.split()[3] in ("200", "206"))


def tell(m, b, good):
    if m.status != 200:
        return f"{m.status}{' +challenge' if m.headers.get('WWW-Authenticate') else ''}"
    return f"{'whole' if good else 'NOT WHOLE'}{' in %d' % len(b.ends) if len(b.ends) > 1 else ''}"


def cell(kind, how, situation):
    told = cell_itself(kind, how, situation)
    Client(kind, how, LOGINS[{"public": None, "private": "right", "expired": "right"}.get(situation, situation)]).lure(how)
    return told


def cell_itself(kind, how, situation):
    where = f"{kind}, {how}, {situation}"
    repository = f"{'public' if situation == 'public' else 'private'}/{how}-away"
    login = LOGINS[{"public": None, "private": "right", "expired": "right"}.get(situation, situation)]
    client = Client(kind, how, login)
    if situation == "expired":
        repository = f"private/{how}-long"
        client.ask(repository, "manifests/1")
        write(f"{kind}.cut", f"{repository} 1600000")
    before = upstream_gets(kind)
    m, b, good = client.pull(repository)
    if situation in ("public", "private"):
        # ECR and the like let nobody in at all; what is public there is public to who has a login.
        needs = KINDS_BASIC and kind in KINDS_BASIC and situation == "public"
        if needs:
            check(m.status == 401 and m.headers.get("WWW-Authenticate"), f"{where}: {m.status}")
            return f"{tell(m, b, good)}, nothing"
        check(good, f"{where}: {tell(m, b, good)}")
        again = Client(kind, how, login).pull(repository)
        check(again[2] and upstream_gets(kind) == before + 1, f"{where}: fetched {upstream_gets(kind) - before} times")
        if situation == "private":
            nobody = Answer(client.at, f"/v2/{client.prefix}{repository}/manifests/1{client.query}", {})
            check(nobody.status == 401 and nobody.headers.get("WWW-Authenticate"), f"{where}: nobody gets {nobody.status}")
        return f"{tell(m, b, good)}, cached"
    if situation == "expired":
        check(good and "reset" not in b.ends, f"{where}: {tell(m, b, good)} {b and b.ends}")
        return f"{tell(m, b, good)}, cached"
    # A wrong login, another tenant: what alice has brought here is not theirs.
    # By their own tokens clients know what a 403 means; who is known by a login alone is asked for another one.
    refused = (401, 403) if client.engine else (401,)
    check(m.status in refused and not m.body.startswith(b'{"schemaVersion'), f"{where}: {m.status}")
    alice = Client(kind, "engine", LOGINS["right"]).ask(repository, "manifests/1")
    layer = json.loads(alice.body)["layers"][0]["digest"]
    b = client.ask(repository, f"blobs/{layer}")
    check(b.status in refused and len(b.body) < 4096, f"{where}: its layer: {b.status}")
    for a in (m, b):
        check(client.engine or a.headers.get("WWW-Authenticate"), f"{where}: {a.status} without a challenge")
    return f"{tell(m, None, False)}, nothing"


KINDS_BASIC = ("nexus", "ecr")
SITUATIONS = ("public", "private", "wrong", "other", "expired")


def matrix():
    rows = {}

    def row(kind):
        for how in ("engine", "login", "shared"):
            try:
                rows[kind, how] = [cell(kind, how, s) for s in SITUATIONS]
            except Exception as e:
                check(False, f"{kind}, {how}: {e!r}")

    threads = [threading.Thread(target=row, args=(k,)) for k in kinds]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(f"{'kind':12}{'client':8}" + "".join(f"{s:24}" for s in SITUATIONS))
    for (kind, how), cells in sorted(rows.items()):
        print(f"{kind:12}{how:8}" + "".join(f"{c:24}" for c in cells))


def unhurt():
    """The other registry was asked, and sent no token but of its own; tokens of ours are such of alice and bob in base64."""
    asked = open(f"{folder}/evil").read()
    check(asked.count("\nHost: ") > 100, "the other registry was not asked")
    for line in asked.splitlines():
        ours = re.search(r"^(proxy-)?authorization: |^cookie: |canary|basic |entrepot\.|YWxpY2|Ym9i", line, re.I)
        check(not ours or line == "Authorization: Bearer for-everybody", f"the other registry was sent {line}")


# ---- stories ----


def logins(kind):
    """Requests to the token service of a kind that brought a login."""
    return sum(1 for l in open(f"{folder}/requests") if l.startswith(f"{kind} GET /token") and l.endswith(" Basic\n"))


def ours(kind, what, repository="private/own", method="GET"):
    """Asked for by nobody, of the upstream for which the cache has a login of its own."""
    return Answer(port, f"/v2/{repository}/{what}?ns=own-{kind}.test", {}, method)


def layer(kind, repository):
    m = Client(kind, "engine", LOGINS["right"]).ask(repository, "manifests/1")
    return json.loads(m.body)["layers"][0]["digest"]


def wrong_identity(kind):
    say(f"{kind}: a wrong password is configured: what is public is had, what is private asks for the client's own")
    before = logins(kind)
    for n in range(8):
        a = ours(kind, "manifests/1", f"public/{n}")
        check(a.status == 200, f"public/{n} of {kind} with a wrong password: {a.status} {a.body}")
    check(logins(kind) - before <= 2, f"{kind}: a wrong password was tried {logins(kind) - before} times")
    a = ours(kind, "manifests/1")
    check(a.status == 401 and a.headers.get("WWW-Authenticate"), f"{kind}: private with a wrong password: {a.status} {a.body}")
    b = Client(kind, "engine", LOGINS["right"], f"own-{kind}.test").ask("private/own", "manifests/1")
    check(b.status == 200, f"{kind}: the client's own login: {b.status} {b.body}")
    write(f"{kind}.configured", "canary-alice-1")
    a = ours(kind, "manifests/1", "private/corrected")
    check(a.status == 200, f"{kind}: the corrected password is not used at once: {a.status} {a.body}")


def changed_identity(kind, how):
    say(f"{kind}: a password that has ended (403) is asked for again, from a {how}")
    name = f"private/{how}-changed"
    a = ours(kind if how == "file" else f"{kind}-{how}", "manifests/1", name)
    check(a.status == 200, f"{kind}, {how}: {a.status} {a.body}")
    d = json.loads(a.body)["layers"][0]["digest"]
    old = open(f"{folder}/{kind}.configured").read().strip()
    write(f"{kind}.password", old + "x")
    write(f"{kind}.ended", old)
    write(f"{kind}.configured", old + "x")
    b = ours(kind if how == "file" else f"{kind}-{how}", f"blobs/{d}", name)
    check(b.status == 200 and len(b.body) == 4 << 20, f"{kind}, {how}, the password was changed: {b.status} {b.body[:200]}")


def expired_403():
    say("a token of ours that ends with 403 instead of 401 is fetched again")
    write("hub.ends-with-403", "1")
    a = ours("hub", "manifests/1", "private/late")
    d = json.loads(a.body)["layers"][0]["digest"]
    write("hub.ends", "100")
    b = ours("hub", f"blobs/{d}", "private/late")
    check(b.status == 200 and len(b.body) == 4 << 20, f"after a 403 that says expired: {b.status} {b.body[:200]}")


def signed_for_get():
    say("HEAD of a URL that is signed for GET")
    d = layer("quay", "private/signed")
    write("quay.redirects", "1")
    c = Client("quay", "engine", LOGINS["right"])
    a = c.ask("private/signed", f"blobs/{d}", "HEAD")
    check(a.status == 200 and a.headers["Content-Length"] == str(4 << 20), f"HEAD: {a.status} {dict(a.headers)}")


def another_token():
    say("a layer goes on with the token of another client, or a newer one")
    repository = "private/shared"
    first, second = Client("harbor", "engine", LOGINS["right"]), Client("harbor", "engine", LOGINS["right"])
    first.ask(repository, "manifests/1")
    write("harbor.cut", f"{repository} 1600000")

    def later():
        time.sleep(1.2)  # the tokens have ended
        check(second.ask(repository, "manifests/1").status == 200, "the second client")

    t = threading.Thread(target=later)
    t.start()
    m, b, good = first.pull(repository)
    t.join()
    check(good and b.ends == ["whole"], f"the first client's layer: {b.ends}")


def before_the_first_byte():
    say("a token that ends before the first byte is answered with the challenge")
    repository = "private/unbegun-small"
    c = Client("acr", "engine", LOGINS["right"])
    c.ask(repository, "manifests/1")
    d = layer("acr", repository)
    write("acr.cut", f"{repository} 100000")
    a = Answer(port, f"/v2/{repository}/blobs/{d}?ns=acr.test", c.auth)
    check(a.status == 401 and a.headers.get("WWW-Authenticate"), f"{a.status} {a.body[:200]}")
    b = c.ask(repository, f"blobs/{d}")
    check(b.status == 200 and len(b.body) == 256 << 10, f"with a new token: {b.status}")


def say(text):
    print("*", text, flush=True)


matrix()
wrong_identity("ghcr")
wrong_identity("artifactory")
changed_identity("ecr", "file")
changed_identity("ecr", "helper")
expired_403()
signed_for_get()
another_token()
before_the_first_byte()
unhurt()
for w in wrong:
    print("WRONG:", w)
sys.exit(bool(wrong))
