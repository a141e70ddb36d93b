#!/bin/bash
# Today's engines, of Debian sid, x the doors to entrepot x {pull public, pull private, push, build, the same with tokens}: see
# tests/doors.sh.inc. ENGINES, DOORS, CELLS: fewer of them.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
. tests/engines.sh.inc
. tests/doors.sh.inc
. tests/doors_engines.sh.inc
SID=${ENTREPOT_SID:?the folder that tests/engines/chroot has made}
need openssl skopeo curl jq htpasswd setpriv python3

# The node sees $W where this machine has it.
node_begin "$SID"
mkdir -p "$NODE$W"
mount --bind "$W" "$NODE$W"
ROOT=$NODE
NS=(chroot "$NODE")

containerd_in() { # NAME VARIABLE...
    local name=$1
    shift
    NS=(chroot "$NODE" env "$@")
    containerd_begin "$name"
    NS=(chroot "$NODE")
}
# It is the daemon that pulls (its transfer service), in each door with an environment of its own.
ctr_begin() {
    local extra=()
    [ "$DOOR" != dns ] || extra=(SSL_CERT_FILE="$TRUSTED")
    CTR_ENV=()
    rm -rf "$W/of-ctr/containerd"
    containerd_in of-ctr/containerd "${ENGINE_ENV[@]}" "${extra[@]}"
}
ctr_end() {
    kill "$CONTAINERD_PID" 2>/dev/null || true
    wait "$CONTAINERD_PID" 2>/dev/null || true
}

doors_nftables
doors_begin
engines=()
for engine in ${ENGINES:-skopeo crane oras helm ctr podman docker}; do
    node_has $engine || { say "no $engine here"; continue; }
    engines+=("$engine")
done
case " ${engines[*]} " in *" docker "*) containerd_in containerd ;; esac
case " ${engines[*]} " in *" helm "*) (helm_source) || fail "no chart" ;; esac
doors_run "${engines[@]}"
for engine in containerd dockerd podman crane oras helm; do say "$engine $(n $engine --version 2>/dev/null | head -n 1 || n $engine version | head -n 1)"; done
doors_print "${engines[@]}"
entrepot_stop
