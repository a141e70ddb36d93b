#!/usr/bin/env python3
"""rendered.py COMMAND FILE...: what is in rendered manifests.

rules FILE...              each pod keeps to what README.md of deploy/kubernetes says of it
json FILE                  all documents, as a list
config FILE                the configuration in the ConfigMap
setup FILE ROOT            the init container's arguments, a line each, with ROOT in place of /host
written FILE ROOT BEFORE   what is in ROOT and not in BEFORE is in folders that the init container has of the host
same FILE FILE             both have the same DaemonSet, but for names and labels
"""
import json
import os
import sys

import yaml


def documents(path):
    with open(path) as f:
        return [d for d in yaml.safe_load_all(f) if d]


def one(path, kind, name="entrepot"):
    found = [d for d in documents(path) if d["kind"] == kind and d["metadata"]["name"].startswith(name) and "dashboard" not in d["metadata"]["name"]]
    if len(found) != 1:
        sys.exit(f"{path}: {len(found)} times {kind}")
    return found[0]


def pod_of(path):
    return one(path, "DaemonSet")["spec"]["template"]["spec"]


def expect(path, what, got, wanted):
    if got != wanted:
        print(f"{path}: {what}: {got!r} is not {wanted!r}")
    return got == wanted


def rules(*paths):
    ok = True
    for path in paths:
        pod = pod_of(path)
        init, main = pod["initContainers"][0], pod["containers"][0]
        checks = [("containers", (len(pod["initContainers"]), len(pod["containers"])), (1, 1)),
                  ("hostNetwork", pod["hostNetwork"], True), ("dnsPolicy", pod["dnsPolicy"], "Default"),
                  ("tolerations", pod["tolerations"], [{"operator": "Exists"}]), ("priority", pod["priorityClassName"], "system-node-critical"),
                  ("token", pod["automountServiceAccountToken"], False), ("seccomp", pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault"),
                  ("user", (main["securityContext"]["runAsNonRoot"], main["securityContext"]["runAsUser"]), (True, 65532)),
                  ("capabilities", main["securityContext"]["capabilities"], {"drop": ["ALL"]}),
                  ("memory", "memory" in main["resources"]["limits"] and "memory" in main["resources"]["requests"], True)]
        for c in (init, main):
            s = c["securityContext"]
            checks += [(c["name"] + " read-only", s["readOnlyRootFilesystem"], True), (c["name"] + " escalation", s["allowPrivilegeEscalation"], False),
                       (c["name"] + " privileged", s.get("privileged", False), False), (c["name"] + " drops", s["capabilities"]["drop"], ["ALL"]),
                       (c["name"] + " pull policy", c["imagePullPolicy"], "IfNotPresent")]
        checks += [("setup adds", init["securityContext"]["capabilities"]["add"], ["CHOWN", "DAC_OVERRIDE", "FOWNER"])]
        checks += [(p, main[p]["httpGet"]["host"], "127.0.0.1") for p in ("startupProbe", "livenessProbe", "readinessProbe")]
        host = [v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v]
        checks += [("folders of the host", len(host), 3), ("the host's root", "/" in host, False)]
        mounted = {m["name"] for c in (init, main) for m in c["volumeMounts"]}
        checks += [("volumes", mounted, {v["name"] for v in pod["volumes"]})]
        config = yaml.safe_load(config_of(path))
        checks += [("listeners", [e["address"] for e in config["listen"]], ["127.0.0.1:5000"]), ("address", init["args"][5], "127.0.0.1:5000")]
        ok = all([expect(path, *c) for c in checks]) and ok
    return ok


def config_of(path):
    return one(path, "ConfigMap")["data"]["config.yaml"]


def setup(path, root):
    args = pod_of(path)["initContainers"][0]["args"]
    print("\n".join(root if a == "/host" else a for a in args))


def files(root):
    return {os.path.relpath(os.path.join(d, f), root) for d, _, names in os.walk(root) for f in names}


def written(path, root, before):
    pod = pod_of(path)
    volumes = {v["name"]: v for v in pod["volumes"]}
    mounts = {m["mountPath"].removeprefix("/host/"): volumes[m["name"]] for m in pod["initContainers"][0]["volumeMounts"] if not m.get("readOnly")}
    ok = True
    for mount, volume in mounts.items():
        ok = expect(path, "a folder of the host", volume["hostPath"]["path"], "/" + mount) and ok
    new = files(root) - files(before)
    for f in sorted(new):
        if not any(f.startswith(m + "/") for m in mounts):
            print(f"{path}: {f} was written, which the pod does not have of the host")
            ok = False
    engine = [f for f in new if f.startswith("etc/")]
    return expect(path, "files of the engine", bool(engine), True) and ok


def plain(path):
    """Without what a name or a tool makes of it."""
    spec = one(path, "DaemonSet")["spec"]
    for meta in (spec["template"]["metadata"], spec["selector"]):
        meta.pop("labels", None)
        meta.pop("matchLabels", None)
        meta.get("annotations", {}).pop("checksum/config", None)
    for v in spec["template"]["spec"]["volumes"]:
        v.get("configMap", {}).pop("name", None)
    return spec, yaml.safe_load(config_of(path))


def same(one_path, other_path):
    ok = True
    for a, b in zip(plain(one_path), plain(other_path)):
        ok = differences("", a, b) and ok
    return ok


def differences(at, a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return all([differences(f"{at}.{k}", a.get(k), b.get(k)) for k in sorted(set(a) | set(b))])
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return all([differences(f"{at}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b))])
    return expect("spec", at, a, b)


COMMANDS = {"rules": rules, "json": lambda path: print(json.dumps(documents(path))), "config": lambda path: print(config_of(path)), "setup": setup,
            "written": written, "same": same}

if __name__ == "__main__":
    sys.exit(1 if COMMANDS[sys.argv[1]](*sys.argv[2:]) is False else 0)
