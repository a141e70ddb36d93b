#!/usr/bin/env python3
"""For commands.sh: archives and a registry with names that drive a terminal, and tables of what is typed and what comes out."""
import hashlib, http.server, io, json, os, pty, re, select, socket, subprocess, sys, tarfile, time

EVIL = "\x1b[31mred\x07 \x9b2J \u202ecod\x7f\r\nentrepot: forged"
OCI = "application/vnd.oci.image."
HIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image(platform_os, arch, text):
    """Its blobs, the manifest last."""
    layer = text.encode()
    config = json.dumps({"os": platform_os, "architecture": arch, "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}}).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
        "config": {"mediaType": OCI + "config.v1+json", "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": OCI + "layer.v1.tar", "digest": digest_of(layer), "size": len(layer), "annotations": {"title": EVIL}}],
        "annotations": {"org.opencontainers.image.title": EVIL},
    }).encode()
    return [layer, config, manifest]


def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def layout(path, blobs, descriptors):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": descriptors}).encode())
        for b in blobs:
            add(tar, "blobs/" + digest_of(b).replace(":", "/"), b)


def descriptor(data, name, kind="manifest"):
    notes = {"org.opencontainers.image.ref.name": name}
    return {"mediaType": f"{OCI}{kind}.v1+json", "digest": digest_of(data), "size": len(data), "annotations": notes}


def make(w):
    blobs = image("linux", "x" + EVIL, "layer")
    index = json.dumps({
        "schemaVersion": 2, "mediaType": OCI + "index.v1+json",
        "manifests": [{"mediaType": OCI + "manifest.v1+json", "digest": digest_of(blobs[2]), "size": len(blobs[2]),
                       "platform": {"os": "linux", "architecture": "x" + EVIL, "variant": "\u00e9" * 40}}],
    }).encode()
    evil = blobs + [index]
    layout(f"{w}/evil.tar", evil, [descriptor(index, "evil.example/evil:1", "index"), descriptor(blobs[2], "evil.example/plain:1")])
    layout(f"{w}/named.tar", blobs, [descriptor(blobs[2], EVIL)])
    many = image("linux", "amd64", "many")
    layout(f"{w}/many.tar", many, [descriptor(many[2], f"many.example/many:{i}") for i in range(4100)])
    with open(f"{w}/too-many.json", "w") as f:
        json.dump({"images": [{"name": f"many.example/many:{i}", "digest": digest_of(blobs[2])} for i in range(4097)]}, f)
    with tarfile.open(f"{w}/docker.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "manifest.json", json.dumps([{"Config": EVIL, "RepoTags": [EVIL], "Layers": [EVIL]}]).encode())
    platforms = [image("linux", a, "twice") for a in ("amd64", "arm64", "386")]
    both = json.dumps({
        "schemaVersion": 2, "mediaType": OCI + "index.v1+json",
        "manifests": [{"mediaType": OCI + "manifest.v1+json", "digest": digest_of(p[2]), "size": len(p[2]),
                       "platform": {"os": "linux", "architecture": a}} for p, a in zip(platforms, ("amd64", "arm64"))],
    }).encode()
    layout(f"{w}/twice.tar", [platforms[0][0]] + [b for p in platforms for b in p[1:]] + [both],
           [descriptor(both, "twice.example/both:1", "index"), descriptor(platforms[2][2], "twice.example/one:1")])
    one = image("linux", "amd64", "one")
    part = image("linux", "amd64", "a layer that its registry has lost")
    for repo, blobs in ("gone", one), ("part", part[1:]):
        for kind, name, data in [("blobs", digest_of(b), b) for b in blobs] + [("manifests", "1", blobs[-1])]:
            os.makedirs(f"{w}/www/v2/library/{repo}/{kind}", exist_ok=True)
            with open(f"{w}/www/v2/library/{repo}/{kind}/{name}", "wb") as f:
                f.write(data)
    for kind, name, data in [("blobs", digest_of(b), b) for b in one] + [("manifests", n, one[2]) for n in ("1", digest_of(one[2]))]:
        os.makedirs(f"{w}/www/v2/library/one/{kind}", exist_ok=True)
        with open(f"{w}/www/v2/library/one/{kind}/{name}", "wb") as f:
            f.write(data)
    with open(f"{w}/list.txt", "w") as f:
        f.write(EVIL.replace("\r\n", "") + "\n")
    with open(f"{w}/compose.yaml", "w") as f:
        f.write(f"services: {json.dumps({EVIL: {'build': '.'}, 'b': {'image': 'one:1'}})}\n")
    with open(f"{w}/evil.yaml", "w") as f:
        f.write(f"cache: {{path: /x}}\nlog: {{level: {json.dumps(EVIL)}}}\n")


def serve(www, port):
    class Registry(http.server.SimpleHTTPRequestHandler):
        extensions_map = {"": OCI + "manifest.v1+json"}

        def __init__(self, *args):
            super().__init__(*args, directory=www)

        def log_message(self, *args):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Registry).serve_forever()


