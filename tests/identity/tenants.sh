#!/bin/bash
# Two tenants on one node: alice has a private image, bob one of his own, both share a base with a public one. bob, and whoever brings
# no name, never gets a byte of alice's, however he asks; alice, and everybody for the public one, pulls with her own engine. Layers come
# over several connections; FETCH and PARALLEL as in lib.sh.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
. tests/identity/auth.sh.inc
. tests/concurrency/nginx.sh.inc
need_root

clouds_start
pusher=$(canary pusher) alice=$(canary alice) bob=$(canary bob)
set_state '.anonymous = true | .accounts = {pusher: $p, alice: $a, bob: $b} |
    .grants = {pusher: ["*"], alice: ["team/secret", "library/public"], bob: ["team/bob", "library/public"], "": ["library/public", "library/fresh", "library/fresher"]}' \
    --arg p "$pusher" --arg a "$alice" --arg b "$bob"
token_registry_start
LAYER_BYTES=9000000
throttle_start "$REGISTRY_PORT" 5000000
for i in secret bob public fresh fresher; do image_build $i; done
push_as "pusher:$pusher" secret team/secret:1
push_as "pusher:$pusher" bob team/bob:1
for i in public fresh fresher; do push_as "pusher:$pusher" $i library/$i:1; done
manifest_of() { skopeo inspect --creds "pusher:$pusher" --tls-verify=false --raw "docker://127.0.0.1:$REGISTRY_PORT/$1:1"; }
secret=$(manifest_of team/secret)
secret_digest=sha256:$(manifest_of team/secret | sha256sum | sed "s/ .*//")
config=$(jq -r .config.digest <<<"$secret") own=$(jq -r '.layers[-1].digest' <<<"$secret") base=$(jq -r '.layers[1].digest' <<<"$secret")

