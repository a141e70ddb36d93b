#!/bin/bash
# What a newcomer does with README's "Running it" on a machine that systemd has booted: each of its commands is taken out of
# README.md and run as it stands, by somebody who may use sudo. RELEASE=trixie: on another Debian.
. "$(dirname "$0")/../lib.sh"
. tests/systemd/booted.sh.inc
booted_need
[ "${B:-build}" = build ] || skip "README installs what is in build/"

# ---- README's commands ----

sed -n '/^## Running it/,/^## How it compares/p' README.md | sed -n 's/^    //p' >"$W/lines"
sed -i '/^200 nodes\|^entrepot  \|^distribution/d' "$W/lines"
: >"$W/done"
do_it() { # PATTERN: the one line of README that matches, which must succeed
    local line
    line=$(grep -E -- "$1" "$W/lines") || fail "README has no command like \"$1\""
    is "$(echo "$line" | wc -l)" 1 "README's commands like \"$1\""
    # What stands after two spaces tells about a command.
    line=${line%%  *}
    echo "$1" >>"$W/done"
    as_admin "$line" >"$W/out" 2>&1 || fail "README says \"$line\": $(tail -n 5 "$W/out"; within journalctl -qu entrepot -n 15 --no-pager)"
    say "$line"
}
main_pid() { within systemctl show -p MainPID --value entrepot; }
serves() { within curl -sf -o /dev/null http://127.0.0.1:5000/readyz; }
log_has_now() { within journalctl -qu entrepot --since "$1" -o cat --no-pager >"$W/journal" && grep -qE -- "$2" "$W/journal"; }
log_has() { wait_for 10 log_has_now "$1" "$2"; } # SINCE PATTERN; the journal may be a little behind
# More than five starts in ten seconds are refused; a test is that fast.
forget_starts() { within systemctl reset-failed entrepot.service entrepot.socket 2>/dev/null || true; }
now() { within date '+%F %T'; }

# ---- the machine, with a registry on it ----

booted_make_root
registry_start
image_build demo
image_push demo 1
registry_stop
cp -r "$W/registry" "$ROOT/srv/registry"
cp "$(command -v docker-registry)" "$ROOT/usr/local/bin/"
sed "s|$W/registry|/srv/registry|; s|127.0.0.1:$REGISTRY_PORT|127.0.0.1:5555|" "$W/registry.yml" >"$ROOT/etc/registry.yml"
booted_start
within systemd-run -q --unit=registry /usr/local/bin/docker-registry serve /etc/registry.yml
within systemctl --failed --no-legend | grep . && fail "the machine is not well before anything was done"

# This machine's disk may be fuller than `min_free` wants.
within mkdir -p /run/systemd/system/entrepot.service.d
printf '[Service]\nEnvironment=ENTREPOT_CACHE_MIN_FREE=0B\n' | within tee /run/systemd/system/entrepot.service.d/room.conf >/dev/null

# ---- install, enable ----

# With DESTDIR nothing of the machine is touched.
mkdir "$W/fake"
for c in systemd-sysusers systemctl; do printf '#!/bin/sh\ntouch %s/called\n' "$W" >"$W/fake/$c"; done
chmod 755 "$W"/fake/*
env -u MAKEFLAGS -u MAKELEVEL PATH="$W/fake:$PATH" make -s install DESTDIR="$W/staged" PREFIX=/usr >"$W/out" || fail "$(cat "$W/out")"
[ -e "$W/staged/usr/lib/sysusers.d/entrepot.conf" ] || fail "make install DESTDIR= leaves sysusers.d out"
[ ! -e "$W/called" ] || fail "make install DESTDIR= changes the machine that it runs on"

do_it '^sudo make install'
do_it '^sudo systemctl enable --now entrepot$'
serves || fail "nothing is served"
unit_is entrepot ActiveState active || fail "not active"
unit_is entrepot StatusErrno 0 || fail "not well"
within sh -c 'systemd-analyze verify --man=no /usr/lib/systemd/system/entrepot*' 2>"$W/verify.log" ||
    fail "the units: $(cat "$W/verify.log")"
[ ! -s "$W/verify.log" ] || fail "the units: $(cat "$W/verify.log")"

# Its folders, and its socket, are its own.
owner() { within stat -c '%U:%G %a' "$1"; }
is "$(owner /var/lib/entrepot)" "entrepot:entrepot 700" "/var/lib/entrepot"
is "$(owner /run/entrepot)" "entrepot:entrepot 755" "/run/entrepot"
is "$(owner /run/entrepot/admin.sock)" "entrepot:entrepot 660" "the admin socket"
is "$(within find /var/lib/entrepot ! -user entrepot)" "" "files of others in the cache"
is "$(within stat -c %U "/proc/$(main_pid)")" entrepot "who runs it"
# As tight as it was: lower is better.
exposure=$(within systemd-analyze security entrepot --no-pager | sed -n 's/.*Overall exposure level for entrepot.service: \([0-9.]*\).*/\1/p')
awk -v e="$exposure" 'BEGIN {exit !(e > 0 && e <= 1.1)}' || fail "systemd-analyze security says $exposure"
say "exposure $exposure"

# ---- a configuration ----

cat >"$ROOT/etc/entrepot/config.yaml" <<'YAML'
upstreams:
  - name: docker.io
    endpoints: ["http://127.0.0.1:5555"]
    insecure: true
YAML
do_it '^sudo entrepot config check'
grep -q 'good for the user entrepot' "$W/out" || fail "config check: $(cat "$W/out")"
since=$(now)
do_it '^sudo systemctl reload entrepot'
log_has "$since" 'configuration reloaded: upstreams' || fail "the reload does not say what it has applied"

# Only a member of the group may use the commands.
as_admin 'entrepot status' >"$W/out" 2>&1 && fail "everybody may use the admin socket"
grep -q "member of the socket's group" "$W/out" || fail "status: $(cat "$W/out")"
as_admin 'sudo entrepot status' >/dev/null || fail "root may not ask for the status"
do_it '^sudo usermod -aG entrepot'
as_admin 'entrepot pull demo:1' >"$W/out" 2>&1 || fail "pull: $(cat "$W/out")"
do_it '^entrepot status'
do_it '^entrepot ls'
grep -q 'docker.io/library/demo:1' "$W/out" || fail "ls: $(cat "$W/out")"
as_admin 'entrepot inspect demo:1' >/dev/null || fail "inspect"
do_it '^entrepot verify'
do_it '^entrepot offline on'
as_admin 'entrepot offline off' >/dev/null
do_it '^curl 127.0.0.1:5000/metrics'
grep -q '^entrepot_cache_blobs' "$W/out" || fail "metrics: $(cat "$W/out")"

# ---- reload: what is wrong is refused, and what can change does ----

cp "$ROOT/etc/entrepot/config.yaml" "$W/good.yaml"
pid=$(main_pid)
forget_starts
echo 'workers: many' >>"$ROOT/etc/entrepot/config.yaml"
within systemctl reload entrepot 2>/dev/null && fail "a configuration that cannot be used is reloaded"
log_has "$since" 'line 5: workers' || fail "the journal does not say what is wrong with the configuration"
(cat "$W/good.yaml"; echo 'log: {level: debug}') >"$ROOT/etc/entrepot/config.yaml"
within systemctl reload entrepot || fail "the reload fails"
is_at_debug() { serves && log_has_now "$since" 'GET /readyz'; }
wait_for 10 is_at_debug || fail "log.level does not change by a reload"
is "$(main_pid)" "$pid" "the process after reloads"
# The journal knows levels: none of it is an error.
within journalctl -qu entrepot -p err --since "$since" -o cat --no-pager -t entrepot | grep -v 'workers' >"$W/errors" || true
[ ! -s "$W/errors" ] || fail "errors in the journal: $(cat "$W/errors")"
cp "$W/good.yaml" "$ROOT/etc/entrepot/config.yaml"
within systemctl reload entrepot

# ---- kill -9 ----

within sh -c "kill -9 $pid"
restarted() { [ "$(main_pid)" != "$pid" ] && unit_is entrepot ActiveState active && serves; }
wait_for 15 restarted || fail "it is not restarted after kill -9"
as_admin 'entrepot ls' | grep -q demo:1 || fail "the cache is not what it was after kill -9"

# ---- a process that stands still: with a shorter time than the unit's, for which the machine would be waited for ----

unit_is entrepot WatchdogUSec 30s || fail "the unit has no watchdog"
within mkdir -p /run/systemd/system/entrepot.service.d
printf '[Service]\nWatchdogSec=3\n' | within tee /run/systemd/system/entrepot.service.d/watchdog.conf >/dev/null
within systemctl daemon-reload
forget_starts
within systemctl restart entrepot
pid=$(main_pid)
sleep 5
is "$(main_pid)" "$pid" "a process whose loops turn"
within sh -c "kill -STOP $pid"
wait_for 15 restarted || fail "systemd does not end a process that stands still"
as_admin 'entrepot ls' | grep -q demo:1 || fail "the cache is not what it was after the watchdog"
within rm /run/systemd/system/entrepot.service.d/watchdog.conf
within systemctl daemon-reload

# ---- the socket unit, for a service that is running ----

forget_starts
do_it '^sudo systemctl enable entrepot.socket'
do_it '^sudo systemctl restart entrepot'
unit_is entrepot.socket ActiveState active || fail "the socket is not opened by the restart"
serves || fail "nothing is served on the socket"
says_where() { within journalctl -q "_PID=$(main_pid)" -o cat --no-pager | grep -q 'serves on 127.0.0.1:5000 '; }
wait_for 10 says_where || fail "the log does not say where it listens"
# Whoever comes while it is stopped starts it, and waits.
within systemctl stop entrepot 2>/dev/null
is "$(within curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:5000/v2/library/demo/manifests/1 -H 'Accept: */*')" 200 \
    "a pull that starts the service"
unit_is entrepot ActiveState active || fail "the pull did not start the service"

# ---- the timer ----

do_it '^sudo systemctl enable --now entrepot-verify.timer'
unit_is entrepot-verify.timer ActiveState active || fail "the timer is not active"
unit_is entrepot-verify.timer NextElapseUSecRealtime "" && fail "the timer has no next time"
blob=$(find "$ROOT/var/lib/entrepot/blobs/sha256" -type f -size +1M | head -n 1)
printf X | dd of="$blob" bs=1 seek=1000 conv=notrunc status=none
within systemctl start entrepot-verify.service 2>/dev/null && fail "verify found damage, and its unit says nothing"
is "$(sha256sum <"$blob" | cut -d ' ' -f 1)" "$(basename "$blob")" "the blob that verify --repair repairs"
within systemctl start entrepot-verify.service || fail "verify fails: $(within journalctl -qu entrepot-verify -n 5 --no-pager)"

# ---- a cache elsewhere: what is wrong, and the two lines that put it right ----

(cat "$W/good.yaml"; echo 'cache: {path: /srv/images}') >"$ROOT/etc/entrepot/config.yaml"
within entrepot config check >"$W/out" 2>&1 && fail "config check does not see that the unit may not write to /srv/images"
grep -q 'read-only for entrepot.service; .*ReadWritePaths=/srv/images' "$W/out" || fail "config check: $(cat "$W/out")"
since=$(now)
forget_starts
within systemctl restart entrepot 2>/dev/null && fail "it starts with a cache that it cannot write"
log_has "$since" '/srv/images.*Read-only file system; .*`\[Service\]` and `ReadWritePaths=/srv/images`' ||
    fail "the log does not say what to do: $(within journalctl -qu entrepot -n 5 -o cat --no-pager)"
# Done as it is said there, `systemctl edit` by hand.
within sh -c "$(log=$(within journalctl -qu entrepot --since "$since" -o cat --no-pager); echo "$log" | sed -n 's/.*run `\(install [^`]*\)`.*/\1/p' | head -n 1)"
within mkdir -p /etc/systemd/system/entrepot.service.d
printf '[Service]\nReadWritePaths=/srv/images\n' >"$ROOT/etc/systemd/system/entrepot.service.d/override.conf"
within systemctl daemon-reload
within entrepot config check >"$W/out" 2>&1 || fail "config check with the drop-in: $(cat "$W/out")"
forget_starts
within systemctl restart entrepot || fail "it does not start with the drop-in"
as_admin 'entrepot pull demo:1' >"$W/out" 2>&1 || fail "pull: $(cat "$W/out")"
[ -n "$(find "$ROOT/srv/images/blobs" -type f)" ] || fail "nothing is in /srv/images"

# ---- secrets the service's user cannot read, or the unit does not show ----

secret() { # FILE
    printf '%s\n' 'upstreams:' '  - name: docker.io' "    credentials: {username: someone, password_file: $1}" \
        >"$ROOT/etc/entrepot/config.yaml"
}
within sh -c 'umask 077; echo not-a-secret >/etc/entrepot/password; echo not-a-secret >/home/password; chmod 644 /home/password'
secret /etc/entrepot/password
within entrepot config check >"$W/out" 2>&1 && fail "config check as root says good where the service cannot read the password"
grep -q 'as the user entrepot: .*password_file.*Permission denied' "$W/out" || fail "config check: $(cat "$W/out")"
within chown entrepot /etc/entrepot/password
within entrepot config check >"$W/out" 2>&1 || fail "config check: $(cat "$W/out")"
secret /home/password
within entrepot config check >"$W/out" 2>&1 && fail "config check does not see that the unit has no /home"
grep -q 'ProtectHome' "$W/out" || fail "config check: $(cat "$W/out")"
within entrepot config check --user root >/dev/null || fail "config check --user root"
cp "$W/good.yaml" "$ROOT/etc/entrepot/config.yaml"

# ---- stop ----

do_it '^sudo journalctl'
grep -q 'serves on' "$W/out" || fail "the journal: $(tail -n 3 "$W/out")"
since=$(now)
do_it '^sudo systemctl stop'
within curl -s http://127.0.0.1:5000/v2/ && fail "a pull starts it after the stop"
unit_is entrepot Result success || fail "it does not stop well"
log_has "$since" '^stopped$' || fail "it does not stop in order"
# Nothing in README was passed over; entrepot's own commands beyond these are the other suites'.
while read -r line; do
    case $line in "sudo "* | "curl "*)
        while read -r p; do echo "$line" | grep -qE -- "$p" && continue 2; done <"$W/done"
        fail "README's \"$line\" was not tried"
        ;;
    esac
done <"$W/lines"
booted_stop
