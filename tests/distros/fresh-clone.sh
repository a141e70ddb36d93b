#!/bin/bash
# A fresh clone on a fresh Debian, in a chroot of its own (fresh-clone.sh RELEASE): what README says works, gcc and clang find
# nothing, no package that somebody has is removed, and what cannot be tested is skipped by name. FULL=1: then all of `make test`.
TMPDIR=${TMPDIR:-/var/tmp} # /tmp may be a small tmpfs
. "$(dirname "$0")/../lib.sh"
release=${1:?which release of Debian?}
need_root
need debootstrap git curl
root=$W/root

# Runs a command with mounts and processes of its own, which end with it.
apart() { # [OPTION OF UNSHARE...] COMMAND...
    unshare --mount --pid --fork --kill-child --mount-proc --propagation private "$@" &
    PIDS+=($!)
    wait $!
}
apart true 2>/dev/null || skip "needs namespaces for mounts and processes"
# The chroot becomes its root: engines want a root that is a mount. What is in its /dev/shm goes with it.
enter='mount --rbind "$1" "$1" && cd "$1" && mount --rbind /dev dev && mount -t tmpfs tmpfs dev/shm && mount --rbind /sys sys &&
    mount -t proc proc proc && ip link set lo up && pivot_root . . && umount -l . &&
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C MAKEFLAGS=-j2 bash -ec "cd /src; $2"'
there() { apart bash -c "$enter" bash "$root" "$1"; }             # SCRIPT: in the clone, on the Debian
there_alone() { apart --net bash -c "$enter" bash "$root" "$1"; } # the same without a network
say() { echo "* $* (after $SECONDS s)"; }
log_of() { echo "$W/$1.log"; }
end_of() { grep -A 60 -E '^FAIL|error:' "$(log_of "$1")" | head -n 200 || true; tail -n 15 "$(log_of "$1")"; }
run_there() { # NAME SCRIPT
    say "$1"
    there "$2" >"$(log_of "$1")" 2>&1 || { end_of "$1" >"$W/end"; fail "$1: $(cat "$W/end")"; }
}
no_warning() { ! grep -nE 'warning:|error:' "$(log_of "$1")" || fail "$1 prints warnings"; }
package_is_there() { chroot "$root" dpkg-query -W -f '${db:Status-Abbrev}' "$1" | grep -q '^ii' || fail "$1 was removed"; }

# The mirror that this machine uses, or Debian's own.
find_mirror() {
    local m
    for m in $(awk '$1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; break}} $1 == "URIs:" {print $2}' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null) http://deb.debian.org/debian; do
        curl -sfIL --max-time 20 -o /dev/null "${m%/}/dists/$release/Release" && { echo "$m"; return; }
    done
}
make_debian() {
    local mirror
    [ -e "/usr/share/debootstrap/scripts/$release" ] || skip "this debootstrap does not know $release"
    mirror=$(find_mirror)
    [ -n "$mirror" ] || skip "no mirror of Debian's $release can be reached"
    say "debootstrap $release"
    apart debootstrap --variant=minbase --include=make "$release" "$root" "$mirror" >"$W/debootstrap.log" 2>&1 || fail "debootstrap"
    # How this machine reaches its mirror, and no fsync for what lives a few minutes.
    apt-config dump | grep -E '^Acquire::(https?|Check-|Retries)' >"$root/etc/apt/apt.conf.d/90mirror" || true
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    git -c safe.directory='*' clone -q --no-hardlinks "$PWD" "$root/src"
}

# Commands that must not be run: each leaves a line in /called.
forbid() { # COMMAND...
    mkdir -p "$root/forbidden"
    rm -f "$root/called"
    for c in "$@"; do
        printf '#!/bin/sh\necho %s "$@" >>/called\nexit 1\n' "$c" >"$root/forbidden/$c"
        chmod +x "$root/forbidden/$c"
    done
}
was_not_called() { [ ! -e "$root/called" ] || fail "$1 calls $(cat "$root/called")"; }

builds_and_serves() {
    run_there make "make"
    no_warning make
    say "make run, and a request to 127.0.0.1:5000/v2/"
    there_alone '
        make run >run.log 2>&1 &
        for _ in $(seq 100); do (: </dev/tcp/127.0.0.1/5000) 2>/dev/null && break; sleep 0.1; done
        exec 3<>/dev/tcp/127.0.0.1/5000
        printf "GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" >&3
        head -n 1 <&3' >"$W/run.log" 2>&1 || true
    grep -q '^HTTP/1.1 200 ' "$W/run.log" || fail "make run: $(cat "$W/run.log" "$root/src/run.log")"
}

