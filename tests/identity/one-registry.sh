#!/bin/bash
# A login is for one registry. A second one, which asks everybody for a password and records all that it is ever sent, is pulled from
# under every name and led to by the first one's challenges and redirects: it never sees a name, a password or a token of anybody.
. "$(dirname "$0")/../lib.sh"
. tests/identity/auth.sh.inc
. tests/engines.sh.inc
need_root

pw=$(canary password) mail=$(canary mail) robot=$(canary robot)
printf '%s %s\n' canary-alice "$pw" canary-me@mail.example "$mail" 'canary-robot$ci+x' "$robot" >"$W/accounts"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$W/key.pem" -out "$W/cert.pem" -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null
real=$(free_port) tls=$(free_port) tokens=$(free_port) evil=$(free_port)
touch "$W/evil" "$W/asked"
python3 tests/identity/adversary.py "$W" "$real" "$tls" "$tokens" "$evil" >"$W/adversary.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -s -o /dev/null "http://127.0.0.1:$real/" || fail "no registries"
digest=$(cat "$W/digest")

PORT=$(free_port) one=$(free_port)
start() { # [clients: ...]
    cat >"$W/config.yaml" <<-YAML
	listen:
	  - address: 127.0.0.1:$PORT
	  - {address: "127.0.0.1:$one", upstream: nexus.test}
	admin: {socket: $W/admin.sock}
	cache: {path: $W/cache, min_free: 0B}
	log: {level: debug}
	tags: {negative_ttl: 0s}
	${1:-}
	upstreams:
	  - {name: nexus.test, endpoints: ["http://127.0.0.1:$real"], insecure: true}
	  - {name: other.test, endpoints: ["http://127.0.0.1:$real"], insecure: true}
	  - {name: tls.test, endpoints: ["https://localhost:$tls"], ca: $W/cert.pem}
	  - {name: mirrored.test, endpoints: ["http://127.0.0.1:$evil", "http://127.0.0.1:$real"], insecure: true}
	  - {name: store.test, endpoints: ["http://127.0.0.1:$real"], insecure: true, trusted_hosts: [localhost]}
	  - {name: evil.test, endpoints: ["http://127.0.0.1:$evil"], insecure: true}
	  - {name: evil-client.test, endpoints: ["http://127.0.0.1:$evil"], insecure: true, access: client}
	  - {name: docker.io, endpoints: ["http://127.0.0.1:$evil"], insecure: true}
	YAML
    entrepot_run || fail "entrepot does not start"
}
start
E=http://127.0.0.1:$PORT
mkdir -p "$W/answers"
get() { code=$(curl -s -o "$W/answers/body" -D "$W/answers/head" -w '%{http_code}' --max-time 20 "$@"); }
gets() { # WHAT CODE CURL-ARGUMENT...
    get "${@:3}"
    is "$code" "$2" "$1: $(head -c 300 "$W/answers/body" | tr -d '\0')"
}
says() { grep -q "$1" "$W/answers/body" || fail "it does not say \"$1\": $(cat "$W/answers/body")"; }
login() { get -u "$1" "http://127.0.0.1:${2:-$PORT}/token?account=x&client_id=docker&offline_token=true&service=entrepot"; }
session() { curl -s -u "$1" "http://127.0.0.1:${2:-$PORT}/token?service=entrepot&scope=repository:x:pull" | jq -r .token; }
asked_for() { grep -cxF "$1" "$W/asked" || true; }
unhurt() { # WHO: the adversary was asked, and was sent nothing of anybody's
    local found
    [ -s "$W/evil" ] || fail "$1: the other registry was not asked at all"
    found=$(grep -iE 'canary|basic |entrepot\.' "$W/evil" || true)
    [ -z "$found" ] || fail "$1: the other registry was sent: $found"
    : >"$W/evil"
}
# Everything that leads to the other registry, at this entrepot.
WAYS="evil.test/team/app evil.test/team/basic evil-client.test/team/app evil-client.test/team/basic team/app typo
    nexus.test/team/moved nexus.test/team/movedtoken nexus.test/team/movedpost nexus.test/team/lured"
# The only answers there are, with this login or without one.
for way in evil.test/team/app docker.io/team/app; do gets "$way, of everybody" 200 "$E/v2/$way/manifests/1"; done
unhurt "nobody"

