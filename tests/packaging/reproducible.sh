#!/bin/bash
# The package that is built twice is the same, byte for byte (RELEASE): with its unit tests and without them, from a clone of another
# time. What ENTREPOT_CHROOTS keeps is used; the package of packages/life is one of the two.
TMPDIR=${TMPDIR:-/var/tmp}
. "$(dirname "$0")/../lib.sh"
. tests/systemd/booted.sh.inc
. tests/packaging/packages.sh.inc
packages_need
packages_make
# The same files with other times and modes, and without git; one job at a time, and the unit tests.
mkdir "$W/source"
git ls-files -z -co --exclude-standard 2>/dev/null | tar --null -T - --ignore-failed-read -cf - 2>/dev/null | tar -C "$W/source" -xmf - ||
    cp -r . "$W/source/"
chmod -R g+w "$W/source"
SOURCE=$W/source OPTIONS=${AGAIN:-parallel=1} deploy/debian/build "$RELEASE" "$W/again" >"$W/again.log" 2>&1 || fail "$(cat "$W/again.log")"
[ -n "${AGAIN:-}" ] || grep -q '^ok    unit/test_' "$W/again/build.log" || fail "the unit tests do not run in a build"
for file in "$PACKAGES/$RELEASE"/entrepot*.deb "$PACKAGES/$RELEASE"/entrepot*.dsc "$PACKAGES/$RELEASE"/entrepot*.tar.*; do
    is "$(sha256sum <"$W/again/${file##*/}")" "$(sha256sum <"$file")" "${file##*/}, built twice"
    say "$(sha256sum <"$file" | cut -c 1-64) ${file##*/}, twice"
done
