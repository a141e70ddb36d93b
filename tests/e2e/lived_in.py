"""Configurations of engines as people have them, and what `entrepot setup` makes of each: lived_in.py ENTREPOT FOLDER.

Each case is a file as it might be found on a node. After setup, the file says what it said before and leads to entrepot, or it was
refused and is untouched; a second setup finds nothing to do; --undo restores every byte."""
import difflib, json, os, shutil, subprocess, sys, tomllib
import yaml

ENTREPOT, FOLDER = sys.argv[1:3]
ADDRESS = "127.0.0.1:5000"
URL = "http://" + ADDRESS
HOSTS = ["docker.io", "ghcr.io"]
LED, LEFT, REFUSED, NOTHING = "led", "left", "refused", "nothing"

CONTAINERD = {
    "the file of Debian's package": (LED, '''version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd/opt"
'''),
    "no file": (LED, None),
    "an empty file": (LED, ""),
    "comments alone": (LED, "# nothing here yet\n#version = 2\n"),
    "Docker's package, with the CRI plugin disabled": (NOTHING, '''#   Licensed under the Apache License, Version 2.0 (the "License");

disabled_plugins = ["cri"]

#root = "/var/lib/containerd"
#state = "/run/containerd"
#subreaper = true

#[grpc]
#  address = "/run/containerd/containerd.sock"
'''),
    "containerd config default of 1.6, with an empty config_path": (LED, '''disabled_plugins = []
imports = []
oom_score = 0
required_plugins = []
root = "/var/lib/containerd"
version = 2

[cgroup]
  path = ""

[plugins]

  [plugins."io.containerd.gc.v1.scheduler"]
    deletion_threshold = 0
    mutation_threshold = 100

  [plugins."io.containerd.grpc.v1.cri"]
    device_ownership_from_security_context = false
    sandbox_image = "registry.k8s.io/pause:3.6"

    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"

        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
          SystemdCgroup = true

    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = ""

      [plugins."io.containerd.grpc.v1.cri".registry.auths]

      [plugins."io.containerd.grpc.v1.cri".registry.configs]

      [plugins."io.containerd.grpc.v1.cri".registry.headers]

      [plugins."io.containerd.grpc.v1.cri".registry.mirrors]

    [plugins."io.containerd.grpc.v1.cri".x509_key_pair_streaming]
      tls_cert_file = ""
      tls_key_file = ""

[timeouts]
  "io.containerd.timeout.shim.cleanup" = "5s"
'''),
    "kubeadm with a GPU runtime, tabs and lists over several lines": (LED, '''version = 2
required_plugins = [
\t"io.containerd.grpc.v1.cri", # kubelet
]

[plugins."io.containerd.grpc.v1.cri"]
\tsandbox_image = "registry.k8s.io/pause:3.9"
[plugins."io.containerd.grpc.v1.cri".containerd]
\tdefault_runtime_name = "nvidia"
\tsnapshotter = 'overlayfs'
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
\truntime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
\tBinaryName = "/usr/bin/nvidia-container-runtime"
\tSystemdCgroup = true
[plugins."io.containerd.grpc.v1.cri".registry]
[plugins."io.containerd.grpc.v1.cri".registry.headers]
\t"User-Agent" = ["node # 7"]
'''),
    "lines that end as on Windows": (LED, 'version = 2\r\n\r\n[plugins."io.containerd.grpc.v1.cri"]\r\n  sandbox_image = "k8s.gcr.io/pause:3.5"\r\n'),
    "a last line without an end": (LED, 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]'),
    "config_path is set, to two folders": (LED, '''version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d:/etc/docker/certs.d"
'''),
    "another folder": (LED, '''version = 2
[plugins.'io.containerd.grpc.v1.cri'.registry]
  config_path = '/opt/registries' # not in /etc
'''),
    "version 3 with a comment in the middle of a line": (LED, '''version = 3 # 2.0
root = '/var/lib/containerd'
[plugins.'io.containerd.cri.v1.runtime'] # CRI
  enable_selinux = false
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
'''),
    "version 3 that imports conf.d": (LED, '''version = 3
imports = ["/etc/containerd/conf.d/*.toml"]
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = ''
'''),
    "mirrors of the old kind": (REFUSED, '''version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors]
    [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
      endpoint = ["https://mirror.gcr.io", "https://registry-1.docker.io"]
'''),
    "tls of the old kind": (REFUSED, '''version = 2
[plugins."io.containerd.grpc.v1.cri".registry.configs."harbor.example.com".tls]
  insecure_skip_verify = true
'''),
    "credentials of the old kind, which may stay": (LED, '''version = 2
[plugins."io.containerd.grpc.v1.cri".registry.configs."harbor.example.com".auth]
  username = "robot"
'''),
    "format 1": (REFUSED, '''[plugins.cri.registry.mirrors."docker.io"]
  endpoint = ["https://registry-1.docker.io"]
'''),
    "an inline table": (REFUSED, '''version = 2
[plugins]
"io.containerd.grpc.v1.cri" = { sandbox_image = "pause:3.9", registry = { config_path = "" } }
'''),
    "dotted keys": (REFUSED, '''version = 2
[plugins."io.containerd.grpc.v1.cri"]
registry.headers.a = ["b"]
'''),
    "not TOML": (REFUSED, "version = 2\n[plugins\n"),
    "a text that does not end": (REFUSED, 'version = 2\nroot = "/var\n'),
    "sections and keys within texts": (LED, "version = 2\nx = \'\'\'\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"a\"]\nb = 1\n\'\'\'\n"),
}