say "curl: a name and a password with each request, by prefix and by ns="
alice=canary-alice@nexus.test:$pw
for repository in app basic post; do gets "$repository" 200 -u "$alice" "$E/v2/nexus.test/team/$repository/manifests/1"; done
is "$(asked_for "canary-alice repository:team/app:pull")" 1 "tokens asked for by that name, for the repository as the registry knows it"
for way in $WAYS; do
    get -u "$alice" "$E/v2/$way/manifests/1"
    [[ $way = */team/app || $way = team/app || $code = 401 || $code = 403 || $code = 502 ]] || fail "$way: $code"
    get -u "$alice" "$E/v2/${way#*.test/}/manifests/1?ns=evil.test"
    get -u "$alice" "$E/v2/${way#*.test/}/tags/list?ns=evil-client.test"
    get -u "$alice" "$E/v2/${way#*.test/}/blobs/$digest?ns=docker.io"
    get -u "$alice" -H "Host: evil-client.test" "$E/v2/${way#*.test/}/manifests/1"
done
unhurt "curl"
gets "another registry" 401 -u "$alice" "$E/v2/evil-client.test/team/basic/manifests/1"
says "the login is for another registry"

say "what the registry's store asks for is not what the registry asks for"
for from in "$E/v2/store.test/team/astray" "$E/v2/team/astray/blobs/$digest?ns=store.test"; do
    get -u "canary-alice@store.test:$pw" "${from/%astray/astray/blobs/$digest}"
    [ "$code" = 403 ] || [ "$code" = 401 ] || fail "a blob that its store forbids: $code"
    ! grep -q "localhost:$evil" "$W/answers/head" || fail "the store's challenge is passed on: $(cat "$W/answers/head")"
    gets "another repository" 200 -u "canary-alice@store.test:$pw" "$E/v2/store.test/team/post/manifests/1"
done
unhurt "a store"

say "a mirror of the registry is not the registry"
for repository in basic post; do
    gets "mirrored, $repository" 200 -u "canary-alice@mirrored.test:$pw" "$E/v2/mirrored.test/team/$repository/manifests/1"
    gets "mirrored, $repository, a blob" 200 -u "canary-alice@mirrored.test:$pw" "$E/v2/mirrored.test/team/$repository/blobs/$(curl -s -u "canary-alice@mirrored.test:$pw" "$E/v2/mirrored.test/team/$repository/manifests/1" | jq -r .config.digest)"
done
unhurt "a mirror"

say "curl: a token of ours; also one of an entrepot that is gone"
token=$(session "$alice")
gets "its registry" 200 -H "Authorization: Bearer $token" "$E/v2/nexus.test/team/app/manifests/1"
gets "its registry, by ns=" 200 -H "Authorization: Bearer $token" "$E/v2/team/app/manifests/1?ns=nexus.test"
for t in "$token" entrepot.0123456789abcdef; do
    for way in $WAYS; do
        get -H "Authorization: Bearer $t" "$E/v2/$way/manifests/1"
        get -H "Authorization: Bearer $t" "$E/v2/team/basic/manifests/1?ns=evil-client.test"
    done
done
unhurt "curl with a token"

say "the same name and password at another registry are somebody else's"
gets "nexus.test" 200 -u "$alice" "$E/v2/nexus.test/team/app/manifests/1"
gets "the other name of it" 200 -u "canary-alice@other.test:$pw" "$E/v2/other.test/team/app/manifests/1"
gets "a login for other.test" 401 -u "canary-alice@other.test:$pw" "$E/v2/nexus.test/team/app/manifests/1"

say "a client that logs in wherever the answer to its request says, as oras does"
keeper() { # NAME: its login is one for 127.0.0.1:$PORT
    local realm
    get "$E/v2/$1/manifests/1"
    realm=$(tr -d '\r' <"$W/answers/head" | sed -n 's/^www-authenticate: bearer realm="\([^"]*\)".*/\1/ip')
    [ -n "$realm" ] || return 0
    token=$(curl -s -u "$alice" "$realm?service=x" | jq -r .token)
    get -H "Authorization: Bearer $token" "$E/v2/$1/manifests/1"
}
keeper nexus.test/team/app
is "$code" 200 "its registry"
for way in $WAYS; do keeper "$way"; done
unhurt "oras"
get "$E/v2/nexus.test/team/app/manifests/1"
grep -qi "^www-authenticate: Bearer realm=\"$E/token\",service=\"entrepot\",scope=\"repository:nexus.test/team/app:pull\"" "$W/answers/head" ||
    fail "$(cat "$W/answers/head")"

say "who names the registry has a login for that one: containerd, and a listener of one upstream"
for from in "$PORT/v2/team/basic/manifests/1?ns=nexus.test" "$one/v2/team/basic/manifests/1"; do
    gets "$from" 401 "http://127.0.0.1:$from"
    grep -qi "^www-authenticate: Basic realm=\"real\"" "$W/answers/head" || fail "$(cat "$W/answers/head")"
