#!/bin/bash
# What an operator has imported of a registry that is not configured is served under its own name, and nobody is asked.
. tests/lib.sh

UPSTREAM=$(free_port)
python3 tests/patience/refusals.py "$UPSTREAM" >"$W/upstream.log" 2>&1 &
PIDS+=($!)
wait_for 10 curl -s "http://127.0.0.1:$UPSTREAM/"

# An image of one layer, in a layout.
layout() { # NAME [REF]: prints the digests of the manifest, the layer, and of a signature that refers to the manifest
    python3 - "$W/$1" "$1" "${2:-}" <<-'PY'
	import hashlib, json, os, sys
	root, text, name = sys.argv[1:]
	os.makedirs(root + "/blobs/sha256")
	def put(data, kind, **more):
	    digest = hashlib.sha256(data).hexdigest()
	    open(root + "/blobs/sha256/" + digest, "wb").write(data)
	    return dict(mediaType="application/vnd.oci.image." + kind, digest="sha256:" + digest, size=len(data), **more)
	config = put(b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}', "config.v1+json")
	layer = put(("layer of " + text).encode(), "layer.v1.tar")
	manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]}
	d = put(json.dumps(manifest).encode(), "manifest.v1+json")
	sign = dict(manifest, artifactType="application/x-signature", subject={k: d[k] for k in ("mediaType", "digest", "size")},
	            annotations={"signed": "by\0" + text})
	s = put(json.dumps(sign).encode(), "manifest.v1+json")
	d["annotations"] = {"org.opencontainers.image.ref.name": name or "1"}
	json.dump({"schemaVersion": 2, "manifests": [d, s]}, open(root + "/index.json", "w"))
	json.dump({"imageLayoutVersion": "1.0.0"}, open(root + "/oci-layout", "w"))
	print(d["digest"], layer["digest"], s["digest"])
	PY
}
read -r APP LAYER SIGNATURE < <(layout app)
read -r OTHER OTHER_LAYER _ < <(layout other)
layout upper docker.io/UPPER/app:1 >/dev/null

entrepot_start "$UPSTREAM" "
  - {name: once.test, insecure: true, endpoints: ['http://127.0.0.1:$UPSTREAM']}
tags: {ttl: 1s}"
is "$(curl -s -u me@once.test:secret-of-a-test -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/once.test/private/x/manifests/1")" 200 "the private image"
if ask ls | grep -q private; then :; else fail "the private image is not here: $(ask ls)"; fi
entrepot_stop
entrepot_start "$UPSTREAM" "tags: {ttl: 1s}"
ask import "$W/app" --name nowhere.test/team/app:1 2>"$W/said"
grep -q "nowhere.test.*not configured.*served as imported" "$W/said" || fail "import does not say what becomes of it: $(cat "$W/said")"
ask import "$W/other" --name nowhere.test/team/other:1 2>/dev/null
if ask import "$W/upper" 2>"$W/said"; then fail "an upper-case name is taken"; fi
grep -q "UPPER/app.*lower-case" "$W/said" || fail "import of an upper-case name: $(cat "$W/said")"
sleep 1.1 # longer than a tag is fresh

get() { # STATUS PATH [curl options]
    local status=$1 path=$2
    shift 2
    is "$(curl -s -o "$W/answer" -D "$W/headers" -w '%{http_code}' "$@" "http://127.0.0.1:$PORT/v2/$path")" "$status" "$path $*"
}
error_is() { is "$(jq -r '.errors[0].code' "$W/answer")" "$1" "the error"; }
hits() { grep -qi "^cache-status: entrepot; hit.$" "$W/headers" || fail "not a hit: $(cat "$W/headers")"; }

say "by ns= and by prefix, by tag and by digest"
for path in "team/app/manifests/1?ns=nowhere.test" "nowhere.test/team/app/manifests/1" "nowhere.test/team/app/manifests/$APP"; do
    get 200 "$path"
    hits
    is "sha256:$(sha256sum <"$W/answer" | cut -d' ' -f1)" "$APP" "the manifest"
done
get 200 nowhere.test/team/app/manifests/1 -I
get 200 "nowhere.test/team/app/blobs/$LAYER"
is "$(cat "$W/answer")" "layer of app" "the layer"
get 200 "team/app/blobs/$LAYER?ns=nowhere.test" -I
get 200 nowhere.test/team/app/tags/list
is "$(jq -c .tags "$W/answer")" '["1"]' "the tags"

say "what refers to it, by type too"
for path in "nowhere.test/team/app/referrers/$APP" "team/app/referrers/$APP?ns=nowhere.test" \
    "nowhere.test/team/app/referrers/$APP?n=5&artifactType=application/x-signature"; do
    get 200 "$path"
    is "$(jq -r '.manifests[] | .digest, .artifactType' "$W/answer" | xargs)" "$SIGNATURE application/x-signature" "$path"
done
get 200 "nowhere.test/team/app/manifests/$SIGNATURE"
get 200 "nowhere.test/team/app/referrers/$APP?artifactType=application/x-other"
is "$(jq -c .manifests "$W/answer")" "[]" "of another type"
get 200 "nowhere.test/team/app/referrers/$SIGNATURE"
is "$(jq -c .manifests "$W/answer")" "[]" "of what has none"

say "what is not here, what is another's, what is private: 404"
for path in nowhere.test/team/app/manifests/2 "nowhere.test/team/app/manifests/$OTHER" "nowhere.test/team/app/blobs/$OTHER_LAYER" \
    nowhere.test/team/none/manifests/1 nowhere.test/team/none/tags/list "nowhere.test/team/none/referrers/$APP" elsewhere.test/team/app/manifests/1 "team/app/manifests/1?ns=elsewhere.test" \
    nowhere.test/TEAM/app/manifests/1 once.test/private/x/manifests/1 "private/x/tags/list?ns=once.test"; do
    get 404 "$path"
    error_is NAME_UNKNOWN
    get 404 "$path" -u me:secret-of-a-test
done

say "no registry was asked, and names that clients make up leave nothing behind"
upstreams() { curl -s "http://127.0.0.1:$PORT/metrics" | grep -c '^entrepot_upstream_connections'; }
BEFORE=$(upstreams)
curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/h[1-300].test/x/manifests/1"
is "$(metric entrepot_upstream_requests_total)" 0 "requests to registries"
is "$(upstreams)" "$BEFORE" "upstreams"
[ "$(metric 'entrepot_requests_total{method="GET",kind="manifest",upstream="local",result="hit"}')" = 4 ] || fail "requests are not counted"

say "If-None-Match: a list, weak, any"
for tag in '*' "\"$APP\"" "W/\"$APP\"" "\"a\", W/\"$APP\" , \"b\"" "$APP"; do
    get 304 nowhere.test/team/app/manifests/1 -H "If-None-Match: $tag"
    get 304 nowhere.test/team/app/manifests/1 -I -H "If-None-Match: $tag"
done
get 304 nowhere.test/team/app/manifests/1 -H 'If-None-Match: "a"' -H "If-None-Match: \"$APP\""
for tag in '"*"' '"a"' "\"x$APP\"" "\"$LAYER\""; do get 200 nowhere.test/team/app/manifests/1 -H "If-None-Match: $tag"; done
for tag in '*' "W/\"$LAYER\"" "\"a\",\"$LAYER\""; do get 304 "nowhere.test/team/app/blobs/$LAYER" -H "If-None-Match: $tag"; done
get 200 "nowhere.test/team/app/blobs/$LAYER" -H "If-None-Match: \"$APP\""
