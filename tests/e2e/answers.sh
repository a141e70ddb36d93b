#!/bin/bash
# What went wrong is told as it is, with what to do; what was asked for is done as a whole or not at all; images say what they share.
. "$(dirname "$0")/../lib.sh"
UP_PORT=$(free_port)
www=$W/www
python3 tests/e2e/commands.py make "$W" || fail "no archives"
python3 tests/e2e/commands.py serve "$www" "$UP_PORT" >"$W/up.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -sf "http://127.0.0.1:$UP_PORT/v2/" || fail "no registry"
entrepot_start "$UP_PORT" "  - name: tls.example
    endpoints: [\"https://127.0.0.1:$UP_PORT\"]
tags: {ttl: 1h, deleted: drop}"

say "an error's body is no saved byte"
curl -s "http://127.0.0.1:$PORT/v2/library/none/manifests/1?ns=docker.io" | grep -q MANIFEST_UNKNOWN || fail "no error"
is "$(ask status --json | jq -c '[.bytes.sent, .bytes.from_cache]')" "[0,0]" "bytes sent"
is "$(metric 'entrepot_sent_bytes_total{source="entrepot"}' | grep -c '^[1-9]')" 1 "entrepot's own"

say "descriptors are counted as /proc has them"
python3 - "$PORT" "$ENTREPOT_PID" <<'PY' || fail "see above"
import http.client, os, sys, time
link = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
for _ in range(20): # other connections may just be ending
    link.request("GET", "/metrics")
    said = [l.split()[1] for l in link.getresponse().read().decode().splitlines() if l.startswith("process_open_fds ")]
    there = len(os.listdir("/proc/%s/fd" % sys.argv[2]))
    if said == [str(there)]:
        sys.exit(0)
    time.sleep(0.05)
sys.exit("process_open_fds %s, and there are %d" % (said, there))
PY

say "what images share"
python3 tests/e2e/commands.py shares "$ENTREPOT" "$W" || fail "see above"

say "what commands answer"
python3 tests/e2e/commands.py answers "$ENTREPOT" "$W" || fail "see above"
is "$(ask pull none:1 --json 2>/dev/null | jq -r 'select(.event == "image" and .status == "failed") | .checked')" false "checked, of what was not"
is "$(ask pull one:1 --json | jq -r 'select(.event == "image" and .status == "done") | .checked')" true "and of what was"

say "an output that cannot be written"
python3 tests/e2e/commands.py outputs "$ENTREPOT" "$W" || fail "see above"

say "a tag that its registry has deleted meanwhile"
ask pull gone:1 >/dev/null
curl -s "http://127.0.0.1:$PORT/v2/_catalog" | jq -e '.repositories | index("docker.io/library/gone")' >/dev/null || fail "not in the catalog"
rm "$www/v2/library/gone/manifests/1"
ask pull gone:1 >"$W/out" 2>"$W/err" && fail "a pull of what is deleted succeeds"
grep -q '; sha256:[0-9a-f]*, which was here, is dropped (tags.deleted: drop)$' "$W/err" || fail "$(cat "$W/err")"
is "$(ask ls gone --json | jq '.images | length')" 0 "what is left of it"
curl -s "http://127.0.0.1:$PORT/v2/_catalog" | jq -e '.repositories | index("docker.io/library/gone") == null' >/dev/null || fail "still in the catalog"

say "config check reads the files"
echo "of no use" >"$W/text"
mkdir -p "$W/bin"
check() { # YAML of an upstream
    printf 'cache: {path: %s, min_free: 0B}\nlisten: [{address: "127.0.0.1:0"}]\nadmin: {socket: %s}\nupstreams: [{name: a.example, %s}]\n' \
        "$W/cache" "$W/x.sock" "$1" >"$W/check.yaml"
    PATH=$W/bin:$PATH "$ENTREPOT" config check --config="$W/check.yaml" --user "$(id -un)" >"$W/out" 2>&1
}
bad() { # YAML WHY
    check "$1" && fail "good: $1: $(cat "$W/out")"
    grep -q "$2" "$W/out" || fail "$1: $(cat "$W/out")"
    ! grep -q "of no use" "$W/out" || fail "the content is told: $(cat "$W/out")"
}
bad "ca: $W/text" "upstreams.ca: $W/text: no certificate or crl found"
printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' >"$W/spoiled.pem"
bad "ca: $W/spoiled.pem" "upstreams.ca: $W/spoiled.pem: "
bad "credentials: {docker_config: $W/text}" "docker_config: $W/text is not a JSON object"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$W/key.pem" -out "$W/ca.pem" -subj /CN=x 2>/dev/null
echo '{"auths": {}}' >"$W/docker.json"
check "ca: $W/ca.pem, credentials: {docker_config: $W/docker.json}" || fail "$(cat "$W/out")"
is "$(cat "$W/out")" "$W/check.yaml: good for the user $(id -un)" "good"
check "credentials: {helper: nope}" || fail "$(cat "$W/out")"
grep -q "the program docker-credential-nope is not on PATH" "$W/out" || fail "$(cat "$W/out")"
install -m 755 /dev/null "$W/bin/docker-credential-nope"
check "credentials: {helper: nope}" && ! grep -q PATH "$W/out" || fail "$(cat "$W/out")"
check "parallel: 2, fetch: lazy" || fail "$(cat "$W/out")"
"$ENTREPOT" config show --config="$W/check.yaml" >"$W/show"
grep -q "parallel: 2" "$W/show" && grep -q "fetch: lazy" "$W/show" || fail "config show drops what is set: $(cat "$W/show")"
check "insecure: false" && "$ENTREPOT" config show --config="$W/check.yaml" | grep "parallel: 4" >/dev/null || fail "config show without the default"
for wrong in "parallel: 65" "parallel: 0" "fetch: some"; do
    ! check "$wrong" && grep -qE "(parallel|fetch): " "$W/out" || fail "$wrong: $(cat "$W/out")"
done

if [ "$(id -u)" = 0 ]; then
    say "a folder that cannot be reached, by a user who can make none there"
    install -d -m 755 "$W/seen"
    install -d -m 700 "$W/seen/closed"
    chmod 755 "$W"
    install -m 755 "$ENTREPOT" "$W/seen/entrepot"
    setpriv --reuid=65534 --regid=65534 --clear-groups timeout 20 "$W/seen/entrepot" serve --cache "$W/seen/closed/a/b" \
        --listen 127.0.0.1:0 --offline >"$W/out" 2>&1 && fail "it runs"
    grep -q "may not enter $W/seen/closed: choose another place" "$W/out" || fail "$(cat "$W/out")"
fi
entrepot_stop
