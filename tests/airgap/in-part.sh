#!/bin/bash
# Images that are here in part and yet whole for who runs them: one platform of several, a layer that registries do not have.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root
www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"
oci=application/vnd.oci.image
put() { # FOLDER FILE: prints the digest
    local d
    d=sha256:$(sha256sum <"$2" | sed 's/ .*//')
    cp "$2" "$www/$1/$d"
    echo "$d"
}
described() { printf '{"mediaType":"%s","digest":"%s","size":%d%s}' "$3" "$2" "$(stat -c %s "$www/$1/$2")" "${4:-}"; }
image() { # ARCH OS MORE-LAYERS: prints the manifest's digest
    printf '{"os":"%s","architecture":"%s","rootfs":{"type":"layers","diff_ids":[]}}' "$2" "$1" >"$W/c"
    head -c 100000 /dev/urandom >"$W/l"
    printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":%s,"layers":[%s%s]}' $oci \
        "$(described blobs "$(put blobs "$W/c")" $oci.config.v1+json)" "${3:-}" \
        "$(described blobs "$(put blobs "$W/l")" $oci.layer.v1.tar)" >"$W/m"
    put manifests "$W/m"
}
amd=$(image amd64 linux) arm=$(image arm64 linux)
printf '{"schemaVersion":2,"mediaType":"%s.index.v1+json","manifests":[%s,%s]}' $oci \
    "$(described manifests "$amd" $oci.manifest.v1+json ',"platform":{"os":"linux","architecture":"amd64"}')" \
    "$(described manifests "$arm" $oci.manifest.v1+json ',"platform":{"os":"linux","architecture":"arm64"}')" >"$W/i"
index=$(put manifests "$W/i")
cp "$W/i" "$www/manifests/multi"
base=sha256:$(printf %064d 5)
windows=$(image amd64 windows "$(printf '{"mediaType":"%s.layer.nondistributable.v1.tar+gzip","digest":"%s","size":123456,"urls":["http://127.0.0.1:1/base"]},' $oci "$base")")
cp "$www/manifests/$windows" "$www/manifests/windows"
nginx_start
sed -i "s|location ~ /manifests/ .*|location ~ /manifests/(multi\|$index)\$ { default_type $oci.index.v1+json; } location ~ /manifests/ { default_type $oci.manifest.v1+json; }|" "$W/nginx.conf"
kill -HUP "$NGINX_PID"
sleep 0.5
entrepot_start "$NGINX_PORT"
get() { curl -sf "http://127.0.0.1:$PORT/v2/app/$1" -o "$W/got" && is "sha256:$(sha256sum <"$W/got" | sed 's/ .*//')" "$2" "$1"; }
cached() { ask ls "app:$1" --json | jq -r '.images[].cached'; }

say "one platform of several, as engines pull it"
get manifests/multi "$index"
is "$(cached multi)" false "the index alone"
get "manifests/$amd" "$amd"
is "$(cached multi)" false "without its layers"
for d in $(jq -r '.config.digest, .layers[].digest' "$www/manifests/$amd"); do get "blobs/$d" "$d"; done
is "$(cached multi)" true "one platform is here whole"
ask ls app:multi | grep -q incomplete && fail "ls calls it incomplete"
is "$(ask ls --pullable)" "docker.io/library/app:multi@$index" "ls --pullable"
get "manifests/$arm" "$arm"
is "$(cached multi)" false "with another one's manifest, and not its layers"
ask pull app:multi --platform linux/arm64 >/dev/null
is "$(cached multi)" true "with both"

say "a layer that the registry does not have"
ask pull app:windows --platform windows/amd64 >"$W/pull.log" || fail "pull: $(cat "$W/pull.log")"
grep -q 'may not be distributed' "$W/pull.log" || fail "nothing is said about the layer: $(cat "$W/pull.log")"
is "$(cached windows)" true "its own layers are here"
is "$(ask inspect app:windows --json | jq -c '[.platforms[].layers[].cached]')" '[false,true]' "inspect"
ask export app:windows app:multi -o "$W/out.tar" >/dev/null
is "$(ask verify --json | tail -n 1 | jq .ok)" true "verify"
entrepot_stop
rm -rf "$W/cache"
SERVE_MORE=--offline entrepot_start "$NGINX_PORT"
ask import "$W/out.tar" >/dev/null || fail "its archive cannot be imported"
is "$(ask ls --json | jq -c '[.images[] | [.reference, .digest, .cached]]')" \
    "[[\"docker.io/library/app:multi\",\"$index\",true],[\"docker.io/library/app:windows\",\"$windows\",true]]" "imported"
get manifests/windows "$windows"
is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/app/blobs/$base")" 404 "the layer, offline"
is "$(ask verify --json | tail -n 1 | jq .ok)" true "verify"
