"""For hostile.sh: writes a tar archive to OUT.

    hostile.py KIND OUT

about         an image of 20 000 others, and 20 000 entries that say they are about the last of them
tags          20 000 tags of one image
referrers     5 000 documents, each about the one before
ids           an archive of docker save: 5 000 images without names, in an index
files         60 000 files
tied          an image, and another repository's that says it is about it
sizes         an image with a layer of -1 bytes
wrong         an image with a config that has one byte less than is said

    hostile.py pipe KIND       writes without end to stdout, and the MiB that were taken to stderr at the end

letters       no archive
zeros         an archive that has ended
huge          a file that says it has 32 TiB
large         files of 1 MiB"""
import hashlib, io, json, os, sys, tarfile

OCI = "application/vnd.oci.image."


class Archive:
    def __init__(self, path):
        self.tar = tarfile.open(path, "w")
        self.put("oci-layout", '{"imageLayoutVersion":"1.0.0"}')

    def put(self, name, text):
        data = text.encode()
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        self.tar.addfile(entry, io.BytesIO(data))

    def blob(self, doc):
        text = json.dumps(doc, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.put("blobs/sha256/" + digest, text)
        return {"digest": "sha256:" + digest, "size": len(text)}

    def image(self, number=0, **more):
        config = self.blob({"os": "linux", "number": number})
        return self.blob({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config, "layers": [], **more})

    def end(self, entries):
        self.put("index.json", json.dumps({"schemaVersion": 2, "manifests": entries}, separators=(",", ":")))
        self.tar.close()


def called(descriptor, name, note="org.opencontainers.image.ref.name"):
    return {"digest": descriptor["digest"], "annotations": {note: name}}


def main(kind, out):
    a = Archive(out)
    image = a.image()
    entries = [called(image, "r.test/a/b:1", "io.containerd.image.name")]
    if kind == "about":
        others = [{"digest": f"sha256:{i:064x}", "size": 1} for i in range(20000)]
        index = a.blob({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [image] + others})
        entries = [called(index, "r.test/a/b:1", "io.containerd.image.name")]
        about = a.image(1, subject=others[-1])
        entries += [{"digest": about["digest"]}] * 20000
    elif kind == "tags":
        entries = [called(image, f"t{i}") for i in range(20000)]
    elif kind == "referrers":
        at = image
        for i in range(5000):
            at = a.image(i, subject=at)
    elif kind == "ids":
        images = [a.image(i) for i in range(5000)]
        index = a.blob({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": images})
        entries = [called(index, "r.test/a/b:1", "io.containerd.image.name")]
        configs = [hashlib.sha256(json.dumps({"os": "linux", "number": i}, separators=(",", ":")).encode()).hexdigest() for i in range(5000)]
        a.put("manifest.json", json.dumps([{"Config": "blobs/sha256/" + c, "Layers": []} for c in configs]))
    elif kind == "tied":
        entries += [called(a.image(1, subject=image), "r.test/evil/x:1", "io.containerd.image.name")]
        print(image["digest"])
    elif kind in ("sizes", "wrong"):
        bad = {"digest": "sha256:" + 64 * "a", "size": -1}
        wrong = {**a.blob({"os": "linux"}), "size": 15}
        parts = {"config": wrong, "layers": []} if kind == "wrong" else {"config": wrong, "layers": [wrong, bad]}
        odd = a.blob({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", **parts})
        entries.append(called(odd, "r.test/odd/x:1", "io.containerd.image.name"))
    else:
        for i in range(60000):
            a.put(f"x/{i}", "")
    a.end(entries)


def pipe(kind):
    def head(name, size):
        entry = tarfile.TarInfo(name)
        entry.size = size
        return entry.tobuf(tarfile.GNU_FORMAT)

    letter = b"\0" if kind == "zeros" else b"y\n"
    mib = letter * ((1 << 20) // len(letter))
    count = 0
    try:
        if kind == "huge":
            os.write(1, head("huge", 1 << 45))
        while count < 1 << 10:
            for piece in [head(str(count), 1 << 20), mib] if kind == "large" else [mib]:
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
            count += 1
    except BrokenPipeError:
        os.close(1)
    print(count, file=sys.stderr)
    os._exit(0)


if sys.argv[1] == "pipe":
    pipe(sys.argv[2])
main(*sys.argv[1:])