done
for from in "$PORT/v2/team/app/manifests/1?ns=nexus.test" "$one/v2/team/app/manifests/1"; do
    gets "$from by password" 200 -u "canary-alice:$pw" "http://127.0.0.1:$from"
    token=$(curl -s -u "canary-alice:$pw" "http://127.0.0.1:$tokens/token?scope=repository:team/app:pull" | jq -r .token)
    gets "$from by its token" 200 -H "Authorization: Bearer $token" "http://127.0.0.1:$from"
done
gets "basic" 200 -u "canary-alice:$pw" "$E/v2/team/basic/manifests/1?ns=nexus.test"
login "canary-alice:$pw" "$one"
is "$code" 200 "docker login at a listener of one upstream"
gets "the token" 200 -H "Authorization: Bearer $(session "canary-alice:$pw" "$one")" "http://127.0.0.1:$one/v2/team/post/manifests/1"
login "canary-alice@evil.test:$pw" "$one"
is "$code" 401 "a login for another registry there"
says "this listener is for nexus.test alone"
before=$(wc -l <"$W/asked")
gets "a name of another registry there" 401 -u "canary-alice@evil.test:$pw" "http://127.0.0.1:$one/v2/team/new/manifests/1"
is "$(grep -c "^canary" <(tail -n +$((before + 1)) "$W/asked"))" 0 "what nexus.test was asked under that name"

say "names with an @ of their own"
gets "an e-mail address" 200 -u "canary-me@mail.example@nexus.test:$mail" "$E/v2/nexus.test/team/post/manifests/1"
gets "a robot" 200 -u "canary-robot\$ci+x@nexus.test:$robot" "$E/v2/nexus.test/team/basic/manifests/1"
gets "an e-mail address, to a registry that is named" 200 -u "canary-me@mail.example:$mail" "$E/v2/team/basic/manifests/1?ns=nexus.test"
login "canary-me@mail.example:$mail"
is "$code" 401 "an e-mail address alone says nothing"

say "a login that does not say which is used nowhere"
: >"$W/asked"
login "canary-alice:$pw"
is "$code $(jq -r '.errors[0].code' "$W/answers/body")" "401 UNAUTHORIZED" "docker login"
says "does not say which one it is for: log in as NAME@REGISTRY"
for way in nexus.test/team/secret $WAYS; do
    get -u "canary-alice:$pw" "$E/v2/$way/manifests/2"
    get -H "Authorization: Bearer $(session "canary-alice:$pw")" "$E/v2/$way/manifests/2"
done
unhurt "nobody's login"
is "$(grep -c canary "$W/asked" || true)" 0 "what the first registry was asked by that name"
gets "a private image" 401 -u "canary-alice:$pw" "$E/v2/nexus.test/team/secret/manifests/2"
says "the login does not say which one it is for"
gets "a public one" 200 -H "Authorization: Bearer $(session "canary-alice:$pw")" "$E/v2/evil.test/team/app/manifests/1"
gets "what is no name and password" 401 -H "Authorization: Bearer x" "$E/token"
gets "a token that would be renewed without the password" 401 -H "Authorization: Bearer $(session "canary-alice@nexus.test:$pw")" "$E/token"

say "TLS: not one byte without it, whatever the challenge says"
gets "over TLS" 200 -u "canary-alice@tls.test:$pw" "$E/v2/tls.test/team/basic/manifests/1"
gets "over TLS" 200 -u "canary-alice@tls.test:$pw" "$E/v2/tls.test/team/app/manifests/1"
: >"$W/asked"
for repository in plain lured moved movedtoken movedpost; do
    get -u "canary-alice@tls.test:$pw" "$E/v2/tls.test/team/$repository/manifests/1"
    [ "$code" != 200 ] || fail "$repository was let in"
done
get -u "canary-alice@tls.test:$pw" "$E/v2/evil.test/team/basic/manifests/1"
is "$(grep -c "repository:team/plain" "$W/asked" || true)" 0 "what the token service without TLS was asked"
unhurt "TLS"

say "clients.login_for: after a reload, and as it was before for who has logged in"
token=$(session "canary-alice@nexus.test:$pw")
sed -i 's/^log:.*/&\nclients: {login_for: nexus.test}/' "$W/config.yaml"
"$ENTREPOT" config show --config "$W/config.yaml" | grep "login_for: nexus.test" >/dev/null || fail "config show has no login_for"
kill -HUP "$ENTREPOT_PID"
wait_for 10 grep -q "configuration reloaded" "$W/entrepot.log" || fail "no reload"
! grep -q "need a restart" "$W/entrepot.log" || fail "login_for takes a restart"
login "canary-alice:$pw"
is "$code" 200 "docker login"
gets "by password" 200 -u "canary-alice:$pw" "$E/v2/nexus.test/team/app/manifests/1"
for t in "$token" "$(session "canary-alice:$pw")"; do
    gets "by token" 200 -H "Authorization: Bearer $t" "$E/v2/nexus.test/team/basic/manifests/1"
    for way in $WAYS; do
        get -u "canary-alice:$pw" "$E/v2/$way/manifests/1"
        get -H "Authorization: Bearer $t" "$E/v2/$way/manifests/1"
    done
