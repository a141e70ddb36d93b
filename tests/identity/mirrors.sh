#!/bin/bash
# Endpoints as people have them: a mirror that lacks things or refuses them, a project of Harbor, a prefix of ECR, Artifactory's path. What
# the registry itself has can be pulled, whatever stands before it in the list.
. "$(dirname "$0")/../lib.sh"
. tests/identity/registries.sh.inc
command -v docker-registry >/dev/null || skip "needs docker-registry"
command -v nginx >/dev/null || skip "needs nginx"

registry origin
registry mirror
head -c 100000 /dev/urandom >"$W/full"
head -c 100000 /dev/urandom >"$W/both"
push "$origin" org/full 1 "$W/full"
push "$origin" org/full 2 "$W/full"
push "$origin" org/both 1 "$W/both"
push "$mirror" org/both 1 "$W/both"
full=$(digest_of "$W/full") both=$(digest_of "$W/both")

front=$(free_port)
cat >"$W/nginx.conf" <<CONF
worker_processes 1;
pid $W/nginx.pid;
error_log $W/nginx.log;
daemon off;
events { worker_connections 64; }
http {
    access_log $W/front.access;
    client_body_temp_path $W/a; proxy_temp_path $W/b; fastcgi_temp_path $W/c; uwsgi_temp_path $W/d; scgi_temp_path $W/e;
    server {
        listen 127.0.0.1:$front;
        location /artifactory/api/docker/hub/v2/ { proxy_pass http://127.0.0.1:$origin/v2/; }
        location /v2/project/ {
            add_header WWW-Authenticate 'Bearer realm="http://127.0.0.1:$front/token",service="s"' always;
            if (\$http_authorization != "Bearer good") { return 401; }
            proxy_pass http://127.0.0.1:$origin/v2/;
        }
        location /v2/forbidden/ { return 403; }
        location /v2/locked/ {
            add_header WWW-Authenticate 'Bearer realm="http://127.0.0.1:$front/no-token",service="s"' always;
            return 401;
        }
        location /no-token { return 401; }
        location /token {
            if (\$arg_scope != "repository%3Aproject%2Forg%2Ffull%3Apull") { return 403; }
            return 200 '{"token": "good"}';
        }
        location / { return 404; }
    }
}
CONF
nginx -c "$W/nginx.conf" -e "$W/nginx.log" &
PIDS+=($!)
wait_for 10 curl -s "http://127.0.0.1:$front/" || fail "no nginx"

PORT=$(free_port)
start() { # URL...
    local list
    list=$(printf '"%s", ' "$@")
    rm -rf "$W/cache"
    cat >"$W/config.yaml" <<-YAML
	listen: [{address: "127.0.0.1:$PORT"}]
	admin: {socket: $W/admin.sock}
	cache: {path: $W/cache, min_free: 0B}
	log: {level: debug}
	upstreams: [{name: docker.io, endpoints: [${list%, }], insecure: true}]
	tags: {ttl: 0s, negative_ttl: ${NEGATIVE:-1m}}
	YAML
    entrepot_run || fail "entrepot does not start"
}
get() { code=$(curl -s -o "$W/got" -w '%{http_code}' --max-time 30 "http://127.0.0.1:$PORT/v2/$1" "${@:2}"); }
gets() { # PATH FILE
    get "$1"
    is "$code" 200 "$1"
    cmp "$W/got" "$2" || fail "$1 is something else"
}
M=http://127.0.0.1:$mirror O=http://127.0.0.1:$origin F=http://127.0.0.1:$front

say "a mirror that lacks an image: the registry is asked, and the mirror not again"
start "$M" "$O"
get org/full/manifests/1 -I
is "$code" 200 "HEAD of a manifest"
gets org/full/manifests/1 "$W/full.manifest"
gets "org/full/manifests/$(digest_of "$W/full.manifest")" "$W/full.manifest"
gets "org/full/blobs/$full" "$W/full"
get "org/full/blobs/$full" -I
is "$code" 200 "HEAD of a blob"
get org/full/manifests/1
is "$(asked mirror '(HEAD|GET)' org/full/manifests/1)" 1 "requests for the tag at the mirror"
is "$(asked mirror '(HEAD|GET)' org/full/blobs)" 0 "requests for the blobs of what the mirror lacks"
get org/full/tags/list
is "$code $(jq -c ".tags | sort" "$W/got")" '200 ["1","2"]' "tags"
say "what the mirror has comes from there"
gets org/both/manifests/1 "$W/both.manifest"
gets "org/both/blobs/$both" "$W/both"
is "$(asked origin '(HEAD|GET)' org/both)" 0 "requests at the registry for what the mirror has"
say "what nobody has is 404, and the registry has said so"
get org/full/manifests/none
is "$code" 404 "a tag that is nowhere"
[ "$(asked origin '(HEAD|GET)' manifests/none)" -gt 0 ] || fail "the registry was not asked"
get "org/full/blobs/sha256:$(printf '%064d' 7)"
is "$code" 404 "a blob that is nowhere"
entrepot_stop

say "what only the mirror has is served, too, although it lacked another image of that repository"
head -c 5000 /dev/urandom >"$W/kept"
push "$mirror" org/full kept "$W/kept"
start "$M" "$O"
gets org/full/manifests/1 "$W/full.manifest" # from the registry, so that blobs of org/full are looked for there first
gets "org/full/blobs/$(digest_of "$W/kept")" "$W/kept"
entrepot_stop

say "remembered for negative_ttl and no longer"
NEGATIVE=0s start "$M" "$O"
before=$(asked mirror '(HEAD|GET)' org/full/manifests/2)
get org/full/manifests/2
get org/full/manifests/2
[ "$(asked mirror '(HEAD|GET)' org/full/manifests/2)" -ge $((before + 2)) ] || fail "the mirror was not asked again"
entrepot_stop

for refusing in forbidden locked; do
    say "a mirror that answers 401 or 403 for what it does not have ($refusing)"
    start "$F/v2/$refusing" "$O"
    gets org/full/manifests/1 "$W/full.manifest"
    gets "org/full/blobs/$full" "$W/full"
    get org/full/tags/list
    is "$code" 200 "tags"
    entrepot_stop
done
say "the last one's refusal stands"
start "$M" "$F/v2/forbidden"
get org/full/manifests/1
is "$code" 403 "refused"
entrepot_stop

say "a path behind /v2/ belongs to the repository's name and to the scope; another one comes before /v2/"
start "$F/v2/project"
gets org/full/manifests/1 "$W/full.manifest"
gets "org/full/blobs/$full" "$W/full"
entrepot_stop
start "$F/artifactory/api/docker/hub"
gets org/full/manifests/1 "$W/full.manifest"
gets "org/full/blobs/$full" "$W/full"
entrepot_stop

say "the registry cannot be asked: the mirror's 404 does not delete a tag, and is no answer for another"
start "$M" "$O"
gets org/full/manifests/1 "$W/full.manifest"
kill "$origin_pid"
wait "$origin_pid" 2>/dev/null || true
gets org/full/manifests/1 "$W/full.manifest"
sleep 1
gets org/full/manifests/1 "$W/full.manifest"
get org/full/manifests/3
[[ $code = 50[24] ]] || fail "a tag that may be there: $code"
get "org/full/blobs/sha256:$(printf '%064d' 8)"
[[ $code = 50[24] ]] || fail "a blob that may be there: $code"
entrepot_stop
