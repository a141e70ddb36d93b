#!/bin/bash
# `entrepot setup --intercept` on a node without a way out: engines pull through entrepot as their proxy, under certificates that the
# system's store trusts since; --check says so; and after --undo files, folders and the store are as they were. Lived-in nodes: a proxy of
# others stays, variables of others stay beside ours.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
on_cleanup() { containerd_stop; docker_stop; }
need containerd dockerd podman buildah update-ca-certificates openssl jq python3

PROXY=127.0.0.1:3128
SYSTEM=etc/systemd/system
setup() { n ./entrepot setup "$@" >"$W/setup.log" 2>&1; }
said() { grep -q -- "$1" "$W/setup.log" || fail "it does not say \"$1\": $(cat "$W/setup.log")"; }
KEPT=(etc/systemd etc/containers etc/containerd etc/docker etc/ssl usr/local/share/ca-certificates var/lib/entrepot-setup)
state() {
    (cd "$NODE" && for kept in "${KEPT[@]}"; do
        [ ! -e "$kept" ] || find "$kept" ! -name key.json -printf '%p %M %u %g %l\n' ! -type d -exec sha256sum {} +
    done) | sort
}
served() { ask ls --json | jq -e --arg r "$1" '.images[] | select(.reference == $r)' >/dev/null || fail "$1 did not come through entrepot: $(ask ls)"; }
# The store as a program of the node has it.
trusts() { openssl verify -CAfile "$NODE/etc/ssl/certs/ca-certificates.crt" "$NODE/etc/entrepot/ca.crt" >/dev/null 2>&1; }

node_begin /
rm -rf "$NODE/$SYSTEM/"{docker,containerd,service}.service.d "$NODE/etc/default/docker"
rm -f "$NODE/etc/ca-certificates/update.d/"* # of Java: they take long
n update-ca-certificates >/dev/null 2>&1 || skip "update-ca-certificates does not run here"
cp "$ENTREPOT" "$NODE/tmp/here/entrepot"
printf '#!/bin/sh\necho "$@" >>/tmp/here/systemctl.log\n' | node_file /usr/local/bin/systemctl
chmod +x "$NODE/usr/local/bin/systemctl"
mkdir -p "$NODE/etc/docker" # as dockerd makes it
registry_start
image_build alpine
for name in library/alpine:by-docker org/app:by-docker org/app:by-cri org/app:by-podman org/app:by-buildah library/alpine:3; do
    skopeo copy -q --dest-tls-verify=false "oci:$W/layout:alpine" "docker://127.0.0.1:$REGISTRY_PORT/$name"
done
state >"$W/before"

say "interception is off: the two lines are named"
printf 'upstreams: [{name: ghcr.io}]\n' | node_file /etc/entrepot/config.yaml
! setup docker --intercept || fail "it succeeds without interception"
said 'interception is off: add the two lines "intercept:" and "  address: 127.0.0.1:3128" to /etc/entrepot/config.yaml'
printf 'intercept:\n  address: %s\n  ca: {cert: /etc/entrepot/ca.crt, key: /etc/entrepot/ca.key}\n  hosts: [docker.io, ghcr.io]\n' $PROXY |
    node_file /etc/entrepot/config.yaml
! setup docker --intercept || fail "it succeeds without a certificate"
said "trust: .*the daemon makes it when it starts with interception on"
state | diff "$W/before" - || fail "something was changed nevertheless"

UPSTREAM_MORE='' entrepot_start "$REGISTRY_PORT" "  - {name: ghcr.io, endpoints: [\"http://127.0.0.1:$REGISTRY_PORT\"], insecure: true}
intercept:
  address: $PROXY
  ca: {cert: $NODE/etc/entrepot/ca.crt, key: $NODE/etc/entrepot/ca.key}
  hosts: [docker.io, ghcr.io]"
! trusts || fail "the store has the certificate already"
! setup docker --intercept --check || fail "--check succeeds before setup"
said "docker: it is not set up for $PROXY: run entrepot setup docker --intercept"
setup containerd docker podman --intercept --dry-run || fail "--dry-run: $(cat "$W/setup.log")"
said "^+Environment=\"HTTPS_PROXY=http://$PROXY\""
said "^+++ /usr/local/share/ca-certificates/entrepot.crt"
state | diff "$W/before" - || fail "--dry-run has changed something"

