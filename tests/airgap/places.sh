#!/bin/bash
# A user who may use the admin socket and see nothing of the cache exports and imports through the daemon, with the same bytes. On a
# file system that shares extents, an export is a file of its own that takes no room, and so is an import.
. "$(dirname "$0")/../lib.sh"
. tests/airgap/airgap.sh.inc
need_root

registry_start
image_build hello
image_push hello 1
entrepot_start
pull library/hello:1
digests_of "$W/pulled" x >"$W/want"
layer=$(sed -n 3p "$W/want")
name=docker.io/library/hello:1

say "a user who does not see the cache"
chmod 755 "$W"
mkdir -m 777 "$W/theirs"
as_user() { setpriv --reuid=65534 --regid=65534 --clear-groups -- "$ENTREPOT" "$@" --socket "$W/admin.sock"; }
if as_user export hello:1 -o "$W/theirs/a.tar" 2>"$W/said"; then fail "the socket is for everybody"; fi
grep -q 'member of the socket' "$W/said" || fail "unclear: $(cat "$W/said")"
chmod 700 "$W/cache"
chmod 666 "$W/admin.sock"
as_user export hello:1 -o "$W/theirs/a.tar" >"$W/said" 2>&1 || fail "export: $(cat "$W/said")"
as_user export hello:1 -o "$W/theirs/dir" >"$W/said" 2>&1 || fail "export: $(cat "$W/said")"
is "$(grep -c ': copied, ' "$W/said")" 5 "blobs that came from the daemon"
ask export hello:1 -o "$W/b.tar" >"$W/said"
cmp "$W/theirs/a.tar" "$W/b.tar" || fail "the daemon gives other bytes"
check_layout "$W/theirs/dir"

say "what is damaged in the cache is not exported"
cp "$W/cache/blobs/${layer/://}" "$W/good"
chmod u+w "$W/cache/blobs/${layer/://}"
printf X | dd of="$W/cache/blobs/${layer/://}" bs=1 seek=5000 conv=notrunc status=none
if ask export hello:1 -o "$W/c.tar" >"$W/said" 2>&1; then fail "a damaged blob was exported"; fi
grep -q "$layer is damaged in the cache.*verify --repair" "$W/said" || fail "unclear: $(cat "$W/said")"
[ ! -e "$W/c.tar" ] || fail "a tar of it"
if as_user export hello:1 -o "$W/theirs/c.tar" >"$W/said" 2>&1; then fail "a damaged blob was exported"; fi

say "and imports, from a folder and a tar"
registry_stop
for from in dir a.tar; do
    import_fresh
    chmod 700 "$W/cache"
    chmod 666 "$W/admin.sock"
    as_user import "$W/theirs/$from" >"$W/said" 2>&1 || fail "import: $(cat "$W/said")"
    is "$(grep -c ': imported, ' "$W/said")" 5 "blobs that were sent"
    is "$(served library/hello:1)" "$(cat "$W/want")" "what is served"
done

say "extents are shared"
entrepot_stop
rm -rf "$W/cache"
truncate -s 320M "$W/disk"
mkfs.xfs -q "$W/disk" >/dev/null 2>&1 || skip "no xfs here"
mkdir "$W/mnt"
mount -o loop "$W/disk" "$W/mnt" || skip "no loop devices, or no xfs, here"
mkdir "$W/mnt/cache"
ln -s "$W/mnt/cache" "$W/cache"
CACHE_MORE="min_free: 0%" entrepot_start 9 "offline: true"
cp -r "$W/theirs/dir" "$W/mnt/dir"
used() { sync -f "$W/mnt"; df --output=used -B 1 "$W/mnt" | tail -n 1; }
before=$(used)
ask import "$W/mnt/dir" >"$W/said" 2>&1 || fail "import: $(cat "$W/said")"
is "$(grep -c ': cloned, ' "$W/said") $(grep -c ': imported, ' "$W/said")" "3 2" "blobs shared, and those that are too small for that"
ask export hello:1 -o "$W/mnt/out" >"$W/said" 2>&1 || fail "export: $(cat "$W/said")"
is "$(grep -c ': cloned, ' "$W/said")" 5 "blobs cloned"
[ $(($(used) - before)) -lt 1500000 ] || fail "import and export took $(($(used) - before)) bytes of a 6.5 MB image"
for f in "$W/mnt/dir" "$W/mnt/out" "$W/cache"; do
    is "$(stat -c %h "$f/blobs/${layer/://}")" 1 "links of the layer in $f"
    filefrag -v "$f/blobs/${layer/://}" | grep -q shared || fail "the layer in $f shares nothing"
done
say "writing to one does not touch the other"
chmod u+w "$W/mnt/out/blobs/${layer/://}"
printf X | dd of="$W/mnt/out/blobs/${layer/://}" bs=1 seek=5000 conv=notrunc status=none
is "$(served library/hello:1)" "$(cat "$W/want")" "what is served"
entrepot_stop
umount "$W/mnt"