def run(entrepot, args, **more):
    return subprocess.run([entrepot.encode()] + [a if isinstance(a, bytes) else a.encode() for a in args], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=120, **more)


def words(entrepot, w):
    s = f"--socket={w}/admin.sock"
    nowhere = f"--socket={w}/nowhere.sock"
    bad = ["UPPER", "a b", "nginx:", "nginx@sha256:abc", "../x", "", b"\xff"]
    table = [(2, [c] + r + [s]) for r in [[b] for b in bad] for c in ("ls", "inspect", "pull", "pin", "unpin", "rm") if r != [""] or c != "ls"]
    table += [(2, ["export", b, "-o", f"{w}/x.tar", s]) for b in bad]
    table += [(2, ["import", f"{w}/many.tar", "--name", b, s]) for b in bad]
    table += [
        (0, ["status", s]), (0, ["status", "--socket", f"{w}/admin.sock"]), (0, ["status", "--sock", f"{w}/admin.sock"]),
        (0, ["status", s, "--js"]), (0, ["status", s, "--"]), (0, ["gc", "--dry", s]), (0, ["gc", "--to=1GiB", s]),
        (0, ["verify", "--rate=0", s]), (0, ["config", "check", f"--config={w}/config.yaml"]), (0, ["config", f"--conf={w}/config.yaml", "show"]),
        (0, ["version", "--json"]), (0, ["ca", "--help"]), (0, ["--version"]), (0, ["--help"]), (0, ["pull", "--help"]), (0, ["serve", "-h"]), (0, ["offline", s]),
        (0, ["ls", s, "--", "none"]), (0, ["pull", "--platform=all", "one", s][:2] + ["one:1", s]),
        (2, []), (2, ["nothing"]), (2, ["help", "nothing"]), (2, ["help", "pull", "ls"]), (0, ["help", "pull"]), *((2, [c]) for c in ("setup", "completion")), (2, ["completion", "ksh"]), (0, ["completion", "bash"]), (2, ["status", "word", s]), (2, ["status", "--no-such", s]), (2, ["status", "-x", s]),
        (2, ["status", "--json=yes", s]), (2, ["status", "--socket"]), (2, ["status", "--socket="]), (2, ["status", "--c", s]),
        (2, ["status", "--socket", "/" + "x" * 200]), (2, ["ls", "a", "b", s]), (2, ["inspect", s]), (2, ["pull", s]), (2, ["pin", s]),
        (2, ["pull", "a", "--platform=linux", s]), (2, ["pull", "--file", f"{w}/list.txt", s]), (2, ["export", "a", s]),
        (2, ["export", "a", "-o", f"{w}/x.tar", "--format=zip", s]), (2, ["export", "a", "-o", f"{w}/x.tar", "--platform=linux", s]),
        (2, ["export", "a", "-o", f"{w}/folder", "--format=docker", s]), (2, ["export", "a", "-o", "", s]), (2, ["import", s]),
        (2, ["gc", "--to=20%", s]), (2, ["gc", "--to", "lots", s]), (2, ["gc", "--to", s]), (2, ["verify", "--rate=fast", s]),
        (2, ["offline", "maybe", s]), (2, ["config", s]), (2, ["config", "chck"]), (2, ["doctor", "x"]), (2, ["ca", "x"]), (2, ["ca", "--show", "--rotate"]), (1, ["ca", f"--cache={w}/none"]), (2, ["version", "x"]), (2, ["setup", "dokcer"]), (2, ["serve", "x"]),
        (2, ["serve", "--listen=nowhere"]), (2, ["serve", "--listen"]), (2, ["serve", "--json"]),
        (1, ["status", nowhere]), (1, ["inspect", "none:1", s]), (1, ["rm", "none:1", s]), (1, ["pin", "none:1", s]),
        (1, ["import", f"{w}/none.tar", s]), (1, ["export", "none:1", "-o", f"{w}/x.tar", s]), (1, ["config", "check", f"--config={w}/evil.yaml"]),
        (1, ["config", "check", f"--config={w}/none.yaml"]), (1, ["serve", f"--config={w}/none.yaml"]), (1, ["pull", "none:1", s]),
    ]
    wrong = 0
    for status, args in table:
        r = run(entrepot, args)
        lines = r.stderr.count(b"\n")
        if r.returncode != status or (status and args and lines != 1) or (status == 0 and r.stderr):
            print(f"{args}: {r.returncode} where {status} is due, {lines} lines: {r.stderr[:300]}")
            wrong += 1
    return wrong


