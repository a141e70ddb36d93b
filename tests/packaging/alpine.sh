#!/bin/bash
# The APKBUILD, as far as it can be tried without Alpine: its shell, its build() and package() as abuild runs them, and what lies in
# pkgdir then; the user that its script makes, by busybox. The library in systemd's place is elogind's, of Debian.
TMPDIR=${TMPDIR:-/var/tmp}
. "$(dirname "$0")/../lib.sh"
. tests/packaging/packages.sh.inc
need_root
need busybox
command -v pkg-config >/dev/null || skip "needs pkg-config"
cd deploy/alpine
for file in APKBUILD entrepot.initd entrepot.pre-install; do
    sh -n $file || fail "$file is no shell script"
    busybox sh -n $file || fail "busybox cannot read $file"
    ! command -v shellcheck >/dev/null || shellcheck -s sh $file >"$W/shellcheck.log" || fail "$(cat "$W/shellcheck.log")"
done
cd ../..
said() { sh -c ". deploy/alpine/APKBUILD; echo \"\$$1\""; }
is "$(said pkgver)" "$(sed -n 's/^VERSION *:= *//p' Makefile)" "its version"
for file in $(said install) $(said source | tr ' ' '\n' | grep -v '\.tar\.gz$'); do
    [ -e "deploy/alpine/$file" ] || fail "it names $file, which is not there"
done

# ---- the library ----

if ! pkg-config --exists libelogind; then
    mkdir "$W/debs"
    (cd "$W/debs" && timeout 60 apt-get -qq download libelogind0 libelogind-dev) >"$W/apt.log" 2>&1 || skip "needs libelogind-dev: $(tail -n 1 "$W/apt.log")"
    for deb in "$W"/debs/*.deb; do dpkg-deb -x "$deb" "$W/elogind"; done
    LD_LIBRARY_PATH=$(find "$W/elogind" -name 'libelogind.so.0' -printf '%h\n')
    ln -s libelogind.so.0 "$LD_LIBRARY_PATH/libelogind.so"
    pc=$(find "$W/elogind" -name libelogind.pc)
    sed -i "s|^libdir=.*|libdir=$LD_LIBRARY_PATH|; s|^includedir=|includedir=$W/elogind|" "$pc"
    export PKG_CONFIG_PATH=${pc%/*}
    export LD_LIBRARY_PATH
fi

# ---- build(), package() ----

# What was compiled for the other tests is linked again; the compiler is told the same but for that library.
srcdir=$W/src pkgdir=$W/pkg
mkdir -p "$srcdir/entrepot" "$pkgdir"
git ls-files -z -co --exclude-standard 2>/dev/null | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh |
    tar --null -T - -cf - | tar -C "$srcdir/entrepot" -xf -
cp -a "${B:-build}" "$srcdir/entrepot/build" 2>/dev/null || true
rm -rf "$srcdir"/entrepot/build/{entrepot,tests,deb,systemd-*}
cp deploy/alpine/entrepot.initd "$srcdir/"
run() { # FUNCTION: in builddir, with what abuild sets, and nothing of what make has set for us
    (cd "$srcdir/entrepot" && env -u MAKEFLAGS -u MAKELEVEL -u B srcdir="$srcdir" pkgdir="$pkgdir" \
        busybox sh -euc ". deploy/alpine/APKBUILD; $1") >"$W/$1.log" 2>&1 || fail "$1(): $(tail -n 5 "$W/$1.log")"
}
run build
run package
readelf -d "$pkgdir/usr/bin/entrepot" | grep 'NEEDED.*libelogind' >/dev/null || fail "it is not linked with elogind's library"
! readelf -d "$pkgdir/usr/bin/entrepot" | grep 'NEEDED.*libsystemd' || fail "it is linked with systemd's library"
"$pkgdir/usr/bin/entrepot" version >"$W/out" || fail "it does not run"
grep -q "$(said pkgver)" "$W/out" || fail "entrepot version says $(cat "$W/out")"
"$pkgdir/usr/bin/entrepot" config show --config "$pkgdir/etc/entrepot/config.yaml" >"$W/out" || fail "its configuration is refused"
is "$(stat -c %a "$pkgdir/etc/init.d/entrepot")" 755 "the mode of init.d/entrepot"
for page in $(packages_pages); do [ -e "$pkgdir/usr/share/man/$page" ] || fail "$page is not in it"; done
is "$(find "$pkgdir" -path '*systemd*' -o -path '*/usr/local*' -o -path '*/usr/lib')" "" "what is of no use on Alpine"
is "$(cd "$pkgdir" && find . -type f ! -path './usr/share/*' | sort | paste -sd ' ')" "./etc/entrepot/config.yaml ./etc/init.d/entrepot ./usr/bin/entrepot" \
    "the files outside of usr/share"

# ---- the script before the installation ----

root=$W/alpine
mkdir -p "$root/bin" "$root/etc" && cp "$(command -v busybox)" "$root/bin/"
for applet in addgroup adduser; do
    busybox --list | grep -x $applet >/dev/null || { say "NOT TRIED: the user (busybox has no $applet)"; exit 0; }
    ln -s busybox "$root/bin/$applet"
done
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"
touch "$root/etc/shadow"
cp deploy/alpine/entrepot.pre-install "$root/"
for time in first second; do
    chroot "$root" /bin/busybox env PATH=/bin /bin/busybox sh /entrepot.pre-install || fail "pre-install fails the $time time"
    is "$(cut -d: -f1,6 "$root/etc/passwd" | paste -sd ' ')" "root:/ entrepot:/var/lib/entrepot" "users after the $time time"
done
is "$(grep -c '^entrepot:' "$root/etc/group")" 1 "groups"
say "build() and package() of the APKBUILD, its user"
