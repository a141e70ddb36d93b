#!/usr/bin/env python3
"""build.py BINARY OUT VERSION [NAME]: the container image of a built entrepot, without an engine.
   build.py BINARY --rootfs FOLDER: only its files, for a Containerfile.

In OUT: layout/, an OCI image layout of the image and its list of parts, which refers to it; image.tar, for `docker load`,
`ctr images import`, `podman load`; sbom.spdx.json; digest. The same binary, libraries and SOURCE_DATE_EPOCH (default: the
date of the commit) give the same digest: all is sorted, and no time, owner or name of this machine is in it.

The image has the binary, the libraries that ldd names, certificates, and the licences and versions of the packages that these
are from, where scanners look for them. No shell, no package manager. The first layer is what changes seldom.
"""
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
USER = 65532
LIMIT = 25 << 20  # bytes of all layers, compressed
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
OCI = "application/vnd.oci.image."


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=TOP).stdout.strip()


def git(*command):
    try:
        return subprocess.run(("git", *command), check=True, capture_output=True, text=True, cwd=TOP).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def epoch():
    return int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct") or 0)


# ---- what is in it: path -> (kind, content, mode, owner) ----

class Tree:
    def __init__(self):
        self.entries = {}

    def folder(self, path, mode=0o755, owner=0):
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.folder(parent)
        self.entries[path] = (tarfile.DIRTYPE, b"", mode, owner)

    def file(self, path, content, mode=0o644):
        if os.path.dirname(path) and os.path.dirname(path) not in self.entries:
            self.folder(os.path.dirname(path))
        self.entries[path] = (tarfile.REGTYPE, content, mode, 0)

    def link(self, path, target):
        self.entries[path] = (tarfile.SYMTYPE, target, 0o777, 0)

    def tar(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for path, (kind, content, mode, owner) in sorted(self.entries.items()):
                info = tarfile.TarInfo(path)
                info.type, info.mode, info.uid, info.gid, info.mtime = kind, mode, owner, owner, epoch()
                if kind == tarfile.SYMTYPE:
                    info.linkname = content
                    content = b""
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return out.getvalue()

    def write(self, root):
        os.makedirs(root, exist_ok=True)
        for path, (kind, content, mode, owner) in sorted(self.entries.items()):
            full = os.path.join(root, path)
            if kind == tarfile.DIRTYPE:
                os.makedirs(full, exist_ok=True)
            elif kind == tarfile.SYMTYPE:
                os.symlink(content, full)
                continue
            else:
                with open(full, "wb") as f:
                    f.write(content)
            os.chmod(full, mode)
            if os.geteuid() == 0:
                os.chown(full, owner, owner)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def stripped(path, work):
    """Without its debugging symbols, and without what is made of these."""
    out = os.path.join(work, "stripped")
    run("strip", "--strip-all", "--remove-section=.note.gnu.build-id", "-o", out, path)
    return read(out)


def libraries(binary):
    """Path where the loader looks for it -> file, of all that the binary is linked with, the loader included."""
    found = {}
    for line in run("ldd", binary).splitlines():
        if "not found" in line:
            sys.exit(f"build.py: {line.strip()}")
        for word in line.split():
            if word.startswith("/"):
                folder, name = os.path.split(word)
                found[os.path.join(os.path.realpath(folder), name)] = os.path.realpath(word)
    return found


def without_data(name, work):
    """libicudata is half of the image: tables of all languages, for libicuuc, which libxml2 wants, which libarchive wants
    for the format xar. In its place a library that has the table's name and no table, as ICU's own build has it."""
    version = name.split(".")[2]
    source, out = os.path.join(work, "stub.c"), os.path.join(work, "stub.so")
    with open(source, "w") as f:
        f.write(f"extern const char icudt{version}_dat[64];\nconst char icudt{version}_dat[64] = {{0}};\n")
    run(os.environ.get("CC", "cc"), "-shared", "-nostdlib", "-O2", "-s", "-Wl,--build-id=none", f"-Wl,-soname,{name}", "-o", out, source)
    return read(out)


def owners(paths):
    """Debian's packages of these files."""
    packages = set()
    for path in paths:
        # Of a merged /usr, dpkg knows one of the two names.
        for name in (path, path.replace("/usr/", "/", 1), "/usr" + path):
            answer = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True)
            if answer.returncode == 0:
                packages.add(answer.stdout.split(": ")[0].split(", ")[0])
                break
        else:
            print(f"build.py: {path} is of no package", file=sys.stderr)
    return packages


