#!/bin/bash
# The RPM package: what is in it, and its life on a machine that systemd has booted: installed, started, upgraded, upgraded with a
# configuration that the new version refuses, removed. On a Debian, whose libraries it was linked with.
TMPDIR=${TMPDIR:-/var/tmp}
. "$(dirname "$0")/../lib.sh"
RELEASE=$(. /etc/os-release && echo "${VERSION_CODENAME:-}") # what it is linked with is this machine's
BOOTED_MORE=debconf,apt,rpm,libllhttp9.2
[ "$RELEASE" != bookworm ] || BOOTED_MORE=debconf,apt,rpm
. tests/systemd/booted.sh.inc
. tests/packaging/packages.sh.inc
command -v rpmbuild >/dev/null || skip "needs rpmbuild"
case $RELEASE in bookworm | trixie) ;; *) skip "needs a Debian 12 or 13" ;; esac
booted_need
need curl python3
deploy/rpm/build "$W/rpm" >"$W/rpm.log" 2>&1 || fail "make rpm: $(cat "$W/rpm.log")"
rpm=$(ls "$W"/rpm/entrepot-[0-9]*."$(rpm --eval '%{_arch}')".rpm)

# ---- what is in it ----

rpm -qlp "$rpm" >"$W/files"
for file in /usr/bin/entrepot /etc/entrepot/config.yaml /usr/lib/systemd/system/entrepot.service /usr/lib/sysusers.d/entrepot.conf \
    /usr/lib/tmpfiles.d/entrepot.conf; do
    grep -qx "$file" "$W/files" || fail "$file is not in it: $(cat "$W/files")"
done
for page in $(packages_pages); do grep -qF "/usr/share/man/$page" "$W/files" || fail "$page is not in it"; done
is "$(rpm -qcp "$rpm")" /etc/entrepot/config.yaml "what is marked as configuration"

# The same files and scripts as a release that comes after it.
next_release() {
    mkdir -p "$W/next/files"
    rpm2archive "$rpm" >/dev/null && tar -C "$W/next/files" -xf "$rpm.tgz"
    rm -rf "$W/next/files/usr/share/doc" "$W/next/files/usr/share/licenses"
    sed -e 's/^Release:.*/Release: 2/' -e '/^%prep/,/^%files/{/^%files/!d}' -e '/^%license\|^%doc/d' deploy/rpm/entrepot.spec |
        sed -e "s|^%files.*|%install\ncp -a $W/next/files/. %{buildroot}/\necho '# (of 2)' >>%{buildroot}/etc/entrepot/config.yaml\n%files\n%{_datadir}/bash-completion\n%{_datadir}/zsh\n%{_datadir}/fish|" \
            -e '/^Source0/d' >"$W/next/entrepot.spec"
    rpmbuild --nodeps --define "_topdir $W/next" -bb "$W/next/entrepot.spec" >"$W/next.log" 2>&1 || fail "the release after it: $(tail "$W/next.log")"
    find "$W/next/RPMS" -name '*.rpm'
}
next=$(next_release)

# ---- its life ----

booted_make_root
cp "$rpm" "$ROOT/1.rpm"
cp "$next" "$ROOT/2.rpm"
booted_start
rpm_does() { within rpm --nodeps "$@" >"$W/rpm.out" 2>&1 || fail "rpm $*: $(cat "$W/rpm.out")"; }
told() { grep -qE -- "$1" "$W/rpm.out" || fail "rpm's output does not say \"$1\": $(cat "$W/rpm.out")"; }
unsaid() { ! grep -iE 'scriptlet failed|^error|warning: (group|user)' "$W/rpm.out" || fail "$1: $(cat "$W/rpm.out")"; }
is_served() { within curl -sf -o /dev/null http://127.0.0.1:5000/readyz; }
pid() { within systemctl show -p MainPID --value entrepot; }
rpm_does -i /1.rpm
unsaid "install"
unit_is entrepot UnitFileState enabled || fail "it is not enabled, as the presets say"
unit_is entrepot ActiveState inactive || fail "it was started without being asked"
is "$(within stat -c '%U:%G %a' /var/lib/entrepot)" "entrepot:entrepot 700" "the cache's folder"
within entrepot config check >"$W/out" || fail "the configuration in the package: $(cat "$W/out")"
within systemctl start entrepot || fail "it does not start: $(within journalctl -qu entrepot -n 5 --no-pager)"
is_served || fail "it is not served"
is "$(within sh -c "stat -c %U /proc/$(pid)")" entrepot "who runs it"

old=$(pid)
echo '# edited' >>"$ROOT/etc/entrepot/config.yaml"
rpm_does -U /2.rpm
unsaid "upgrade"
is "$(within rpm -q --qf '%{release}' entrepot)" 2 "the release after the upgrade"
is_served || fail "it is not served after an upgrade"
[ "$(pid)" != "$old" ] || fail "an upgrade does not restart it"
grep -q edited "$ROOT/etc/entrepot/config.yaml" || fail "an edited configuration went with the upgrade"
[ -e "$ROOT/etc/entrepot/config.yaml.rpmnew" ] || fail "the package's configuration is not beside the edited one"
unit_is entrepot UnitFileState enabled || fail "it is not enabled after an upgrade"
old=$(pid)
echo 'no_such_key: 1' >>"$ROOT/etc/entrepot/config.yaml"
rpm_does -U --oldpackage /1.rpm
told 'no_such_key'
is "$(pid)" "$old" "the process with a wrong configuration"
is_served || fail "with a wrong configuration it is not served after an upgrade"
sed -i /no_such_key/d "$ROOT/etc/entrepot/config.yaml"

mkdir -p "$ROOT/var/lib/entrepot-setup/containerd"
echo '{}' >"$ROOT/var/lib/entrepot-setup/containerd/journal.json"
rpm_does -e entrepot
unsaid "removal"
told 'still led to entrepot: containerd'
is_served && fail "it is served after the removal"
[ -e "$ROOT/var/lib/entrepot/oci-layout" ] || fail "the cache went with the removal"
grep -q edited "$ROOT/etc/entrepot/config.yaml.rpmsave" || fail "an edited configuration went with the removal"
within sh -c '! test -e /usr/bin/entrepot && ! systemctl cat entrepot' >/dev/null 2>&1 || fail "something is left after the removal"
is "$(within systemctl --failed --no-legend | grep entrepot || true)" "" "units that have failed"
booted_stop
say "$(basename "$rpm"): installed, started, upgraded, removed"
