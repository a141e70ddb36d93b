#!/bin/bash
# Docker Hub's limit is used up; or it is down, hangs, answers 500, 503, 429 to everything, resets connections, has no name any
# more. What is cached pulls with every engine, its first byte comes at once, though each tag is past fresh; what is not fails
# fast, and says why.
. "$(dirname "$0")/../lib.sh"
. tests/patience/hub.sh.inc
. tests/engines.sh.inc
need_root
hub_start
image=docker.io/library/hello:1
want=$(hub "move?name=hello&tag=1&image=1")
hub "move?name=other&tag=1&image=1" >/dev/null
start() { SERVE_MORE=$2 entrepot_start "$1" "tags: {ttl: 0s}"; }
start "$HUB_PORT" ""
ask pull hello:1 >/dev/null
containerd_begin containerd
docker_begin docker
podman_begin podman

first_bytes() { # 15 requests: the median in ms
    for _ in $(seq 15); do
        curl -sf -o /dev/null -w '%{time_starttransfer}\n' "http://127.0.0.1:$PORT/v2/hello/manifests/1" || echo 99
    done | sort -n | sed -n 8p | awk '{printf "%.1f", $1 * 1000}'
}
pull_all() {
    containerd_pull "$image" || fail "$1: ctr: $(tail -n 2 "$W/ctr.log")"
    is "$(c images ls | awk -v i=$image '$1 == i {print $3}')" "$want" "$1: containerd's digest"
    docker_pull hello:1 || fail "$1: docker: $(tail -n 2 "$W/docker.log")"
    is "$(d image inspect hello:1 -f '{{index .RepoDigests 0}}')" "hello@$want" "$1: docker's digest"
    podman_pull $image || fail "$1: podman: $(tail -n 2 "$W/podman.log")"
    is "$(p image inspect $image -f '{{.Digest}}')" "$want" "$1: podman's digest"
    rm -rf "$W/out"
    skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$PORT/library/hello:1" "dir:$W/out" || fail "$1: skopeo"
}
uncached() { # SITUATION STATUSES CODE: one that is not here
    local s t0 t1
    t0=$(date +%s%N)
    s=$(curl -s -o "$W/answer" -D "$W/head" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/other/manifests/1")
    t1=$(date +%s%N)
    UNCACHED_MS=$(((t1 - t0) / 1000000)) UNCACHED=$s
    case " $2 " in *" $s "*) ;; *) fail "$1: an uncached image is answered $s: $(cat "$W/answer")" ;; esac
    is "$(jq -r '.errors[0].code' "$W/answer")" "$3" "$1: the code for what is not cached"
}
try() { # SITUATION STATUSES CODE
    curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/hello/manifests/1" # somebody notices
    curl -s -o /dev/null "http://127.0.0.1:$PORT/v2/other/manifests/1" || true
    local ms
    ms=$(first_bytes)
    awk -v ms="$ms" 'BEGIN {exit ms < 100 ? 0 : 1}' || fail "$1: the first byte took $ms ms"
    # Where the wait for the registry has ended meanwhile, this one is who notices.
    for _ in 1 2; do
        uncached "$1" "$2" "$3"
        [ "$UNCACHED_MS" -ge 3000 ] || break
    done
    [ "$UNCACHED_MS" -lt 3000 ] || fail "$1: what is not cached took $UNCACHED_MS ms to fail"
    pull_all "$1"
    printf '%-12s first byte %6s ms; what is not cached: %s after %s ms\n' "$1" "$ms" "$UNCACHED" "$UNCACHED_MS"
    entrepot_stop
    hub "set?mode=ok&limit=-1" >/dev/null || true
}

hub "set?limit=100&remaining=0&retry_after=77" >/dev/null
entrepot_stop
start "$HUB_PORT" ""
try "limit 0" "429" TOOMANYREQUESTS
tr -d '\r' <"$W/head" | grep -qiE '^retry-after: (7[0-9])$' || fail "Retry-After is not passed on: $(cat "$W/head")"
hub "zero" >/dev/null

for mode in 500 503 429 reset hang; do
    start "$HUB_PORT" ""
    hub "set?mode=$mode&retry_after=0" >/dev/null
    case $mode in
    429) try 429 "429" TOOMANYREQUESTS ;;
    *) try "$mode" "502 503 504" UNAVAILABLE ;;
    esac
done
start "$HUB_PORT" ""
hub_stop
try "off" "502 503 504" UNAVAILABLE

PORT_KEPT=$PORT
sed "s|http://127.0.0.1:[0-9]*\"\\]|http://hub.invalid:1\"]|" "$W/config.yaml" >"$W/dns.yaml"
grep -q hub.invalid "$W/dns.yaml" || fail "no name in the configuration"
PORT=$PORT_KEPT
entrepot_run "$W/dns.yaml" || fail "entrepot does not start"
try "no DNS" "502 503 504" UNAVAILABLE

start 1 --offline
is "$(ask offline)" on "offline"
try "offline" "404" MANIFEST_UNKNOWN
