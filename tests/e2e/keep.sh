#!/bin/bash
# What is kept and why, as an operator sees it: pin, unpin, rm, gc --dry-run, gc --to.
. "$(dirname "$0")/../lib.sh"
need_root

grace=2
! is_sanitized || grace=8 # pulls, and what is asked of them, take longer
registry_start
for i in one two three; do image_build $i; image_push $i 1; done
entrepot_start "" "gc: {grace: ${grace}s, interval: 1h}
tags: {ttl: 1h}"
pull() { rm -rf "$W/out-$1"; skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/$1:1" "oci:$W/out-$1:1"; }
for i in one two three; do pull $i; done
why() { ask gc --dry-run --to 1KiB --json | jq -r ".kept[] | select(.reference | endswith(\"/$1:1\")) | .why"; }

is "$(why three)" recent "a young image"
ask pin two:1 | grep -qx "pinned docker.io/library/two:1" || fail "pin"
is "$(why two)" pinned "a pinned image"
is "$(ask ls --json | jq '[.images[] | select(.pinned)] | length')" 1 "pinned images in ls"
ask rm two:1 2>"$W/err" && fail "a pinned image was removed" || true
grep -q "pinned: entrepot unpin it first" "$W/err" || fail "$(cat "$W/err")"
ask pin nothing 2>"$W/err" && fail "an image that is not here was pinned" || true
grep -q "not in the cache: pull it first" "$W/err" || fail "$(cat "$W/err")"

sleep $((grace + 1))
ask gc --dry-run --to 1KiB >"$W/dry"
grep -q "^would remove docker.io/library/one:1: room is needed, frees " "$W/dry" || fail "$(cat "$W/dry")"
grep -q "^would keep docker.io/library/two:1: pinned" "$W/dry" || fail "$(cat "$W/dry")"
is "$(ask ls --json | jq '.images | length')" 3 "images after a dry run"
total=$(sed -n 's/would free .* in \([0-9]*\) blobs/\1/p' "$W/dry")
is "$(ask gc --to 1KiB --json | jq .freed_blobs)" "$total" "what a dry run said, and what was done"
is "$(ask ls --json | jq -r '.images[].reference')" "docker.io/library/two:1" "what is left"
# the base layers are two's, too: nothing of it was fetched again
before=$(registry_asked GET blobs)
pull two
is "$(registry_asked GET blobs)" "$before" "blobs fetched again for a pinned image"
pull one
is "$(registry_asked GET blobs)" $((before + 2)) "blobs fetched again for one: its config and its own layer"
is "$(ask gc --dry-run --json | jq -r '.kept[] | select(.reference | endswith("/one:1")) | .why')" recent "one"

# A pin outlives the tag upstream, and a restart.
entrepot_stop
entrepot_start "" "gc: {grace: ${grace}s, interval: 1h}
tags: {ttl: 0s, max_stale: 0s}"
curl -sf -X DELETE "http://127.0.0.1:$REGISTRY_PORT/v2/library/two/manifests/$(upstream_digest two 1)" >/dev/null
for _ in 1 2 3; do # also while it is remembered that upstream has it no more
    is "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/v2/two/manifests/1")" 200 "a pinned tag that upstream has deleted"
done
ask unpin two:1 | grep -qx "unpinned docker.io/library/two:1" || fail "unpin"
sleep $((grace + 1))
ask gc --to 1KiB >/dev/null
is "$(ask ls --json | jq '.images | length')" 0 "images after unpin and gc"
entrepot_stop
"$TOOLS/check_cache" "$W/cache" --settled >"$W/check.out" || fail "$(cat "$W/check.out")"
