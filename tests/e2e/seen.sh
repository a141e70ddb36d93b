#!/bin/bash
# Who pulled what: the access log (rotated by name and by copytruncate, on a full disk), request ids, and the pulls that are recognised
# over the requests of a real client; a failed one in words for the registry's support. All in one daemon.
. tests/lib.sh
need skopeo docker-registry umoci python3 jq
need_root

registry_start
LAYER_BYTES=200000 image_build one
image_push one 1

# A registry whose blobs are at another host, which answers 503; and a tag that it fails for itself.
cat >"$W/bad.py" <<'PY'
import hashlib, http.server, json, sys, threading
layer = hashlib.sha256(b"layer").hexdigest()
manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + layer, "size": 5},
    "layers": []}).encode()
class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    def do_GET(self):
        if "/manifests/broken" in self.path:
            self.send(500, b'{"errors":[{"code":"UNKNOWN","message":"out of order"}]}', X_Request_Id="broken-77")
        elif "/manifests/" in self.path:
            self.send(200, manifest, Content_Type="application/vnd.oci.image.manifest.v1+json")
        else:
            self.send(307, Location=f"http://127.0.0.2:{sys.argv[2]}/signed?sig=signature-not-secret")
    do_HEAD = do_GET
    def log_message(self, *a): pass
class Storage(Registry):
    def do_GET(self):
        self.send(503, b"broken", X_Amz_Request_Id="AMZ-1234", CF_Ray="8f-FRA")
    do_HEAD = do_GET
other = http.server.ThreadingHTTPServer(("127.0.0.2", int(sys.argv[2])), Storage)
threading.Thread(target=other.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Registry).serve_forever()
PY
BAD=$(free_port) STORAGE=$(free_port)
python3 "$W/bad.py" "$BAD" "$STORAGE" >"$W/bad.log" 2>&1 &
PIDS+=($!)
mkdir "$W/logs"
mount -t tmpfs -o size=64k tmpfs "$W/logs" || skip "needs mount"
configure() { # PATH FORMAT
    entrepot_yaml="
  - name: bad.example
    endpoints: [\"http://127.0.0.1:$BAD\"]
    insecure: true
    trusted_hosts: [127.0.0.2]
access_log: {path: $1, format: $2}"
}
configure "$W/logs/access.log" json
entrepot_start "" "$entrepot_yaml"
wait_for 5 curl -s "http://127.0.0.1:$BAD/v2/" || fail "the bad registry does not start"
base=http://127.0.0.1:$PORT
log=$W/logs/access.log
logged() { grep -c . "$log" || true; }
has_line() { grep -qF "$1" "${2:-$log}"; }

say "each answer has an id: the client's, if it is sane, else one of ours; errors name it"
id() { curl -s -o /dev/null -D - "$@" | tr -d '\r' | sed -n 's/^X-Request-Id: //p'; }
is "$(id -H 'X-Request-Id: my.id_-1' "$base/v2/library/one/manifests/1")" my.id_-1 "a sane id"
for odd in 'a b' "$(printf 'x%.0s' {1..65})" '"quoted"' 'a;b'; do
    [[ $(id -H "X-Request-Id: $odd" "$base/healthz") =~ ^[0-9a-f]{16}$ ]] || fail "the id for \"$odd\" is not ours"
done
[[ $(id -I "$base/v2/") =~ ^[0-9a-f]{16}$ ]] || fail "HEAD has no id"
is "$(curl -s -H 'X-Request-Id: e1' "$base/v2/nope.example/a/manifests/1" | jq -r '.errors[0].detail.request_id')" e1 "the id in an error"

say "a line a request, with the fields of the contract, and nothing of the query but ns"
curl -s -o /dev/null -A 'eng"ine' -H 'X-Request-Id: line-1' -H 'Range: bytes=0-3' \
    "$base/v2/library/one/manifests/1?ns=docker.io&token=not-a-real-one"
curl -s -o /dev/null -H 'X-Request-Id: other-page' "$base/metrics"
raw() { printf "$1" | timeout 5 bash -c "cat >&3; cat <&3 >/dev/null" 3<>"/dev/tcp/127.0.0.1/$PORT" || true; }
raw 'NONSENSE\r\n\r\n'
raw 'GET /v2/?token=not-a-real-one HTTP/1.1\r\nHost: a\r\nBad Header: a\r\n\r\n'
wait_for 5 has_line other-page || fail "the lines are not there"
is_unread() { [ "$(grep -c '"method":null,.*"status":400' "$log")" = 2 ]; }
wait_for 5 is_unread || fail "a request that cannot be read has no line, or another method: $(tail -n 3 "$log")"
grep -qF not-a-real-one "$log" && fail "a query is in the log"
jq -e -s 'all(keys_unsorted == ["time","id","client","user_agent","method","upstream","repository","reference","range","status","bytes","cache",
    "first_byte_ms","duration_ms","upstream_ms"])' "$log" >/dev/null || fail "the fields are others"
