#!/bin/bash
# A client of the forward proxy pushes, logs in and deletes as if there were no cache between it and the registry; what it pushed is what the
# next pull through the cache gets, although tags are fresh for an hour and what is absent is remembered.
. "$(dirname "$0")/../lib.sh"
need curl jq
REGISTRY_PORT=$(free_port) PORT=$(free_port) DOOR=$(free_port)
python3 tests/network/pass_registry.py "$REGISTRY_PORT" &
REGISTRY_PID=$!
PIDS+=($REGISTRY_PID)
wait_for 10 curl -s -o /dev/null "http://127.0.0.1:$REGISTRY_PORT/v2/" || fail "no registry"
cat >"$W/config.yaml" <<YAML
listen: [{address: "127.0.0.1:$PORT"}]
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
tags: {ttl: 1h, negative_ttl: 1h, rules: [{tag: kept, deleted: keep}]}
intercept: {address: 127.0.0.1:$DOOR, ca: {cert: $W/ca.crt, key: $W/ca.key}, hosts: [reg.test]}
upstreams:
  - name: reg.test
    endpoints: ["http://127.0.0.1:$REGISTRY_PORT"]
    insecure: true
YAML
entrepot_run || fail "entrepot does not start"
through() { curl -s --max-time 60 -x "http://127.0.0.1:$DOOR" --cacert "$W/ca.crt" "$@"; } # what a client does
good=(-H "Authorization: Bearer good")
pull() { through "https://reg.test/v2/x/manifests/$1"; }
push() { through -o /dev/null -w '%{http_code}' "${good[@]}" -X PUT -H "Content-Type: application/vnd.oci.image.index.v1+json" -d "$2" "https://reg.test/v2/x/manifests/$1"; }
index() { echo -n "{\"schemaVersion\":2,\"manifests\":[],\"annotations\":{\"n\":\"$1\"}}"; }

say "the registry's own challenge, and its answer to a login"
is "$(through -o /dev/null -w '%{http_code} %header{www-authenticate}' https://reg.test/v2/)" \
    '401 Bearer realm="https://auth.reg.test/token",service="reg.test"' "challenge"

say "an upload of 64 MiB in chunks, and a refused one"
head -c $((64 << 20)) /dev/urandom >"$W/layer"
digest=$(sha256sum "$W/layer" | cut -d ' ' -f 1)
before=$(awk '/VmHWM/ {print $2}' "/proc/$ENTREPOT_PID/status")
through "${good[@]}" -D "$W/head" -X PATCH -H "Transfer-Encoding: chunked" -T "$W/layer" https://reg.test/v2/x/blobs/uploads/1
after=$(awk '/VmHWM/ {print $2}' "/proc/$ENTREPOT_PID/status")
grep -qi "^docker-upload-digest: sha256:$digest" "$W/head" || fail "$(cat "$W/head")"
grep -qi '^location: /v2/x/blobs/uploads/next?_state=a%2Fb' "$W/head" || fail "$(cat "$W/head")"
grep -qi '^set-cookie: at=2' "$W/head" || fail "$(cat "$W/head")"
is_sanitized || [ $((after - before)) -lt 8192 ] || fail "it has taken $((after - before)) KiB"
through "${good[@]}" -X PATCH -T "$W/layer" https://reg.test/v2/x/blobs/uploads/refuse >"$W/refused" || true
grep -q SIZE_INVALID "$W/refused" || fail "refusal: $(cat "$W/refused")"

say "ranges and cookies of what is no pull"
is "$(through -o /dev/null -w '%header{x-range} %header{x-cookie}' -H "Range: bytes=2-5" -b a=1 "https://reg.test/v2/x/blobs/uploads/1?a=b")" \
    "bytes=2-5 a=1" "headers"

say "what was pushed is pulled at once"
pull v1 | grep -q MANIFEST_UNKNOWN || fail "v1 is there"
is "$(push v1 "$(index one)")" 201 "push"
is "$(pull v1)" "$(index one)" "v1, which was absent"
is "$(through https://reg.test/v2/x/tags/list | jq -c .tags)" '["v1"]' "tags"
is "$(push v1 "$(index two)")" 201 "second push"
is "$(pull v1)" "$(index two)" "v1, which was cached"
is "$(push v2 "$(index two)")" 201 "another tag"
is "$(through https://reg.test/v2/x/tags/list | jq -c .tags)" '["v1","v2"]' "tags, which were cached"
is "$(through -o /dev/null -w '%{http_code}' "${good[@]}" -X DELETE https://reg.test/v2/x/manifests/v1)" 202 "delete"
pull v1 | grep -q MANIFEST_UNKNOWN || fail "v1 is still there: $(pull v1)"

delete() { through -o /dev/null -w '%{http_code}' "${good[@]}" -X DELETE "https://reg.test/v2/x/manifests/$1"; }
asked() { through "https://reg.test/asked/$1"; }

