#!/bin/bash
# A way from nothing to the first warm pull, as docs/operations.md has it: WAY RELEASE. Its commands and no others are run, one after the
# other, on machines that have nothing of entrepot: see machine.sh.inc for what is there. The second pull must cost the registry nothing.
TMPDIR=${TMPDIR:-/var/tmp} # /tmp may be a small tmpfs
. "$(dirname "$0")/../lib.sh"
WAY=$1 RELEASE=$2
. tests/systemd/booted.sh.inc
. tests/walks/machine.sh.inc
. tests/walks/ways.sh.inc
PATH=$PATH:${ENTREPOT_KUBERNETES:-/var/cache/entrepot-tests/kubernetes}/bin
machine_need
[ -s "$OUT/of" ] || skip "needs what walks/build makes"
DEB=$(echo "$CLONE/build/deb/$RELEASE"/entrepot_*.deb)
python3 tests/walks/ways.py docs/operations.md "$WAY" >"$W/commands" || fail "$(cat "$W/commands")"
sed -i "s/bookworm/$RELEASE/g" "$W/commands"
[ -s "$W/commands" ] || fail "docs/operations.md has no way \"$WAY\""

# ---- its commands ----

at_build() { # they were run by walks/build
    local seconds
    seconds=$(awk -F '\t' -v c="$1" '$2 == c {print $1}' "$OUT/built")
    [ -n "$seconds" ] || fail "walks/build has not run: $1"
    BUILD=$(awk -v a="$BUILD" -v b="$seconds" 'BEGIN {print a + b}')
}
at_node() { as_admin "cd ~/entrepot && { $1; }"; }
at_outside() { at_node "$1"; }
at_inside() { as_admin "cd ~ && { $1; }"; }

walk() {
    local where mark command place=build began
    BUILD=0 NODE=0 COMMANDS=0 WARM=
    while IFS=$'\t' read -r where mark command <&3; do
        COMMANDS=$((COMMANDS + 1))
        [ "$where" = build ] && { at_build "$command"; continue; }
        [ "$where" = "$place" ] || "arrive_$where"
        place=$where
        [ "$mark" != warm ] || READS=$(upstream_reads)
        began=${EPOCHREALTIME/./}
        "at_$where" "$command" >"$W/out.log" 2>&1 || fail "$WAY: \"$command\": $(tail -n 8 "$W/out.log"; walk_why)"
        seconds=$(awk -v n="${EPOCHREALTIME/./}" -v b="$began" 'BEGIN {printf "%.1f", (n - b) / 1000000}')
        say "$seconds s: $command"
        sed 's/^/    /' "$W/out.log" | tail -n 6 | cut -c 1-200
        [ -n "$WARM" ] || NODE=$(awk -v a="$NODE" -v b="$seconds" 'BEGIN {print a + b}')
        case $mark in
        cold) [ "$(upstream_reads)" -ge 3 ] || fail "the cold pull read nothing of the registry" ;;
        warm) WARM=yes && is "$(upstream_reads)" "$READS" "what was read of the registry by the warm pull" ;;
        esac
    done 3<"$W/commands"
    [ -n "$WARM" ] || fail "no command is marked as the warm pull"
    # The last command shows it: the pull that ended last had all from the cache, nothing of the registry. A pull is listed when it has ended,
    # half a minute after its last request at the latest.
    command=$(tail -n 1 "$W/commands" | cut -f 3)
    for _ in $(seq 9); do
        "at_$place" "$command" >"$W/out.log" 2>&1
        ! shows_warm <"$W/out.log" || return 0
        sleep 5
    done
    fail "\"$command\" does not show a warm pull: $(cat "$W/out.log")"
}
walk_why() { within journalctl -q -n 15 --no-pager -o cat 2>/dev/null || true; }
shows_warm() { # stdin: what `entrepot pulls` prints; FROM CACHE and UPSTREAM are sizes
    grep ' ok ' | tail -n 1 | grep -qE ' [1-9][0-9.]* [KM]iB +0 B +[0-9.]+ s +ok +docker.io/library/alpine:3'
}

upstream_make
walk
echo "| $WAY, Debian $RELEASE | $COMMANDS | $BUILD | $NODE |"