say "set up: what is written, what has to be restarted, and by --restart"
setup docker || fail "as a mirror: $(cat "$W/setup.log")"
setup containerd docker podman --intercept || fail "--intercept: $(cat "$W/setup.log")"
said "^trust: changed /usr/local/share/ca-certificates/entrepot.crt"
said "^docker: changed /etc/docker/daemon.json"
said "^docker: to have it read this: systemctl daemon-reload && systemctl restart docker"
[ ! -e "$NODE/etc/docker/daemon.json" ] || fail "it is a mirror, too"
trusts || fail "the store does not have the certificate"
setup containerd docker podman --intercept || fail "again: $(cat "$W/setup.log")"
is "$(grep -c ': nothing to do' "$W/setup.log")" 4 "nothing to do the second time"
setup containerd docker podman --intercept --check || fail "--check: $(cat "$W/setup.log")"
said "docker: docker.io/library/alpine:3: entrepot at $PROXY answers 200 (entrepot"
setup docker --undo
trusts || fail "the certificate has left while others need it"
setup docker --intercept --restart || fail "--restart: $(cat "$W/setup.log")"
is "$(paste -sd ';' "$NODE/tmp/here/systemctl.log")" "daemon-reload;restart docker" "what was restarted"

say "--check: the store without the certificate, a proxy that does not answer, one that is another's"
mv "$NODE/etc/ssl/certs/ca-certificates.crt" "$W/bundle"
grep -v . "$W/bundle" >"$NODE/etc/ssl/certs/ca-certificates.crt" || true
! setup docker --intercept --check || fail "--check without the certificate in the store"
said "docker: /etc/ssl/certs/ca-certificates.crt does not have the certificate of /etc/entrepot/ca.crt: run update-ca-certificates"
setup docker --intercept || fail "a store that has lost it"
trusts || fail "setup does not put it into the store again"
sed -i 's/hosts: .*/hosts: [quay.io]/' "$NODE/etc/entrepot/config.yaml"
! setup docker --intercept --check || fail "--check of a registry that is not opened"
said "docker: quay.io through $PROXY"
sed -i 's/hosts: .*/hosts: [docker.io, ghcr.io]/' "$NODE/etc/entrepot/config.yaml"

say "docker"
docker_start
n docker pull -q alpine:by-docker || fail "docker does not pull of docker.io: $(tail -n 3 "$W/dockerd.log")"
n docker pull -q ghcr.io/org/app:by-docker || fail "docker does not pull of ghcr.io"
served docker.io/library/alpine:by-docker
served ghcr.io/org/app:by-docker
n docker tag ghcr.io/org/app:by-docker ghcr.io/org/pushed:1
n docker push -q ghcr.io/org/pushed:1 >/dev/null || fail "docker does not push"
curl -sf "http://127.0.0.1:$REGISTRY_PORT/v2/org/pushed/tags/list" | grep -q '"1"' || fail "the push did not arrive"
docker_stop
say "containerd"
containerd_start
cri_pull ghcr.io/org/app:by-cri || fail "the CRI plugin does not pull: $(tail -n 3 "$W/containerd.log")"
served ghcr.io/org/app:by-cri
containerd_stop
say "podman, buildah"
n podman --storage-driver vfs pull -q ghcr.io/org/app:by-podman || fail "podman does not pull"
served ghcr.io/org/app:by-podman
n buildah --storage-driver vfs pull -q ghcr.io/org/app:by-buildah || fail "buildah does not pull"
served ghcr.io/org/app:by-buildah
environment_of() { # OPTION...: of a container of podman
    local id
    id=$(n podman --storage-driver vfs create "$@" ghcr.io/org/app:by-podman true 2>"$W/create.log") || fail "podman create: $(cat "$W/create.log")"
    n podman --storage-driver vfs inspect "$id" --format '{{.Config.Env}}'
}
! environment_of | grep -i https_proxy || fail "containers are given the proxy"
environment_of --http-proxy=true | grep -qi "https_proxy=http://$PROXY" || fail "podman would not have given it to them"

say "the authority is replaced: both certificates are put into the store, and engines have to read them"
n ./entrepot ca --rotate >/dev/null 2>&1 || fail "ca --rotate"
setup docker --intercept || fail "after --rotate: $(cat "$W/setup.log")"
said "^docker: to have it read this: systemctl restart docker"
[ -e "$NODE/usr/local/share/ca-certificates/entrepot-2.crt" ] && trusts || fail "the new certificate is not in the store"
setup docker --intercept --check || fail "--check of a daemon that still has the old one: $(cat "$W/setup.log")"
kill -HUP "$ENTREPOT_PID"
setup docker --intercept --check || fail "--check after a reload: $(cat "$W/setup.log")"

say "and back"
setup all --undo || fail "--undo: $(cat "$W/setup.log")"
said "^trust: changed /usr/local/share/ca-certificates/entrepot.crt"
! trusts || fail "the store still has the certificate"
state | diff "$W/before" - || fail "--undo does not restore what was there"

