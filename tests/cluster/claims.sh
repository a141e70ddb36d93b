#!/bin/bash
# Another node makes up a manifest of a public repository that lists a private layer, which is on this node: nobody gets the layer by it. What
# repository has which blob is what its registry says.
# In make test-cluster alone.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/identity/auth.sh.inc
. tests/cluster/nodes.sh.inc
REGISTRY_PORT=5050
clouds_start
pusher=$(canary pusher) alice=$(canary alice)
set_state '.anonymous = true | .accounts = {pusher: $p, alice: $a} |
    .grants = {pusher: ["*"], alice: ["team/secret", "library/public"], "": ["library/public"]}' --arg p "$pusher" --arg a "$alice"
token_registry_start
push() { LOGIN="pusher:$pusher" python3 "$HERE/image.py" "$UPSTREAM" "$@"; }
push team/secret:1 secret 9M 300K >"$W/secret"
push library/public:1 public 300K >/dev/null
etcds_start
NODE_MORE='clients: {login_for: docker.io}'
export FOE_MADE_UP=$W/made-up
mkdir "$FOE_MADE_UP"
: >"$W/foes"
python3 "$HERE/foe.py" "$UPSTREAM" "$W/foes" 127.0.3.1:5443=made-up >>"$W/foe.log" 2>&1 &
PIDS+=($!)
start_nodes 1
LOGIN="alice:$alice" pull 1 team/secret:1 >/dev/null || fail "alice"
layer=$(seen 1 team/secret:1 | sed -n 's/^blob \(sha256:[0-9a-f]*\) .*/\1/p' | tail -n 1)
etcd_add 127.0.3.1:5443 1
nodes_meet 1
status() { curl -s -m 10 -o "$W/body" -w '%{http_code}' "$@"; }
url=http://$(node_at 1):5000/v2/library/public
is "$(status "$url/manifests/1")" 200 "the public image"
[ "$(status "$url/blobs/$layer")" = 200 ] && fail "the layer is everybody's anyway"

made_up() { # SALT: a manifest that lists the layer; its digest
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":300000},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":307200}],"annotations":{"n":"%s"}}' \
        "$layer" "$layer" "$1" >"$W/m"
    local hex
    hex=$(sha256sum "$W/m" | cut -d ' ' -f 1)
    cp "$W/m" "$FOE_MADE_UP/$hex"
    echo "sha256:$hex"
}
taken=0
for n in $(seq 16); do
    m=$(made_up "$n")
    [ "$(status "$url/manifests/$m")" != 200 ] || taken=$((taken + 1))
    [ "$(status "$url/blobs/$layer")" = 200 ] && fail "round $n: by a manifest that a foe has made up, everybody gets a private layer"
done
grep -q "/manifests/sha256" "$W/foes" || fail "the foe was not asked"
say "$taken of 16 made-up manifests were taken; the layer was given to nobody"

say "that it has the layer, of which a part is here"
push team/secret:2 later 9M >/dev/null
alices() { curl -s -m 10 -u "alice:$alice" -o "$W/body" -w '%{http_code}' "$@"; }
secret=http://$(node_at 1):5000/v2/team/secret
is "$(alices "$secret/manifests/2")" 200 "alice's manifest"
large=$(jq -r '.layers[0].digest' "$W/body") large=${large#sha256:}
jq '.layers[0].size' "$W/body" >"$FOE_MADE_UP/$large"
is "$(alices -r 0-99999 "$secret/blobs/sha256:$large")" 206 "a piece for alice"
for n in 1 2 3; do
    got=$(status "$url/blobs/sha256:$large") part=$(status -r 0-99 "$url/blobs/sha256:$large")
    say "  $got, a piece: $part"
    case $got$part in *20[06]*) fail "everybody gets what alice has got" ;; esac
done
is "$(alices "$secret/blobs/sha256:$large")" 200 "all of it for alice"
got=$(status "$url/blobs/sha256:$large") part=$(status -r 0-99 "$url/blobs/sha256:$large")
say "  once alice has it: $got, a piece: $part"
case $got$part in *20[06]*) fail "everybody gets what alice has got" ;; esac
grep -q "/blobs/sha256:$large" "$W/foes" || fail "the foe was not asked for the blob"
