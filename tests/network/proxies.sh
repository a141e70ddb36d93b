#!/bin/bash
# A proxy that the environment names: what goes through it and what does not, also after a redirect; its own refusal is told as that.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
need_root
need ip openssl
ip link set lo up
for a in 10.9.0.1 10.9.1.1; do ip addr add "$a/32" dev lo; done
cat >"$W/hosts" <<'EOT'
127.0.0.1 localhost proxy.test
10.9.0.1 out.test reg.corp.example dots.example nexus.test secret.test
EOT
mount --bind "$W/hosts" /etc/hosts
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=secret.test -addext subjectAltName=DNS:secret.test \
    -keyout "$W/key.pem" -out "$W/ca.pem" 2>/dev/null
for port in 8000 8083; do
    python3 tests/network/registry.py $port "$W/registry.requests" &
    PIDS+=($!)
done
python3 tests/network/registry.py 8443 "$W/registry.requests" "$W/ca.pem" "$W/key.pem" &
PIDS+=($!)
python3 tests/network/proxy.py 3128 "$W/proxy.requests" user:not-a-secret 2>"$W/proxy.log" &
PIDS+=($!)
for port in 8000 8083; do wait_for 10 curl -sf --noproxy '*' "http://10.9.0.1:$port/v2/" || fail "no registry"; done
wait_for 10 curl -skf --noproxy '*' https://10.9.0.1:8443/v2/ || fail "no registry with TLS"
wait_for 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128' || fail "no proxy"

upstreams=
for u in out.test:8000 reg.corp.example:8000 dots.example:8000 nexus.test:8083 10.9.1.1:8000; do
    upstreams="$upstreams
  - {name: ${u%:*}, endpoints: [\"http://$u\"], insecure: true, trusted_hosts: [\"*.test\", \"*.example\", \"10.9.1.1\"]}"
done
upstreams="$upstreams
  - {name: other.test, endpoints: [\"http://nexus.test:8000\"], insecure: true, trusted_hosts: [\"*.test\"]}
  - {name: secret.test, endpoints: [\"https://secret.test:8443\"], ca: $W/ca.pem, trusted_hosts: [\"*.test\"]}"
with_proxy() { # USER:PASSWORD
    DAEMON=(env "HTTP_PROXY=http://$1@proxy.test:3128" "HTTPS_PROXY=http://$1@proxy.test:3128"
        "NO_PROXY=*.corp.example, .dots.example,nexus.test:8083 10.9.1.0/24")
}
get() { # REGISTRY REPOSITORY/KIND/REFERENCE
    code=$(curl -s -o "$W/got" -m 20 -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$1/$2")
}
goes() { # through|past WHAT REGISTRY PATH
    : >"$W/proxy.requests"
    get "$3" "$4"
    is "$code" 200 "$2: $(cat "$W/got")"
    case $1 in
    through) [ -s "$W/proxy.requests" ] || fail "$2: not through the proxy" ;;
    past) [ ! -s "$W/proxy.requests" ] || fail "$2: through the proxy: $(cat "$W/proxy.requests")" ;;
    esac
}
with_proxy user:not-a-secret
entrepot_start 1 "$upstreams"
say "what NO_PROXY names goes past the proxy, the rest through it"
goes through "HTTP_PROXY in capitals" out.test x/manifests/1
goes through "HTTPS_PROXY" secret.test x/manifests/1
goes past "*.corp.example" reg.corp.example x/manifests/1
goes past ".dots.example" dots.example x/manifests/1
goes past "a host and its port" nexus.test x/manifests/1
goes through "the same host, another port" other.test x/manifests/1
goes past "a net" 10.9.1.1 x/manifests/1

say "each hop of a redirect is decided for itself, and the proxy's password goes to the proxy alone"
hop() { # REGISTRY TO
    : >"$W/proxy.requests"
    : >"$W/registry.requests"
    code=$(curl -sI -o "$W/got" -m 20 -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$1/to/$2/blobs/sha256:$(printf %064d 7)")
    is "$code" 200 "$1 to $2"
}
hop out.test reg.corp.example
grep -q "HEAD http://out.test:8000/v2/to/" "$W/proxy.requests" || fail "the first hop: $(cat "$W/proxy.requests")"
grep -q http://reg.corp.example "$W/proxy.requests" && fail "the second hop went through the proxy"
grep -q "^HEAD reg.corp.example:8000 /v2/x/blobs" "$W/registry.requests" || fail "the second hop: $(cat "$W/registry.requests")"
hop reg.corp.example out.test
grep -q "HEAD http://out.test:8000/v2/x/blobs" "$W/proxy.requests" || fail "to the proxy: $(cat "$W/proxy.requests")"
grep -q "^HEAD reg.corp.example:8000 /v2/to/" "$W/registry.requests" || fail "the first hop: $(cat "$W/registry.requests")"
! grep -q Proxy-Authorization "$W/registry.requests" || fail "a registry got the proxy's password"
entrepot_stop

say "a proxy that refuses is named, without its password"
with_proxy user:not-this-one
entrepot_start 1 "$upstreams"
for r in out.test secret.test; do
    get $r x/manifests/2
    is "$code" 502 "$r"
    grep -q "the proxy proxy.test:3128 answered 407" "$W/got" || fail "$r: $(cat "$W/got")"
    grep -q "$r.*the proxy proxy.test:3128 answered 407" "$W/entrepot.log" || fail "$r: not in the log"
done
! grep -q not-this-one "$W/got" "$W/entrepot.log" || fail "the proxy's password is in the log, or in the answer"
entrepot_stop
