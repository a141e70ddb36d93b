#!/bin/bash
# Two tenants and three nodes: alice's private image comes to each node by her own login alone. bob, and clients without a login, get none of
# its bytes at any node, however they try; nor does a peer that does not bring her login, nor a node's log or a foe her password.
# First by TLS between nodes, over which her login goes to the home; then by a shared secret alone, over which no login goes.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/identity/auth.sh.inc
. tests/cluster/nodes.sh.inc
need openssl
REGISTRY_PORT=5050
clouds_start
pusher=$(canary pusher) alice=$(canary alice) bob=$(canary bob)
set_state '.anonymous = true | .accounts = {pusher: $p, alice: $a, bob: $b} |
    .grants = {pusher: ["*"], alice: ["team/secret", "team/later", "library/public"], bob: ["team/bob", "library/public"], "": ["library/public"]}' \
    --arg p "$pusher" --arg a "$alice" --arg b "$bob"
token_registry_start
push() { LOGIN="pusher:$pusher" python3 "$HERE/image.py" "$UPSTREAM" "$@"; }
push team/secret:1 secret base=2M 9M 300K >"$W/secret"
push team/later:1 later 9M 300K >"$W/later"
push team/bob:1 bob base=2M 1M >"$W/bob"
push library/public:1 public base=2M 5M >"$W/public"
read -r secret_digest secret_bytes <"$W/secret"
etcds_start
NODE_MORE='clients: {grant_ttl: 3s, login_for: docker.io}'

