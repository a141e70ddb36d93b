#!/bin/bash
# The image under dockerd and containerd: pulled through an entrepot, run with a read-only root as its user, healthy, and a pull through it.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
need containerd ctr runc skopeo docker-registry python3 curl jq
on_cleanup() { ! type -t d >/dev/null || [ -z "${D:-}" ] || d rm -f cache scratch >/dev/null 2>&1; }

python3 deploy/image/build.py "$ENTREPOT" "$W/image" 0.0.1 entrepot:1 >"$W/build.log" 2>&1 || fail "build.py: $(tail -n 3 "$W/build.log")"
registry_start
image_build app
image_push app 1
skopeo copy -q --dest-tls-verify=false "oci:$W/image/layout:1" "docker://127.0.0.1:$REGISTRY_PORT/library/entrepot:1" || fail "skopeo copy"
entrepot_start
# What the container is to be told, where its own file is.
mkdir "$W/etc"
cat >"$W/etc/config.yaml" <<-YAML
	listen: [{address: "127.0.0.1:5000"}]
	cache: {path: /var/lib/entrepot, min_free: 0B}
	upstreams: [{name: docker.io, endpoints: ["http://127.0.0.1:$REGISTRY_PORT"], insecure: true}]
	YAML
chmod 755 "$W" "$W/etc"
chmod 644 "$W/etc/config.yaml"
serves() { # WHAT
    local asked
    asked=$(registry_asked GET 'app/blobs/')
    for n in first second; do
        rm -rf "$W/out"
        skopeo copy -q --src-tls-verify=false docker://127.0.0.1:5000/library/app:1 "dir:$W/out" || fail "$1: the $n pull"
    done
    is $(($(registry_asked GET 'app/blobs/') - asked)) "$(jq '.layers | length + 1' "$W/out/manifest.json")" "$1: blobs asked for by two pulls"
}

say "containerd: pulled through entrepot, run by ctr"
containerd_begin containerd
containerd_pull docker.io/library/entrepot:1 || fail "$(tail -n 1 "$W/ctr.log")"
is "$(c images ls | awk '$1 == "docker.io/library/entrepot:1" {print $3}')" "$(cat "$W/image/digest")" "the digest that was pulled"
[ "$(registry_asked GET 'entrepot/blobs/')" = 3 ] || fail "it did not come through entrepot"
mkdir "$W/cache-c"
chown 65532:65532 "$W/cache-c"
c run --rm --read-only --net-host --mount "type=bind,src=$W/cache-c,dst=/var/lib/entrepot,options=rbind:rw" \
    --mount "type=bind,src=$W/etc,dst=/etc/entrepot,options=rbind:ro" docker.io/library/entrepot:1 cache >"$W/ctr-run.log" 2>&1 &
PIDS+=($!)
wait_for 60 curl -sf http://127.0.0.1:5000/readyz || fail "it is not ready: $(tail -n 3 "$W/ctr-run.log")"
serves containerd
is "$(stat -c %u "$W/cache-c/blobs")" 65532 "whose the cache is"
c tasks exec --exec-id status cache /usr/bin/entrepot status >"$W/status" || fail "entrepot status in the container"
is "$(c tasks exec --exec-id none cache /bin/sh -c true >/dev/null 2>&1 && echo yes || echo no)" no "a shell in the container"
c tasks kill -s TERM cache
wait_for 40 eval '! curl -sf http://127.0.0.1:5000/healthz' || fail "it does not end"

say "dockerd: pulled through entrepot"
is_here dockerd && is_here docker || skip "needs docker"
docker_begin docker
docker_pull entrepot:1 || fail "$(tail -n 1 "$W/docker.log")"
d rmi entrepot:1 >/dev/null
say "dockerd: loaded"
d load -q -i "$W/image/image.tar" >"$W/load.log" 2>&1 || fail "docker load: $(cat "$W/load.log")"
d run -d --name cache --read-only --network host -v "$W/etc:/etc/entrepot:ro" entrepot:1 >"$W/run.log" 2>&1 || fail "docker run: $(cat "$W/run.log")"
wait_for 60 curl -sf http://127.0.0.1:5000/readyz || fail "it is not ready: $(d logs cache 2>&1 | tail -n 3)"
serves dockerd
healthy() { [ "$(d inspect -f '{{.State.Health.Status}}' "$1")" = healthy ]; }
wait_for 60 healthy cache || fail "its health: $(d inspect -f '{{json .State.Health}}' cache)"
is "$(d inspect -f '{{.Config.User}}' cache)" 65532:65532 "its user"
d stop -t 40 cache >/dev/null
is "$(d inspect -f '{{.State.ExitCode}}' cache)" 0 "how it ended"
say "dockerd: its own configuration, the cache in a tmpfs"
d run -d --name scratch --read-only --network host --cap-drop ALL --security-opt no-new-privileges \
    --tmpfs /var/lib/entrepot:uid=65532,gid=65532,mode=700 entrepot:1 >"$W/run.log" 2>&1 || fail "docker run: $(cat "$W/run.log")"
wait_for 60 curl -sf http://127.0.0.1:5000/readyz || fail "it is not ready: $(d logs scratch 2>&1 | tail -n 3)"
wait_for 60 healthy scratch || fail "its health: $(d inspect -f '{{json .State.Health}}' scratch)"
d stop -t 40 scratch >/dev/null
entrepot_stop
