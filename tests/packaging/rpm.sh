#!/bin/bash
# The RPM package: what is in it, its scripts, and a boot after it was installed: on a Debian, whose libraries it was linked with.
TMPDIR=${TMPDIR:-/var/tmp}
. "$(dirname "$0")/../lib.sh"
RELEASE=$(. /etc/os-release && echo "${VERSION_CODENAME:-}") # what it is linked with is this machine's
BOOTED_MORE=debconf,apt
. tests/systemd/booted.sh.inc
command -v rpmbuild >/dev/null || skip "needs rpmbuild"
case $RELEASE in bookworm | trixie) ;; *) skip "needs a Debian 12 or 13" ;; esac
booted_need
need curl
deploy/rpm/build "$W/rpm" >"$W/rpm.log" 2>&1 || fail "make rpm: $(cat "$W/rpm.log")"
rpm=$(ls "$W"/rpm/entrepot-[0-9]*."$(rpm --eval '%{_arch}')".rpm)
rpm -qlp "$rpm" >"$W/files"
for file in /usr/bin/entrepot /etc/entrepot/config.yaml /usr/lib/systemd/system/entrepot.service /usr/lib/sysusers.d/entrepot.conf \
    /usr/lib/tmpfiles.d/entrepot.conf; do
    grep -qx "$file" "$W/files" || fail "$file is not in it: $(cat "$W/files")"
done
is "$(rpm -qcp "$rpm")" /etc/entrepot/config.yaml "what is marked as configuration"

booted_make_root
rpm_does() { rpm --root "$ROOT" --nodeps "$@" >"$W/rpm.out" 2>&1 || fail "rpm $*: $(cat "$W/rpm.out")"; }
rpm_does -i "$rpm"
chroot "$ROOT" entrepot config check >"$W/out" || fail "the configuration in the package: $(cat "$W/out")"
booted_start
is_served() { within curl -sf -o /dev/null http://127.0.0.1:5000/readyz; }
unit_is entrepot UnitFileState enabled || fail "it is not enabled, as the presets say"
wait_for 20 is_served || fail "it is not served after a boot: $(within journalctl -qu entrepot -n 5 --no-pager)"
is "$(within stat -c '%U:%G %a' /var/lib/entrepot)" "entrepot:entrepot 700" "the cache's folder"
booted_stop
mkdir -p "$ROOT/var/lib/entrepot-setup/containerd"
echo '{}' >"$ROOT/var/lib/entrepot-setup/containerd/journal.json"
echo '# edited' >>"$ROOT/etc/entrepot/config.yaml"
rpm_does -e entrepot
grep -q 'still led to entrepot: containerd' "$W/rpm.out" || fail "the removal is silent about engines: $(cat "$W/rpm.out")"
[ -e "$ROOT/var/lib/entrepot/oci-layout" ] || fail "the cache went with the removal"
grep -q edited "$ROOT/etc/entrepot/config.yaml.rpmsave" || fail "an edited configuration went with the removal"
say "$(basename "$rpm"): installed, booted, removed"