DOCKER = {
    "no file": (LED, None),
    "an empty file": (LED, ""),
    "an empty object": (LED, "{}"),
    "an empty object over lines": (LED, "{\n}\n"),
    "kubeadm's": (LED, '''{
  "exec-opts": ["native.cgroupdriver=systemd"],
  "log-driver": "json-file",
  "log-opts": {
    "max-size": "100m"
  },
  "storage-driver": "overlay2"
}
'''),
    "nvidia's, with four blanks": (LED, '''{
    "default-runtime": "nvidia",
    "runtimes": {
        "nvidia": {
            "args": [],
            "path": "nvidia-container-runtime"
        }
    }
}'''),
    "mirrors that are there": (LED, '''{
\t"registry-mirrors": [
\t\t"https://mirror.gcr.io",
\t\t"https://dockerhub.example.com/"
\t],
\t"dns": ["8.8.8.8"]
}
'''),
    "mirrors on one line": (LED, '{"insecure-registries":["10.0.0.1:5000"],"registry-mirrors":["https://mirror.gcr.io"]}\n'),
    "an empty list of mirrors": (LED, '{"registry-mirrors": [ ], "debug": true}\n'),
    "lines that end as on Windows": (LED, '{\r\n  "debug": true,\r\n  "bip": "172.26.0.1/16"\r\n}\r\n'),
    "brackets and quotes in texts": (LED, '{ "labels": ["a\\"]}", "{[\\\\"], "registry-mirrors-of": 1,\n "x": {"registry-mirrors": ["no"]} }\n'),
    "entrepot is there": (NOTHING, '{"registry-mirrors": ["http://127.0.0.1:5000/"]}\n'),
    "entrepot comes second": (LEFT, '{"registry-mirrors": ["https://mirror.gcr.io", "http://127.0.0.1:5000"]}\n'),
    "a comma too many": (REFUSED, '{\n  "debug": true,\n}\n'),
    "a comment": (REFUSED, '{\n  // "debug": true\n}\n'),
    "a key twice": (REFUSED, '{"debug": true, "debug": false}\n'),
    "a list": (REFUSED, '["registry-mirrors"]\n'),
    "a text in place of a list": (REFUSED, '{"registry-mirrors": "https://mirror.gcr.io"}\n'),
    "another case": (REFUSED, '{"Registry-Mirrors": ["https://mirror.gcr.io"]}\n'),
}

PODMAN = {
    "no file": (LED, None),
    "Debian's, comments alone": (LED, '# For more information on this configuration file, see containers-registries.conf(5).\n#\n# unqualified-search-registries = ["example.com"]\n'),
    "Fedora's": (LED, 'unqualified-search-registries = ["registry.fedoraproject.org", "docker.io"]\nshort-name-mode = "enforcing"\n'),
    "another registry": (LED, '''[[registry]]
location = "registry.lan:5000"
insecure = true
'''),
    "a mirror of another prefix": (LED, '''unqualified-search-registries = ['docker.io']
[[registry]]
prefix = "docker.io/library"
location = "quay.io/libpod" # for tests
  [[registry.mirror]]
  location = "mirror.lan"
'''),
    "format 1": (LED, '''[registries.search]
registries = ['docker.io', 'quay.io']
[registries.insecure]
registries = []
'''),
    "aliases": (LED, '[aliases]\n"alpine" = "docker.io/library/alpine"\n'),
    "lines that end as on Windows": (LED, 'unqualified-search-registries = ["docker.io"]\r\n'),
    "entrepot is there for one": (LED, '''[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "127.0.0.1:5000/docker.io"
insecure = true
'''),
    "another mirror of the same registry": (LEFT, '''[[registry]]
prefix = "docker.io"
location = "docker.io"

[[registry.mirror]]
location = "mirror.gcr.io"
'''),
    "a blocked registry": (LEFT, '[[registry]]\nlocation = "ghcr.io"\nblocked = true\n'),
    "an inline list": (REFUSED, 'registry = [{location = "docker.io"}]\n'),
    "not TOML": (REFUSED, '[[registry]\n'),
}

