#!/bin/bash
# The status page in a real browser: it shows what the admin API says, follows a pull as it goes on, stays usable with 5000 images, at
# 360 pixels, by keyboard and in the dark; what registries and clients make up is text on it. SHOTS=FOLDER keeps screenshots.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need python3 nginx curl chromium chromedriver

mkdir -p "$W/www/v2/library"
cat >"$W/images.py" <<'PY'
import hashlib, json, os, sys
www, layout, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
def put(folder, data):
    d = hashlib.sha256(data).hexdigest()
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/sha256:{d}" if "layout" not in folder else f"{folder}/{d}", "wb") as f:
        f.write(data)
    return {"digest": "sha256:" + d, "size": len(data)}
def image(folders, layers, platform):
    config = put(folders[0], json.dumps({"os": platform["os"], "architecture": platform["architecture"], "n": layers and layers[0]["digest"],
                                         "rootfs": {"type": "layers", "diff_ids": [l["digest"] for l in layers]}}).encode())
    m = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "config": dict(config, mediaType="application/vnd.oci.image.config.v1+json"),
         "layers": [dict(l, mediaType="application/vnd.oci.image.layer.v1.tar") for l in layers]}
    return put(folders[1], json.dumps(m).encode()), m
blobs, manifests = f"{www}/app/blobs", f"{www}/app/manifests"
layers = [put(blobs, os.urandom(600000)) for _ in range(4)]
evil = {"os": "linux", "architecture": "<img src=x onerror=alert(1)>"}
m, body = image((blobs, manifests), layers, evil)
index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
         "manifests": [dict(m, mediaType="application/vnd.oci.image.manifest.v1+json", platform=evil)]}
with open(f"{manifests}/1", "w") as f:
    json.dump(index, f)
put(manifests, json.dumps(index).encode())
print(json.dumps({"image": m["digest"], "blobs": [body["config"]["digest"]] + [l["digest"] for l in layers]}))
# many, for `import`
os.makedirs(layout)
store = f"{layout}/blobs/sha256"
shared = put(store, b"shared" * 1000)
rows = []
for i in range(count):
    own = put(store, b"own %d " % i * 10)
    m, _ = image((store, store), [shared, own], {"os": "linux", "architecture": "amd64"})
    rows.append(dict(m, mediaType="application/vnd.oci.image.manifest.v1+json",
                     annotations={"io.containerd.image.name": f"docker.io/many/image-{i:04d}:v1"}))
with open(f"{layout}/index.json", "w") as f:
    json.dump({"schemaVersion": 2, "manifests": rows}, f)
with open(f"{layout}/oci-layout", "w") as f:
    f.write('{"imageLayoutVersion": "1.0.0"}')
PY
python3 "$W/images.py" "$W/www/v2/library" "$W/layout" "${IMAGES:-5000}" >"$W/image.json"
nginx_start 300k 'types { application/vnd.oci.image.index.v1+json 1; }'
sed -i 's|location ~ /manifests/ {|location ~ /denied { default_type application/json; return 404 "{\\"errors\\":[{\\"code\\":\\"DENIED\\",\\"message\\":\\"<script>alert(2)</script>\\"}]}"; }\n location ~ /manifests/1$ { default_type application/vnd.oci.image.index.v1+json; }\n location ~ /manifests/ {|' "$W/nginx.conf"
kill -HUP "$NGINX_PID"
sleep 0.5
FETCH=whole PARALLEL=1 CACHE_MORE="readahead: 0" entrepot_start "$NGINX_PORT"

cat >"$W/look.py" <<'PY'
import json, os, subprocess, sys, threading, time, urllib.request
sys.path.insert(0, "tests/browser")
from webdriver import Browser
port, w, entrepot, many = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
base, shots = f"http://127.0.0.1:{port}", os.environ.get("SHOTS")
image = json.load(open(f"{w}/image.json"))
def get(path, agent="containerd/v2.1.4"):
    req = urllib.request.Request(base + path, headers={"User-Agent": agent, "Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"})
    try:
        with urllib.request.urlopen(req, timeout=60) as r:
            return r.read()
    except urllib.error.HTTPError as e:
        return e.read()
def pull():
    get("/v2/app/manifests/1")
    get("/v2/app/manifests/" + image["image"])
    for b in image["blobs"]:
        get("/v2/app/blobs/" + b)
def ask(*args):
    return json.loads(subprocess.run([entrepot, *args, "--json", "--socket", f"{w}/admin.sock"], check=True, capture_output=True).stdout)
def listener():
    """A page that listens; None: refused."""
    try:
        return urllib.request.urlopen(base + "/events", timeout=10)
    except urllib.error.HTTPError as e:
        assert e.code == 503, e
        return None
def event(s):
    for line in s:
        if line.startswith(b"data: "):
            return json.loads(line[6:])