say "what was deleted by its digest is served by no name, without the registry; but for what is to be kept"
gone=sha256:$(index gone | sha256sum | cut -d ' ' -f 1)
for tag in g1 g2; do
    is "$(push $tag "$(index gone)")" 201 "push $tag"
    is "$(pull $tag)" "$(index gone)" "$tag"
done
is "$(pull "$gone")" "$(index gone)" "by its digest"
is "$(delete "$gone")" 202 "delete by digest"
for name in g1 g2 "$gone"; do pull $name | grep -q MANIFEST_UNKNOWN || fail "$name is still there: $(pull $name)"; done
is "$(push g1 "$(index gone)")" 201 "push again"
is "$(pull g1)" "$(index gone)" "g1 again"
is "$(pull "$gone")" "$(index gone)" "by its digest again"
outer=$(printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"%s","size":%d}]}' \
    "$gone" "$(index gone | wc -c)")
is "$(push outer "$outer")" 201 "push an index that names it"
is "$(pull outer)" "$outer" "the index"
is "$(delete "$gone")" 202 "delete by digest what the index names"
for name in g1 "$gone"; do pull $name | grep -q MANIFEST_UNKNOWN || fail "$name is still there: $(pull $name)"; done
is "$(pull outer)" "$outer" "the index, still"
for tag in kept pinned; do
    is "$(push $tag "$(index $tag)")" 201 "push $tag"
    is "$(pull $tag)" "$(index $tag)" "$tag"
    [ $tag = kept ] || "$ENTREPOT" pin --socket "$W/admin.sock" reg.test/x:pinned >"$W/pinned" 2>&1 || fail "$(cat "$W/pinned")"
    before=$(asked $tag)
    is "$(pull $tag)" "$(index $tag)" "$tag, fresh"
    is "$(asked $tag)" "$before" "requests for $tag while it is fresh"
    is "$(delete $tag)" 202 "delete $tag"
    is "$(pull $tag)" "$(index $tag)" "$tag, which is kept"
    [ "$(asked $tag)" -gt "$before" ] || fail "the registry was not asked about $tag"
done
"$ENTREPOT" verify --socket "$W/admin.sock" >"$W/verified" 2>&1 || fail "verify: $(cat "$W/verified")"

say "interim answers, trailers and expectations, end to end"
upload() { through "${good[@]}" -X PATCH "$@" https://reg.test/v2/x/blobs/uploads/interim; }
echo abc >"$W/small"
upload -D "$W/interim" -H "Expect: 100-continue" -H "Transfer-Encoding: chunked" -T "$W/small" >"$W/out"
is "$(tr -d '\r' <"$W/interim" | grep -iE '^HTTP|^x-' | grep -v '^X-Request-Id' | paste -sd ' ')" \
    "HTTP/1.1 200 Connection established HTTP/1.1 100 Continue HTTP/1.1 103 Early Hints X-Hint: 1 HTTP/1.1 202 Accepted X-Late: 1" "what came before and behind the answer"

say "a reload that takes a registry away ends what was opened for it"
cat >"$W/opened.py" <<'PY'
import os, signal, socket, ssl, sys, time
door, ca, pid, config = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
def connect():
    s = socket.create_connection(("127.0.0.1", door), timeout=20)
    s.sendall(b"CONNECT reg.test:443 HTTP/1.1\r\nHost: reg.test:443\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        head += s.recv(4096)
    assert b" 200 " in head.split(b"\r\n")[0], head
    return ssl.create_default_context(cafile=ca).wrap_socket(s, server_hostname="reg.test")
def ask(t):
    """The status of an answer; None: the connection has ended without one."""
    try:
        t.sendall(b"GET /v2/ HTTP/1.1\r\nHost: reg.test\r\n\r\n")
        head = t.recv(65536)
    except OSError:
        return None
    return head.split(b" ")[1] if head else None
def reload(text):
    with open(config, "w") as f:
        f.write(text)
    os.kill(pid, signal.SIGHUP)
    time.sleep(1)
was = open(config).read()
kept = connect()
assert ask(kept) == b"401", "before"
reload(was.replace("hosts: [reg.test]", "hosts: [other.test]").replace("name: reg.test", "name: other.test"))
gone = ask(kept)
assert gone is None, f"of a registry that is not one of ours any more: {gone}"
reload(was)
assert ask(connect()) == b"401", "after it has come back"
PY
python3 "$W/opened.py" "$DOOR" "$W/ca.crt" "$ENTREPOT_PID" "$W/config.yaml" || fail "see above"

say "the registry is down: an error that names it, and pulls of what is cached"
is "$(pull v2)" "$(index two)" "v2"
kill "$REGISTRY_PID"
wait "$REGISTRY_PID" 2>/dev/null || true
is "$(push v2 "$(index three)" 2>/dev/null)" 502 "push to a registry that is down"
through "${good[@]}" -X DELETE https://reg.test/v2/x/manifests/v2 | jq -r '.errors[0].message' | grep -q "127.0.0.1:$REGISTRY_PORT" || fail "the error does not name it"
is "$(pull v2)" "$(index two)" "v2, from the cache"
entrepot_stop || fail "it has not stopped well"
