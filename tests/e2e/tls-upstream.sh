#!/bin/bash
# A registry behind TLS and HTTP/2 with a certificate of a private authority: `ca` lets entrepot in, without it the pull fails
# with the reason, and a registry that asks for a password gets it.
. "$(dirname "$0")/../lib.sh"
need_root
nginx -V 2>&1 | grep -q http_v2_module || skip "this nginx has no HTTP/2"

image_build hello
registry_start
image_push hello 1
want=$(upstream_digest hello 1)
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$W/key.pem" -out "$W/cert.pem" 2>/dev/null
password=$(openssl rand -hex 8)
printf '%s\n' "$password" >"$W/password"
htpasswd -ibc "$W/htpasswd" puller "$password" 2>/dev/null || printf '%s' "$password" | htpasswd -ic "$W/htpasswd" puller 2>/dev/null
TLS_PORT=$(free_port)
mkdir -p "$W/nginx"
cat >"$W/nginx.conf" <<CONF
worker_processes 1; pid $W/nginx/pid; error_log $W/nginx-error.log; daemon off; user root;
events { worker_connections 256; }
http {
    log_format proto '\$server_protocol \$status \$request_method \$uri';
    access_log $W/nginx.access proto;
    client_body_temp_path $W/nginx/a; proxy_temp_path $W/nginx/b; fastcgi_temp_path $W/nginx/c;
    uwsgi_temp_path $W/nginx/d; scgi_temp_path $W/nginx/e;
    server {
        listen 127.0.0.1:$TLS_PORT ssl http2;
        ssl_certificate $W/cert.pem; ssl_certificate_key $W/key.pem;
        auth_basic "registry"; auth_basic_user_file $W/htpasswd;
        location / { proxy_pass http://127.0.0.1:$REGISTRY_PORT; proxy_set_header Authorization ""; }
    }
}
CONF
nginx -c "$W/nginx.conf" -e "$W/nginx-error.log" &
PIDS+=($!)
wait_for 10 curl -sk "https://127.0.0.1:$TLS_PORT/" || fail "nginx does not start"

start() { # lines of the upstream
    PORT=$(free_port)
    cat >"$W/config.yaml" <<YAML
listen: [{address: "127.0.0.1:$PORT"}]
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
tags: {negative_ttl: 0s}
upstreams:
  - name: docker.io
    endpoints: ["https://127.0.0.1:$TLS_PORT"]
$1
YAML
    entrepot_run || fail "entrepot does not start"
}
status() { curl -s -o "$W/error" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/hello/manifests/1"; }

say "an authority that is not known"
start ""
is "$(status)" 502 "status"
grep -qi certificate "$W/error" || fail "the error does not speak of the certificate: $(cat "$W/error")"
entrepot_stop
say "known, but no password: the registry's challenge is passed on"
start "    ca: $W/cert.pem"
is "$(status)" 401 "status"
curl -s -o /dev/null -D - "http://127.0.0.1:$PORT/v2/hello/manifests/1?ns=docker.io" | grep -qi '^www-authenticate: basic' || fail "no challenge"
entrepot_stop
say "known, with a password"
start "    ca: $W/cert.pem
    credentials: {username: puller, password_file: $W/password}"
skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/hello:1" "dir:$W/out" || fail "pulling"
is "sha256:$(sha256sum <"$W/out/manifest.json" | sed 's/ .*//')" "$want" "manifest digest"
grep -q '^HTTP/2.0 200 GET /v2/library/hello/blobs/' "$W/nginx.access" || fail "HTTP/2 was not used: $(cat "$W/nginx.access")"
! grep -rq "$password" "$W/entrepot.log" || fail "the password is in the log"
! "$ENTREPOT" config show --config "$W/config.yaml" | grep -q "$password" || fail "config show prints the password"
entrepot_stop
