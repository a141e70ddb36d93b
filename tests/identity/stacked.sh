#!/bin/bash
# A cache behind a cache: the first tells the second which registry it means. Both registries here have an org/app:1 of their own, which
# must never be taken for one another.
. "$(dirname "$0")/../lib.sh"
. tests/identity/registries.sh.inc
command -v docker-registry >/dev/null || skip "needs docker-registry"
command -v nginx >/dev/null || skip "needs nginx"

registry hub
registry other
for r in hub other; do
    head -c 50000 /dev/urandom >"$W/$r.file"
    push "${!r}" org/app 1 "$W/$r.file"
done
head -c 50000 /dev/urandom >"$W/new"
push "$other" org/new 1 "$W/new"

cache() { # NAME PORT YAML...
    cat >"$W/$1.yaml" <<-YAML
	listen: [{address: "127.0.0.1:$2"}]
	admin: {socket: $W/$1.sock}
	cache: {path: $W/$1-cache, min_free: 0B}
	log: {level: debug}
	tags: {negative_ttl: 0s}
	upstreams:
	$3
	YAML
    PORT=$2
    entrepot_run "$W/$1.yaml" "$W/$1-entrepot.log" || fail "$1 does not start"
}
below=$(free_port)
cache below "$below" "  - {name: docker.io, endpoints: [\"http://127.0.0.1:$hub\"], insecure: true}
  - {name: ghcr.io, endpoints: [\"http://127.0.0.1:$other\"], insecure: true}"
front=$(free_port)
cat >"$W/nginx.conf" <<CONF
worker_processes 1;
pid $W/nginx.pid;
error_log $W/nginx.log;
daemon off;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path $W/a; proxy_temp_path $W/b; fastcgi_temp_path $W/c; uwsgi_temp_path $W/d; scgi_temp_path $W/e;
    server {
        listen 127.0.0.1:$front;
        location /plain/ { proxy_pass http://127.0.0.1:$below/; }
        location /hidden/ { proxy_pass http://127.0.0.1:$below/; proxy_hide_header Cache-Status; }
    }
}
CONF
nginx -c "$W/nginx.conf" -e "$W/nginx.log" &
PIDS+=($!)
wait_for 10 curl -s "http://127.0.0.1:$front/" || fail "no nginx"

top=$(free_port)
start_top() { # ENDPOINTS...
    rm -rf "$W/top-cache"
    cache top "$top" "  - {name: docker.io, endpoints: [$1], insecure: true}
  - {name: ghcr.io, endpoints: [$1], insecure: true}
  - {name: quay.io, endpoints: [$1, \"http://127.0.0.1:$other\"], insecure: true}"
}
gets() { # PATH FILE
    code=$(curl -s -o "$W/got" -w '%{http_code}' --max-time 30 "http://127.0.0.1:$top/v2/$1")
    is "$code" 200 "$1"
    cmp "$W/got" "$2" || fail "$1 is something else"
}
both_are_told_apart() {
    gets "org/app/manifests/1?ns=ghcr.io" "$W/other.file.manifest"
    gets "org/app/manifests/1" "$W/hub.file.manifest"
    gets "org/app/blobs/$(digest_of "$W/other.file")?ns=ghcr.io" "$W/other.file"
    gets "org/app/blobs/$(digest_of "$W/hub.file")" "$W/hub.file"
    curl -s "http://127.0.0.1:$top/v2/org/new/tags/list?ns=ghcr.io&n=5" | jq -e '.tags == ["1"]' >/dev/null || fail "tags"
}

say "known by its Server header, from the first answer on"
start_top "\"http://127.0.0.1:$below\""
both_are_told_apart
entrepot_stop
say "behind a proxy that has a Server header of its own"
start_top "\"http://127.0.0.1:$front/plain\""
both_are_told_apart
entrepot_stop
say "ns: true, where nothing shows what it is"
start_top "{url: \"http://127.0.0.1:$front/hidden\", ns: true}"
both_are_told_apart
say "a registry that the second cache does not serve, or does not reach: the next endpoint"
gets "org/new/manifests/1?ns=quay.io" "$W/new.manifest"
gets "org/new/blobs/$(digest_of "$W/new")?ns=quay.io" "$W/new"
entrepot_stop
say "each thing left the registries once"
is "$(asked other GET "org/app/blobs")" 1 "requests for the blob at its registry"
is "$(asked hub GET "org/app/blobs")" 1 "requests for the blob at its registry"
say "a path that names the registry needs no ns"
start_top "\"http://127.0.0.1:$below/v2/ghcr.io\""
gets "org/app/manifests/1?ns=quay.io" "$W/other.file.manifest"
gets "org/app/blobs/$(digest_of "$W/other.file")?ns=quay.io" "$W/other.file"
entrepot_stop
say "the second cache goes offline: what it does not have is not taken for deleted"
rm -rf "$W/top-cache"
cache top "$top" "  - {name: ghcr.io, endpoints: [\"http://127.0.0.1:$below\"], insecure: true, tags: {ttl: 1s}}"
gets "org/app/manifests/1?ns=ghcr.io" "$W/other.file.manifest"
"$ENTREPOT" rm ghcr.io/org/app:1 --socket "$W/below.sock" >/dev/null
"$ENTREPOT" offline on --socket "$W/below.sock" >/dev/null
sleep 1.2
gets "org/app/manifests/1?ns=ghcr.io" "$W/other.file.manifest"
gets "org/app/manifests/1?ns=ghcr.io" "$W/other.file.manifest"
code=$(curl -s -o "$W/got" -w '%{http_code}' "http://127.0.0.1:$top/v2/org/app/manifests/none?ns=ghcr.io")
is "$code" 502 "what nobody has been asked for"
entrepot_stop