def shown(data, what):
    try:
        bad = HIDDEN.search(data.decode())
    except UnicodeDecodeError as e:
        bad = e
    if bad:
        print(f"{what}: {bad}: {data[:600]}")
    return bool(bad)


def prints(entrepot, w):
    s = f"--socket={w}/admin.sock"
    e = "evil.example/"
    commands = [
        (0, ["import", f"{w}/evil.tar"], "imported"), (1, ["import", f"{w}/named.tar"], r"\x1b[31m"), (1, ["import", f"{w}/docker.tar"], r"\x1b[31m"),
        (0, ["ls"], r"\x1b[31m"), (0, ["inspect", e + "evil:1"], r"\u009b2J"), (0, ["inspect", e + "plain:1"], r"\u202e"),
        (0, ["status"], "requests"), (0, ["gc", "--dry-run"], e), (0, ["verify", "--rate=0"], "verified"),
        (0, ["export", e + "evil:1", "-o", f"{w}/" + EVIL + ".tar"], r"\x1b[31m"), (1, ["pull", e + "evil:1", "--platform=linux/s390x"], ""),
        (2, ["ls", EVIL], r"\x1b[31m"), (2, ["rm", EVIL], r"\x1b[31m"), (2, ["status", "--" + EVIL], r"\x1b[31m"), (2, [EVIL], r"\x1b[31m"),
        (2, ["pull", "--file", f"{w}/list.txt"], r"list.txt"), (0, ["pull", f"--from-compose={w}/compose.yaml"], r"\x1b[31m"),
        (1, ["status", f"--config={w}/evil.yaml"], "log.level"), (1, ["import", f"{w}/{EVIL}"], r"\x1b[31m"), (2, ["import", "x", b"--name=\xff\x9b"], r"\xff"),
        (1, ["export", "none:1", "-o", f"{w}/" + EVIL], "none"), (0, ["config", "check", f"--config={w}/config.yaml"], "good"),
    ]
    wrong = 0
    for status, args, text in commands:
        for json_too in (False, True):
            here = [] if any(str(a).startswith("--config") for a in args) else [s]
            r = run(entrepot, args + here + (["--json"] if json_too else []))
            both = r.stdout + r.stderr
            if r.returncode != status or (not json_too and text.encode() not in both):
                print(f"{args}: {r.returncode} where {status} is due, and \"{text}\" in it: {both[:600]}")
                wrong += 1
            wrong += shown(r.stdout, args) + shown(r.stderr, args)
            lines = [r.stdout] if r.stdout.startswith((b"{\n", b"[")) else r.stdout.splitlines()
            for line in lines if json_too and status == 0 else []:
                json.loads(line)
    raw = run(entrepot, ["inspect", e + "plain:1", "--raw", s]).stdout
    wrong += digest_of(raw) != digest_of(image("linux", "x" + EVIL, "layer")[2])
    return wrong


