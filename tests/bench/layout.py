#!/usr/bin/env python3
"""layout.py FOLDER IMAGES: an OCI layout of so many small images, each with a layer of its own, five to a config."""
import hashlib
import json
import os
import sys

folder, images = sys.argv[1], int(sys.argv[2])
os.makedirs(folder + "/blobs/sha256")


def put(data, media_type):
    h = hashlib.sha256(data).hexdigest()
    with open(f"{folder}/blobs/sha256/{h}", "wb") as f:
        f.write(data)
    return {"mediaType": "application/vnd.oci.image." + media_type, "digest": "sha256:" + h, "size": len(data)}


entries = []
for i in range(images):
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "n": i // 5}).encode(), "config.v1+json")
    layer = put(b"layer %d\n" % i * 50, "layer.v1.tar")
    entry = put(json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                            "config": config, "layers": [layer]}).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": f"docker.io/team{i % 50}/app{i}:v1"}
    entries.append(entry)
with open(folder + "/index.json", "w") as f:
    json.dump({"schemaVersion": 2, "manifests": entries}, f)
with open(folder + "/oci-layout", "w") as f:
    f.write('{"imageLayoutVersion":"1.0.0"}')
