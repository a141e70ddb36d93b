#!/bin/bash
# A package's life on a machine that systemd has booted (RELEASE): installed, started, upgraded from the index's old schema and from its
# own, downgraded, removed, installed again, purged; and pulls that go on meanwhile.
TMPDIR=${TMPDIR:-/var/tmp} # /tmp may be a small tmpfs
. "$(dirname "$0")/../lib.sh"
. tests/systemd/booted.sh.inc
. tests/packaging/packages.sh.inc
packages_need
packages_make

# ---- a machine with a registry ----

IMAGES=6
booted_make_root
registry_start
for i in $(seq $IMAGES); do
    LAYER_BYTES=${LAYER_BYTES:-4000000} image_build "i$i"
    image_push "i$i" 1
done
registry_stop
cp -r "$W/registry" "$ROOT/srv/registry"
cp "$(command -v docker-registry)" "$ROOT/usr/local/bin/"
sed "s|$W/registry|/srv/registry|; s|127.0.0.1:$REGISTRY_PORT|127.0.0.1:5555|" "$W/registry.yml" >"$ROOT/etc/registry.yml"
packages_again 0.0.9
packages_again 0.0.10
cp "$NEW" "$ROOT/new.deb"
VERSION=$(dpkg-deb -f "$NEW" Version)
booted_start
# Once it was stopped, systemd forgets the unit a moment later.
registry_unit() { within systemd-run -q --collect --unit=registry /usr/local/bin/docker-registry serve /etc/registry.yml; }
registry_on() { wait_for 20 registry_unit || fail "the registry does not start"; }
registry_on

