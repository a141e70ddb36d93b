"""For outputs.sh: writes an OCI image layout to the folder that is named, with images of a few bytes:

many:1      an image with 70 referrers that no entry of index.json names
arm:1       an index of linux/arm/v5, v6, v7 and linux/arm64
bare:1      an index of one image that says no platform
windows:1   an index of two images for windows/amd64, 10.0.17763 and 10.0.20348
and an entry that is no image, and one that is called as containerd's CRI calls it.

    layouts.py lz4 FROM TO     FROM as an lz4 frame (of blocks that are not compressed)"""
import hashlib, json, os, struct, sys

OCI = "application/vnd.oci.image."


class Layout:
    def __init__(self, folder):
        self.folder = folder
        self.entries = []
        os.makedirs(folder + "/blobs/sha256")
        open(folder + "/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, data, media_type, **more):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        digest = hashlib.sha256(data).hexdigest()
        open(f"{self.folder}/blobs/sha256/{digest}", "wb").write(data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data), **more}

    def image(self, words, architecture, **more):
        layer = self.blob(words.encode().ljust(1024, b"\0"), OCI + "layer.v1.tar")
        config = self.blob({"os": "linux", "architecture": architecture, "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}, OCI + "config.v1+json")
        return self.blob({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config, "layers": [layer]}, OCI + "manifest.v1+json", **more)

    def index(self, *manifests):
        return self.blob({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": manifests}, OCI + "index.v1+json")

    def referrer(self, subject, words):
        empty = self.blob(b"{}", "application/vnd.oci.empty.v1+json")
        what = self.blob(words.encode(), "text/plain")
        return self.blob({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "artifactType": "application/x", "config": empty, "layers": [what], "subject": subject}, OCI + "manifest.v1+json")

    def name(self, descriptor, name):
        tag = name.split("/")[-1].split(":")[0]
        self.entries.append({**descriptor, "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}})

    def end(self):
        json.dump({"schemaVersion": 2, "manifests": self.entries}, open(self.folder + "/index.json", "w"))


def platform(architecture, variant=None, system="linux", version=None):
    p = {"os": system, "architecture": architecture, "variant": variant, "os.version": version}
    return {k: v for k, v in p.items() if v}


def write(folder):
    out = Layout(folder)
    many = out.image("many", "amd64")
    out.name(many, "docker.io/library/many:1")
    for i in range(70):
        out.referrer(many, f"said {i}")
    variants = [out.image(f"arm {v}", "arm", platform=platform("arm", v)) for v in ("v5", "v6", "v7")]
    out.name(out.index(*variants, out.image("arm64", "arm64", platform=platform("arm64"))), "docker.io/library/arm:1")
    out.name(out.index(out.image("bare", "amd64")), "docker.io/library/bare:1")
    windows = [out.image(v, "amd64", platform=platform("amd64", None, "windows", v)) for v in ("10.0.17763.1", "10.0.20348.2700")]
    out.name(out.index(*windows), "docker.io/library/windows:1")
    out.name(out.blob(b"no image", "application/vnd.example.thing"), "docker.io/library/thing:1")
    out.name(many, many["digest"])
    out.end()


def rotate(x, n):
    return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF


def xxh32(data):  # of less than four bytes
    h = 374761393 + len(data)
    for b in data:
        h = rotate((h + b * 374761393) & 0xFFFFFFFF, 11) * 2654435761 & 0xFFFFFFFF
    for shift, factor in ((15, 2246822519), (13, 3266489917), (16, 1)):
        h = (h ^ h >> shift) * factor & 0xFFFFFFFF
    return h


def lz4(source, target):
    descriptor = b"\x60\x70"
    with open(source, "rb") as f, open(target, "wb") as out:
        out.write(struct.pack("<I", 0x184D2204) + descriptor + bytes([xxh32(descriptor) >> 8 & 0xFF]))
        while piece := f.read(1 << 20):
            out.write(struct.pack("<I", len(piece) | 1 << 31) + piece)
        out.write(struct.pack("<I", 0))


if sys.argv[1] == "lz4":
    lz4(sys.argv[2], sys.argv[3])
else:
    write(sys.argv[1])