K3S = {
    "no file": (LED, None),
    "an empty file": (LED, ""),
    "comments alone": (LED, "# mirrors:\n#   docker.io:\n"),
    "a mirror of docker.io": (LED, '''mirrors:
  docker.io:
    endpoint:
      - "https://mirror.gcr.io"
'''),
    "lists that are not indented, comments": (LED, '''# of the cluster
mirrors:   # first come first served
    # Docker Hub
    "docker.io":
        endpoint:
        # ours
        - https://dockerhub.example.com # second
        - https://mirror.gcr.io
configs:
    "dockerhub.example.com":
        auth:
            username: robot
            password: not-a-password
'''),
    "flow style": (LED, 'mirrors: {docker.io: {endpoint: ["https://mirror.gcr.io"]}, quay.io: {endpoint: []}}\n'),
    "configs alone, without a last line's end": (LED, 'configs:\n  registry.lan:5000:\n    tls:\n      insecure_skip_verify: true'),
    "mirrors without a value": (LED, "mirrors:\nconfigs:\n  a.example: {}\n"),
    "lines that end as on Windows": (LED, 'mirrors:\r\n  quay.io:\r\n    endpoint:\r\n      - "https://q.example"\r\n'),
    "a document's marks and umlauts": (LED, '---\n# für alle\nmirrors:\n  gcr.io: {endpoint: ["https://ü.example"]}\n'),
    "all registries": (LED, 'mirrors:\n  "*":\n    endpoint:\n      - "https://any.example:5000"\n'),
    "entrepot is there": (NOTHING, 'mirrors:\n  docker.io: {endpoint: ["http://127.0.0.1:5000"]}\n  ghcr.io: {endpoint: ["http://127.0.0.1:5000/v2"]}\n'),
    "names that are rewritten": (LEFT, '''mirrors:
  docker.io:
    endpoint: ["https://harbor.example.com"]
    rewrite:
      "(.*)": "hub/$1"
'''),
    "no endpoints": (LEFT, "mirrors:\n  docker.io:\n"),
    "an alias for two registries": (REFUSED, '''mirrors:
  docker.io: &hub
    endpoint: ["https://a.example"]
  ghcr.io: *hub
'''),
    "flow style at the top": (REFUSED, '{mirrors: {}}\n'),
    "tabs": (REFUSED, "mirrors:\n\tdocker.io:\n"),
    "a list": (REFUSED, "mirrors:\n  - docker.io\n"),
    "a key twice": (REFUSED, "mirrors:\n  docker.io:\n    endpoint: [a]\n    endpoint:\n    - b\n"),
    "two documents' worth of marks": (REFUSED, "configs: {}\n...\n"),
}

