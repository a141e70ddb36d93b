#!/bin/bash
# Lists as a client reads them, page by page: the tags of a repository and what refers to an image, from a registry that is well, fails,
# limits us or is gone, has the referrers API or has not. A list is whole or an error, warm, cold and offline alike.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"

UP=$(free_port)
PORT=$(free_port)
mkdir "$W/up"
state() { echo "$1" >"$W/up/state.new"; mv "$W/up/state.new" "$W/up/state"; }
up_start() {
    python3 tests/patience/listings.py serve "$UP" "$W/up" >>"$W/up.log" 2>&1 &
    UP_PID=$!
    PIDS+=($UP_PID)
    wait_for 10 curl -s -o /dev/null "http://127.0.0.1:$UP/v2/" || fail "the registry does not start"
}
up_stop() { kill "$UP_PID"; wait "$UP_PID" 2>/dev/null || true; }
start() { # [MORE YAML]
    entrepot_start "$UP" "  - {name: other.example, endpoints: [\"http://127.0.0.1:$UP\"], insecure: true}
${1:-tags: {ttl: 1s, negative_ttl: 1s\}}"
}
E=http://127.0.0.1:$PORT/v2
crawl() { python3 tests/patience/listings.py crawl "$1" 2>"$W/crawl.err" | tr '\n' ' '; }
code() { curl -s -o "$W/body" -D "$W/head" -w '%{http_code}' "$@"; }
cache_status() { tr -d '\r' <"$W/head" | sed -n 's/^Cache-Status: entrepot; //p'; }
expire() { sleep 1.2; }
is_stale() { [[ $(cache_status) == "hit; ttl=-"* ]] || fail "$1: $(cache_status)"; }

state '{"signatures": 5}'
up_start
name() { jq -r ".$1" "$W/up/names"; }
image=$(name image) bare=$(name bare)
all=$(for i in 0 1 2 3 4; do name "signature$i"; done | tr '\n' ' ')
start

say "tags: every page is reached, whatever the links look like, also of a registry that ns= names"
for u in app/tags/list "app/tags/list?n=3" "x/app/tags/list?ns=other.example" "x/app/tags/list?ns=other.example&n=1" other.example/x/app/tags/list; do
    is "$(crawl "$E/$u")" "a b c d e " "$u: $(cat "$W/crawl.err")"
done
is "$(grep -c 'ns=' "$W/up/log" || true)" 0 "our ns= at the registry"
is "$(code "$E/app/tags/list?n=x")" 400 "a page size that is none"
is "$(code "$E/app/tags/list?n=0")" 200 "n=0"
is "$(code "$E/none/tags/list")" 404 "a repository that there is not"
is "$(code "$E/mute/tags/list")" 502 "a web page in place of a list"
is "$(code "$E/huge/tags/list?n=60000")" 200 "six megabytes of tags on one page"
is "$(jq '.tags | length' "$W/body")" 60000 "six megabytes of tags on one page"
is "$(code "$E/huge/tags/list?n=200000")" 502 "twenty of them"
grep -q "more than" "$W/body" || fail "unclear: $(head -c 300 "$W/body")"
is "$(code "$E/lost/tags/list")" 502 "a list that goes on where we cannot lead"

say "referrers: every page, by type, none"
is "$(crawl "$E/app/referrers/$image")" "$all" "referrers"
is "$(crawl "$E/x/app/referrers/$image?ns=other.example")" "$all" "referrers, ns="
is "$(crawl "$E/app/referrers/$image?artifactType=application/x-odd")" "$(name signature1) $(name signature3) " "of one type"
is "$(code "$E/app/referrers/$image?artifactType=application/x-odd")" 200 "of one type"
grep -qi '^oci-filters-applied: artifactType' "$W/head" || fail "that it is filtered is not said"
is "$(crawl "$E/app/referrers/$bare")" "" "of an image without: $(cat "$W/crawl.err")"
is "$(code "$E/app/referrers/$bare")" 200 "of an image without"

is "$(code "$E/null/referrers/$bare")" 200 "an empty list that is null"

say "what is no list, in place of one that was known: the last list, else an error"
asked=10
for how in '"html"' 400 406; do
    state "{\"signatures\": 5, \"refers\": $how}"
    asked=$((asked + 1))
    other=sha256:$(printf %064d $asked)
    expire
    is "$(crawl "$E/app/referrers/$image")" "$all" "$how: referrers: $(cat "$W/crawl.err")"
    is "$(code "$E/app/referrers/$bare")" 200 "$how: of an image without"
    is_stale "$how"
    is "$(code "$E/app/referrers/$other")" 502 "$how: of an image that nobody asked about"
    state '{"signatures": 5}'
    is "$(code "$E/app/referrers/$other")" 200 "$how is past"