def answers(entrepot, w):
    """What a command answers to what goes wrong, or is not what was meant: (status, arguments, in its output, not in it)."""
    s = f"--socket={w}/admin.sock"
    one = digest_of(image("linux", "amd64", "one")[2])
    kept = "what was fetched is kept"
    table = [
        (0, ["pull", "one:1", "gone:1"], [], ["entrepot:"]),
        (0, ["pull", "one:1", "--platform=linux/arm64"], [r"entrepot: docker.io/library/one:1 is an image for linux/amd64, not for the requested platform"], []),
        (0, ["pull", "one:1", "--platform=linux/arm64", "--platform=linux/amd64"], [], ["entrepot:"]),
        (0, ["ls", f"one@{one}"], ["library/one:1 "], ["library/gone"]), (0, ["ls", f"one:1@{one}"], ["library/one:1 "], []),
        (0, ["ls", "one@sha256:" + "0" * 64], ["REFERENCE"], ["library"]),
        (1, ["pull", "part:1"], [kept, "part:1: "], []), (1, ["pull", "none.example/x:1"], ["not a configured upstream"], [kept]),
        (1, ["pull", "none:1"], ["none:1: "], [kept, "dropped"]),
        (1, ["rm", "one:1", "none:1"], ["library/none:1 is not in the cache; nothing was changed"], ["removed"]),
        (1, ["rm", "none:1", "one:1"], ["library/none:1 is not in the cache; nothing was changed"], ["removed"]),
        (1, ["pin", "one:1", "none:1"], ["library/none:1 is not in the cache: pull it first; nothing was changed"], ["pinned"]),
        (0, ["ls", "one"], ["library/one:1 "], ["pinned"]), (1, ["inspect", "none"], ["docker.io/library/none:latest is not in the cache: pull it first"], []),
        (0, ["gc", "--to=0"], ["freed 0 B", "the cache still holds .*, and its target is 0 B: the rest is in use, pinned or younger than gc.grace"], []),
        (0, ["gc", "--to=0", "--dry-run"], ["would still hold"], []), (0, ["gc", "--to=1GiB"], ["freed"], ["hold"]),
        (1, ["pull", "--file=/dev/null"], ["entrepot: pull: /dev/null: no images found"], ["Usage"]),
        (1, ["pull", "--from-kubernetes=-"], ["stdin: no images found"], ["Usage"]),
        (1, ["pull", "--file=/nonexistent"], ["--file: reading /nonexistent: No such file"], ["Usage"]),
        (2, ["pull"], ["which images.*Usage: .*--cache DIR"], []), (2, ["export", "a"], ["Usage: .*--cache DIR"], []),
        (0, ["ls", "--help"], ["--config FILE"], []), (2, ["ls", "a" * 300], ["has at most 255 bytes, this has 308"], []),
        (1, ["pull", "tls.example/x:1"], ["does not speak TLS there: .*http://"], ["SSL routines"]),
        (0, ["rm", "gone:1", "gone:1"], ["removed docker.io/library/gone:1\nfreed"], []),
    ]
    wrong = 0
    for status, args, there, absent in table:
        r = run(entrepot, args + [s])
        text = (r.stdout + r.stderr).decode()
        missing = [p for p in there if not re.search(p, text)] + [p for p in absent if re.search(p, text)]
        if r.returncode != status or missing:
            print(f"{args}: {r.returncode} where {status} is due, {missing}: {text[:600]}")
            wrong += 1
    return wrong


