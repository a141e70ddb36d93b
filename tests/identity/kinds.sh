#!/bin/bash
# Every kind of registry with every kind of client: what is public is had by everybody, what is private by who may read it and nobody
# else, after a correct login at the registry's own challenge; a token that ends in the middle of a layer is nobody's failure. Another
# registry, which records all that it is sent, is in every cell: it gets no name, password or token of anybody.
. "$(dirname "$0")/../lib.sh"

EVIL=$(free_port)
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$W/key.pem" -out "$W/cert.pem" -days 2 -subj /CN=localhost 2>/dev/null
touch "$W/evil" "$W/accounts"
python3 tests/identity/adversary.py "$W" "$(free_port)" "$(free_port)" "$(free_port)" "$EVIL" >"$W/adversary.log" 2>&1 &
PIDS+=($!)
python3 tests/identity/kinds.py "$W" >"$W/kinds.log" 2>&1 &
PIDS+=($!)
wait_for 10 test -s "$W/ports" || fail "no registries"
: >"$W/requests"
PORT=$(free_port)
mapfile -t kinds < <(cut -d ' ' -f 1 "$W/ports")
for k in "${kinds[@]}"; do echo "http://127.0.0.1:$EVIL" >"$W/$k.evil"; done
wait_for 10 curl -s -o /dev/null "http://127.0.0.1:$EVIL/" || fail "no adversary"
port_of() { sed -n "s/^$1 //p" "$W/ports"; }
{
    echo "listen:"
    echo "  - address: 127.0.0.1:$PORT"
    for k in "${kinds[@]}"; do
        p=$(free_port)
        echo "$k $p" >>"$W/listeners"
        echo "  - {address: \"127.0.0.1:$p\", upstream: $k.test}"
    done
    printf 'admin: {socket: %s}\ncache: {path: %s, min_free: 0B}\n' "$W/admin.sock" "$W/cache"
    printf 'tags: {ttl: 1h, negative_ttl: 0s}\nupstreams:\n'
    for k in "${kinds[@]}"; do
        echo "  - {name: $k.test, endpoints: [\"http://127.0.0.1:$(port_of "$k")\"], insecure: true}"
    done
    echo "  - {name: evil.test, endpoints: [\"http://127.0.0.1:$EVIL\"], insecure: true}"
    for k in ghcr artifactory hub ecr; do # where the cache has a login of its own
        echo "  - {name: own-$k.test, endpoints: [\"http://127.0.0.1:$(port_of "$k")\"], insecure: true,"
        echo "     credentials: {username: alice, password_file: $W/$k.configured}}"
    done
    echo "  - {name: own-ecr-helper.test, endpoints: [\"http://127.0.0.1:$(port_of ecr)\"], insecure: true, credentials: {helper: kinds}}"
} >"$W/config.yaml"
for k in ghcr artifactory; do echo canary-wrong >"$W/$k.configured"; done
for k in hub ecr; do echo canary-alice-1 >"$W/$k.configured"; done
mkdir "$W/bin"
cat >"$W/bin/docker-credential-kinds" <<-SH
	#!/bin/sh
	printf '{"ServerURL": "%s", "Username": "alice", "Secret": "%s"}' "\$(cat)" "\$(cat $W/ecr.configured)"
	SH
chmod +x "$W/bin/docker-credential-kinds"
export PATH="$W/bin:$PATH"
entrepot_run || fail "entrepot does not start"

timeout 120 python3 tests/identity/kinds_clients.py "$W" "$PORT" || fail "see the matrix" 
# containerd itself: it logs in where the cache is refused, and goes on behind a body that ends early.
with_containerd() {
    local k
    for k in ghcr gitlab acr; do
        mkdir -p "$W/certs.d/$k.test"
        printf 'server = "http://127.0.0.1:9"\n[host."http://127.0.0.1:%s"]\n  capabilities = ["pull", "resolve"]\n' "$PORT" \
            >"$W/certs.d/$k.test/hosts.toml"
    done
    printf 'version = 2\nroot = "%s"\nstate = "%s"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "%s"\n' \
        "$W/containerd" "$W/containerd-run" "$W/containerd.sock" >"$W/containerd.toml"
    containerd -c "$W/containerd.toml" >"$W/containerd.log" 2>&1 &
    PIDS+=($!)
    wait_for 20 ctr -a "$W/containerd.sock" version || fail "containerd does not start"
    ctr_fetch() { timeout 60 ctr -a "$W/containerd.sock" content fetch --hosts-dir "$W/certs.d" "$@" >"$W/ctr.out" 2>&1; }
    for k in ghcr gitlab acr; do
        ctr_fetch --user alice:canary-wrong "$k.test/private/ctr:1" && fail "containerd got it with a wrong login: $k"
        ctr_fetch --user alice:canary-alice-1 "$k.test/private/ctr:1" || fail "containerd, $k: $(tail -n 3 "$W/ctr.out")"
    done
    echo "private/ctr-long 1600000" >"$W/ghcr.cut"
    ctr_fetch --user alice:canary-alice-1 ghcr.test/private/ctr-long:1 &
    local pull=$! token
    wait_for 20 test ! -f "$W/ghcr.cut" || fail "nothing was cut"
    sleep 0.6 # containerd 1.6 keeps a token for ever: it depends on somebody else's, who has a new one
    token=$(curl -s -u alice:canary-alice-1 "http://127.0.0.1:$(port_of ghcr)/token?service=ghcr&scope=repository:private/ctr-long:pull" | jq -r .token)
    curl -sf -o /dev/null -H "Authorization: Bearer $token" "http://127.0.0.1:$PORT/v2/private/ctr-long/manifests/1?ns=ghcr.test"
    wait $pull || fail "containerd, token ended: $(tail -n 3 "$W/ctr.out")"
}
if is_here ctr && is_here containerd && [ "$(id -u)" = 0 ]; then
    say "containerd: a correct login at the registry's own token service, a token that ends in the middle"
    with_containerd
fi
say "a wrong identity is told"
grep -q 'refuses the configured credentials' "$W/entrepot.log" || fail "no warning"
[ "$(grep -c ' warn .*refuses the configured credentials' "$W/entrepot.log")" -le 3 ] || fail "the log is full of it"
[ "$(metric 'entrepot_credentials_refused_total{upstream="own-ghcr.test"}')" -ge 1 ] || fail "no metric"
ask status >"$W/status.out"
if grep -q 'own-ghcr.test.*REFUSES' "$W/status.out"; then fail "a corrected password is still said to be refused"; fi
echo canary-wrong >"$W/artifactory.password" # changed at the registry alone
curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/public/new/manifests/1?ns=own-artifactory.test"
echo 7 >"$W/artifactory.ends"
curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/public/newer/manifests/1?ns=own-artifactory.test"
ask status | grep -q 'own-artifactory.test.*REFUSES the configured credentials' || fail "status: $(ask status)"
if grep -q canary- "$W/entrepot.log"; then fail "a secret is in the log"; fi
entrepot_stop
"$TOOLS/check_cache" "$W/cache" >"$W/check.out" || fail "$(cat "$W/check.out")"