done
state '{"signatures": 5, "fail": 400}'
expire
is "$(crawl "$E/app/tags/list")" "a b c d e " "400 to a question that was answered before: $(cat "$W/crawl.err")"
state '{"signatures": 5}'

say "a list that is slow says nothing about the registry"
is "$(code "$E/lazy/app/manifests/a")" 200 "a manifest"
is "$(code "$E/lazy/app/tags/list?n=9")" 200 "tags"
state '{"signatures": 5, "slow_lists": 4}'
expire
is "$(code --max-time 3 "$E/lazy/app/tags/list?n=9")" 200 "slow: tags"
is_stale "slow"
is "$(code "$E/lazy/app/manifests/a")" 200 "a manifest"
[[ $(cache_status) == fwd=* ]] || fail "the registry was not asked for a manifest meanwhile: $(cache_status)"
state '{"signatures": 5}'

say "a registry without the API: 404 for every image, and the tag that stands in for it"
for d in "$image" "$bare" "$image"; do
    is "$(code "$E/old/referrers/$d")" 404 "referrers of $d"
    is "$(jq -r '.errors[0].code' "$W/body")" UNSUPPORTED "its code"
    is "$(code "$E/mute/referrers/$d")" 404 "where a web page answers"
done
tag=${image/:/-}
is "$(curl -sf "$E/old/manifests/$tag" | jq -r '.manifests[].digest' | tr '\n' ' ')" "$all" "the tag"
is "$(code "$E/old/manifests/${bare/:/-}")" 404 "the tag of an image without"
is "$(code "$E/old/manifests/${image/:/-}.sig")" 404 "cosign's tag"

say "a new signature is seen when the tag's freshness ends"
state '{"signatures": 1}'
expire
is "$(curl -sf "$E/old/manifests/$tag" | jq '.manifests | length')" 1 "signatures by tag"
is "$(crawl "$E/app/referrers/$image")" "$(name signature0) " "signatures by the API"
state '{"signatures": 5}'
expire
is "$(code "$E/old/referrers/$image")" 404 "referrers"
is "$(curl -sf "$E/old/manifests/$tag" | jq '.manifests | length')" 5 "signatures by tag"
is "$(crawl "$E/app/referrers/$image")" "$all" "signatures by the API"

last_lists() { # WHEN: what is known, all of it; what is not, an error
    is "$(crawl "$E/app/tags/list")" "a b c d e " "$1: tags: $(cat "$W/crawl.err")"
    is "$(code "$E/app/tags/list?n=3")" 200 "$1: tags by three"
    is_stale "$1"
    is "$(crawl "$E/x/app/tags/list?ns=other.example")" "a b c d e " "$1: tags, ns="
    is "$(crawl "$E/app/referrers/$image")" "$all" "$1: referrers: $(cat "$W/crawl.err")"
    is_stale "$1"
    is "$(code "$E/app/referrers/$bare")" 200 "$1: an image without"
    is "$(jq -c .manifests "$W/body")" "[]" "$1: an image without"
    is "$(crawl "$E/app/referrers/$image?artifactType=application/x-even")" "$(name signature0) $(name signature2) $(name signature4) " \
        "$1: of a type that nobody asked for before"
    is "$(crawl "$E/app/referrers/$image?n=50&artifactType=application/x-even" | wc -w)" 3 "$1: of a type, with a page size"
    is "$(code "$E/old/referrers/$image")" 404 "$1: no API"
    is "$(jq -r '.errors[0].code' "$W/body")" UNSUPPORTED "$1: no API"
    is "$(code "$E/old/referrers/sha256:$(printf %064d 7)")" 404 "$1: no API, an image that nobody asked about"
    is "$(curl -sf "$E/old/manifests/$tag" | jq '.manifests | length')" 5 "$1: the tag"
    is "$(code "$E/old/manifests/${bare/:/-}")" 404 "$1: the tag of an image without"
    is "$(code "$E/old/manifests/${image/:/-}.sig")" 404 "$1: cosign's tag"
}
is "$(code "$E/half/app/tags/list")" 200 "the first page alone"
for q in "" "?at=1" "?at=2" "?at=3"; do is "$(code "$E/ring/tags/list$q")" 200 "a list without an end"; done
is "$(code "$E/half/app/manifests/a")" 200 "a tag of a repository whose list nobody asked for to the end"
is "$(code "$E/new/app/manifests/a")" 200 "a tag of a repository whose list nobody asked for"
for status in 500 429; do
    say "the registry answers $status"
    state "{\"signatures\": 5, \"fail\": $status}"
    expire
    last_lists "$status"
    want=$status
    [ $status = 500 ] && want=502
    is "$(code "$E/new/app/tags/list")" "$want" "$status: a list that nobody asked for"
    is "$(code "$E/half/app/tags/list")" "$want" "$status: half a list"
    is "$(code "$E/new/app/referrers/$image")" "$want" "$status: referrers that nobody asked for"