def outputs(entrepot, w):
    """An output that cannot be written is a failure that says why; a daemon that ends in the middle of its answer is told as such."""
    s = f"--socket={w}/admin.sock"
    wrong = 0
    for args in (["pull", "one:1"], ["ls"], ["export", "one:1", "-o", "-"], ["status"]):
        with open("/dev/full", "wb") as full:
            r = subprocess.run([entrepot] + args + [s], stdout=full, stderr=subprocess.PIPE, timeout=60)
        closed = subprocess.run([entrepot] + args + [s], stderr=subprocess.PIPE, timeout=60, preexec_fn=lambda: os.close(1))
        for what, answer, why in ("full", r, b"No space left on device"), ("closed", closed, b"Bad file descriptor"):
            if answer.returncode != 1 or why not in answer.stderr:
                print(f"{args}, stdout {what}: {answer.returncode}, {answer.stderr}")
                wrong += 1
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{w}/half.sock")
        listener.listen()
        client = subprocess.Popen([entrepot, "status", f"--socket={w}/half.sock"], stderr=subprocess.PIPE)
        connection = listener.accept()[0]
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        connection.close()
        said = client.communicate(timeout=60)[1]
    if client.returncode != 1 or b"closed the connection without a complete answer" not in said:
        print(f"half an answer: {client.returncode}, {said}")
        wrong += 1
    return wrong


def choices(entrepot, w, ask, images):
    """Filters and orders of `ls` and `rm`, and what `du` and a dry run say. All images here are pinned, but for one:1."""
    def names(*args):
        return [i["reference"] for i in ask("ls", *args)["images"]]

    def by(key):
        return sorted(images, key=lambda r: (-images[r][key], r))

    du = ask("du")
    frees = {i["reference"]: i["freed_bytes"] for i in du["images"]}
    evil = {r for r in images if r.startswith("evil.example/")}
    index, plain = images["evil.example/evil:1"], images["evil.example/plain:1"]
    large = index["size"] - 1
    ask("unpin", "evil.example/evil:1")
    dry = ask("rm", "--upstream=evil.example", "--dry-run")
    shown = run(entrepot, ["rm", "--upstream=evil.example", "--dry-run", f"--socket={w}/admin.sock"]).stdout.decode()
    return [
        (set(names("--upstream=evil.example")), evil), (names("--upstream", "none.example"), []), (names("--unused-for=30d"), []), (names("--unused-for=1h"), []),
        (set(names("--unused-for=0s")), set(images)), (set(names(f"--larger={large}")), {r for r in images if images[r]["size"] > large}),
        (names("--sort=name"), sorted(images)), (names("--sort=name", "--reverse"), sorted(images, reverse=True)),
        (names("--sort=size"), by("size")), (names("--sort=shared", "--reverse"), by("shared_size")[::-1]), (names("--sort=used"), by("last_used")),
        (frees, {r: i["size"] - i["shared_size"] for r, i in images.items()}), ([i["freed_bytes"] for i in du["images"]], sorted(frees.values(), reverse=True)),
        (du["freed_bytes"] > sum(frees.values()), True), (ask("du", *evil)["freed_bytes"], index["size"]),
        (dry["removed"], ["evil.example/evil:1"]), (dry["kept"], ["evil.example/plain:1"]), (dry["freed_bytes"], index["size"] - plain["size"]),
        (shown.splitlines()[:2], ["would remove evil.example/evil:1", "would keep evil.example/plain:1: pinned"]), ("would free " in shown, True),
        (ask("rm", "evil.example/evil:1", "--dry-run")["freed_bytes"], index["size"] - plain["size"]), (set(names()), set(images)),
        (ask("rm", "--upstream=evil.example", f"--larger={index['size']}"), {"removed": [], "freed_bytes": 0, "freed_blobs": 0, "kept": []}),
        (len(ask("pin", "evil.example/evil:1")["pinned"]), 1),
    ]