is "$(jq -c 'select(.id == "line-1") | [.client, .user_agent, .method, .upstream, .repository, .reference, .range, .status, .cache]' "$log")" \
    '["127.0.0.1","eng\"ine","GET","docker.io","library/one","1","bytes=0-3",200,"entrepot; hit"]' "a line"
is "$(jq -c 'select(.id == "my.id_-1") | [.cache, (.upstream_ms > 0), (.bytes > 100)]' "$log")" '["entrepot; fwd=uri-miss; stored",true,true]' "a miss"

say "a pull by skopeo is one line of 'pulls', with what came from where; a second one comes from the cache"
pulled() { ask pulls --json | jq -c "select(.tag == \"$1\" and .engine == \"$2\") | $3"; }
copy() { skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/$1" "dir:$W/copy$2"; }
SINCE=$(date -u +%Y-%m-%dT%H:%M:%SZ)
copy library/one:1 1
size=$(upstream_manifest one 1 | jq '[.config.size, .layers[].size] | add')
wait_for 10 bash -c "[ -n \"\$('$ENTREPOT' pulls --json --socket '$W/admin.sock' | grep skopeo)\" ]" || fail "the pull is not listed"
is "$(pulled 1 podman '[.result, .image, .client, .bytes_from_upstream, .blobs, .blobs_done, (.seconds >= 0)]')" \
    "[\"ok\",\"docker.io/library/one:1\",\"127.0.0.1\",$size,$(upstream_manifest one 1 | jq '.layers | length + 1'),$(upstream_manifest one 1 | jq '.layers | length + 1'),true]" "the pull"
timeout 20 "$ENTREPOT" pulls --follow --since "$SINCE" --json --socket "$W/admin.sock" >"$W/followed" &
FOLLOWER=$!
PIDS+=($FOLLOWER)
copy library/one:1 2
followed_two() { [ "$(grep -c skopeo "$W/followed")" = 2 ]; }
wait_for 10 followed_two || fail "the second pull is not followed: $(cat "$W/followed")"
is "$(sed -n 2p "$W/followed" | jq -c '[.result, .bytes_from_upstream, (.bytes_from_cache > 1000)]')" '["ok",0,true]' "a warm pull"
kill $FOLLOWER
blobs=$(upstream_manifest one 1 | jq '.layers | length + 1')
all_logged() { # each blob twice, and the log says each time how it was come by; one of them at least was fetched while it was sent
    jq -e -s '[.[] | select((.user_agent // "" | startswith("skopeo")) and (.reference // "" | startswith("sha256:")) and .method == "GET") | .cache] |
        length == '$((2 * blobs))' and all(. != null) and any(startswith("entrepot; fwd=uri-miss"))' "$log" >/dev/null
}
wait_for 5 all_logged || fail "the lines of the pulls' blobs: $(grep skopeo "$log")"
ask pulls --since 1h | grep -qE '^[0-9T:-]+  127\.0\.0\.1 podman .* ok +docker.io/library/one:1' || fail "pulls prints: $(ask pulls)"
grep -qE 'info +pull of docker.io/library/one:1 by 127.0.0.1 podman: ok' "$W/entrepot.log" || fail "the log has no line of the pull"
ask pulls --since 1s --json | jq -e . >/dev/null || true
ask pulls --since yesterday 2>/dev/null && fail "yesterday is no time"
ask top | grep -qE '^[0-9]+ pulls$' || fail "top, once"
[ "$(metric 'entrepot_pulls_total{result="ok"}')" -ge 2 ] || fail "the metric of pulls"

say "a failed pull names status, host and the ids that its operators find it by"
timeout 20 skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/bad.example/app:1" "dir:$W/copy3" 2>/dev/null && fail "a broken blob is pulled"
timeout 20 skopeo inspect --raw --tls-verify=false "docker://127.0.0.1:$PORT/bad.example/app:broken" 2>/dev/null && fail "a broken tag is there"
failed() { ask pulls --json | jq -e "select(.tag == \"$1\" and .result != \"ok\")"; }
wait_for 10 failed broken >/dev/null || fail "the failed pull is not listed"
for words in 'answered 500' 'x-request-id: broken-77' "http://127.0.0.1:$BAD/v2/app/manifests/broken" 'out of order'; do
    failed broken | jq -r .cause | grep -qF "$words" || fail "\"$words\" is not in: $(failed broken | jq -r .cause)"
done

say "rotation: by name and SIGHUP, and by copytruncate"
mv "$log" "$log.1"
curl -s -o /dev/null -H 'X-Request-Id: to-the-old' "$base/healthz"
wait_for 5 has_line to-the-old "$log.1" || fail "the old file is not written to until SIGHUP"
kill -HUP "$ENTREPOT_PID"
wait_for 5 test -e "$log" || fail "SIGHUP does not open the file again"
curl -s -o /dev/null -H 'X-Request-Id: to-the-new' "$base/healthz"
wait_for 5 has_line to-the-new || fail "the new file is not written to"
grep -q to-the-new "$log.1" && fail "the old file is written to"
: >"$log"
curl -s -o /dev/null -H 'X-Request-Id: cut' "$base/healthz"
wait_for 5 has_line cut || fail "nothing is written to a file that was cut"
is "$(head -c 1 "$log")" "{" "the first byte of a file that was cut"

say "a full disk fails no pull: lines are dropped and counted, and come again with room"
dd if=/dev/zero of="$W/logs/filler" bs=1k count=100 2>/dev/null || true
is "$(curl -s -o /dev/null -w '%{http_code}\n' "$base/v2/library/one/manifests/1?x=[1-300]" | sort | uniq -c | awk '{print $1, $2}')" "300 200" "requests on a full disk"
copy library/one:1 5 || fail "a pull fails with the disk of the log"
wait_for 5 bash -c "[ \$(curl -s $base/metrics | awk '/^entrepot_access_log_dropped_total/ {print \$2}') -gt 0 ]" || fail "no line was counted"
grep -q 'the access log cannot be written: No space' "$W/entrepot.log" || fail "the log does not tell"
rm "$W/logs/filler"
: >"$log.1"; : >"$log"
curl -s -o /dev/null -H 'X-Request-Id: room-again' "$base/healthz"
wait_for 5 has_line room-again || fail "nothing is written once there is room"
tail -n 1 "$log" | jq -e . >/dev/null || fail "a torn line"

say "a reload changes format and path; one that cannot be opened changes nothing"
sed -i 's/format: json/format: common/' "$W/config.yaml"
kill -HUP "$ENTREPOT_PID"
common() { curl -s -o /dev/null "$base/v2/library/one/manifests/1?ns=docker.io"; grep -qE '^127\.0\.0\.1 - - \[.*\] "GET /v2/library/one/manifests/1\?ns=docker.io HTTP/1.1" 200 [0-9]+$' "$log"; }
wait_for 5 common || fail "common: $(tail -n 2 "$log")"
for target in 'GET http://u:not-a-real-one@ghcr.io/v2/ HTTP/9.1' 'GET ftp://u:not-a-real-one@a/v2/ HTTP/1.1' \
    'CONNECT u:not-a-real-one@ghcr.io:443 HTTP/1.1'; do
    raw "$target\r\nHost: a\r\n\r\n"
done
refused_are_there() { [ "$(grep -cE '"[A-Z-]+ - HTTP/1.1" 4|"[A-Z-]+ - HTTP/1.1" 5|"- - HTTP/1.1"|"-" [45]' "$log")" -ge 3 ]; }
wait_for 5 refused_are_there || fail "three targets that were refused: $(tail -n 4 "$log")"
grep -qF not-a-real-one "$log" && fail "a password of a target is in the log: $(grep -F not-a-real-one "$log")"
sed -i "s|path: $W/logs/access.log|path: $W/none/access.log|" "$W/config.yaml"
kill -HUP "$ENTREPOT_PID"
wait_for 5 grep -q 'the configuration is not reloaded, and the last one stays in use: opening the access log' "$W/entrepot.log" || fail "a path that cannot be opened is not told"
mkfifo "$W/pipe"
sed -i "s|path: $W/none/access.log|path: $W/pipe|" "$W/config.yaml"
kill -HUP "$ENTREPOT_PID"
wait_for 5 grep -q 'it is a pipe that nobody reads' "$W/entrepot.log" || fail "a pipe that nobody reads is not told, or holds up the daemon"
lines=$(logged)
curl -s -o /dev/null "$base/healthz"
more() { [ "$(logged)" -gt "$lines" ]; }
wait_for 5 more || fail "the log does not go on"

say "a client that follows does not keep the daemon from stopping"
timeout 20 "$ENTREPOT" pulls --follow --socket "$W/admin.sock" >/dev/null &
PIDS+=($!)
sleep 0.3
before=$(date +%s)
entrepot_stop
[ $(($(date +%s) - before)) -lt 10 ] || fail "the daemon took long to stop"
# Its line came at the latest when the daemon stopped.
line=$(grep 'pull of bad.example/app:1 by' "$W/entrepot.log") || fail "the broken blob has no line"
for words in "failed" "http://127.0.0.1:$BAD/v2/app/blobs/sha256:" "answered 503 at 127.0.0.2:$STORAGE, where it redirects to" \
    'x-amz-request-id: AMZ-1234' 'cf-ray: 8f-FRA'; do
    [[ $line = *"$words"* ]] || fail "\"$words\" is not in: $line"
done
grep -q signature-not-secret "$W/entrepot.log" && fail "a signed URL is in the log"
say "a pipe that nobody reads holds up neither requests nor the end"
cat >"$W/unread.py" <<'PY'
import http.client, os, signal, subprocess, sys, threading, time
entrepot, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
fifo = folder + "/unread"
os.mkfifo(fifo)
reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
for path in "-", fifo:
    own = path == "-"
    with open(folder + "/unread.yaml", "w") as f:
        f.write(f"listen: [{{address: '127.0.0.1:{port}'}}]\nadmin: {{socket: {folder}/unread.sock}}\n"
                f"cache: {{path: {folder}/unread.cache, min_free: 0B}}\naccess_log: {{path: '{path}'}}\n")
    r, w = os.pipe()
    log = open(folder + "/unread.log", "w")
    p = subprocess.Popen([entrepot, "serve", "--config", folder + "/unread.yaml"], stderr=w if own else log)
    os.close(w)
    def get(c):
        c.request("GET", "/healthz")
        a = c.getresponse()
        a.read()
        return a.status
    until = time.monotonic() + 20
    while True:
        try:
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
            get(c)
            break
        except OSError:
            assert time.monotonic() < until and p.poll() is None, "it does not start"
            time.sleep(0.05)
    for _ in range(600): # of some 300 bytes each
        assert get(c) == 200
    c.request("GET", "/nowhere") # the log has a line of it, too
    assert c.getresponse().status == 404
    c.close()
    time.sleep(0.2)
    begun = time.monotonic()
    p.send_signal(signal.SIGTERM)
    status = p.wait(20)
    took = time.monotonic() - begun
    assert status == 0, f"{path}: exit {status}"
    assert took < 12, f"{path}: {took:.1f} s"
    if not own:
        assert "lines are lost" in open(folder + "/unread.log").read(), "it does not tell what is lost"
    os.close(r)
PY
timeout 90 python3 "$W/unread.py" "$ENTREPOT" "$(free_port)" "$W" || fail "see above"

say "'config check' looks at the access log, as the user that would write to it"
mkdir -p "$W/checked/cache" "$W/checked/here"
chmod 755 "$W" "$W/checked"
chown nobody "$W/checked/cache"
mkfifo -m 622 "$W/checked/fifo"
: >"$W/checked/roots"
checks() { # PATH [WORDS of the error]
    local answer
    printf '%s\n' "admin: {socket: $W/checked/cache/admin.sock}" "cache: {path: $W/checked/cache}" "access_log: {path: $1}" >"$W/checked/yaml"
    if answer=$("$ENTREPOT" config check --user nobody --config "$W/checked/yaml" 2>&1); then
        [ $# = 1 ] || fail "$1 is good"
    else
        [ $# = 2 ] && [[ $answer = *"access_log.path: "*"$2"* ]] || fail "$1: $answer"
    fi
}
checks "$W/checked/cache/access.log"
checks "$W/checked/fifo"
checks /dev/null
checks -
checks "$W/checked/none/access.log" "$W/checked/none is no folder"
checks "$W/checked/here" "is a folder"
checks "$W/checked/here/access.log" "no file can be created in $W/checked/here (Permission denied)"
checks "$W/checked/roots" "Permission denied"

say "an access log that cannot be opened is an error at the start"
entrepot_run && fail "it starts without its access log"
grep -q "opening the access log $W/none/access.log" "$W/entrepot.log" || fail "why it does not start"
