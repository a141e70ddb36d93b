#!/bin/bash
# Today's engines, of Debian sid, x the doors to entrepot x {pull public, pull private, push, build}: see tests/doors.sh.inc.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
. tests/engines.sh.inc
. tests/doors.sh.inc
. tests/doors_engines.sh.inc
SID=${ENTREPOT_SID:?the folder that tests/engines/chroot has made}
need openssl skopeo curl jq htpasswd setpriv

# The node sees $W where this machine has it.
node_begin "$SID"
mkdir -p "$NODE$W"
mount --bind "$W" "$NODE$W"
ROOT=$NODE
NS=(chroot "$NODE")

# It is the daemon that pulls (its transfer service), in each door with an environment of its own.
ctr_begin() {
    local extra=()
    if [ "$DOOR" = dns ]; then
        : >"$W/certs/ca-certificates.crt"
        extra=(SSL_CERT_FILE="$TRUSTED")
    fi
    CTR_ENV=()
    rm -rf "$W/containerd"
    NS=(chroot "$NODE" env "${ENGINE_ENV[@]}" "${extra[@]}")
    containerd_begin containerd
    NS=(chroot "$NODE")
}
ctr_end() {
    kill "$CONTAINERD_PID" 2>/dev/null || true
    wait "$CONTAINERD_PID" 2>/dev/null || true
    C=
}

doors_nftables
doors_begin
engines=()
for engine in ${ENGINES:-skopeo crane oras ctr podman docker}; do
    node_has $engine || { say "no $engine here"; continue; }
    engines+=("$engine")
    doors_try "$engine"
done
say "the registries are gone"
kill "${REGISTRIES[@]}"
wait "${REGISTRIES[@]}" 2>/dev/null || true
for engine in "${engines[@]}"; do
    doors_alone "$engine"
done
for engine in containerd dockerd podman crane oras; do say "$engine $(n $engine --version 2>/dev/null | head -n 1 || n $engine version | head -n 1)"; done
doors_print "${engines[@]}"
[ $FAILURES = 0 ] || fail "$FAILURES cells"
entrepot_stop