BUILDKIT = {
    "no file": (LED, None),
    "an empty file": (LED, ""),
    "comments alone": (LED, '# debug = true\n#[registry."docker.io"]\n'),
    "the manual's": (LED, '''debug = true
root = "/var/lib/buildkit"
insecure-entitlements = [ "network.host", "security.insecure" ]

[grpc]
  address = [ "tcp://0.0.0.0:1234" ]
  [grpc.tls]
    cert = "/etc/buildkit/tls.crt"

[worker.oci]
  enabled = true
  gckeepstorage = 9000
  [[worker.oci.gcpolicy]]
    keepBytes = 512000000
    filters = [ "type==source.local", "type==exec.cachemount"]
'''),
    "a mirror that is there": (LED, '''[registry."docker.io"]
  mirrors = ["mirror.gcr.io"]
'''),
    "mirrors over lines": (LED, '''[registry."docker.io"]
  # first come first served
  mirrors = [
    "mirror.gcr.io", # Google's
    "hub.example.com",
  ]
  http = false
'''),
    "an empty list, tabs": (LED, '[registry."docker.io"]\n\tmirrors = []\n\tinsecure = false\n'),
    "a table without mirrors": (LED, '[registry."ghcr.io"]\nca = ["/etc/ssl/x.pem"]\n[worker.containerd]\nenabled = false\n'),
    "lines that end as on Windows": (LED, '[registry."docker.io"]\r\n  mirrors = ["m.example"]\r\n'),
    "entrepot as it is": (LED, '[registry."127.0.0.1:5000"]\n  http = true\n'),
    "quotes of the other kind": (LED, "[registry.'docker.io']\nmirrors=['m.example']"),
    "an inline table": (REFUSED, '[registry]\n"docker.io" = {mirrors = ["m.example"]}\n'),
    "dotted keys": (LED, '[registry]\n"docker.io".mirrors = ["m.example"]\n'),
    "dotted keys without mirrors": (REFUSED, '[registry]\n"docker.io".insecure = false\n'),
    "mirrors that are no texts": (REFUSED, '[registry."docker.io"]\nmirrors = [1]\n'),
    "entrepot over TLS": (REFUSED, '[registry."127.0.0.1:5000"]\nhttp = false\n'),
}


def some(cases):
    """Of an engine that reads what another one reads, too."""
    return dict(list(cases.items())[::4])


ENGINES = {
    "containerd": ("/etc/containerd/config.toml", CONTAINERD),
    "docker": ("/etc/docker/daemon.json", DOCKER),
    "podman": ("/etc/containers/registries.conf", PODMAN),
    "crio": ("/etc/containers/registries.conf", some(PODMAN)),
    "k3s": ("/etc/rancher/k3s/registries.yaml", K3S),
    "rke2": ("/etc/rancher/rke2/registries.yaml", some(K3S)),
    "buildkit": ("/etc/buildkit/buildkitd.toml", BUILDKIT),
}


