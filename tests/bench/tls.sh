#!/bin/bash
# The table of figures of TLS: entrepot beside nginx serving the same bytes as static files, one worker each, the same certificate and
# cipher. Neither has kernel TLS unless the kernel has (modprobe tls); nginx uses it where KTLS=1 is set here and it was built so.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
. tests/bench/figures.sh.inc
need_root
need openssl wrk

rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-4}
mib=${MIB:-512}
www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$W/key.pem" -out "$W/cert.pem" 2>/dev/null
openssl enc -aes-128-ctr -nosalt -pass pass:bench -pbkdf2 </dev/zero 2>/dev/null | head -c $((mib << 20)) >"$W/blob" || true
blob=$(sha256sum <"$W/blob" | sed 's/ .*//')
mv "$W/blob" "$www/blobs/sha256:$blob"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[],"annotations":{"a":"%02000d"}}' \
    "$blob" $((mib << 20)) 1 >"$W/manifest"
manifest=$(sha256sum <"$W/manifest" | sed 's/ .*//')
cp "$W/manifest" "$www/manifests/sha256:$manifest"

NGINX_TLS=$(free_port)
nginx_start 0 "server {
    listen 127.0.0.1:$NGINX_TLS ssl;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate $W/cert.pem; ssl_certificate_key $W/key.pem;
    ${KTLS:+ssl_conf_command Options KTLS;}
    root $W/www;
    location ~ /manifests/ { default_type application/vnd.oci.image.manifest.v1+json; }
}"
sed -i 's|access_log .*|access_log off; keepalive_requests 100000000; tcp_nopush on; tcp_nodelay on; open_file_cache max=100;|' "$W/nginx.conf"
kill -HUP "$NGINX_PID"
sleep 0.5
NGINX_WORKER=$(pgrep -P "$NGINX_PID" | tail -n 1)
PORT=$(free_port) TLS=$(free_port)
cat >"$W/config.yaml" <<YAML
listen:
  - address: 127.0.0.1:$PORT
  - address: 127.0.0.1:$TLS
    tls: {cert: $W/cert.pem, key: $W/key.pem}
admin: {socket: $W/admin.sock}
cache: {path: $W/cache, min_free: 0B}
workers: 1
upstreams:
  - name: docker.io
    endpoints: ["http://127.0.0.1:$NGINX_PORT"]
    insecure: true
YAML
entrepot_run || fail "entrepot does not start"
E=https://127.0.0.1:$TLS/v2/app N=https://127.0.0.1:$NGINX_TLS/v2/library/app
M=/manifests/sha256:$manifest BL=/blobs/sha256:$blob
curl -skf -o /dev/null "$E$M"
is "$(curl -sk "$E$BL" | sha256sum)" "$blob  -" "the blob"
wait_for 20 sh -c "curl -sk -o /dev/null -D - $E$BL -r 0-0 | grep -q 'entrepot; hit'"

load() { # URL PID [HEADER]: requests a second, and CPU microseconds for each
    local before
    before=$(cpu "$2")
    wrk -t 1 -c 64 -d "${seconds}s" ${3:+-H "$3"} "$1" >"$W/wrk"
    awk -v b="$before" -v a="$(cpu "$2")" '/requests in/ {n = $1} /Requests\/sec/ {r = $2} END {printf "%.0f %.1f\n", r, (a - b) * 1e6 / n}' "$W/wrk"
}
m_e= m_n= mc_e= mc_n= h_e= h_n= hc_e= hc_n= b_e= b_n= c_e= c_n=
for _ in $(seq "$rounds"); do
    r=$(load "$E$M" "$ENTREPOT_PID")
    m_e="$m_e ${r% *}" mc_e="$mc_e ${r#* }"
    r=$(load "$N$M" "$NGINX_WORKER")
    m_n="$m_n ${r% *}" mc_n="$mc_n ${r#* }"
    r=$(load "$E$M" "$ENTREPOT_PID" 'Connection: close')
    h_e="$h_e ${r% *}" hc_e="$hc_e ${r#* }"
    r=$(load "$N$M" "$NGINX_WORKER" 'Connection: close')
    h_n="$h_n ${r% *}" hc_n="$hc_n ${r#* }"
    r=$(rate "$E$BL" "$ENTREPOT_PID")
    b_e="$b_e ${r% *}" c_e="$c_e ${r#* }"
    r=$(rate "$N$BL" "$NGINX_WORKER")
    b_n="$b_n ${r% *}" c_n="$c_n ${r#* }"
done
echo
printf '%-34s %12s %12s   %s\n' "TLS, $rounds rounds, medians" entrepot nginx ratio
line "warm manifest, 64 connections" "/s" "$m_e" "$m_n"
line "  CPU for one" "us" "$mc_e" "$mc_n"
line "handshakes, with a manifest each" "/s" "$h_e" "$h_n"
line "  CPU for one" "us" "$hc_e" "$hc_n"
line "warm blob of $mib MiB" "GiB/s" "$b_e" "$b_n"
line "  CPU seconds for a GiB" "s" "$c_e" "$c_n"
entrepot_stop