done
say "the registry is slow: the last list, after two seconds"
state '{"signatures": 5, "slow": 6}'
expire
is "$(code --max-time 5 "$E/app/tags/list")" 200 "slow: tags"
is_stale "slow"
is "$(code --max-time 5 "$E/app/referrers/$bare")" 200 "slow: referrers"
is_stale "slow"
state '{"signatures": 5}'
say "the registry is gone"
up_stop
expire
last_lists "gone"
is "$(code "$E/new/app/tags/list")" 502 "gone: a list that nobody asked for"
is "$(code "$E/half/app/tags/list")" 502 "gone: half a list"
is "$(code "$E/ring/tags/list")" 502 "gone: a list without an end"
say "offline: what is here is all there can be where no list is known"
ask offline on >/dev/null
last_lists "offline"
is "$(crawl "$E/new/app/tags/list")" "a " "offline: tags that are here"
is "$(crawl "$E/half/app/tags/list")" "a " "offline: tags that are here, half a list"
is "$(code "$E/new/app/tags/list?n=0")" 200 "offline: n=0"
is "$(jq -c .tags "$W/body")" "[]" "offline: n=0"
grep -qi '^link:' "$W/head" && fail "offline: n=0 leads to a next page"
is "$(code "$E/new/app/tags/list?n=-1")" 400 "offline: n=-1"
is "$(code "$E/new/app/tags/list?n=2x")" 400 "offline: n=2x"
for q in n=%zz last=%zz "last=$(printf 'a%.0s' {1..600})"; do
    is "$(code "$E/new/app/tags/list?$q")" 400 "offline: $q"
    is "$(code "$E/_catalog?$q")" 400 "_catalog?$q"
done
is "$(code "$E/new/app/tags/list?n=&last=")" 200 "offline: n and last, empty"
is "$(code "$E/nowhere/tags/list")" 404 "offline: a repository that is not here"
is "$(code "$E/new/app/referrers/$image")" 200 "offline: referrers that nobody asked for"
is "$(code "$E/_catalog?n=0")" 200 "_catalog?n=0"
is "$(jq -c .repositories "$W/body")" "[]" "_catalog?n=0"
ask offline off >/dev/null

say "pull --referrers brings every page, or fails"
up_start
state '{"signatures": 5, "fail_next": 500}'
if ask pull app:1 --referrers >"$W/pull.log" 2>&1; then fail "a page is missing, and it says done: $(cat "$W/pull.log")"; fi
grep -q "listing its referrers" "$W/pull.log" || fail "unclear: $(cat "$W/pull.log")"
state '{"signatures": 5}'
ask pull app:1 old:1 --referrers >"$W/pull.log" 2>&1 || fail "pull: $(tail -n 5 "$W/pull.log")"
for i in 0 1 2 3 4; do
    d=$(name "signature$i")
    [ -f "$W/cache/blobs/${d/://}" ] || fail "signature $i is not here"
done

say "offline after a restart: the signatures are found, one way or the other"
entrepot_stop
up_stop
start "offline: true"
is "$(crawl "$E/app/referrers/$image" | xargs -n 1 | sort)" "$(echo "$all" | xargs -n 1 | sort)" "referrers: $(cat "$W/crawl.err")"
is "$(crawl "$E/app/referrers/$image?artifactType=application/x-odd" | wc -w)" 2 "referrers of a type"
is "$(crawl "$E/old/referrers/$image" | wc -w)" 5 "referrers of the registry without the API"
is "$(curl -sf "$E/old/manifests/$tag" | jq '.manifests | length')" 5 "the tag"
is "$(code "$E/app/referrers/$bare")" 200 "of an image without"
is "$(jq -c .manifests "$W/body")" "[]" "of an image without"
is "$(crawl "$E/app/tags/list")" "1 " "tags"
entrepot_stop