say "a proxy of others stays, in each place where it can be"
refused() { # ENGINE FILE LINE
    setup "$1" --dry-run --intercept && fail "$2 is overlooked"
    said "^entrepot: $1: $2, line $3 sets another proxy (HTTPS_PROXY), which is left as it is: give that proxy to entrepot"
    setup "$1" --intercept && fail "$2 is overwritten"
    [ ! -e "$NODE/usr/local/share/ca-certificates/entrepot.crt" ] || fail "$2: the certificate is installed for nobody"
    rm "$NODE$2"
}
printf '[Service]\nEnvironment="NO_PROXY=localhost" \\\n  "HTTPS_PROXY=http://proxy.lan:3128"\n' | node_file /$SYSTEM/docker.service.d/http-proxy.conf
refused docker /$SYSTEM/docker.service.d/http-proxy.conf 2
printf '[Service]\nEnvironmentFile=-/etc/default/%%p\n' | node_file /$SYSTEM/docker.service.d/env.conf
printf '# corporate\nhttps_proxy=http://proxy.lan:3128\n' | node_file /etc/default/docker
refused docker /etc/default/docker 2
printf '{\n  "proxies": {\n    "https-proxy": "http://proxy.lan:3128"}}\n' | node_file /etc/docker/daemon.json
refused docker /etc/docker/daemon.json 3
printf '[Manager]\nDefaultEnvironment=A=b HTTPS_PROXY=http://proxy.lan:3128\n' | node_file /etc/systemd/system.conf.d/p.conf
refused containerd /etc/systemd/system.conf.d/p.conf 2
printf '[engine]\nenv = ["A=b", "https_proxy=http://proxy.lan:3128"]\n' | node_file /etc/containers/containers.conf
refused podman /etc/containers/containers.conf 2
rmdir "$NODE/etc/systemd/system.conf.d" 2>/dev/null || true
rm -rf "$NODE/$SYSTEM/docker.service.d"

say "what others have set beside it stays, and counts"
printf '[Service]\nEnvironment=NO_PROXY=.lan,ghcr.io\nEnvironment=HTTP_PROXY=http://proxy.lan:3128\n' | node_file /$SYSTEM/docker.service.d/a.conf
printf '[engine]\n# theirs\nenv = [\n  "GODEBUG=x509sha1=1", # theirs\n]\n' | node_file /etc/containers/containers.conf
state >"$W/before"
setup docker podman --intercept || fail "beside others' variables: $(cat "$W/setup.log")"
said "docker: /$SYSTEM/docker.service.d/a.conf, line 2: NO_PROXY has ghcr.io, which does not come through entrepot"
python3 -c '
import sys, tomllib
env = tomllib.load(open(sys.argv[1], "rb"))["engine"]["env"]
own = tomllib.load(open(sys.argv[2], "rb"))
assert sorted(env) == ["GODEBUG=x509sha1=1", "HTTPS_PROXY=http://127.0.0.1:3128"], env
assert own == {"containers": {"http_proxy": False}}, own' "$NODE/etc/containers/containers.conf" "$NODE/etc/containers/containers.conf.d/entrepot-proxy.conf" ||
    fail "containers.conf"
n podman --storage-driver vfs pull -q ghcr.io/org/app:by-podman || fail "podman does not pull beside others' variables"
setup podman --intercept --check || fail "podman --check beside others' variables: $(cat "$W/setup.log")"
! setup docker --intercept --check || fail "--check though NO_PROXY has a registry"
setup docker podman || fail "from the proxy to the mirror: $(cat "$W/setup.log")"
said "^trust: changed"
setup all --undo || fail "--undo: $(cat "$W/setup.log")"
state | diff "$W/before" - || fail "--undo does not restore what was there beside others' variables"

say "killed between the files and the store: setup again, or --undo, puts the store right"
printf '#!/bin/sh\nkill -9 $PPID\n' | node_file /usr/local/sbin/update-ca-certificates
chmod +x "$NODE/usr/local/sbin/update-ca-certificates"
{ setup docker --intercept || true; } 2>/dev/null
mv "$NODE/usr/local/sbin/update-ca-certificates" "$W/killer"
! trusts || fail "it was not killed"
setup docker --intercept && trusts || fail "setup again does not put the store right: $(cat "$W/setup.log")"
mv "$W/killer" "$NODE/usr/local/sbin/update-ca-certificates"
{ setup docker --undo || true; } 2>/dev/null
rm "$NODE/usr/local/sbin/update-ca-certificates"
trusts || fail "it was not killed while it undid"
setup all --undo && ! trusts || fail "--undo again does not put the store right: $(cat "$W/setup.log")"
state | diff "$W/before" - || fail "--undo after it was killed"

say "a system below a root: its store is written, and what to run there is said"
mkdir -p "$NODE/other/etc/entrepot" "$NODE/other/etc/pki/ca-trust/source/anchors"
cp "$NODE/etc/entrepot/config.yaml" "$NODE/etc/entrepot/ca.crt" "$NODE/other/etc/entrepot/"
setup containerd --intercept --root /other || fail "--root: $(cat "$W/setup.log")"
said "trust: changed /etc/pki/ca-trust/source/anchors/entrepot.crt"
said "trust: run update-ca-trust in the system below /other"
setup all --undo --root /other || fail "--root --undo"
[ -z "$(find "$NODE/other" -name 'entrepot*.c*f*' ! -name config.yaml)" ] || fail "--undo leaves $(find "$NODE/other")"
entrepot_stop
