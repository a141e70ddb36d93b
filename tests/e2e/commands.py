#!/usr/bin/env python3
"""For commands.sh: archives and a registry with names that drive a terminal, and tables of what is typed and what comes out."""
import hashlib, http.server, io, json, os, pty, re, subprocess, sys, tarfile

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
    one = image("linux", "amd64", "one")
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
        (0, ["version", "--json"]), (0, ["--version"]), (0, ["--help"]), (0, ["pull", "--help"]), (0, ["serve", "-h"]), (0, ["offline", s]),
        (0, ["ls", s, "--", "none"]), (0, ["pull", "--platform=all", "one", s][:2] + ["one:1", s]),
        (2, []), (2, ["nothing"]), (2, ["setup"]), (2, ["status", "word", s]), (2, ["status", "--no-such", s]), (2, ["status", "-x", s]),
        (2, ["status", "--json=yes", s]), (2, ["status", "--socket"]), (2, ["status", "--socket="]), (2, ["status", "--c", s]),
        (2, ["status", "--socket", "/" + "x" * 200]), (2, ["ls", "a", "b", s]), (2, ["inspect", s]), (2, ["pull", s]), (2, ["pin", s]),
        (2, ["pull", "a", "--platform=linux", s]), (2, ["pull", "--file", f"{w}/list.txt", s]), (2, ["export", "a", s]),
        (2, ["export", "a", "-o", f"{w}/x.tar", "--format=zip", s]), (2, ["export", "a", "-o", f"{w}/x.tar", "--platform=linux", s]),
        (2, ["export", "a", "-o", f"{w}/folder", "--format=docker", s]), (2, ["export", "a", "-o", "", s]), (2, ["import", s]),
        (2, ["gc", "--to=20%", s]), (2, ["gc", "--to", "lots", s]), (2, ["gc", "--to", s]), (2, ["verify", "--rate=fast", s]),
        (2, ["offline", "maybe", s]), (2, ["config", s]), (2, ["config", "chck"]), (2, ["version", "x"]), (2, ["serve", "x"]),
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


sys.exit({"make": make, "serve": lambda www, port: serve(www, int(port)), "words": words, "prints": prints}[sys.argv[1]](*sys.argv[2:]))