def shares(entrepot, w):
    """What images share, be it the very same manifest, and what is freed when one of them goes."""
    def ask(*args):
        r = run(entrepot, [*args, "--json", f"--socket={w}/admin.sock"])
        return json.loads(r.stdout.splitlines()[-1] if args[0] == "import" else r.stdout)

    def holders(name):
        return [l["shared_with"] for p in ask("inspect", name)["platforms"] for l in p["layers"]]

    for archive in "evil", "twice":
        ask("import", f"{w}/{archive}.tar")  # and they are pinned
    images = {i["reference"]: i for i in ask("ls")["images"]}
    index, plain = images["evil.example/evil:1"], images["evil.example/plain:1"]
    own = {k["reference"]: k["bytes"] for k in ask("gc", "--dry-run")["kept"]}
    results = [
        (plain["shared_size"], plain["size"]), (index["shared_size"], plain["size"]),
        (holders("evil.example/evil:1"), [["evil.example/plain:1"]]), (holders("evil.example/plain:1"), [["evil.example/evil:1"]]),
        (holders("evil.example/plain@" + plain["digest"]), [["evil.example/evil:1"]]),
        (own["evil.example/plain:1"], 0), (own["evil.example/evil:1"], index["size"] - plain["size"]),
        (holders("twice.example/one:1"), [["twice.example/both:1"]]), (holders("twice.example/both:1"), [["twice.example/one:1"]] * 2),
        *choices(entrepot, w, ask, images),
        (len(ask("unpin", *(r for r in images if ".example/" in r))["unpinned"]), 4),
        (ask("rm", "evil.example/plain:1")["freed_bytes"], 0), (ask("rm", "evil.example/evil:1")["freed_bytes"], index["size"]),
        (holders("twice.example/one:1"), [["twice.example/both:1"]]), (ask("rm", "twice.example/both:1")["freed_bytes"] > 0, True),
        (holders("twice.example/one:1"), [[]]), (ask("ls", "twice.example/one")["images"][0]["shared_size"], 0),
    ]
    wrong = [f"{i}: {a} where {b} is due" for i, (a, b) in enumerate(results) if a != b]
    print("\n".join(wrong))
    return len(wrong)


def keys(w, shell):
    """Typed into a shell on a terminal: (what, what the line is after a tab)."""
    start = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    setup = {"bash": f". {w}/completion.bash", "zsh": f"autoload -U compinit; compinit -D -u; . {w}/completion.zsh"}[shell]
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="dumb", PS1="$ ", HOME=w, ENTREPOT_SOCKET=f"{w}/admin.sock")
        os.execvp(start[0], start)

    def wait_for(text):
        seen, end = b"", time.monotonic() + 20
        while text not in seen and time.monotonic() < end and select.select([fd], [], [], 20)[0]:
            seen = (seen + os.read(fd, 4096)).replace(b" \b", b"")
        if text not in seen:
            print(f"{shell}: no {text} in {seen[-600:]}")
        return text in seen

    os.write(fd, f"{setup}; echo rea''dy\n".encode())
    good = wait_for(b"ready")
    for typed, due in (("entrepot veri", "fy --he"), ("entrepot config sh", "ow --he"), ("entrepot inspect twice.example/b", "oth:1 --he")):
        os.write(fd, f"{typed}\t--he".encode())
        good = good and wait_for(f"{typed}{due}".encode())
        os.write(fd, b"\x15")
    os.close(fd)
    os.waitpid(pid, 0)
    return not good


def colours(entrepot, w):
    """Only on a terminal that has them, and unless NO_COLOR says no."""
    def on_terminal(args, **env):
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update(env)
            os.execv(entrepot, [entrepot, *args, f"--socket={w}/admin.sock"])
        seen = b""
        try:
            while piece := os.read(fd, 4096):
                seen += piece
        except OSError:  # it has ended
            pass
        os.waitpid(pid, 0)
        os.close(fd)
        return seen

    wrong = 0
    for args, due in (["status"], rb"upstream    docker.io: \x1b\[3[12]m(up|DOWN)\x1b\[0m, "), (["doctor", f"--config={w}/config.yaml"], rb"^\x1b\[32mok     \x1b\[0m "):
        for env, coloured in [({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)][: 3 if args == ["status"] else 1]:
            seen = on_terminal(args, **{"TERM": "xterm", **env})
            if bool(re.search(due, seen, re.M)) != coloured or (b"\x1b" in seen) != coloured:
                print(f"{args} with {env}: {seen[:600]}")
                wrong += 1
        wrong += args == ["status"] and b"\x1b" in run(entrepot, args + [f"--socket={w}/admin.sock"], env={**os.environ, "TERM": "xterm"}).stdout
    return wrong


TOLD = {"colours": colours, "words": words, "prints": prints, "answers": answers, "outputs": outputs, "shares": shares}
sys.exit({"make": make, "keys": keys, "serve": lambda www, port: serve(www, int(port)), **TOLD}[sys.argv[1]](*sys.argv[2:]))
