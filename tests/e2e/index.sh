#!/bin/bash
# An image index with two platforms and an attestation, and a signature that refers to it: pulled piece by piece as engines do;
# `ls` and `inspect` show the tree, referrers are found when the registry is gone.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root
www=$W/www/v2/library/multi
mkdir -p "$www/blobs" "$www/manifests"
put() { # FOLDER FILE: prints the digest
    local d
    d=sha256:$(sha256sum <"$2" | sed 's/ .*//')
    cp "$2" "$www/$1/$d"
    echo "$d"
}
size() { stat -c %s "$www/$1/$2"; }
image() { # ARCH: prints the manifest's digest
    printf '{"os":"linux","architecture":"%s","rootfs":{"type":"layers","diff_ids":["sha256:%064d"]}}' "$1" 7 >"$W/c"
    head -c 200000 /dev/urandom >"$W/l"
    local c l
    c=$(put blobs "$W/c") l=$(put blobs "$W/l")
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%d}]}' \
        "$c" "$(size blobs "$c")" "$l" "$(size blobs "$l")" >"$W/m"
    put manifests "$W/m"
}
amd=$(image amd64) arm=$(image arm64) att=$(image unknown)
entry() { printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d,"platform":{"os":"%s","architecture":"%s"}}' "$1" "$(size manifests "$1")" "$2" "$3"; }
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s,%s,%s]}' \
    "$(entry "$amd" linux amd64)" "$(entry "$arm" linux arm64)" "$(entry "$att" unknown unknown)" >"$W/i"
index=$(put manifests "$W/i")
cp "$W/i" "$www/manifests/1"
printf '{}' >"$W/e"
empty=$(put blobs "$W/e")
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/x-signature","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[],"subject":{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"%s","size":%d}}' \
    "$empty" "$index" "$(size manifests "$index")" >"$W/s"
signature=$(put manifests "$W/s")

nginx_start
sed -i "s|location ~ /manifests/ .*|location ~ /manifests/(1\|$index)\$ { default_type application/vnd.oci.image.index.v1+json; } location ~ /manifests/ { default_type application/vnd.oci.image.manifest.v1+json; }|" "$W/nginx.conf"
kill -HUP "$NGINX_PID"
sleep 0.5
entrepot_start "$NGINX_PORT"
get() { curl -sf "http://127.0.0.1:$PORT/v2/multi/$1" -o "$W/got" && is "sha256:$(sha256sum <"$W/got" | sed 's/ .*//')" "$2" "$1"; }

get manifests/1 "$index"
get "manifests/$amd" "$amd"
for d in $(jq -r '.config.digest, .layers[].digest' "$www/manifests/$amd"); do get "blobs/$d" "$d"; done
get "manifests/$signature" "$signature"
ask inspect multi:1 --json >"$W/inspect.json"
is "$(jq -r .kind "$W/inspect.json")" index "kind"
is "$(jq -r '[.platforms[] | .platform] | join(" ")' "$W/inspect.json")" "linux/amd64 linux/arm64 unknown/unknown" "platforms"
is "$(jq -r '[.platforms[] | .cached] | join(" ")' "$W/inspect.json")" "true false false" "which are cached"
is "$(jq -r '[.platforms[] | .attestation] | join(" ")' "$W/inspect.json")" "false false true" "attestations"
is "$(jq -r '.platforms[0].layers[0].diff_id' "$W/inspect.json")" "sha256:$(printf %064d 7)" "diff ID"
is "$(ask ls --json | jq -r '.images[] | select(.reference | endswith(":1")) | .platforms[]')" linux/amd64 "platforms in ls"
say "a client that takes no index gets the image for linux/amd64, as registries do it"
old='Accept: application/vnd.docker.distribution.manifest.v2+json'
is "$(curl -sf -H "$old" "http://127.0.0.1:$PORT/v2/multi/manifests/1" | sha256sum | sed 's/ .*//; s/^/sha256:/')" "$amd" "its GET by tag"
is "$(curl -sfI -H "$old" "http://127.0.0.1:$PORT/v2/multi/manifests/1" | tr -d '\r' | sed -n 's/^Docker-Content-Digest: //p')" "$amd" "its HEAD by tag"
is "$(curl -sf -H "$old" "http://127.0.0.1:$PORT/v2/multi/manifests/$index" | sha256sum | sed 's/ .*//; s/^/sha256:/')" "$index" "its GET by digest"
is "$(curl -sf -H "$old" -H 'Accept: application/vnd.oci.image.index.v1+json' "http://127.0.0.1:$PORT/v2/multi/manifests/1" |
    sha256sum | sed 's/ .*//; s/^/sha256:/')" "$index" "one that takes both"
say "pull --referrers brings what refers to it, also what has come since it last asked"
mkdir "$www/referrers"
listed() { # DIGEST...: what the registry's referrers API says from now on
    local d all=
    for d in "$@"; do all=$all${all:+,}$(printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d}' "$d" "$(size manifests "$d")"); done
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' "$all" >"$www/referrers/$index"
}
sed 's|x-signature|x-second|' "$W/s" >"$W/s2"
second=$(put manifests "$W/s2")
is_here() { [ -f "$W/cache/blobs/sha256/${1#sha256:}" ]; }
listed "$signature"
ask pull multi:1 --referrers >"$W/pull.log" || fail "pull: $(tail -n 3 "$W/pull.log")"
is_here "$second" && fail "who told it of the second signature?"
listed "$signature" "$second"
ask pull multi:1 --referrers >"$W/pull.log" || fail "pull: $(tail -n 3 "$W/pull.log")"
is_here "$second" || fail "the second signature is not here"
say "the registry is gone"
kill "$NGINX_PID"
wait "$NGINX_PID" 2>/dev/null || true
get manifests/1 "$index"
get "manifests/$signature" "$signature"
is "$(curl -sf "http://127.0.0.1:$PORT/v2/multi/referrers/$index" | jq -r '.manifests[].digest' | sort)" \
    "$(printf '%s\n' "$signature" "$second" | sort)" "referrers from the cache"
is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/multi/manifests/$arm")" 502 "a platform that was not pulled"
say "removing the image takes its signature along"
ask rm multi:1 >/dev/null
is "$(find "$W/cache/blobs" -type f | wc -l)" 0 "files that are left"
entrepot_stop
