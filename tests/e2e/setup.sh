#!/bin/bash
# `entrepot setup` with configurations as people have them; whatever happens to it half way (killed, a full disk, a file system that
# cannot be written to), each file is the old one or the new one, and --undo restores every byte, but not what a hand has written since.
. "$(dirname "$0")/../lib.sh"
need_root
need python3 strace
mkdir "$W/fs"
mount -t tmpfs -o mode=755 none "$W/fs" || skip "cannot mount a tmpfs here"

ENGINES=(podman docker containerd k3s)
FILES=(etc/containers/registries.conf.d/050-entrepot-podman.conf etc/docker/daemon.json etc/containerd/config.toml
    etc/containerd/certs.d/docker.io/hosts.toml etc/rancher/k3s/registries.yaml)
R=$W/fs/root
setup() { "${UNDER[@]}" "$ENTREPOT" setup "${ENGINES[@]}" --root "$R" --registry docker.io --address "127.0.0.1:${PORT:-5000}" "$@" >>"$W/setup.log" 2>&1; }
UNDER=()
pristine() { # a root with lived-in files
    rm -rf "$R"
    cp -a "$W/fs/pristine" "$R"
}
same() { diff -r --no-dereference "$1" "$R" || fail "$2"; }
undone() {
    setup --undo || fail "$1: --undo: $(tail -n 3 "$W/setup.log")"
    same "$W/fs/pristine" "$1: --undo does not restore what was there"
    [ -z "$(ls -A "$R/var/lib")" ] || fail "$1: --undo leaves $(find "$R/var/lib")"
}
old_or_new() { # WHAT
    local f
    for f in "${FILES[@]}"; do
        cmp -s "$W/fs/pristine/$f" "$R/$f" || cmp -s "$W/fs/done/$f" "$R/$f" || [ ! -e "$W/fs/pristine/$f" -a ! -e "$R/$f" ] ||
            fail "$1: $f is neither the old nor the new one"
    done
}

mkdir -p "$W/fs/pristine/var/lib" "$W/fs/pristine/etc/docker" "$W/fs/pristine/etc/containerd" "$W/fs/pristine/etc/rancher/k3s"
printf '{\n  "log-driver": "json-file"\n}\n' >"$W/fs/pristine/etc/docker/daemon.json"
printf '# ours\nversion = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "pause:3.9"\n' >"$W/fs/pristine/etc/containerd/config.toml"
printf 'mirrors:\n  docker.io:\n    endpoint:\n      - "https://mirror.example"\n' >"$W/fs/pristine/etc/rancher/k3s/registries.yaml"
chmod 600 "$W/fs/pristine/etc/rancher/k3s/registries.yaml"

say "configurations as people have them"
python3 tests/e2e/lived_in.py "$ENTREPOT" "$W/fs" || fail "see above"

say "a second address replaces the first, a hand's lines stay, --undo restores the rest"
pristine
setup || fail "setup: $(tail -n 3 "$W/setup.log")"
cp -a "$R" "$W/fs/done"
sed -i '1s/^/# by hand\n/; $s/$/\n[metrics]\n  address = "127.0.0.1:1338"/' "$R/etc/containerd/config.toml"
PORT=5009 setup || fail "a second setup"
grep -q 5009 "$R/etc/containerd/certs.d/docker.io/hosts.toml" || fail "the second address is not there"
! grep -rqs :5000 "$R/etc" || fail "the first address is still there"
setup --undo || fail "--undo after a hand's lines"
printf '# by hand\n# ours\nversion = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "pause:3.9"\n' >"$W/want"
cat "$R/etc/containerd/config.toml" | head -n 5 | diff "$W/want" - || fail "--undo and a hand's lines"
is "$(grep -c 1338 "$R/etc/containerd/config.toml")" 1 "what a hand has written"
! grep -q certs.d "$R/etc/containerd/config.toml" || fail "config_path is still there"

say "a hand has changed our own line: it is named, and left"
pristine
setup
sed -i 's/127.0.0.1:5000/10.0.0.1:5000/' "$R/etc/docker/daemon.json"
cp "$R/etc/docker/daemon.json" "$W/by-hand.json"
! setup --undo || fail "--undo succeeds though a hand has changed the line"
grep -q 'docker: /etc/docker/daemon.json is left as it is: line 2 was changed by hand: .*10.0.0.1:5000' "$W/setup.log" || fail "the line is not named: $(tail -n 5 "$W/setup.log")"
cmp "$W/by-hand.json" "$R/etc/docker/daemon.json" || fail "the hand's line is gone"
! PORT=5009 setup || fail "setup changes what a hand has changed"
cmp "$W/by-hand.json" "$R/etc/docker/daemon.json" || fail "the hand's line is gone"
sed -i 's/10.0.0.1:5000/127.0.0.1:5000/' "$R/etc/docker/daemon.json"
undone "put right by hand"

say "an upgrade has brought the package's own file back"
pristine
setup
cp "$W/fs/pristine/etc/containerd/config.toml" "$R/etc/containerd/config.toml"
setup || fail "after an upgrade"
cmp "$W/fs/done/etc/containerd/config.toml" "$R/etc/containerd/config.toml" || fail "setup after an upgrade does not write config.toml"
rm "$R/etc/docker/daemon.json"
cp "$W/fs/pristine/etc/docker/daemon.json" "$R/etc/docker/daemon.json"
undone "after an upgrade"