# A registry of bob's own, which says yes to everything and has nothing but a manifest that names alice's layers.
evil_port=$(free_port)
evil_manifest="{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"$config\",\"size\":1},\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"$own\",\"size\":1}]}"
python3 - "$evil_port" "$evil_manifest" "$secret_digest" >"$W/evil.log" 2>&1 <<'PY' &
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
manifest, digest = sys.argv[2].encode(), sys.argv[3]
class H(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_HEAD(self, body=b""):
        # "other": a tag that is said to be alice's manifest
        d = digest if "other" in self.path else None
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json" if "manifests" in self.path else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        if d:
            self.send_header("Docker-Content-Digest", d)
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")
    def do_GET(self):
        if "/slow/" in self.path:  # keeps it open for a while, and then does not have it
            time.sleep(1.5)
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if "/drip/" in self.path or "/rotten/" in self.path:  # more and more of something else
            self.send_response(200)
            self.send_header("Content-Length", "2503000")
            self.end_headers()
            self.wfile.write(b"rotten" * 350000)
            for _ in range(0 if "/rotten/" in self.path else 20):
                self.wfile.flush()
                time.sleep(0.5)
                self.wfile.write(b"x" * 10)
            self.close_connection = True
            return
        self.do_HEAD(manifest if "manifests" in self.path else b"no idea")
    def log_message(self, *a):
        pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
PY
PIDS+=($!)

start() {
    entrepot_start "$THROTTLED_PORT" "  - {name: evil.example, endpoints: [\"http://127.0.0.1:$evil_port\"], insecure: true}
tags: {ttl: ${1:-1h}, negative_ttl: 0s}
clients: {grant_ttl: 3s, login_for: docker.io}"
}
LOG=debug start
mkdir -p "$W/answers"
token() { # USER PASSWORD REPOSITORY: as containerd gets it, from the registry's own token service
    curl -s -u "$1:$2" "http://127.0.0.1:$CLOUD_PORT/token?service=registry&scope=repository:$3:pull" | jq -r .token
}
E=http://127.0.0.1:$PORT
get() { # CURL-ARGUMENT...: the status; the body in answers/body
    : >"$W/answers/body"
    curl -s -o "$W/answers/body" -w '%{http_code}' --max-time 20 "$@"
}
# Everything one might try; with ALL, under every name it goes by. AS: curl arguments that say who asks.
try_all() { # WHEN AS...
    local when=$1 p n=0
    shift
    local m="manifests/1 manifests/$secret_digest" b="blobs/$config blobs/$own"
    local -a paths=()
    for p in $m $b tags/list "referrers/$secret_digest"; do
        paths+=("team/secret/$p")
        [ -n "${ALL:-}" ] || continue
        paths+=("team/secret/$p?ns=docker.io" "docker.io/team/secret/$p" "docker.io/team/secret/$p?ns=docker.io"
            "registry-1.docker.io/team/secret/$p" "team/secret/$p?ns=index.docker.io" "team/secret/$p?ns=DOCKER.IO")
    done
    for p in "manifests/$secret_digest" $b; do
        paths+=("team/bob/$p" "library/public/$p" "public/$p" "evil.example/x/$p" "team/secrets/$p" "team/secret/x/$p")
    done
    paths+=("evil.example/x/manifests/other")
    for p in "${paths[@]}"; do
        for how in "" "-r 0-9" -I; do
            code=$(get "$@" $how "$E/v2/$p")
            n=$((n + 1))
            if [ "$how" = -I ]; then
                grep -qi "^content-length: ${#secret}[^0-9]*$" "$W/answers/body" && fail "$when: HEAD $p tells its size"
                grep -qiE "^docker-content-digest: ($secret_digest|$config|$own)" "$W/answers/body" && [[ $p != evil* ]] && fail "$when: HEAD $p tells: $code"
                continue
            fi
            case $code in 2*)
                [[ $p == evil* ]] || fail "$when: $p was answered with $code: $(head -c 200 "$W/answers/body" | tr -d '\0')" ;;
            esac
            for d in "$secret_digest" "$config" "$own"; do
                [ "sha256:$(sha256sum <"$W/answers/body" | sed 's/ .*//')" != "$d" ] || fail "$when: $p gave $d away"
            done
            # not even a part of them
            [ ! -s "$W/answers/body" ] || ! cmp -s -n 10 "$W/answers/body" "$W/own-layer" || fail "$when: $p gave a part of the layer away"
        done
    done
    get "$@" "$E/v2/_catalog" >/dev/null
    ! grep -q secret "$W/answers/body" || fail "$when: _catalog names it"
    echo $n
}
ways=0
tries() {
    local n
    n=$(try_all "$@") || fail "${n#FAILED: }"
    ways=$((ways + n))
}
skopeo_copy() { rm -rf "$W/out"; skopeo copy -q --src-tls-verify=false "$@" "oci:$W/out:1"; }

say "the public image is everybody's"
skopeo_copy "docker://127.0.0.1:$PORT/public:1" || fail "skopeo, without a name"

say "a private one is refused, with the registry's own challenge"
is "$(curl -s -o /dev/null -D "$W/answers/head" -w '%{http_code}' "$E/v2/team/secret/manifests/1?ns=docker.io")" 401 "without a name"
grep -qi "^www-authenticate: Bearer realm=\"http://127.0.0.1:$CLOUD_PORT/token\",service=\"registry\",scope=\"repository:team/secret:pull\"" "$W/answers/head" ||
    fail "$(cat "$W/answers/head")"
skopeo_copy "docker://127.0.0.1:$PORT/team/secret:1" 2>/dev/null && fail "skopeo without a name got it"
skopeo_copy --src-creds "bob:$bob" "docker://127.0.0.1:$PORT/team/secret:1" 2>/dev/null && fail "bob got it"
skopeo_copy --src-creds "alice:wrong" "docker://127.0.0.1:$PORT/team/secret:1" 2>/dev/null && fail "a wrong password got it"

say "alice pulls it: skopeo, containerd, docker"
cp "$W/registry/docker/registry/v2/blobs/sha256/${own:7:2}/${own:7}/data" "$W/own-layer"
is "$(get -u "alice:$alice" -r 1000000-1000009 "$E/v2/team/secret/blobs/$own")" 206 "a piece for alice"
is "$(sha256sum <"$W/answers/body")" "$(tail -c +1000001 "$W/own-layer" | head -c 10 | sha256sum)" "the piece"
for who in "bob:$bob" ""; do
    code=$(get ${who:+-u "$who"} -r 1000000-1000009 "$E/v2/team/secret/blobs/$own")
    case $code in 401 | 403 | 404) ;; *) fail "what is here of alice's layer: $code" ;; esac
