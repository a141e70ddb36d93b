#!/bin/bash
# The engines of this system x the doors to entrepot x {pull public, pull private, push, build, the same with tokens}: see
# tests/doors.sh.inc. Each engine that is not here is skipped by name. ENGINES, DOORS, CELLS: fewer of them.
#
# Without ALL=yes, as `make test` has it, those that no other test has, or are quick: mirrors are what the tests beside this one try with
# real engines, buildah is built on what podman is. `make test-engines` tries all.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/engines.sh.inc
. tests/doors.sh.inc
. tests/doors_engines.sh.inc
need openssl skopeo curl jq htpasswd setpriv python3

is_wanted() { # ENGINE CELL
    [ -z "${ALL:-}" ] || return 0
    case $1-$DOOR-$2 in
    curl-*) ;;
    docker-forward-* | ctr-forward-push | skopeo-forward-push | podman-forward-push | podman-forward-build) ;;
    skopeo-dns-token* | ctr-dns-token | docker-dns-public) ;;
    *-forward-public) ;; # what is pulled again when the registry is gone
    *) return 1 ;;
    esac
}
doors_nftables
doors_begin
engines=()
for engine in ${ENGINES:-curl skopeo ctr podman docker ${ALL:+buildah}}; do
    case $engine in
    curl | skopeo | podman | buildah) is_here $engine || { say "no $engine here"; continue; } ;;
    ctr) is_here containerd && is_here ctr || { say "no containerd here"; continue; } ;;
    docker) is_here dockerd && is_here docker && is_here containerd || { say "no docker here"; continue; } ;;
    esac
    engines+=("$engine")
done
case " ${engines[*]} " in *" ctr "* | *" docker "*) containerd_begin containerd ;; esac
doors_run "${engines[@]}"
doors_print "${engines[@]}"

say "figures"
[ "$(metric entrepot_intercepted_total)" -gt 0 ] || fail "nothing was intercepted"
[ "$(metric 'entrepot_passed_through_total{upstream="private.example",method="PUT"}')" -gt 0 ] || fail "no push was counted"
is "$(metric entrepot_tunnels)" 0 "tunnels"
entrepot_stop
