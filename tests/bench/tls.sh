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
certificate localhost IP:127.0.0.1
noise bench $((mib << 20)) >"$W/blob"
blob=$(sha256sum <"$W/blob" | sed 's/ .*//')
mv "$W/blob" "$www/blobs/sha256:$blob"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[],"annotations":{"a":"%02000d"}}' \
    "$blob" $((mib << 20)) 1 >"$W/manifest"
manifest=$(sha256sum <"$W/manifest" | sed 's/ .*//')
cp "$W/manifest" "$www/manifests/sha256:$manifest"

nginx_start_tls
configure "workers: 1
upstreams:
  - name: docker.io
    endpoints: ['http://127.0.0.1:$NGINX_PORT']
    insecure: true"
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
