#!/bin/bash
# TLS by name, with a real dnsmasq: the lines of docs/engines.md ("By name: DNS") answer the registries' names with entrepot's address,
# every other name and entrepot's own look-ups with what the names really have. Clients are told nothing, and pull and push through
# entrepot. Three places: the registries' network, the node's (dnsmasq, entrepot), and clients that ask the node for names.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
need ip openssl curl docker-registry skopeo htpasswd umoci jq
command -v dnsmasq >/dev/null || skip "needs dnsmasq (dnsmasq-base)"

RECIPE=$W/dnsmasq.conf
sed -n 's/^    \(address=\/.*\)/\1/p' docs/engines.md >"$RECIPE"
[ "$(grep -c /127.0.0.9 "$RECIPE")" -ge 2 ] || fail "docs/engines.md has no lines for dnsmasq"
sed -i 's/127\.0\.0\.9/10.9.0.9/' "$RECIPE"
NAMES=$(cut -d / -f 2 "$RECIPE")
for name in registry-1.docker.io ghcr.io; do grep -qx $name <<<"$NAMES" || fail "docs/engines.md has no line for $name"; done

# The node's network is this one; those of clients is at the other end of a wire.
ip addr add 10.9.0.9/32 dev lo
ip addr add 203.0.113.1/32 dev lo
ip addr add 203.0.113.2/32 dev lo
ip addr add 203.0.113.5/32 dev lo
unshare --net sleep 600 &
CLIENTS=$!
PIDS+=($CLIENTS)
wait_for 5 sh -c "[ \$(readlink /proc/$CLIENTS/ns/net) != \$(readlink /proc/self/ns/net) ]" || fail "no second network"
ip link add node type veth peer name wire netns $CLIENTS
ip addr add 10.8.0.1/24 dev node
ip link set node up
nsenter --net=/proc/$CLIENTS/ns/net sh -ec 'ip link set lo up; ip addr add 10.8.0.2/24 dev wire; ip link set wire up; ip route add default via 10.8.0.1'

say "the registries, and a DNS that knows where they really are"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout "$W/ca.key" -out "$W/ca.crt" 2>/dev/null
htpasswd -Bbn someone no-secret >"$W/htpasswd" 2>/dev/null
serve() { # NAME ADDRESS DNS-NAME...
    local name=$1 address=$2
    shift 2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$W/$name.key" -out "$W/$name.csr" 2>/dev/null
    openssl x509 -req -in "$W/$name.csr" -CA "$W/ca.crt" -CAkey "$W/ca.key" -CAcreateserial -days 2 -out "$W/$name.crt" \
        -extfile <(echo "subjectAltName=$(printf 'DNS:%s,' "$@" | sed 's/,$//')") 2>/dev/null
    cat >"$W/$name.yml" <<-YML
	version: 0.1
	log: {level: error, accesslog: {disabled: false}}
	storage: {filesystem: {rootdirectory: $W/registry}}
	http: {addr: "$address:443", secret: one, tls: {certificate: $W/$name.crt, key: $W/$name.key}}
	YML
    [ "$name" != ghcr ] || printf 'auth: {htpasswd: {realm: private, path: %s/htpasswd}}\n' "$W" >>"$W/$name.yml"
    docker-registry serve "$W/$name.yml" >>"$W/$name.log" 2>&1 &
    PIDS+=($!)
}
serve hub 203.0.113.1 registry-1.docker.io docker.io
serve ghcr 203.0.113.2 ghcr.io
serve other 203.0.113.5 other.example
resolver() { # ADDRESS OPTION...
    dnsmasq --keep-in-foreground --no-resolv --no-hosts --no-daemon --user=root --pid-file= --bind-interfaces --listen-address="$1" "${@:2}" >>"$W/dnsmasq.log" 2>&1 &
    PIDS+=($!)
}
resolver 203.0.113.1 --conf-file=/dev/null --address=/registry-1.docker.io/203.0.113.1 --address=/docker.io/203.0.113.1 \
    --address=/ghcr.io/203.0.113.2 --address=/other.example/203.0.113.5
resolver 10.8.0.1 --conf-file="$RECIPE" --server=203.0.113.1