done
unhurt "login_for"
entrepot_stop
start

said=$("$ENTREPOT" pull --socket "$W/admin.sock" "127.0.0.1:$real/team/app:1" 2>&1) && fail "pulled by an endpoint's name"
[[ $said == *"is an endpoint of the upstream nexus.test: use nexus.test/team/app:1"* ]] || fail "an endpoint's name: $said"

# ---- the engines: log in for one, and pull everything ----

say "skopeo"
skopeo_copy() { rm -rf "$W/out"; skopeo copy -q --src-tls-verify=false "$@" "oci:$W/out:1" >"$W/skopeo.out" 2>&1; }
for repository in app basic post; do
    skopeo_copy --src-creds "$alice" "docker://127.0.0.1:$PORT/nexus.test/team/$repository:1" || fail "skopeo, $repository: $(cat "$W/skopeo.out")"
done
for way in $WAYS; do skopeo_copy --src-creds "$alice" "docker://127.0.0.1:$PORT/$way:1" || true; done
unhurt "skopeo"
skopeo_copy --src-creds "canary-alice:$pw" "docker://127.0.0.1:$PORT/nexus.test/team/private:1" && fail "skopeo got it by a login for no registry"
grep -q "NAME@REGISTRY" "$W/skopeo.out" || fail "skopeo does not say how to log in: $(cat "$W/skopeo.out")"

say "podman"
podman_begin podman
podman_login() { echo "$pw" | p login --tls-verify=false --authfile "$W/podman.json" -u "$1" --password-stdin "127.0.0.1:$PORT" >"$W/podman.out" 2>&1; }
podman_login canary-alice && fail "podman logged in for no registry"
podman_login canary-alice@nexus.test || fail "podman login: $(cat "$W/podman.out")"
podman_get() { p pull -q --tls-verify=false --authfile "$W/podman.json" "127.0.0.1:$PORT/$1:1" >"$W/podman.out" 2>&1; }
for repository in app basic post; do podman_get "nexus.test/team/$repository" || fail "podman, $repository: $(cat "$W/podman.out")"; done
for way in $WAYS; do podman_get "$way" || true; done
unhurt "podman"

say "docker"
containerd_begin containerd
docker_begin docker
docker_as() { d --config "$W/docker-config" "$@" >"$W/docker.out" 2>&1; }
docker_login() { echo "$pw" | docker --config "$W/docker-config" -H "unix://$D/docker.sock" login -u "$1" --password-stdin "127.0.0.1:$PORT" >"$W/docker.out" 2>&1; }
docker_login canary-alice && fail "docker logged in for no registry"
grep -q "log in as NAME@REGISTRY (docker login -u alice@ghcr.io)" "$W/docker.out" || fail "docker does not say how to log in: $(cat "$W/docker.out")"
say "$(tail -n 1 "$W/docker.out")"
docker_login canary-alice@nexus.test || fail "docker login: $(cat "$W/docker.out")"
for repository in app basic post; do
    docker_as pull "127.0.0.1:$PORT/nexus.test/team/$repository:1" || fail "docker, $repository: $(cat "$W/docker.out")"
done
for way in $WAYS; do docker_as pull "127.0.0.1:$PORT/$way:1" || true; done
jq --arg a "$(printf 'canary-hub:%s' "$pw" | base64 -w0)" '.auths["https://index.docker.io/v1/"].auth = $a' "$W/docker-config/config.json" >"$W/hub.json"
cp "$W/hub.json" "$W/docker-config/config.json"
docker_as pull team/app:1 || fail "a mirror, which dockerd sends its Docker Hub login to: $(cat "$W/docker.out")"
unhurt "docker"

say "containerd, which has its own login for each registry"
mkdir -p "$C/hosts/_default"
printf '[host."http://127.0.0.1:%s"]\n  capabilities = ["pull", "resolve"]\n' "$PORT" >"$C/hosts/_default/hosts.toml"
c images pull --hosts-dir "$C/hosts" --user "canary-alice:$pw" nexus.test/team/basic:1 >"$W/ctr.out" 2>&1 || fail "containerd: $(cat "$W/ctr.out")"
c images pull --hosts-dir "$C/hosts" evil.test/team/app:1 >"$W/ctr.out" 2>&1 || fail "containerd, a public image: $(cat "$W/ctr.out")"
unhurt "containerd"
no_leaks
entrepot_stop