done
skopeo_copy --src-creds "alice:$alice" "docker://127.0.0.1:$PORT/team/secret:1" || fail "skopeo as alice"
is "$(jq -r '.manifests[0].digest' "$W/out/index.json")" "$secret_digest" "what skopeo got"
is "$(ask ls --json | jq -c '[.images[] | [.reference, .private]]')" \
    '[["docker.io/library/public:1",false],["docker.io/team/secret:1",true]]' "what ls calls private"
mkdir -p "$W/certs.d/docker.io"
printf '[host."http://127.0.0.1:%s"]\n  capabilities = ["pull", "resolve"]\n' "$PORT" >"$W/certs.d/docker.io/hosts.toml"
printf 'version = 2\nroot = "%s"\nstate = "%s"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "%s"\n' \
    "$W/containerd" "$W/containerd-run" "$W/containerd.sock" >"$W/containerd.toml"
containerd -c "$W/containerd.toml" >"$W/containerd.log" 2>&1 &
PIDS+=($!)
wait_for 20 ctr -a "$W/containerd.sock" version || fail "containerd does not start"
ctr_pull() { ctr -a "$W/containerd.sock" image pull --snapshotter native --hosts-dir "$W/certs.d" "$@" >"$W/ctr.out" 2>&1; }
ctr_pull --user "bob:$bob" docker.io/team/secret:1 && fail "containerd got it as bob"
ctr_pull --user "alice:$alice" docker.io/team/secret:1 || fail "containerd as alice: $(tail -n 3 "$W/ctr.out")"
mkdir -p "$W/docker/config"
dockerd --host "unix://$W/docker.sock" --data-root "$W/docker/data" --exec-root "$W/docker/exec" --pidfile "$W/docker/pid" \
    --containerd "$W/containerd.sock" --storage-driver vfs --bridge none --iptables=false --ip6tables=false \
    --insecure-registry "127.0.0.1:$PORT" >"$W/docker.log" 2>&1 &
PIDS+=($!)
docker_as() { HOME=$W/docker docker --config "$W/docker/config" -H "unix://$W/docker.sock" "$@"; }
if wait_for 30 docker_as version; then
    echo "$bob" | docker_as login -u bob --password-stdin "127.0.0.1:$PORT" >/dev/null 2>&1 || fail "docker login"
    docker_as pull "127.0.0.1:$PORT/team/secret:1" >/dev/null 2>&1 && fail "docker got it as bob"
    docker_as pull "127.0.0.1:$PORT/team/bob:1" >"$W/docker.out" 2>&1 || fail "docker as bob: $(tail -n 2 "$W/docker.out")"
    echo "$alice" | docker_as login -u alice --password-stdin "127.0.0.1:$PORT" >/dev/null 2>&1 || fail "docker login"
    docker_as pull "127.0.0.1:$PORT/team/secret:1" >"$W/docker.out" 2>&1 || fail "docker as alice: $(tail -n 2 "$W/docker.out")"
else
    say "dockerd does not start here"
fi