as() { LOGIN=$1 pull "${@:2}"; } # USER:PASSWORD NODE IMAGE
blobs_of() { sed -n 's/^blob \(sha256:[0-9a-f]*\) .*/\1/p' "$W/secret-seen"; }
# What may be tried at an address (tries.py) by those who may not: none of it is answered. As many at once as there are nodes.
tried=0 TRYING=()
try_at() { # WHEN URL [HEADER...]
    local n=${#TRYING[@]}
    { python3 "$HERE/tries.py" "$2" "$secret_digest" $(blobs_of | grep -v "$base") -- "${@:3}" >"$W/try-$n" 2>&1 || echo "$1: failed" >>"$W/try-$n"; } &
    TRYING+=($!)
    [ ${#TRYING[@]} -lt 6 ] || try_end
}
try_end() {
    local n
    for n in "${!TRYING[@]}"; do
        wait "${TRYING[$n]}"
        ! grep failed "$W/try-$n" >/dev/null || fail "$(paste -sd ' ' "$W/try-$n")"
        tried=$((tried + $(cat "$W/try-$n")))
    done
    TRYING=()
}
all_try() { # WHEN: at all nodes
    local k url
    for k in 1 2 3; do
        url=http://$(node_at $k):5000
        LOGIN=bob:$bob try_at "$1, bob at node $k" "$url"
        try_at "$1, without a login, like a peer, at node $k" "$url" "Entrepot-Peer: v=1; hops=1; from=$(node_at 2):5443"
    done
    try_end
}
secret_upstream() { local d n=0; for d in $(blobs_of); do n=$((n + $(grep -c "\"GET [^ ]*$d" "$W/registry.log" || true))); done; echo $n; }

say "TLS between the nodes"
tls_make 3
start_nodes 3
as "alice:$alice" 1 team/secret:1 >"$W/pulled" || fail "alice at node 1"
is_pulled "$secret_digest" "$secret_bytes"
cp "$W/seen-1-team-secret-1" "$W/secret-seen"
pull 2 library/public:1 >"$W/pulled" || fail "the public one at node 2"
base=$(python3 -c 'import hashlib, sys; sys.path.insert(0, "tests/cluster"); sys.argv = [""]
import random
r = random.Random("base")
print("sha256:" + hashlib.sha256(b"".join(r.randbytes(1 << 20) for _ in range(2))).hexdigest())')
blobs_of | grep -q "$base" || fail "the image does not have the base"
as "bob:$bob" 2 team/secret:1 2>/dev/null && fail "bob has pulled it at node 2"
pull 2 team/secret:1 2>/dev/null && fail "it was pulled without a login at node 2"
as "alice:wrong" 3 team/secret:1 2>/dev/null && fail "a wrong password was taken"
all_try "while alice is let in"
as "bob:$bob" 3 team/bob:1 >/dev/null || fail "bob cannot pull his own"

say "alice at node 2: by her login, from the node that has it"
before=$(secret_upstream)
as "alice:$alice" 2 team/secret:1 >"$W/pulled" || fail "alice at node 2"
is_pulled "$secret_digest" "$secret_bytes"
say "  $(cut -d ' ' -f 1 "$W/pulled") s, $(($(secret_upstream) - before)) GETs of blobs from the registry"
seen 2 team/secret:1 | grep -q detail=peer || fail "nothing came from a peer: $(seen 2 team/secret:1)"
shares
as "alice:$alice" 2 team/secret:1 >"$W/pulled" || fail "alice at node 2, again"
! grep -v "entrepot; hit" "$W/seen-2-team-secret-1" || fail "what has come from a node is not a hit"
sleep 3.2
all_try "after her grants have ended"

say "at the addresses for peers: nobody without a certificate, and a node's own is no login"
export TLS=$W
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=node -keyout "$W/evil.key" -out "$W/evil.crt" 2>/dev/null
for k in 1 2 3; do
    url=https://$(node_at $k):5443
    try_at "without a certificate at node $k" "$url"
    CERT=evil try_at "with another authority's certificate at node $k" "$url" "Entrepot-Peer: v=1; hops=1; from=$(node_at 2):5443"
    for head in "v=1; hops=1" "v=1; hops=2; have; insist"; do
        CERT=peers try_at "a node without a login, $head, at node $k" "$url" "Entrepot-Peer: $head; from=$(node_at 2):5443"
        CERT=peers LOGIN=bob:$bob try_at "a node with bob's login, $head, at node $k" "$url" "Entrepot-Peer: $head; from=$(node_at 2):5443"
    done
done
try_end

say "alice may no longer: what is here is not hers any more either"
set_state '.grants.alice = []'
sleep 3.2
jwt=$(curl -s -u "alice:$alice" "http://127.0.0.1:$CLOUD_PORT/token?service=registry&scope=repository:team/secret:pull" | jq -r .token)
for k in 1 2 3; do
    for what in manifests/1 "manifests/$secret_digest" "blobs/$(blobs_of | grep -v "$base" | tail -n 1)"; do
        code=$(curl -s -o /dev/null -w '%{http_code}' -m 10 -H "Authorization: Bearer $jwt" "http://$(node_at $k):5000/v2/team/secret/$what")
        case $code in 401 | 403 | 404) ;; *) fail "a revoked token at node $k, $what: $code" ;; esac
    done
done
set_state '.grants.alice = ["team/secret", "team/later"]'

say "a shared secret, without TLS: no login leaves a node"
for k in 1 2 3; do stop_node $k; done
rm -rf "$W"/node-[123]
TRUST="secret_file: $W/cluster.secret"
python3 "$HERE/foe.py" "$UPSTREAM" "$W/foes" 127.0.3.1:5443=honest >>"$W/foe.log" 2>&1 &
PIDS+=($!)
start_nodes 3
etcd_add 127.0.3.1:5443 1
nodes_meet 1
for k in 1 2 3; do
    as "alice:$alice" $k team/secret:1 >"$W/pulled" || fail "alice at node $k"
    is_pulled "$secret_digest" "$secret_bytes"
done
as "alice:$alice" 2 team/later:1 >/dev/null || fail "alice's other image"
pull 1 library/public:1 >/dev/null || fail "the public image beside a foe"
all_try "by a shared secret"
if [ -s "$W/foes" ]; then
    ! grep -qi '"authorization"' "$W/foes" || fail "a login was sent to a peer in the clear"
    ! grep -q team/ "$W/foes" || say "  (a peer in the list learned of private names: $(grep -o '/v2/team/[^?"]*' "$W/foes" | cut -c 1-40 | sort -u | paste -sd ' '))"
fi

say "$tried requests were tried"
for k in 1 2 3; do
    curl -s "http://$(node_at $k):5000/metrics" >"$W/metrics-$k"
    node_ask $k peers --json >"$W/peers-$k"
    is "$(find "$W/node-$k/blobs" -name "$(blobs_of | grep -v "$base" | tail -n 1 | sed 's/.*://')" -printf %m)" 400 "the mode of her layer at node $k"
done
! grep -rlaF -f "$W/secrets" "$W"/node-*.log "$W"/node-[123]/index* "$W"/metrics-* "$W"/peers-* "$W/foes" || fail "a login was written down"
