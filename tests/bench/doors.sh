#!/bin/bash
# The table of figures of the doors: an image pulled through the forward proxy beside the same by the mirror listener, and a layer pushed
# through beside one that is pushed to the registry itself. The registry is a real one, over TLS; the client of the pulls is skopeo.
. "$(dirname "$0")/../lib.sh"
. tests/bench/figures.sh.inc
need openssl skopeo docker-registry

rounds=${ROUNDS:-5}
mib=${MIB:-256}     # of the layer that is pushed
layers=${LAYERS:-6} # of the image, of 32 MiB
certificate reg.test IP:127.0.0.1,DNS:reg.test
REGISTRY_PORT=$(free_port) DOOR=$(free_port)
cat >"$W/registry.yml" <<YML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $W/registry}}
http: {addr: "127.0.0.1:$REGISTRY_PORT", tls: {certificate: $W/cert.pem, key: $W/key.pem}}
YML
docker-registry serve "$W/registry.yml" >>"$W/registry.log" 2>&1 &
REGISTRY_PID=$!
PIDS+=($REGISTRY_PID)
wait_for 20 curl -skf "https://127.0.0.1:$REGISTRY_PORT/v2/" || fail "the registry does not start"
configure "intercept: {address: '127.0.0.1:$DOOR', ca: {cert: $W/ca.crt, key: $W/ca.key}, hosts: [reg.test]}
upstreams:
  - {name: reg.test, endpoints: ['https://127.0.0.1:$REGISTRY_PORT'], ca: $W/cert.pem}"

mkdir -p "$W/image" "$W/certs" "$W/trust"
config='{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
entry() { printf '{"mediaType":"application/vnd.oci.image.%s","digest":"sha256:%s","size":%d}' "$1" "$2" "$3"; }
add() { local sum; sum=$(sha256sum "$1" | cut -d ' ' -f 1); mv "$1" "$W/image/$sum"; echo "$sum"; }
printf %s "$config" >"$W/new"
list='' config=$(entry config.v1+json "$(add "$W/new")" ${#config})
for n in $(seq "$layers"); do
    noise "layer $n" $((32 << 20)) >"$W/new"
    list="$list,$(entry layer.v1.tar "$(add "$W/new")" $((32 << 20)))"
done
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' "$config" "${list#,}" \
    >"$W/image/manifest.json"
echo "Directory Transport Version: 1.1" >"$W/image/version"
skopeo copy -q --dest-tls-verify=false "dir:$W/image" "docker://127.0.0.1:$REGISTRY_PORT/app:1"
noise pushed $((mib << 20)) >"$W/layer"

cold() {
    [ -z "${ENTREPOT_PID:-}" ] || entrepot_stop
    rm -rf "$W/cache"
    entrepot_run || fail "entrepot does not start"
    cp "$W/cert.pem" "$W/certs/ca.crt"
    cp "$W/ca.crt" "$W/trust/ca.crt"
}
timed() { # COMMAND...: seconds of it, and CPU seconds of entrepot
    local begin cpu_begin
    begin=$(date +%s.%N) cpu_begin=$(cpu "$ENTREPOT_PID")
    "$@" || fail "$*"
    awk -v a="$begin" -v b="$(date +%s.%N)" -v c="$cpu_begin" -v d="$(cpu "$ENTREPOT_PID")" 'BEGIN {printf "%.3f %.3f\n", b - a, d - c}'
}
pull() { # DOOR: the engine checks each digest
    rm -rf "$W/out"
    case $1 in
    proxy) HTTPS_PROXY=http://127.0.0.1:$DOOR skopeo copy -q --src-cert-dir "$W/trust" docker://reg.test/app:1 "dir:$W/out" ;;
    tls) skopeo copy -q --src-cert-dir "$W/certs" "docker://127.0.0.1:$TLS/reg.test/app:1" "dir:$W/out" ;;
    http) skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/reg.test/app:1" "dir:$W/out" ;;
    esac
}
declare -A took used
row() { # NAME "SECONDS CPU"
    took[$1]="${took[$1]:-} ${2% *}" used[$1]="${used[$1]:-} ${2#* }"
}
push() { # direct|through CHUNK_MIB
    local proxy=0 ca=$W/cert.pem begin
    [ "$1" = direct ] || proxy=$DOOR ca=$W/ca.crt
    begin=$(cpu "$ENTREPOT_PID")
    python3 tests/bench/pushes.py "$REGISTRY_PORT" "$ca" $proxy "$W/layer" "$2" >"$W/took" || fail "push $1 $2"
    row "$1 $2" "$(cat "$W/took") $(awk -v a="$begin" -v b="$(cpu "$ENTREPOT_PID")" 'BEGIN {printf "%.3f", b - a}')"
}

for n in $(seq "$rounds"); do
    doors="proxy tls http"
    [ $((n % 2)) = 1 ] || doors="http tls proxy"
    for door in $doors; do # cold ones drop the cache
        cold
        row "cold $door" "$(timed pull $door)"
    done
    for door in $doors $doors; do row "warm $door" "$(timed pull $door)"; done
    for chunk in 0 16; do
        [ $((n % 2)) = 1 ] || push through $chunk
        push direct $chunk
        [ $((n % 2)) = 0 ] || push through $chunk
    done
done
both() { # NAME FIRST SECOND: seconds, then entrepot's CPU
    line "$1" s "${took[$2]}" "${took[$3]}"
    line "  CPU" s "${used[$2]}" "${used[$3]}"
}
echo
printf '%-34s %12s %12s   %s\n' "$layers layers of 32 MiB, $rounds rounds" "by proxy" "mirror, TLS" ratio
both "warm image" "warm proxy" "warm tls"
both "cold image" "cold proxy" "cold tls"
printf '%-34s %12s %12s   %s\n' "" "by proxy" "mirror, http" ratio
both "warm image" "warm proxy" "warm http"
both "cold image" "cold proxy" "cold http"
printf '%-34s %12s %12s   %s\n' "a layer of $mib MiB" through direct ratio
both "pushed in one piece" "through 0" "direct 0"
both "pushed in chunks of 16 MiB" "through 16" "direct 16"
entrepot_stop
