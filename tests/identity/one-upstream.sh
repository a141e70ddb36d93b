#!/bin/bash
# A listener of one upstream, for clients that cannot say which registry they mean: whatever comes in there is for that one.
. "$(dirname "$0")/../lib.sh"
. tests/identity/registries.sh.inc
command -v docker-registry >/dev/null || skip "needs docker-registry"

registry hub
registry other
for r in hub other; do
    head -c 50000 /dev/urandom >"$W/$r.file"
    push "${!r}" org/app 1 "$W/$r.file"
done
push "$other" single 1 "$W/other.file"

# A registry with long lists, which docker-registry does not cut into pages.
lists=$(free_port)
python3 - "$lists" >"$W/lists.log" 2>&1 <<'PY' &
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class H(BaseHTTPRequestHandler):
    def do_GET(self):
        first = "last=" not in self.path
        body = b'{"name": "org/app", "tags": ["%s"]}' % (b"1" if first else b"2")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if first:
            self.send_header("Link", '</v2/org/app/tags/list?last=1&n=1>; rel="next"')
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
PY
PIDS+=($!)
wait_for 10 curl -s "http://127.0.0.1:$lists/" || fail "no lists"

PORT=$(free_port) long=$(free_port) one=$(free_port) private=$(free_port)
cat >"$W/config.yaml" <<YAML
listen:
  - address: 127.0.0.1:$PORT
  - {address: "127.0.0.1:$one", upstream: ghcr.io}
  - {address: "127.0.0.1:$private", upstream: private.example}
  - {address: "127.0.0.1:$long", upstream: quay.io}
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
upstreams:
  - {name: docker.io, endpoints: ["http://127.0.0.1:$hub"], insecure: true}
  - {name: ghcr.io, endpoints: ["http://127.0.0.1:$other"], insecure: true}
  - {name: quay.io, endpoints: ["http://127.0.0.1:$lists"], insecure: true}
  - {name: private.example, endpoints: ["http://127.0.0.1:$other"], insecure: true, access: client}
YAML
start() { # COMMAND...
    local DAEMON=("$@")
    entrepot_run || fail "entrepot does not start"
}
get() { code=$(curl -s -o "$W/got" -D "$W/head" -w '%{http_code}' --max-time 30 "http://127.0.0.1:$1" "${@:2}"); }
gets() { # PORT/PATH FILE [CURL OPTIONS]
    get "$1" "${@:3}"
    is "$code" 200 "$1"
    cmp "$W/got" "$2" || fail "$1 is something else"
}
theirs=$W/other.file.manifest
on_the_listener() {
    gets "$one/v2/org/app/manifests/1" "$theirs"
    gets "$one/v2/org/app/blobs/$(digest_of "$W/other.file")" "$W/other.file"
    gets "$PORT/v2/org/app/manifests/1" "$W/hub.file.manifest"
}
start env
say "neither ns= nor a host: the listener says which"
on_the_listener
gets "$one/v2/single/manifests/1" "$theirs"
say "what a client says beside that"
gets "$one/v2/org/app/manifests/1?ns=ghcr.io" "$theirs"
gets "$one/v2/ghcr.io/org/app/manifests/1" "$theirs"
gets "$one/v2/org/app/manifests/1" "$theirs" -H "Host: docker.io"
get "$one/v2/org/app/manifests/1?ns=docker.io"
is "$code $(jq -r '.errors[0].code' "$W/got")" "404 NAME_UNKNOWN" "another registry"
grep -q "for ghcr.io alone" "$W/got" || fail "it does not say why: $(cat "$W/got")"
get "$one/v2/docker.io/org/app/manifests/1"
is "$code" 404 "a name that begins with another host"

say "lists: names and links as the registry itself gives them"
get "$long/v2/org/app/tags/list?n=1"
is "$code $(jq -r .tags[0] "$W/got")" "200 1" "the first page"
next=$(tr -d '\r' <"$W/head" | sed -n 's/^link: *<\(.*\)>.*/\1/ip')
[[ $next = /v2/org/app/tags/list\?* ]] || fail "the next page is at $next"
get "$long$next"
is "$code $(jq -r .tags[0] "$W/got")" "200 2" "the second page"
get "$one/v2/_catalog"
is "$(jq -c .repositories "$W/got")" '["org/app","single"]' "what is here of that registry"
get "$PORT/v2/_catalog"
jq -e '.repositories | contains(["docker.io/org/app", "ghcr.io/org/app"])' "$W/got" >/dev/null || fail "$(cat "$W/got")"

say "a web page whose own name leads here sees nothing of what is here"
for page in metrics v2/_catalog; do
    for at in "$PORT" "$one"; do
        get "$at/$page" -H "Host: evil.example:$at"
        is "$code $(jq -r '.errors[0].code' "$W/got")" "403 DENIED" "$page"
        grep -q "add the name to clients.hosts" "$W/got" || fail "it does not say why: $(cat "$W/got")"
        for host in localhost ghcr.io; do
            get "$at/$page" -H "Host: $host:$at"
            is "$code" 200 "$page at $host"
        done
    done
done
for page in healthz readyz v2/ v2/org/app/manifests/1; do
    get "$one/$page" -H "Host: evil.example"
    is "$code" 200 "$page"
done

say "whether to log in is asked of that registry alone"
get "$one/v2/"
is "$code" 200 "nobody has to log in for ghcr.io"
get "$private/v2/"
is "$code" 401 "everybody has to for private.example"
get "$PORT/v2/"
is "$code" 401 "the one for all serves private.example, too"
entrepot_stop

say "sockets that are handed over: the one at this address is it, one that is not handed over is made"
start python3 -c '
import os, socket, sys
for fd, port in enumerate((int(sys.argv[1]), int(sys.argv[2])), 3):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port))
    s.listen()
    os.dup2(s.detach(), fd + 10)
for fd in (3, 4):
    os.dup2(fd + 10, fd)
    os.close(fd + 10)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")
os.execv(sys.argv[3], sys.argv[3:])' "$PORT" "$one"
on_the_listener
get "$private/v2/"
is "$code" 401 "the third"
entrepot_stop
