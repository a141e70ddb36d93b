#!/bin/bash
# A tag is fresh for its ttl, then asked for again by HEAD; a moved tag brings the new image, an upstream that is down the old
# one, with a Cache-Status that says so.
. "$(dirname "$0")/../lib.sh"
need_root
status() { curl -sf -o /dev/null -D - "http://127.0.0.1:$PORT/v2/hello/manifests/1" | tr -d '\r' | sed -n 's/^Cache-Status: //p'; }
digest() { curl -sf "http://127.0.0.1:$PORT/v2/hello/manifests/1" | sha256sum | sed 's/ .*//; s/^/sha256:/'; }

registry_start
image_build hello
image_build other
image_push hello 1
first=$(upstream_digest hello 1)
entrepot_start "" "tags: {ttl: 1s}"
is "$(status)" "entrepot; fwd=uri-miss; stored" "the first time"
is "$(status)" "entrepot; hit" "while fresh"
sleep 1.2
is "$(status)" "entrepot; fwd=stale; fwd-status=200" "past fresh, unchanged"
is "$(registry_asked HEAD /manifests/1)" 1 "asked by HEAD"
is "$(registry_asked GET /manifests/)" 1 "fetched once"
say "the tag moves"
skopeo copy -q --dest-tls-verify=false "oci:$W/layout:other" "docker://127.0.0.1:$REGISTRY_PORT/library/hello:1"
second=$(upstream_digest hello 1)
[ "$first" != "$second" ] || fail "the tag did not move"
sleep 1.2
is "$(digest)" "$second" "the new image"
say "a tag that is not there, and is then"
is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/hello/manifests/none")" 404 "status"
is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/hello/manifests/none")" 404 "status again"
is "$(grep -c 'manifests/none.* 404 .*"entrepot/' "$W/registry.log")" 1 "asked once within negative_ttl"
is "$(curl -sf "http://127.0.0.1:$PORT/v2/hello/tags/list" | jq -r '.tags[]')" 1 "tags/list"
say "the registry goes down"
registry_stop
sleep 1.2
case $(status) in "entrepot; hit; ttl=-"[0-9]*) ;; *) fail "stale: $(status)" ;; esac
is "$(digest)" "$second" "the stale image"
is "$(metric 'entrepot_requests_total{method="GET",kind="manifest",upstream="docker.io",result="stale"')" 2 "stale in metrics"
is "$(curl -sf "http://127.0.0.1:$PORT/v2/hello/tags/list" | jq -r '.tags[]')" 1 "tags/list from the cache"
is "$(curl -sf "http://127.0.0.1:$PORT/v2/_catalog" | jq -r '.repositories[]')" docker.io/library/hello "_catalog"
entrepot_stop