b = Browser(f"{w}/profile")
try:
    b.open(base + "/")
    b.wait("it is alive", "return document.querySelector('#state').textContent == 'serving'")
    assert "None." in b.text("#pulls"), b.text("#pulls")
    print("* live, during a pull")
    t = threading.Thread(target=pull)
    t.start()
    b.wait("the pull", "return document.querySelector('#pulls .list').innerText.includes('docker.io/library/app:1')")
    b.wait("its layer", "return document.querySelector('#pulls .layers progress') && document.querySelector('#pulls .layers progress').value > 0")
    seen = set()
    while t.is_alive():
        seen.add(b.js("const p = document.querySelector('#pulls .list progress'); return p ? p.value : -1"))
        time.sleep(0.3)
    t.join()
    assert len(seen - {-1}) >= 2, f"progress: {seen}"
    if shots:
        b.shot(f"{shots}/page.png", 1100, 1150)
    b.wait("its end", "return document.querySelector('#recent tbody').innerText.includes('docker.io/library/app:1')", seconds=40)
    assert "ok" in b.text("#recent tbody"), b.text("#recent")
    row = b.text("#recent tbody tr")
    assert "127.0.0.1" in row and "containerd" in row and "2.3 MiB" in row, row
    assert "docker.io" in b.text("#upstreams tbody") and "up" in b.text("#upstreams tbody"), b.text("#upstreams")
    print("* hostile words")
    get("/v2/app/manifests/denied", agent="<b>evil</b>")
    get("/v2/secret/denied/manifests/1")
    b.wait("the failed pull", "return document.querySelector('#recent tbody').innerText.includes('library/app:denied')", seconds=30)
    b.wait("one that nobody has been able to pull", "return document.querySelector('#recent tbody').innerText.includes('not a public image')", seconds=30)
    assert "<img src=x onerror=alert(1)>" in b.text("#recent") and "secret" not in b.text("body"), b.text("#recent")
    assert "<script>alert(2)</script>" in b.text("#recent"), b.text("#recent")
    assert b.js("return document.querySelectorAll('#recent script, #recent img, #recent b').length") == 0
    print("* an event has what has changed; the first one, all")
    opened = [listener()]
    first, later = event(opened[0]), [event(opened[0]) for _ in range(3)]
    assert {"recent", "history", "upstreams", "pulls", "problems", "now"} <= set(first), first
    assert any(not {"recent", "upstreams", "problems"} & set(e) and "now" in e for e in later), [list(e) for e in later]
    print("* more pages than may be open: the last one asks, and is live when another one is closed")
    b.open("about:blank")
    while opened[-1] or len(opened) < 33: # its own ends meanwhile
        opened = [s for s in opened if s] + [listener()]
        time.sleep(0 if opened[-1] else 0.3)
    b.open(base + "/")
    b.wait("the figures", "return !listening && document.querySelector('#recent tbody').innerText.includes('library/app:denied')")
    for s in opened[:-1]:
        s.close()
    b.wait("that it is live again", "return listening && document.querySelector('#state').textContent.startsWith('serving')", seconds=40)
    print("* as the admin API has it")
    b.open(base + "/")
    b.wait("the images", "return document.querySelectorAll('#images tbody tr').length == 1 && document.querySelector('#images tbody').innerText.includes('app:1')")
    s = ask("status")
    assert f"{s['cache']['blobs']} blobs" in b.text("#disk"), (b.text("#disk"), s["cache"])
    print("* many images")
    subprocess.run([entrepot, "import", f"{w}/layout", "--socket", f"{w}/admin.sock"], check=True, stdout=subprocess.DEVNULL)
    time.sleep(11)
    begun = time.monotonic()
    b.open(base + "/")
    b.wait("them all", f"return document.querySelector('#count').textContent.startsWith('{min(many + 1, 5000):,} of')", seconds=60)
    took = time.monotonic() - begun
    assert b.js("return document.querySelectorAll('#images tbody tr').length") == 100
    b.js("document.querySelector('#filter').focus()")
    b.press(*"image-0042")
    b.wait("the filter", "return document.querySelectorAll('#images tbody tr').length == 1 && document.querySelector('#images tbody').innerText.includes('many/image-0042:v1')")
    print(f"  {many} images: shown after {took:.1f} s")
    b.js("const f = document.querySelector('#filter'); f.value = ''; f.dispatchEvent(new Event('input'))")
    print("* keyboard and names for who does not see it")
    b.js("document.querySelector('#images th button').focus()")
    b.press("\ue007")
    assert b.js("return document.querySelector('#images th').getAttribute('aria-sort')") == "ascending"
    b.open(base + "/")
    b.wait("the page", "return document.querySelector('#state').textContent == 'serving'")
    b.press("\ue004")
    assert b.js("return document.activeElement.className") == "skip", "the first tab stop"
    tree = b.cdp("Accessibility.getFullAXTree")["nodes"]
    unnamed = [n["role"]["value"] for n in tree if not n.get("ignored") and n.get("role", {}).get("value") in ("button", "searchbox", "progressbar", "meter", "image", "table", "link")
               and not n.get("name", {}).get("value")]
    assert set(unnamed) <= {"table"}, unnamed
    print("* 360 pixels, dark")
    b.cdp("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=True)
    time.sleep(1.5)
    wide = b.js("return [document.documentElement.scrollWidth, [...document.querySelectorAll('section, header')].filter(e => e.getBoundingClientRect().right > 361).length]")
    assert wide == [360, 0], wide
    b.cdp("Emulation.clearDeviceMetricsOverride")
    light = b.js("return getComputedStyle(document.body).backgroundColor")
    b.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert b.js("return getComputedStyle(document.body).backgroundColor") != light, "no dark colours"
    if shots:
        b.shot(f"{shots}/page-dark.png", 1100, 1150)
        b.shot(f"{shots}/page-small.png", 360, 1400)
    print("* nothing to complain of")
    console = [c for c in b.console() if not ("/events - " in c["message"] and "503" in c["message"])] # asked for, above
    assert not console, console
    print("* it says when the daemon is gone")
    os.kill(int(open(f"{w}/pid").read()), 15)
    b.wait("that", "return document.querySelector('#state').textContent.startsWith('no connection')", seconds=15)
finally:
    b.close()
PY
echo "$ENTREPOT_PID" >"$W/pid"
timeout 300 python3 "$W/look.py" "$PORT" "$W" "$ENTREPOT" "${IMAGES:-5000}" || fail "see above"
wait "$ENTREPOT_PID" || fail "entrepot ended with $?: an open page keeps it"