def base_tree(binary, work):
    tree = Tree()
    for folder, mode in (("tmp", 0o1777), ("run", 0o755), ("proc", 0o755), ("sys", 0o755), ("dev", 0o755)):
        tree.folder(folder, mode)
    tree.folder("usr/bin")
    libs = libraries(binary)
    for link in ("bin", "lib", "lib64"):  # /lib64 is where the loader is on some machines
        if link == "bin" or any(path.startswith(f"/usr/{link}/") for path in libs):
            tree.link(link, "usr/" + link)
    tree.file("etc/passwd", f"root:x:0:0:root:/root:/sbin/nologin\nentrepot:x:{USER}:{USER}:entrepot:/var/lib/entrepot:/sbin/nologin\n".encode())
    tree.file("etc/group", f"root:x:0:\nentrepot:x:{USER}:\n".encode())
    tree.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
    tree.file("etc/os-release", read("/etc/os-release") if os.path.exists("/etc/os-release") else b"")
    tree.file(CERTIFICATES[1:], read(CERTIFICATES))
    tree.folder("var/lib/entrepot", 0o700, USER)
    for path, source in libs.items():
        name = os.path.basename(path)
        tree.file(path[1:], without_data(name, work) if name.startswith("libicudata.so.") else read(source), 0o755)
    packages = sorted(owners(libs.values()) | {"ca-certificates"})
    for package in packages:
        name = package.split(":")[0]
        tree.file(f"var/lib/dpkg/status.d/{name}", status_of(package))
        licence = f"/usr/share/doc/{name}/copyright"
        if os.path.exists(licence):
            tree.file(licence[1:], read(licence))
    return tree, packages


FIELDS = ("Package", "Status", "Maintainer", "Architecture", "Source", "Version", "Homepage")


def status_of(package):
    """As scanners read it of images without dpkg."""
    text = "".join(f"{f}: ${{{f}}}\n" for f in FIELDS)
    lines = run("dpkg-query", "-W", f"-f={text}", package).splitlines()
    return ("\n".join(line for line in lines if not line.endswith(": ")) + "\n").encode()


def own_tree(binary, work):
    tree = Tree()
    tree.file("usr/bin/entrepot", stripped(binary, work), 0o755)
    tree.file("etc/entrepot/config.yaml", read(os.path.join(HERE, "config.yaml")))
    tree.file("usr/share/doc/entrepot/LICENSE", read(os.path.join(TOP, "LICENSE")))
    return tree


# ---- the image ----

class Layout:
    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder + "/blobs/sha256")

    def blob(self, content, media_type, **more):
        digest = hashlib.sha256(content).hexdigest()
        with open(f"{self.folder}/blobs/sha256/{digest}", "wb") as f:
            f.write(content)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(content), **more}

    def json(self, what, media_type, **more):
        return self.blob(as_json(what), media_type, **more)

    def index(self, *manifests):
        with open(self.folder + "/oci-layout", "wb") as f:
            f.write(b'{"imageLayoutVersion":"1.0.0"}')
        with open(self.folder + "/index.json", "wb") as f:
            f.write(as_json({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": manifests}))


def as_json(what):
    return json.dumps(what, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def date():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch()))


def annotations(version):
    words = {"title": "entrepot", "description": "Node-local cache and pull-through proxy for container images", "licenses": "Apache-2.0",
             "version": version, "created": date(), "revision": git("rev-parse", "HEAD")}
    return {"org.opencontainers.image." + k: v for k, v in words.items() if v}


ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x"}


def architecture():
    machine = os.uname().machine
    return ARCHITECTURES.get(machine, machine)


def config(version, diff_ids):
    history = [{"created": date(), "created_by": "deploy/image/build.py", "comment": c} for c in ("libraries, certificates", "entrepot")]
    return {"created": date(), "architecture": architecture(), "os": "linux", "history": history,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "config": {"User": f"{USER}:{USER}", "Entrypoint": ["/usr/bin/entrepot"], "Cmd": ["serve"], "WorkingDir": "/",
                       "Env": ["PATH=/usr/bin", "LANG=C.UTF-8", "HOME=/var/lib/entrepot"], "ExposedPorts": {"5000/tcp": {}},
                       "Volumes": {"/var/lib/entrepot": {}}, "StopSignal": "SIGTERM", "Labels": annotations(version),
                       # Docker's; others leave it aside
                       "Healthcheck": {"Test": ["CMD", "/usr/bin/entrepot", "status"], "Interval": 10 * 10**9, "Timeout": 5 * 10**9,
                                       "StartPeriod": 10 * 10**9, "Retries": 3}}}


def layer(layout, tree):
    tar = tree.tar()
    packed = gzip.compress(tar, 9, mtime=0)
    return layout.blob(packed, OCI + "layer.v1.tar+gzip"), "sha256:" + hashlib.sha256(tar).hexdigest()


# ---- the list of its parts: SPDX 2.3 ----

def quote(text):
    return "".join(c if c.isalnum() or c in ".-_~" else f"%{ord(c):02X}" for c in text)


def part(package):
    text = "${Package}\n${Version}\n${Architecture}\n${source:Package}\n${Maintainer}\n${Homepage}"
    name, version, arch, source, maintainer, home = (run("dpkg-query", "-W", "-f=" + text, package) + "\n").split("\n")[:6]
    release = dict(line.split("=", 1) for line in read("/etc/os-release").decode().splitlines() if "=" in line)
    distro = release.get("ID", "debian") + "-" + release.get("VERSION_ID", "").strip('"')
    what = {"SPDXID": "SPDXRef-deb-" + "".join(c if c.isalnum() or c in ".-" else "-" for c in name), "name": name, "versionInfo": version,
            "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION", "sourceInfo": f"Debian source package {source}; licence in /usr/share/doc/{name}/copyright",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                              "referenceLocator": f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={arch}&distro={quote(distro)}"}]}
    if maintainer:
        what["supplier"] = "Organization: " + maintainer.split(" <")[0]
    if home:
        what["homepage"] = home
    if name.startswith("libicu"):
        what["comment"] = "Without its tables: libicudata is a stand-in of no content."
    return what


def bill(version, digest, packages):
    own = {"SPDXID": "SPDXRef-entrepot", "name": "entrepot", "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
           "licenseConcluded": "Apache-2.0", "licenseDeclared": "Apache-2.0", "copyrightText": "NOASSERTION",
           "primaryPackagePurpose": "APPLICATION",
           "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": f"pkg:generic/entrepot@{quote(version)}"}]}
    image = {"SPDXID": "SPDXRef-image", "name": "entrepot-image", "versionInfo": digest, "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
             "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
             "primaryPackagePurpose": "CONTAINER"}
    parts = [part(p) for p in packages]
    return {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"entrepot-{version}",
            "documentNamespace": f"https://spdx.org/spdxdocs/entrepot-{version}-{digest.split(':')[1]}",
            "creationInfo": {"created": date(), "creators": ["Tool: entrepot-deploy-image-build"]}, "packages": [image, own] + parts,
            "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"}] +
                             [{"spdxElementId": "SPDXRef-image", "relationshipType": "CONTAINS", "relatedSpdxElement": p["SPDXID"]}
                              for p in [own] + parts]}


