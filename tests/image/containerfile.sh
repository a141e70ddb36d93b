#!/bin/bash
# Containerfile, built by buildah from a base without network: the same program, user and healthcheck as `make image`, and it runs.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
need buildah tar jq
BASE=${ENTREPOT_IMAGE_BASE:-}
[ -d "$BASE" ] || skip "no base: $(tail -n 1 "${logs:-/nowhere}/image-tools.log" 2>/dev/null)"
b() { buildah --root "$W/store" --runroot "$W/run" --storage-driver vfs "$@"; }

mkdir "$W/source" "$W/base"
git ls-files -z | xargs -0 tar -c | tar -x -C "$W/source"
printf 'FROM scratch\nADD base.tar /\n' >"$W/base/Containerfile"
tar -C "$BASE" --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* -cf "$W/base/base.tar" .
b bud --isolation chroot -q -t base:1 "$W/base" >"$W/base.log" 2>&1 || skip "buildah makes no image here: $(tail -n 1 "$W/base.log")"
rm "$W/base/base.tar"
b bud --isolation chroot --format docker --build-arg BASE=localhost/base:1 --build-arg ENTREPOT_SKIP_PACKAGES=1 \
    --build-arg SOURCE_DATE_EPOCH=1000000000 --timestamp 1000000000 -t entrepot:1 "$W/source" >"$W/build.log" 2>&1 || fail "$(tail -n 5 "$W/build.log")"
b inspect --type image entrepot:1 | jq .Docker >"$W/inspect.json"
is "$(jq -c '[.config.User, .config.Entrypoint, .config.Cmd, .config.Healthcheck.Test]' "$W/inspect.json")" \
    '["65532:65532",["/usr/bin/entrepot"],["serve"],["CMD","/usr/bin/entrepot","status"]]' "its configuration"
container=$(b from --pull-never entrepot:1)
root=$(b mount "$container")
is "$(find "$root/usr/bin" "$root/usr/sbin" -type f 2>/dev/null | sed "s|$root||")" /usr/bin/entrepot "its programs"
is "$(stat -c '%u %a' "$root/var/lib/entrepot")" "65532 700" "the cache's folder"
is "$(chroot --userspec=65532:65532 "$root" /usr/bin/entrepot version | sed -n 's/^entrepot *//p')" "$(sed -n 's/^VERSION *:= *//p' Makefile)" "its version"
b umount "$container" >/dev/null
b rm "$container" >/dev/null
