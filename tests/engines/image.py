#!/usr/bin/env python3
"""image.py LAYOUT TAG FORMAT CHANGED LAYER...: an image in an OCI layout, made if it is not there.

FORMAT   tar or gzip, of its layers
CHANGED  so many files of each layer have other content than in an image made with 0
LAYER    FILESxKIB: so many files of this size, in folder layer-N

Half of each file is random, the other half is not, and shrinks to little: as programs do. With tar all of it is random.
"""
import hashlib
import io
import json
import os
import random
import sys
import tarfile
import zlib


class Sums:
    """A layer while it is written: its file, its digest, and that of what is in it."""

    def __init__(self, path, packs):
        self.file, self.pack = open(path, "wb"), zlib.compressobj(1, wbits=31) if packs else None
        self.sum, self.diff_id, self.size = hashlib.sha256(), hashlib.sha256(), 0

    def put(self, data):
        self.sum.update(data)
        self.size += len(data)
        self.file.write(data)

    def write(self, data):
        self.diff_id.update(data)
        self.put(self.pack.compress(data) if self.pack else data)
        return len(data)

    def close(self):
        if self.pack:
            self.put(self.pack.flush())
        self.file.close()


def content(r, size, packs):
    if not packs:
        return r.randbytes(size)
    return r.randbytes(size // 2) + (r.randbytes(64) * (size // 128 + 1))[:size - size // 2]


def layer(blobs, n, spec, packs, changed):
    files, kib = map(int, spec.split("x"))
    sums = Sums(f"{blobs}/new", packs)
    with tarfile.open(fileobj=sums, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for f in range(files):
            info = tarfile.TarInfo(f"layer-{n}/{f:04}")
            info.size, info.mode = kib << 10, 0o644
            r = random.Random(f"{n} {f} {f * changed // files != (f - 1) * changed // files and changed}")
            tar.addfile(info, io.BytesIO(content(r, info.size, packs)))
    sums.close()
    digest = sums.sum.hexdigest()
    os.rename(f"{blobs}/new", f"{blobs}/{digest}")
    media_type = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if packs else "")
    return {"mediaType": media_type, "digest": "sha256:" + digest, "size": sums.size}, "sha256:" + sums.diff_id.hexdigest()


def put(blobs, what, media_type):
    data = json.dumps(what).encode()
    digest = hashlib.sha256(data).hexdigest()
    with open(f"{blobs}/{digest}", "wb") as f:
        f.write(data)
    return {"mediaType": "application/vnd.oci.image." + media_type, "digest": "sha256:" + digest, "size": len(data)}


def main(layout, tag, form, changed, *specs):
    blobs = layout + "/blobs/sha256"
    os.makedirs(blobs, exist_ok=True)
    layers = [layer(blobs, n, spec, form == "gzip", int(changed)) for n, spec in enumerate(specs, 1)]
    config = put(blobs, {"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [d for _, d in layers]}}, "config.v1+json")
    entry = put(blobs, {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                        "config": config, "layers": [e for e, _ in layers]}, "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "manifests": []}
    if os.path.exists(layout + "/index.json"):
        with open(layout + "/index.json") as f:
            index = json.load(f)
    index["manifests"].append(entry)
    with open(layout + "/index.json", "w") as f:
        json.dump(index, f)
    with open(layout + "/oci-layout", "w") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')
    print(sum(e["size"] for e, _ in layers))


main(*sys.argv[1:])
