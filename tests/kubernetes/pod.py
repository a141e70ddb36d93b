#!/usr/bin/env python3
"""pod.py MANIFEST NODE OUT: what kubelet makes of the DaemonSet in a rendered manifest, for crictl: OUT/pod.json, OUT/NAME.json for each
container, and OUT/probes (NAME HOST PORT PATH, a line each). NODE is the node's root: its folders of hostPath volumes are made there as
kubelet does, and files of ConfigMaps are put below its /var/lib/kubelet.
"""
import json
import os
import sys

import yaml

UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
POD, NODE, CONTAINER = 0, 2, 1  # whose namespaces


def volume(node, v, maps):
    if "hostPath" in v:
        path = v["hostPath"]["path"]
        if v["hostPath"].get("type") == "DirectoryOrCreate" and not os.path.exists(node + path):
            os.makedirs(node + path, 0o755)
        return path
    path = f"/var/lib/kubelet/pods/entrepot/volumes/{v['name']}"
    os.makedirs(node + path, 0o755, exist_ok=True)
    for name, text in maps[v["configMap"]["name"]].items():
        with open(f"{node}{path}/{name}", "w") as f:
            f.write(text)
        os.chmod(f"{node}{path}/{name}", 0o644)
    return path


def namespaces(pod):
    return {"network": NODE if pod.get("hostNetwork") else POD, "pid": CONTAINER, "ipc": POD}


def security(pod, c):
    s = {**pod.get("securityContext", {}), **c.get("securityContext", {})}
    if s.get("runAsNonRoot") and s.get("runAsUser") == 0:
        sys.exit(f"{c['name']}: runAsNonRoot and root")
    caps = s.get("capabilities", {})
    return {"namespace_options": namespaces(pod), "run_as_user": {"value": s["runAsUser"]}, "run_as_group": {"value": s["runAsGroup"]},
            "readonly_rootfs": s.get("readOnlyRootFilesystem", False), "no_new_privs": not s.get("allowPrivilegeEscalation", True),
            "privileged": s.get("privileged", False), "seccomp": {"profile_type": {"RuntimeDefault": 0, "Unconfined": 1}[s["seccompProfile"]["type"]]},
            "capabilities": {"add_capabilities": caps.get("add", []), "drop_capabilities": caps.get("drop", [])},
            "masked_paths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi"], "readonly_paths": ["/proc/sys", "/proc/sysrq-trigger", "/proc/bus"]}


def size(text):
    return int(text[:-2]) * UNITS[text[-2:]]


def container(pod, c, paths):
    mounts = [{"container_path": m["mountPath"], "host_path": paths[m["name"]], "readonly": m.get("readOnly", False)} for m in c["volumeMounts"]]
    return {"metadata": {"name": c["name"]}, "image": {"image": c["image"]}, "args": c["args"], "command": c.get("command", []), "mounts": mounts,
            "envs": [{"key": e["name"], "value": e["value"]} for e in c.get("env", [])], "log_path": c["name"] + ".log",
            "linux": {"resources": {"memory_limit_in_bytes": size(c["resources"]["limits"]["memory"])}, "security_context": security(pod, c)}}


def put(out, name, what):
    with open(f"{out}/{name}.json", "w") as f:
        json.dump(what, f, indent=1)


def main(manifest, node, out):
    with open(manifest) as f:
        docs = [d for d in yaml.safe_load_all(f) if d]
    pod = next(d for d in docs if d["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    maps = {d["metadata"]["name"]: d["data"] for d in docs if d["kind"] == "ConfigMap"}
    paths = {v["name"]: volume(node, v, maps) for v in pod["volumes"]}
    os.makedirs(out, exist_ok=True)
    put(out, "pod", {"metadata": {"name": "entrepot", "uid": os.path.basename(out), "namespace": "entrepot", "attempt": 0}, "log_directory": "/var/log/pods",
                     "hostname": "", "linux": {"security_context": {"namespace_options": namespaces(pod), "seccomp": {"profile_type": 0}}}})
    for c in pod["initContainers"] + pod["containers"]:
        put(out, c["name"], container(pod, c, paths))
    with open(out + "/probes", "w") as f:
        for c in pod["containers"]:
            ports = {p["name"]: p["containerPort"] for p in c["ports"]}
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                g = c[kind]["httpGet"]
                print(kind, g["host"], ports.get(g["port"], g["port"]), g["path"], file=f)


main(*sys.argv[1:])
