#!/bin/bash
# A registry of several addresses of which one drops what is sent to it, and a kept connection that has died without a word: a pull
# waits about a second, once. In a network of its own; beside it the time that curl takes.
[ -n "${ENTREPOT_NETNS:-}" ] || {
    unshare -n -m true 2>/dev/null || { echo "cannot make a network namespace here"; exit 77; }
    ENTREPOT_NETNS=1 exec unshare -n -m bash "$0"
}
. "$(dirname "$0")/../lib.sh"
need_root
command -v nft >/dev/null || skip "needs nftables"
ip link set lo up
for a in 10.9.0.1 10.9.0.2 10.9.0.3; do ip addr add "$a/32" dev lo; done
for a in fd00:9::1 fd00:9::2; do ip addr add "$a/128" dev lo nodad; done
nft -f - <<'NFT' || skip "no nftables in this kernel"
table inet faults {
  set dead4 { type ipv4_addr; }
  set dead6 { type ipv6_addr; }
  set lost { type inet_service; }
  chain input {
    type filter hook input priority 0;
    ip daddr @dead4 tcp dport 8000 drop
    ip6 daddr @dead6 tcp dport 8000 drop
    tcp sport @lost drop
    tcp dport @lost drop
  }
}
NFT
cat >"$W/hosts" <<'EOT'
127.0.0.1 localhost
10.9.0.1 first.test
10.9.0.2 first.test
10.9.0.2 second.test
10.9.0.1 second.test
fd00:9::1 six.test
10.9.0.2 six.test
10.9.0.1 four.test
fd00:9::2 four.test
10.9.0.1 both.test
10.9.0.3 both.test
10.9.0.2 well.test
EOT
mount --bind "$W/hosts" /etc/hosts
cat >"$W/registry.py" <<'PY'
import hashlib, socket, socketserver, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        name, ref = self.path.split("/manifests/")
        body = ('{"schemaVersion":2,"manifests":[],"annotations":{"n":"%s"}}' % ref).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
        self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(body).hexdigest())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
    do_HEAD = do_GET
    def log_message(self, *a):
        print(self.client_address, self.command, self.path, file=sys.stderr, flush=True)
class S(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()
S(("::", 8000), H).serve_forever()
PY
python3 "$W/registry.py" 2>"$W/registry.log" &
PIDS+=($!)
wait_for 10 curl -sf http://well.test:8000/v2/x/manifests/1 || fail "the registry does not start"

more=
for h in first second six four both; do
    more="$more
  - {name: $h.test, endpoints: [\"http://$h.test:8000\"], insecure: true, trusted_hosts: [\"$h.test\"]}"
done
LOG=debug entrepot_start 1 "$more
  - {name: well.test, endpoints: [\"http://well.test:8000\"], insecure: true, trusted_hosts: [\"well.test\"]}
fetchers: 1"
first_byte() { # URL...: seconds; fails unless it is 200
    curl -s -o /dev/null -m 20 -w '%{http_code} %{time_starttransfer}\n' "$@" | { read -r code t; [ "$code" = 200 ] && echo "$t"; }
}
through() { first_byte "http://127.0.0.1:$PORT/v2/$1/x/manifests/$2"; } # HOST.test TAG
within() { awk -v t="$1" -v most="$2" 'BEGIN {exit !(t <= most)}' || fail "$3: $1 s, and $2 s would have been enough"; }

nft add element inet faults dead4 '{ 10.9.0.1 }'
nft add element inet faults dead6 '{ fd00:9::1 }'
say "one address of two drops everything: seconds to the first byte, the first time and the next, and curl's"
for h in first second six four; do
    one=$(through $h.test "$h-1") || fail "$h: it was not got past the dead address"
    two=$(through $h.test "$h-2") || fail "$h: the second time"
    printf '  %-7s %6s %6s %6s\n' "$h" "$one" "$two" "$(first_byte "http://$h.test:8000/v2/x/manifests/1" || echo none)"
    within "$one" 2.5 "$h"
    within "$two" 0.7 "$h, when the dead address is known"
done

say "no address answers within a second, and then one does: a long way is not a dead address"
nft add element inet faults dead4 '{ 10.9.0.3 }'
(sleep 2.5; nft delete element inet faults dead4 '{ 10.9.0.3 }') &
PIDS+=($!)
t=$(through both.test slow) || fail "an address that answers late is given up"
within "$t" 9 "an address that answers late"
nft add element inet faults dead4 '{ 10.9.0.3 }' # the kept connection to it, too
code=$(curl -s -o /dev/null -m 30 -w '%{http_code} %{time_total}' "http://127.0.0.1:$PORT/v2/both.test/y/manifests/never")
case $code in 50[24]*) ;; *) fail "all addresses dead: $code" ;; esac

say "a kept connection dies without a word: the request goes out again on a fresh one"
through well.test warm >/dev/null
port=$(ss -tnH state established "dst 10.9.0.2" | awk '{n = split($3, a, ":"); print a[n]}' | head -n 1)
[ -n "$port" ] || fail "no connection is kept"
nft add element inet faults lost "{ $port }"
t=$(through well.test after) || fail "a dead connection is an error"
echo "  $t s"
within "$t" 2.5 "a dead connection"
is "$(grep -c 'GET /v2/x/manifests/after' "$W/registry.log")" 1 "requests that reached the registry"
t=$(through well.test again) || fail "the next request"
within "$t" 0.7 "the next request"
entrepot_stop