say "the shared base was fetched once, and each image's own parts"
stored=$(find "$W/cache/blobs" -type f -printf '%s\n' | awk '{n += $1} END {print n}')
received=$(metric 'entrepot_upstream_received_bytes_total{upstream="docker.io"}')
say "$received bytes received of $stored; the base by $(registry_asked GET "$base") requests, alice's layer by $(registry_asked GET "$own")"
[ "$received" -le $((stored * 11 / 10)) ] || fail "$received bytes were received for $stored"
[ "${PARALLEL:-4}" = 1 ] || [ "${FETCH:-auto}" = lazy ] || [ "$(registry_asked GET "$base")" -gt 1 ] || fail "the base came over one connection"
is "$(stat -c %a "$W/cache/blobs/${own/://}")" 400 "mode of her layer on disk"
is "$(stat -c %a "$W/cache/blobs/${base/://}")" 444 "mode of the base"

bob_for() { echo "Authorization: Bearer $(token bob "$bob" "$1")"; }
nobody=(-H "X-Nobody: yes")
sleep 3.5 # alice's grants have ended; what she pulled is here
ALL=1 tries "bob" -H "$(bob_for team/secret)"
tries "bob, with a token for his own" -H "$(bob_for team/bob)"
tries "bob by password" -u "bob:$bob"
ALL=1 tries "nobody" "${nobody[@]}"
say "a word, and then no bytes"
for what in "blobs/$own" "blobs/$config" "blobs/$secret_digest"; do
    curl -s -o "$W/answers/slow" "$E/v2/evil.example/slow/$what" &
    slow=$!
    sleep 0.4
    get "$E/v2/evil.example/other/$what" >/dev/null || true
    for d in "$secret_digest" "$config" "$own"; do
        [ "sha256:$(sha256sum <"$W/answers/body" | sed 's/ .*//')" != "$d" ] || fail "$what was given away"
    done
    wait $slow || true
done
say "another registry that drips, or sends rubbish, is nobody's hindrance"
fresh=$(manifest_of library/fresh | jq -r '.layers[-1].digest') fresher=$(manifest_of library/fresher | jq -r '.layers[-1].digest')
curl -s -o /dev/null --max-time 20 "$E/v2/evil.example/drip/blobs/$fresh" &
drip=$!
sleep 0.5
is "$(get --max-time 5 "$E/v2/fresh/blobs/$fresh")" 200 "beside one that drips"
is "sha256:$(sha256sum <"$W/answers/body" | sed 's/ .*//')" "$fresh" "its bytes"
kill $drip 2>/dev/null || true
curl -s -o /dev/null --max-time 20 "$E/v2/evil.example/rotten/blobs/$fresher" || true
is "$(get --max-time 8 "$E/v2/fresher/blobs/$fresher")" 200 "after rubbish"
is "sha256:$(sha256sum <"$W/answers/body" | sed 's/ .*//')" "$fresher" "its bytes"

say "while alice is let in"
is "$(get -H "Authorization: Bearer $(token alice "$alice" team/secret)" "$E/v2/team/secret/manifests/1")" 200 "alice"
tries "beside alice" -u "bob:$bob"
tries "beside alice, nobody" "${nobody[@]}"

say "after a restart"
entrepot_stop
LOG=debug start
tries "after a restart" -u "bob:$bob"
is "$(get -u "alice:$alice" "$E/v2/team/secret/blobs/$own")" 200 "alice after a restart"
say "with another one's downtime"
registry_stop
sleep 3.5
tries "while upstream is down" -u "bob:$bob"
tries "while upstream is down, nobody" "${nobody[@]}"
code=$(get -u "alice:$alice" "$E/v2/team/secret/manifests/1")
case $code in 502 | 504) ;; *) fail "alice, when nobody can be asked about her: $code" ;; esac
is "$(get "$E/v2/public/manifests/1")" 200 "the public one"
say "after the index was lost, upstream away and there again"
entrepot_stop
rm -rf "$W/cache/index"
LOG=debug start
wait_for 20 grep -q "the index is whole again" "$W/entrepot.log"
tries "a new index" -u "bob:$bob"
is "$(get "$E/v2/public/manifests/1")" 200 "the public one"
is "$(get "$E/v2/public/blobs/$base")" 200 "its base"
token_registry_start
tries "a new index, upstream" -u "bob:$bob"
tries "a new index, nobody" "${nobody[@]}"
is "$(get -u "alice:$alice" "$E/v2/team/secret/manifests/1")" 200 "alice"
is "$(get -u "alice:$alice" "$E/v2/team/secret/blobs/$own")" 200 "alice's layer"

say "$ways ways were tried"
say "a revoked token loses access when its grant ends"
set_state '.grants.alice = []'
jwt=$(token alice "$alice" team/secret)
sleep 3.5
code=$(get -H "Authorization: Bearer $jwt" "$E/v2/team/secret/manifests/1")
case $code in 401 | 403) ;; *) fail "a revoked token: $code" ;; esac
no_leaks
entrepot_stop
"$TOOLS/check_cache" "$W/cache" >"$W/check.out" || fail "$(cat "$W/check.out")"