# Names by DNS alone. What entrepot asks is the DNS with the registries' own addresses: docs/engines.md says that it must not be led.
printf 'hosts: files dns\n' >"$W/nsswitch"
printf '127.0.0.1 localhost\n' >"$W/hosts"
printf 'nameserver 10.8.0.1\n' >"$W/resolv"
printf 'nameserver 203.0.113.1\n' >"$W/resolv-own"
mount --bind "$W/hosts" /etc/hosts
mount --bind "$W/resolv" "$(readlink -f /etc/resolv.conf)"
[ ! -e /etc/nsswitch.conf ] || mount --bind "$W/nsswitch" /etc/nsswitch.conf
PORT=5000
cat >"$W/config.yaml" <<YAML
listen: [{address: "127.0.0.1:5000"}, {address: "10.9.0.9:443", intercept: true}]
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
upstreams: [{name: docker.io, ca: $W/ca.crt, trusted_hosts: ["*"]}, {name: ghcr.io, ca: $W/ca.crt}]
YAML
# shellcheck disable=SC2016
DAEMON=(unshare --mount sh -c 'mount --bind "$0/resolv-own" "$(readlink -f /etc/resolv.conf)" && exec "$@"' "$W")
entrepot_run || fail "entrepot does not start"

LAYER_BYTES=40000 image_build hello
LAYER_BYTES=40000 image_build other
for name in hello other; do
    skopeo copy -q --dest-tls-verify=false "oci:$W/layout:$name" docker://203.0.113.1:443/library/$name:1 || fail "no image"
done
mkdir -p "$W/registry/docker/registry/v2/repositories/org"
cp -r "$W/registry/docker/registry/v2/repositories/library/hello" "$W/registry/docker/registry/v2/repositories/org/app"

# A client trusts entrepot's authority alone; what it copies from or to without login is empty-handed.
client() { nsenter --net=/proc/$CLIENTS/ns/net env SSL_CERT_FILE="$W/cache/ca.crt" SSL_CERT_DIR="$W/nothing" "$@"; }
asked() { grep -cE '"GET /v2/[^ ]+/(manifests|blobs)/[^"]*" 200' "$W/$1.log" || true; }

say "names: the registries' are entrepot's address, all others what they are"
for name in $NAMES; do is "$(client getent ahostsv4 $name | awk '{print $1; exit}')" 10.9.0.9 "the address of $name"; done
is "$(client getent ahostsv4 other.example | awk '{print $1; exit}')" 203.0.113.5 "the address of a host that is not led"
is "$(nsenter --net=/proc/$CLIENTS/ns/net curl -s --cacert "$W/ca.crt" -o /dev/null -w '%{http_code} %{remote_ip}' https://other.example/v2/)" "200 203.0.113.5" "a host that is not led"

say "a public image, twice: the registry is asked once"
pull() { # REFERENCE [LOGIN]
    rm -rf "$W/out"
    client skopeo --policy "$W/policy.json" copy -q ${2:+--src-creds "$2"} "docker://$1" "dir:$W/out"
}
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$W/policy.json"
pull docker.io/library/hello:1 || fail "a pull by name"
before=$(asked hub)
[ "$before" -gt 0 ] || fail "the registry was not asked"
pull docker.io/library/hello:1 || fail "the second pull"
is "$(asked hub)" "$before" "requests to the registry after the second pull"
is "$(grep '"GET /v2/.*/\(manifests\|blobs\)/' "$W/hub.log" | grep -vc '"entrepot/')" 0 "requests past entrepot"

say "what is private, with its login and without; a push"
! pull ghcr.io/org/app:1 2>/dev/null || fail "it is open to all"
pull ghcr.io/org/app:1 someone:no-secret || fail "a pull with login"
! pull ghcr.io/org/app:1 someone:wrong 2>/dev/null || fail "a wrong password is good enough"
client skopeo --policy "$W/policy.json" copy -q --dest-creds someone:no-secret docker://docker.io/library/other:1 docker://ghcr.io/org/app:1 || fail "a push"
pull ghcr.io/org/app:1 someone:no-secret || fail "a pull of what was pushed"
cmp "$W/out/manifest.json" <(skopeo inspect --raw --tls-verify=false docker://203.0.113.1:443/library/other:1) || fail "the tag is not what was pushed"

say "offline, by name"
ask offline on >/dev/null
pull docker.io/library/hello:1 || fail "a pull by name in offline mode"
ask offline off >/dev/null

say "without a view of its own entrepot is led to itself, under a certificate that it trusts: it says so, and does not run in a circle"
entrepot_stop
DAEMON=(env SSL_CERT_FILE="$W/cache/ca.crt")
entrepot_run || fail "entrepot does not start"
code=$(client curl -s --cacert "$W/cache/ca.crt" -o "$W/got" -m 20 -w '%{http_code}' https://registry-1.docker.io/v2/library/absent/manifests/1)
case $code in 50?) ;; *) fail "led to itself, it answers $code: $(cat "$W/got")" ;; esac
grep -q "its name leads to this cache itself" "$W/got" || fail "it does not say why: $(cat "$W/got")"
[ "$(grep -c 'registry-1.docker.io' "$W/entrepot.log")" -lt 50 ] || fail "it runs in a circle"
entrepot_stop