def attach(layout, what, subject, version):
    kind = "application/spdx+json"
    content = layout.blob(what, kind, annotations={"org.opencontainers.image.title": "sbom.spdx.json"})
    return layout.json({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "artifactType": kind,
                        "config": layout.blob(b"{}", "application/vnd.oci.empty.v1+json"), "layers": [content],
                        "subject": {k: subject[k] for k in ("mediaType", "digest", "size")},
                        "annotations": {"org.opencontainers.image.created": date(), "org.opencontainers.image.version": version}},
                       OCI + "manifest.v1+json", artifactType=kind)


# ---- the archive ----

def archive(layout, entry, manifest, name, out):
    """A layout that Docker reads by manifest.json too, with the image alone: some readers fail on what is no image."""
    tree, blobs = Tree(), "blobs/sha256/"
    for d in [entry, manifest["config"]] + manifest["layers"]:
        digest = d["digest"].split(":")[1]
        tree.file(blobs + digest, read(f"{layout.folder}/{blobs}{digest}"))
    path = [blobs + d["digest"].split(":")[1] for d in [manifest["config"]] + manifest["layers"]]
    tree.file("manifest.json", as_json([{"Config": path[0], "RepoTags": [name], "Layers": path[1:]}]))
    tree.file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    tree.file("index.json", as_json({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [entry]}))
    with open(out, "wb") as f:
        f.write(tree.tar())


def full_name(name):
    first = name.split("/")[0]
    if "/" in name and ("." in first or ":" in first or first == "localhost"):
        return name
    return "docker.io/" + ("" if "/" in name else "library/") + name


def build(binary, out, version, name):
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    layout = Layout(out + "/layout")
    with tempfile.TemporaryDirectory() as work:
        base, packages = base_tree(binary, work)
        layers = [layer(layout, base), layer(layout, own_tree(binary, work))]
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "annotations": annotations(version),
                "config": layout.json(config(version, [d for _, d in layers]), OCI + "config.v1+json"), "layers": [d for d, _ in layers]}
    entry = layout.json(manifest, manifest["mediaType"], platform={"architecture": architecture(), "os": "linux"},
                        annotations={"org.opencontainers.image.ref.name": name.rsplit(":", 1)[-1], "io.containerd.image.name": full_name(name)})
    sbom = json.dumps(bill(version, entry["digest"], packages), indent=1, sort_keys=True).encode() + b"\n"
    layout.index(entry, attach(layout, sbom, entry, version))
    archive(layout, entry, manifest, name, out + "/image.tar")
    for file, content in (("sbom.spdx.json", sbom), ("digest", entry["digest"].encode() + b"\n")):
        with open(f"{out}/{file}", "wb") as f:
            f.write(content)
    size = sum(d["size"] for d in manifest["layers"])
    print(f"{name} {entry['digest']}, {size / (1 << 20):.1f} MiB, {len(packages)} packages: {out}/layout, {out}/image.tar")
    if size > LIMIT:
        sys.exit(f"build.py: the image is larger than {LIMIT >> 20} MiB")


def main(binary, out, *rest):
    os.umask(0o022)
    if out == "--rootfs":
        with tempfile.TemporaryDirectory() as work:
            for tree in (base_tree(binary, work)[0], own_tree(binary, work)):
                tree.write(rest[0])
        return
    build(binary, out, rest[0], rest[1] if len(rest) > 1 else "entrepot:" + rest[0])


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