def tree(root):
    """Every file and folder, with mode, owner and content."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            content = open(path, "rb").read() if name in files else None
            found[path[len(root):]] = (st.st_mode, st.st_uid, st.st_gid, content)
    return found


def run(*arguments):
    p = subprocess.run([ENTREPOT, "setup", *arguments, "--address", ADDRESS, *(f"--registry={h}" for h in HOSTS)], capture_output=True, text=True)
    return p.returncode, p.stdout, p.stderr


def text_of(root, path):
    try:
        with open(root + path, newline="") as f:
            return f.read()
    except FileNotFoundError:
        return None


# ---- what each engine's files should say ----

def check_containerd(root, before, after):
    was, now = (tomllib.loads(t or "") for t in (before, after))
    name = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}[now.setdefault("version", 2)]
    drop_in = text_of(root, "/etc/containerd/conf.d/entrepot.toml")
    source = tomllib.loads(drop_in) if drop_in else now
    folder = source["plugins"][name]["registry"].pop("config_path")
    plugins = now.get("plugins", {})
    for key in ("config_path",):
        was.get("plugins", {}).get(name, {}).get("registry", {}).pop(key, None)
        now.get("plugins", {}).get(name, {}).get("registry", {}).pop(key, None)
    if not before or "version" not in was:
        assert now.pop("version") == 2
    for doc in (was, now):  # tables that are there only for config_path
        if doc.get("plugins", {}).get(name, {}).get("registry") == {}:
            del doc["plugins"][name]["registry"]
        if doc.get("plugins", {}).get(name) == {}:
            del doc["plugins"][name]
        if doc.get("plugins") == {}:
            del doc["plugins"]
    assert was == now, (was, now)
    folder = folder.split(":")[0]
    for host in HOSTS:
        hosts = tomllib.loads(text_of(root, f"{folder}/{host}/hosts.toml"))
        assert list(hosts["host"]) == [URL], hosts
        assert hosts["server"] == {"docker.io": "https://registry-1.docker.io"}.get(host, f"https://{host}")


def check_docker(root, before, after):
    was, now = json.loads(before or "{}"), json.loads(after)
    assert now["registry-mirrors"][0] == URL
    assert now.pop("registry-mirrors")[1:] == was.pop("registry-mirrors", [])
    assert was == now


def check_containers(root, before, after, engine):
    assert before == after
    own = text_of(root, f"/etc/containers/registries.conf.d/050-entrepot-{engine}.conf")
    there = {r.get("prefix", r.get("location")): r for t in (before, own) for r in tomllib.loads(t or "").get("registry", [])}
    for host in HOSTS:
        assert there[host]["mirror"][0] == {"location": f"{ADDRESS}/{host}", "insecure": True}, there
        assert there[host]["location"] == host


def check_k3s(root, before, after):
    was, now = yaml.safe_load(before or "") or {}, yaml.safe_load(after)
    mirrors = was.pop("mirrors", None) or {}
    wanted = set(HOSTS) if "*" not in mirrors else set(HOSTS) & set(mirrors) | {"*"}
    for host in wanted:
        assert now["mirrors"][host]["endpoint"].pop(0) == URL
        if host not in mirrors:
            assert now["mirrors"].pop(host) == {"endpoint": []}
    assert now.pop("mirrors") == mirrors
    assert was == now


def check_buildkit(root, before, after):
    was, now = tomllib.loads(before or ""), tomllib.loads(after)
    assert now["registry"].pop(ADDRESS) == {"http": True}
    was.setdefault("registry", {}).pop(ADDRESS, None)
    for host in HOSTS:
        assert now["registry"][host]["mirrors"].pop(0) == ADDRESS
        was["registry"].setdefault(host, {}).setdefault("mirrors", [])
    assert was == now


def check_led(engine, root, path, before):
    after = text_of(root, path)
    if engine in ("podman", "crio"):
        check_containers(root, before, after, engine)
    else:
        {"containerd": check_containerd, "docker": check_docker, "k3s": check_k3s, "rke2": check_k3s, "buildkit": check_buildkit}[engine](root, before, after)
    # What was there stays as it was written: a line is changed only where it gets one thing more.
    old, new = (before or "").splitlines(True), (after or "").splitlines(True)
    gone = [l for l in difflib.ndiff(old, new) if l.startswith("- ")] if old else []
    assert len(gone) <= 3, gone


def check_taken(engine, root):
    """The real engine reads the file, where it is here and can be asked."""
    config = root + "/etc/containerd/config.toml"
    if engine != "containerd" or not shutil.which("containerd") or "version = 3" in open(config).read():
        return
    p = subprocess.run(["containerd", "-c", config, "config", "dump"], capture_output=True, text=True)
    registry = tomllib.loads(p.stdout)["plugins"]["io.containerd.grpc.v1.cri"]["registry"]
    assert registry["config_path"], p.stderr


def case(engine, path, name, outcome, before):
    root = os.path.join(FOLDER, "root")
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root + "/var/lib")
    os.makedirs(root + os.path.dirname(path))
    if before is not None:
        with open(root + path, "w", newline="") as f:
            f.write(before)
        os.chmod(root + path, 0o640)
    pristine = tree(root)
    code, out, err = run(engine, "--root", root, "--dry-run")
    assert tree(root) == pristine, "a dry run has changed something"
    assert code == (1 if outcome == REFUSED else 0) and len(err.splitlines()) == (outcome == REFUSED), (code, out, err)
    if outcome == LED:
        assert "\n+++ " in out and "\n@@ " in out, out
    code, out, err = run(engine, "--root", root)
    assert code == (1 if outcome == REFUSED else 0), (code, out, err)
    if outcome == REFUSED:
        assert path in err and tree(root) == pristine, err
        return
    assert ("left as it is" in out) == (outcome == LEFT or "disabled" in name), out
    if outcome == LED:
        check_led(engine, root, path, before)
        check_taken(engine, root)
        if before is not None:
            assert os.stat(root + path).st_mode & 0o777 == 0o640, "the file's mode"
    if outcome in (LEFT, NOTHING):
        assert text_of(root, path) == before or engine in ("k3s", "rke2"), "the file was changed"
    was = tree(root)
    code, out, err = run(engine, "--root", root)
    assert code == 0 and out.endswith(f"{engine}: nothing to do\n") and tree(root) == was, (code, out, err)
    code, out, err = run(engine, "--root", root, "--undo")
    assert code == 0 and tree(root) == pristine, (code, out, err)


failed = 0
for engine, (path, cases) in ENGINES.items():
    for name, (outcome, before) in cases.items():
        try:
            case(engine, path, name, outcome, before)
        except Exception as e:
            failed += 1
            print(f"FAILED: {engine}, {name}: {type(e).__name__} {e}")
    print(f"* {engine}: {len(cases)} configurations")
sys.exit(failed > 0)