dpkg_does() { # WHAT ARGUMENT...: nobody is asked
    local what=$1
    shift
    within env DEBIAN_FRONTEND=noninteractive dpkg "$@" </dev/null >"$W/dpkg.out" 2>&1 || fail "$what: $(cat "$W/dpkg.out")"
    ! grep -iE '^dpkg: (warning|error)|failed' "$W/dpkg.out" | grep -vE 'downgrading|not empty so not removed' || fail "$what: $(cat "$W/dpkg.out")"
}
install_it() { dpkg_does "$1" --force-confold -i "/$2"; } # WHAT FILE: an edited configuration stays
told() { grep -qE -- "$1" "$W/dpkg.out" || fail "dpkg's output does not say \"$1\": $(cat "$W/dpkg.out")"; }
is_version() { is "$(within dpkg-query -W -f '${Version}' entrepot)" "$1" "the version"; }
is_served() { within curl -sf -o /dev/null http://127.0.0.1:5000/readyz; }
pull() { # IMAGE
    nsenter -t "$INIT" -n skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:5000/library/$1:1" "dir:$W/pulled" && rm -r "$W/pulled"
}
log_has() { log_since "$1" >"$W/journal" && grep -q -- "$2" "$W/journal"; } # SINCE PATTERN; a pipe would break where grep has found it
log_since() { within journalctl -q -u entrepot --since "$1" -o cat --no-pager; }
now() { within date '+%F %T'; }
files_of_cache() { within sh -c 'cd /var/lib/entrepot && find blobs -type f | wc -l'; }
edit() { # MORE YAML: as an administrator does, by hand
    printf '%s\n' 'cache: {max_size: 24MiB, min_free: 0B}' 'gc: {grace: 1s, interval: 1s}' 'upstreams:' \
        '  - {name: docker.io, endpoints: ["http://127.0.0.1:5555"], insecure: true}' "$@" >"$ROOT/etc/entrepot/config.yaml"
}
# Five starts in ten seconds are all that systemd allows, and a test is that fast.
forget_starts() { within systemctl reset-failed entrepot.service entrepot.socket 2>/dev/null || true; }

# ---- pulls that go on ----

pulls_begin() {
    rm -f "$W/pulls"
    nsenter -t "$INIT" -n python3 tests/packaging/pulls.py http://127.0.0.1:5000 4 "$W/pulls" $(seq -f 'library/i%g:1' $IMAGES) &
    PULLS=$!
    PIDS+=("$PULLS")
    sleep 1.5
}
pulls_end() { # WHAT: what went through and failed, as a line of the table
    sleep 1.5
    kill -TERM $PULLS
    wait $PULLS || fail "$1: the pulls end with $?"
    jq -r --arg w "$1" '"| \($w) | \(.pulls) | \(.refused) | \(.cut) | \(.status) | \(.digest) | \(.gap) s | \(.longest) s |"' "$W/pulls" >>"$W/table"
    tail -n 1 "$W/table"
    # Whom did it wait for?
    if jq -e '.longest > 3' "$W/pulls" >/dev/null; then
        say "$1: the longest pull took $(jq -r .longest "$W/pulls") s; $(jq -r .in_it "$W/pulls")"
        log_since -1min | tail -n 60
    fi
    jq -e '.pulls > 10 and .cut == 0 and .status == 0 and .digest == 0' "$W/pulls" >/dev/null || fail "$1: pulls fail: $(cat "$W/pulls")"
}
none_failed() { jq -e '.refused == 0' "$W/pulls" >/dev/null || fail "$1: pulls are refused: $(cat "$W/pulls")"; }
few_refused() { jq -e '.gap < 8' "$W/pulls" >/dev/null || fail "$1: nobody listens for $(jq .gap "$W/pulls") s"; } # of a version that cannot
# The restart is systemd's, so that the service runs, and a pull in its name goes through, before dpkg returns.
changes() { # WHAT FILE
    pulls_begin
    forget_starts
    install_it "$1" "$2"
    is_served || fail "$1: it is not served: $(log_since -1min | tail)"
    pulls_end "$1"
}

# ---- install ----

dpkg-deb -c "$NEW" >"$W/files"
for page in $(packages_pages); do grep -qF "/usr/share/man/$page" "$W/files" || fail "$page is not in the package"; done
dpkg_does "install" -i /0.0.9.deb
told 'enabled, and not started'
is "$(within systemctl is-enabled entrepot entrepot.socket entrepot-verify.timer 2>/dev/null | paste -sd ' ')" "enabled disabled disabled" \
    "what is enabled"
unit_is entrepot ActiveState inactive || fail "it was started without being asked"
is "$(within stat -c '%U:%G %a' /var/lib/entrepot)" "entrepot:entrepot 700" "the cache's folder"
within entrepot config check >"$W/out" || fail "the configuration in the package: $(cat "$W/out")"
is "$(grep -vc '^#\|^$' "$ROOT/etc/entrepot/config.yaml")" 0 "lines of the configuration that set something"
[ ! -e "$ROOT/var/lib/entrepot-setup" ] || fail "an engine was changed by the installation"
edit
within systemctl start entrepot || fail "it does not start: $(log_since -1min)"
is "$(within sh -c 'stat -c %U /proc/$(systemctl show -p MainPID --value entrepot)')" entrepot "who runs it"
pull i1
within entrepot pin i1:1 >/dev/null
say "installed, started, a pull through it"

# ---- the configuration, edited by hand ----

within env DEBIAN_FRONTEND=noninteractive dpkg -i /0.0.10.deb </dev/null >"$W/dpkg.out" 2>&1 && fail "an edited configuration is replaced"
told "Configuration file '/etc/entrepot/config.yaml'"
told 'What would you like to do about it'
grep -q 'max_size: 24MiB' "$ROOT/etc/entrepot/config.yaml" || fail "an edited configuration is lost"
is_served || fail "a question about the configuration stops the service"
install_it "upgrade with the edited configuration" 0.0.10.deb
[ -e "$ROOT/etc/entrepot/config.yaml.dpkg-dist" ] || fail "the package's configuration is not beside the edited one"
say "dpkg asks about an edited configuration"

# ---- upgrade and downgrade with the same schema ----

full() { within entrepot status --json | jq -e '.cache.bytes > 12000000' >/dev/null; }
pulls_begin
wait_for 20 full || fail "the cache does not fill: $(within entrepot status)"
pulls_end "(no change)"
changes "same schema, 0.0.10 to $VERSION" new.deb
none_failed "an upgrade"
is_version "$VERSION"
within entrepot ls --json | jq -e '.images[] | select(.reference == "docker.io/library/i1:1") | .pinned' >/dev/null || fail "what was pinned is not"
changes "same schema, back to 0.0.10" 0.0.10.deb
none_failed "a downgrade"
is_version 0.0.10

# systemd keeps the sockets over a restart and over a crash, but not when the service stops: also if a request holds that up, engines
# with mirrors are refused, and go on with the registry.
pulls_begin
forget_starts
for i in 1 2 3; do within systemctl restart entrepot || fail "restart $i: $(log_since -1min)"; done
sleep 2 # each of them takes a while, and at least ten pulls are due
pulls_end "three restarts"
none_failed "three restarts"
within systemctl kill --signal=KILL --kill-whom=main entrepot
within curl -sf --max-time 20 http://127.0.0.1:5000/readyz >/dev/null || fail "a client that comes after a crash does not wait: $(log_since -1min | tail)"
refuses() { local status=0; within curl -s --max-time 5 http://127.0.0.1:5000/readyz >/dev/null || status=$?; [ $status = 7 ]; } # refused
within systemctl reset-failed entrepot
within bash -c 'exec 3<>/dev/tcp/127.0.0.1/5000; printf "GET /v2/ HTTP/1.1\r\n" >&3; exec sleep 10' &
hanging=$!
PIDS+=("$hanging")
sleep 1
within systemctl stop --no-block entrepot
wait_for 4 refuses || fail "while the service stops its port is open"
unit_is entrepot ActiveState deactivating || fail "it stopped without the request under way"
is_stopped() { unit_is entrepot ActiveState inactive; }
wait_for 20 is_stopped || fail "it does not stop"
refuses || fail "the port of a stopped service is open"
within systemctl start entrepot
say "clients wait while it restarts and after a crash, and are refused when it stops"

# With the socket unit systemd listens from the boot on. A restart hands the port over to it.
within systemctl enable entrepot.socket 2>/dev/null
forget_starts
within systemctl restart entrepot
unit_is entrepot.socket ActiveState active || fail "the socket unit does not get the port: $(within systemctl status entrepot.socket)"
changes "socket unit, 0.0.10 to $VERSION" new.deb
none_failed "an upgrade with the socket unit"
changes "socket unit, back to 0.0.10" 0.0.10.deb
none_failed "a downgrade with the socket unit"
changes "socket unit, to $VERSION again" new.deb
none_failed "an upgrade with the socket unit"
within systemctl disable --now entrepot.socket 2>/dev/null
forget_starts
within systemctl restart entrepot
say "pulls went on over upgrades and downgrades"

# ---- a configuration that the new version refuses ----

pid() { within systemctl show -p MainPID --value entrepot; }
old=$(pid)
edit 'no_such_key: 1'
install_it "an upgrade with a wrong configuration" 0.0.10.deb
told 'NOT restarted, the old version goes on'
told 'no_such_key'
is "$(pid)" "$old" "the process with a wrong configuration"
pull i1 || fail "with a wrong configuration pulls fail after an upgrade"
edit
forget_starts
within systemctl restart entrepot
install_it "the upgrade again" new.deb

# ---- a cache that a newer version has left ----

within systemctl stop entrepot
before=$(files_of_cache)
"$TOOLS/break_index" "$ROOT/var/lib/entrepot" schema 99
forget_starts
since=$(now)
within systemctl start entrepot 2>/dev/null && fail "it starts on an index that it does not know"
log_has "$since" 'schema 99 of a newer version.*run the version that wrote it' || fail "the journal does not say why: $(log_since "$since")"
within systemctl stop entrepot
is "$(files_of_cache)" "$before" "files of a cache that a newer version has left"
"$TOOLS/break_index" "$ROOT/var/lib/entrepot" schema 3
forget_starts
within systemctl start entrepot || fail "it does not start again"
pull i1
say "a newer index is refused, with words, and kept"

# ---- upgrade from the schema before, and what that version says of the way back ----

if packages_old_program; then
    packages_old 0.0.8
    within systemctl stop entrepot
    mv "$ROOT/var/lib/entrepot" "$ROOT/var/lib/entrepot.kept"
    install_it "the version with schema 2" 0.0.8.deb
    forget_starts
    within install -d -o entrepot -g entrepot -m 700 /var/lib/entrepot
    within systemctl start entrepot || fail "the old version does not start: $(log_since -1min)"
    pull i1
    within entrepot pin i1:1 >/dev/null
    since=$(now)
    changes "schema 2 to 3, 0.0.8 to $VERSION" new.deb
    few_refused "an upgrade of the index"
    log_has "$since" 'brought from schema 2 to 3' || fail "the index was not brought forward: $(log_since "$since")"
    is "$(within entrepot ls --json | jq -r '[.images[] | select(.pinned) | .reference] | join(" ")')" docker.io/library/i1:1 "what was pinned"
    within systemctl stop registry
    pull i1 || fail "after the upgrade of the index what was cached is not served"
    registry_on
    within entrepot verify >"$W/out" || fail "verify after the upgrade of the index: $(cat "$W/out")"
    before=$(files_of_cache)
    forget_starts
    install_it "back to schema 2" 0.0.8.deb
    told 'it does NOT start'
    told 'schema 3 of a newer version'
    within systemctl stop entrepot
    is "$(files_of_cache)" "$before" "files of the cache after a start of the version before"
    forget_starts
    install_it "forward again" new.deb
    within systemctl start entrepot || fail "it does not start: $(log_since -1min)"
    within systemctl stop registry
    pull i1 || fail "after the way back and forward what was cached is not served"
    registry_on
    say "schema 2 to 3; the version before says that it cannot use schema 3, and deletes nothing"
else
    say "NOT TRIED: an index with schema 2 ($(tail -n 1 "$W/old.log" 2>/dev/null || echo "git has no $OLD_COMMIT here"))"
fi

# ---- remove, install again ----

within mkdir -p /etc/containerd
within entrepot setup containerd >"$W/out" 2>&1 || fail "setup: $(cat "$W/out")"
before=$(files_of_cache)
[ "$before" -gt 3 ] || fail "the cache is empty"
dpkg_does "remove" -r entrepot
told 'these engines are still led to entrepot.*containerd'
is_served && fail "it is served after the removal"
is "$(files_of_cache)" "$before" "files of the cache after the removal"
grep -q 'max_size: 24MiB' "$ROOT/etc/entrepot/config.yaml" || fail "the configuration went with the removal"
install_it "install again" new.deb
forget_starts
within systemctl start entrepot || fail "it does not start: $(log_since -1min)"
within systemctl stop registry
pull i1 || fail "what was cached is not served after a removal"
registry_on
within entrepot setup all --undo >"$W/out" 2>&1 || fail "setup --undo after a removal: $(cat "$W/out")"
is "$(within find /etc/containerd -type f)" "" "what setup has written, after its --undo"

# ---- purge ----

within entrepot setup containerd >"$W/out" 2>&1
dpkg_does "purge" -P entrepot
told 'the cache stays in /var/lib/entrepot'
told 'engines are still led to entrepot. .*entrepot-setup stays'
is "$(files_of_cache)" "$before" "files of the cache after a purge that nobody answered"
[ ! -e "$ROOT/etc/entrepot/config.yaml" ] || fail "the configuration is there after a purge"
dpkg_does "install after a purge" -i /new.deb
edit
forget_starts
within systemctl start entrepot || fail "it does not start: $(log_since -1min)"
pull i1
within entrepot setup all --undo >"$W/out" 2>&1 || fail "setup --undo after a purge: $(cat "$W/out")"
echo 'entrepot entrepot/purge-cache boolean true' | within debconf-set-selections
dpkg_does "purge with the cache" -P entrepot
told 'the cache in /var/lib/entrepot was deleted'
left=$(within find / -xdev \( -path /src -o -path /run -o -path /tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/entrepot.kept \) -prune -o \
    -name '*entrepot*' -print)
is "$left" "" "what is left after a purge"
within dpkg-query -W entrepot 2>/dev/null && fail "dpkg still knows it"
booted_stop
echo "| what | pulls | refused | cut off | errors | wrong bytes | refusals from first to last | longest pull |"
echo "|---|---|---|---|---|---|---|---|"
cat "$W/table"