installs_without_apt() {
    say "make install, and make with ENTREPOT_SKIP_PACKAGES, call neither apt nor a compiler"
    forbid apt-get apt-cache apt dpkg-query cc gcc
    there 'PATH=/forbidden:$PATH; make install DESTDIR=/installed PREFIX=/usr; ENTREPOT_SKIP_PACKAGES=1 make' >"$W/install.log" 2>&1 ||
        fail "make install: $(tail -n 5 "$W/install.log")"
    was_not_called "make install"
    [ -x "$root/installed/usr/bin/entrepot" ] || fail "nothing was installed"
}

# Nothing but what the build needs is installed: the unit tests pass, all others are skipped, each by the name of what it needs.
skips_by_name() {
    # (The collector's model needs no tool: a hundredth of it.)
    run_there unit "tests/packages libcmocka-dev; ENTREPOT_SKIP_PACKAGES=1 OPERATIONS=10000 make test"
    no_warning unit
    grep -E '^(FAIL|skip)' "$W/unit.log" | grep -v '^skip  [^ ]*: needs ' && fail "these are not skipped by name"
    is "$(grep -c '^ok    unit/test_' "$W/unit.log")" "$(find tests/unit -name 'test_*.c' | wc -l)" "unit tests that pass"
    tail -n 1 "$W/unit.log"
}

# Packages with the relations and the commands of Docker CE's.
dummy() { # NAME FIELDS COMMAND...
    local dir=$root/dummy/$1 c
    mkdir -p "$dir/DEBIAN" "$dir/usr/bin"
    printf 'Package: %s\nVersion: 99\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: a dummy\n%b' "$1" "$2" \
        >"$dir/DEBIAN/control"
    shift 2
    for c in "$@"; do printf '#!/bin/sh\n' >"$dir/usr/bin/$c" && chmod +x "$dir/usr/bin/$c"; done
    dpkg-deb -b "$dir" "$dir.deb" >/dev/null
}
keeps_docker_ce() {
    dummy containerd.io 'Provides: containerd, runc\nConflicts: containerd, runc\nReplaces: containerd, runc\n' containerd ctr runc
    dummy docker-ce-cli 'Conflicts: docker.io, docker-cli\nReplaces: docker.io, docker-cli\n' docker
    dummy docker-ce 'Depends: containerd.io, docker-ce-cli\nConflicts: docker.io\nReplaces: docker.io\n' dockerd
    run_there docker-ce 'dpkg -i /dummy/*.deb; apt-get update -qq
        apt-get -s install docker.io | grep "^Remv docker-ce" # or this shows nothing
        make test-deps TEST_PKGS="-- \$(ENGINE_PKGS)"
        for c in dockerd docker containerd runc podman skopeo; do command -v $c; done'
    say "also where a conflicting package is wanted by name"
    there 'tests/packages -- docker.io tmux=' >"$W/optional.log" 2>&1 || fail "optional: $(cat "$W/optional.log")"
    grep -q '^not installing docker.io: it would remove .*docker-ce' "$W/optional.log" || fail "optional: $(cat "$W/optional.log")"
    package_is_there tmux # what does not conflict is installed
    there 'tests/packages docker.io' >"$W/needed.log" 2>&1 && fail "docker.io is needed, cannot be had, and nobody says so"
    grep -q 'cannot be installed beside what is here: docker.io' "$W/needed.log" || fail "needed: $(cat "$W/needed.log")"
    for p in docker-ce docker-ce-cli containerd.io; do package_is_there $p; done
    chroot "$root" dpkg -P docker-ce docker-ce-cli containerd.io >/dev/null 2>&1 || true
}

builds_with_clang() {
    run_there clang "tests/packages clang=; ENTREPOT_SKIP_PACKAGES=1 make CC=clang B=build-clang tests-built"
    no_warning clang
}

passes_everything() {
    run_there test-deps "make test-deps"
    say "make test"
    there_alone "make test" >"$W/test.log" 2>&1 || fail "make test: $(grep -vE '^ok ' "$W/test.log" | tail -n 80)"
    grep '^skip' "$W/test.log" || true
    tail -n 1 "$W/test.log"
}

make_debian
builds_and_serves
skips_by_name
installs_without_apt
keeps_docker_ce
builds_with_clang
[ -z "${FULL:-}" ] || passes_everything