say "a symlink is followed within the root, and stays"
pristine
mkdir "$R/opt"
mv "$R/etc/docker/daemon.json" "$R/opt/docker.json"
ln -s /opt/docker.json "$R/etc/docker/daemon.json"
cp -a "$R" "$W/fs/linked"
setup || fail "with a symlink"
[ -L "$R/etc/docker/daemon.json" ] && grep -q 127.0.0.1:5000 "$R/opt/docker.json" || fail "the symlink's target is not written"
[ ! -e /opt/docker.json ] || fail "a symlink has led out of the root"
setup --undo || fail "--undo with a symlink"
same "$W/fs/linked" "--undo with a symlink"

say "two at once: the second one waits for nobody, and says so"
pristine
mkdir -p "$R/var/lib/entrepot-setup"
exec 9<"$R/var/lib/entrepot-setup"
flock -n 9
! setup || fail "two setups at once"
grep -q "another entrepot setup is running" "$W/setup.log" || fail "it does not say why"
exec 9<&-
setup
undone "after waiting"

say "wrong usage"
for wrong in "" "dokcer" "docker --registry http://ghcr.io" "docker --address 5000" "docker --intercept --registry ghcr.io" "docker --undo --check"; do
    status=0
    # shellcheck disable=SC2086
    "$ENTREPOT" setup $wrong >"$W/usage.log" 2>&1 || status=$?
    is "$status" 2 "setup $wrong"
    is "$(wc -l <"$W/usage.log")" 1 "lines of: setup $wrong"
done

say "killed at each of its system calls"
killed() { # SYSCALL N: what runs under UNDER is killed there
    UNDER=("${TRACED[@]}" -o /dev/null -e "trace=$1" -e "inject=$1:signal=SIGKILL:when=$2")
}
ENGINES=(containerd docker)
pristine
setup
cp -a "$R" "$W/fs/short"
runs=0
# openat is left out: a file that was only made is found by what follows it.
for call in write fchmod fchown fsync rename unlink unlinkat mkdir rmdir flock; do
    for undo in "" --undo; do
        for n in $(seq 200); do
            rm -rf "$R"
            [ -z "$undo" ] && cp -a "$W/fs/pristine" "$R" || cp -a "$W/fs/short" "$R"
            killed $call "$n"
            status=0
            { setup $undo || status=$?; } 2>/dev/null
            UNDER=()
            [ $status = 137 ] || break
            runs=$((runs + 1))
            old_or_new "killed at $call $n $undo"
            if [ -z "$undo" ] && [ $((n % 3)) = 0 ]; then
                setup || fail "setup again after $call $n: $(tail -n 3 "$W/setup.log")"
                diff -r -x var "$W/fs/short/etc" "$R/etc" || fail "setup again after $call $n"
            fi
            undone "killed at $call $n $undo"
        done
        is "$status" 0 "setup $undo that is not killed ($call)"
    done
done
say "  $runs times"
[ $runs -gt 100 ] || fail "it was not killed often"

say "a disk that is full"
ENGINES=(podman docker containerd k3s)
full=0
for pages in $(seq 0 3 90); do
    mkdir -p "$W/small"
    mount -t tmpfs -o mode=755,size=1m none "$W/small"
    cp -a "$W/fs/pristine/." "$W/small/"
    dd if=/dev/zero of="$W/small/filler" bs=4k >/dev/null 2>&1 || true
    truncate -s -$((pages * 4096)) "$W/small/filler"
    R=$W/small
    if ! setup; then
        full=$((full + 1))
        old_or_new "$pages pages free"
    fi
    rm "$W/small/filler"
    undone "$pages pages free"
    R=$W/fs/root
    umount "$W/small"
done
grep -q "No space left on device" "$W/setup.log" && [ $full -gt 3 ] || fail "the disk was not full"

say "a file system that cannot be written to"
pristine
mount --bind "$R/etc/docker" "$R/etc/docker"
mount -o remount,bind,ro "$R/etc/docker"
! setup || fail "setup on a read-only file system"
grep -q "docker: writing .*/etc/docker/daemon.json: Read-only file system" "$W/setup.log" || fail "it does not say why: $(tail -n 5 "$W/setup.log")"
old_or_new "read-only"
umount "$R/etc/docker"
undone "read-only"

say "--cache-owner: the folder of the cache for a daemon of another user, but not one with files of others"
pristine
mkdir "$R/etc/entrepot"
echo 'cache: {path: /var/cache/images}' >"$R/etc/entrepot/config.yaml"
setup --cache-owner 65532:65533 || fail "--cache-owner: $(tail -n 3 "$W/setup.log")"
is "$(stat -c '%u:%g %a' "$R/var/cache/images")" "65532:65533 700" "the folder of the cache"
touch "$R/var/cache/images/blob"
setup --cache-owner 65532 || fail "--cache-owner, the second time"
! setup --cache-owner 65531 || fail "a folder with files of another user was given away"
grep -q 'has files of user 65532' "$W/setup.log" || fail "it does not say whose files"
for owner in root 65532: 65532:x -1 99999999999; do
    ! setup --cache-owner "$owner" || fail "--cache-owner $owner is taken"
done
