#!/bin/bash
# Nobody leads entrepot astray: an upstream's redirects and token realms, and names that clients make up, cause no connection to the
# metadata address, the loopback or a private network, unless the configuration names the host. In a network of its own.
[ -n "${ENTREPOT_NETNS:-}" ] || {
    unshare -n true 2>/dev/null || { echo "cannot make a network namespace here"; exit 77; }
    ENTREPOT_NETNS=1 exec unshare -n bash "$0"
}
. "$(dirname "$0")/../lib.sh"
need_root
ip link set lo up
for a in 169.254.169.254 10.1.2.3 172.16.0.9 192.168.7.7 100.64.0.1; do ip addr add "$a/32" dev lo; done
ip addr add fd00:ec2::254/128 dev lo 2>/dev/null || true
victim=$(free_port) evil=$(free_port)

# Notes every connection, and answers like a store of blobs.
cat >"$W/victim.py" <<'PY'
import socket, socketserver, sys
port, log = int(sys.argv[1]), sys.argv[2]
class H(socketserver.StreamRequestHandler):
    timeout = 5
    def handle(self):
        with open(log, "a") as f:
            f.write(f"{self.connection.getsockname()[0]}\n")
        try:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nkeys")
        except OSError:
            pass
class S(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, address_family = True, True, socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
S(("::", port), H).serve_forever()
PY
python3 "$W/victim.py" "$victim" "$W/connections" &
PIDS+=($!)
# What it says about a repository is in the repository's name: which kind, which target.
cat >"$W/evil.py" <<'PY'
import base64, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class H(BaseHTTPRequestHandler):
    def do_GET(self):
        _, _, kind, target, *rest = self.path.split("/")
        url = base64.b32decode(target.upper() + "=" * (-len(target) % 8)).decode()
        if kind == "redirect":
            self.send_response(307)
            self.send_header("Location", url)
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'Bearer realm="{url}",service="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_HEAD = do_GET
    def log_message(self, *a):
        pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
PY
python3 "$W/evil.py" "$evil" &
PIDS+=($!)
wait_for 10 curl -s -o /dev/null "http://127.0.0.1:$victim/" || fail "no victim"
wait_for 10 sh -c "curl -s -o /dev/null http://127.0.0.1:$evil/v2/redirect/me/x || [ \$? != 7 ]" || fail "no upstream"
for a in 169.254.169.254 10.1.2.3 "[::1]"; do is "$(curl -s "http://$a:$victim/")" keys "the victim at $a, asked straight"; done

hosts="169.254.169.254 10.1.2.3 172.16.0.9 192.168.7.7 100.64.0.1 127.0.0.2 127.1.2.3 localhost [::1] [::ffff:10.1.2.3] 0.0.0.0 2130706434 0x7f000002 [fd00:ec2::254]"
d=sha256:$(printf keys | sha256sum | sed 's/ .*//')
b32() { printf %s "$1" | base32 -w0 | tr -d = | tr A-Z a-z; }
get() { curl -s -o "$W/body" -w '%{http_code}' --max-time 30 "http://127.0.0.1:$PORT/v2/$1"; }
refused() { # WHAT: no connection was made
    [ ! -s "$W/connections" ] || fail "$1: connected to $(sort -u "$W/connections" | tr '\n' ' ')"
}
entrepot_start "$evil" "upstreams_any: true
tags: {negative_ttl: 0s}"
: >"$W/connections"
for h in $hosts; do
    for kind in redirect realm; do
        for what in "blobs/$d" "manifests/$d" manifests/1 tags/list; do
            code=$(get "$kind/$(b32 "http://$h:$victim/x")/$what")
            case $code in 2*) fail "$kind to $h: $code" ;; esac
            refused "$kind to $h, $what"
            grep -q trusted_hosts "$W/body" || fail "$kind to $h, $what: refused for another reason: $(cat "$W/body")"
        done
    done
    for name in "x/blobs/$d?ns=$h:$victim" "$h:$victim/x/blobs/$d" "x/manifests/1?ns=$h:$victim" "$h:$victim/x/manifests/1" "x/tags/list?ns=$h"; do
        code=$(curl -g -s -o "$W/body" -w '%{http_code}' --max-time 30 "http://127.0.0.1:$PORT/v2/$name")
        case $code in 2*) fail "the name $name: $code" ;; esac
        refused "the name $name"
    done
    code=$(curl -s -o "$W/body" -w '%{http_code}' --max-time 30 -H "Host: $h:$victim" "http://127.0.0.1:$PORT/v2/x/blobs/$d")
    refused "the Host header $h"
done
get "redirect/$(b32 "http://10.1.2.3:$victim/x")/blobs/$d" >/dev/null
grep -q "10.1.2.3.*trusted_hosts" "$W/body" || fail "it does not say what to do: $(cat "$W/body")"
entrepot_stop

say "what the configuration names is asked"
sed -i "s|    insecure: true|    insecure: true\n    trusted_hosts: [10.1.2.3]|; /upstreams_any/d" "$W/config.yaml"
entrepot_run || fail "entrepot does not start"
is "$(get "redirect/$(b32 "http://10.1.2.3:$victim/x")/blobs/$d")" 200 "a redirect to a host that is named"
is "$(sort -u "$W/connections" | sed 's/^::ffff://')" 10.1.2.3 "connections"
: >"$W/connections"
get "redirect/$(b32 "http://192.168.7.7:$victim/x")/blobs/sha256:$(printf other | sha256sum | sed 's/ .*//')" >/dev/null
refused "another private address"
entrepot_stop
