#!/bin/bash
# `entrepot doctor` on a node where all is well, and with one thing broken after the other: each is a line with what to do about it, and
# the exit status says whether something is broken.
# Takes minutes.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
need_root
need python3 openssl faketime update-ca-certificates

# A node of its own: no engine is set up, no user "entrepot", no systemd, no name service.
mkdir "$W/fs"
mount -t tmpfs none "$W/fs" || skip "cannot mount a tmpfs here"
mkdir "$W/fs/etc" "$W/fs/lib" "$W/fs/small"
cp -a /etc/. "$W/fs/etc/"
rm -rf "$W"/fs/etc/{docker,containerd,containers,crio,rancher,buildkit,entrepot,resolv.conf}
sed -i '/^entrepot:/d' "$W/fs/etc/passwd"
: >"$W/fs/etc/resolv.conf"
mount --bind "$W/fs/etc" /etc
mount --bind "$W/fs/lib" /var/lib
mount -t tmpfs none /usr/local/sbin
mount -t tmpfs none /usr/local/share/ca-certificates
rm -f /etc/ca-certificates/update.d/* # of Java: they take long
[ ! -d /run/dbus ] || mount -t tmpfs none /run/dbus
chmod 755 "$W"
cp "$(command -v sleep)" /usr/local/sbin/dockerd
/usr/local/sbin/dockerd 600 &
PIDS+=($!)

certificate() { # NAME DAYS [AGE]
    faketime -f "-${3:-0}d" openssl x509 -req -in "$W/csr.pem" -signkey "$W/key.pem" -days "$2" -extfile "$W/names" -out "$W/$1.pem" 2>/dev/null
}
openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout "$W/key.pem" -out "$W/csr.pem" 2>/dev/null
echo subjectAltName=IP:127.0.0.1 >"$W/names"
chmod 644 "$W/key.pem"
certificate good 30
certificate expired -1

registry() { # FOLDER PORT [CERTIFICATE]: starts it anew
    [ ! -s "$W/$1/pid" ] || { kill "$(cat "$W/$1/pid")"; wait "$(cat "$W/$1/pid")" 2>/dev/null || true; }
    mkdir -p "$W/$1"
    python3 tests/e2e/doctor.py "$2" "$W/$1" ${3:+"$W/$3.pem" "$W/key.pem"} >>"$W/registry.log" 2>&1 &
    echo $! >"$W/$1/pid"
    PIDS+=($!)
    wait_for 10 curl -sk -o /dev/null "http${3:+s}://127.0.0.1:$2/v2/" || fail "the registry $1 does not start"
}
HUB=$(free_port) TLS=$(free_port) PORT=$(free_port) OWN_TLS=$(free_port) FORWARD=$(free_port)
registry hub "$HUB"
registry tls "$TLS" good
echo basic >"$W/hub/login"
echo "puller:of-the-test" >"$W/hub/user"
echo of-the-test >"$W/password"

cp "$W/good.pem" "$W/own.pem"
config() { # FILE [CACHE-PATH] [LISTENER-PORT]
    cat >"$1" <<-YAML
	listen:
	  - address: "127.0.0.1:${3:-$PORT}"
	  - address: "127.0.0.1:$OWN_TLS"
	    tls: {cert: $W/own.pem, key: $W/key.pem}
	intercept: {address: "127.0.0.1:$FORWARD"}
	admin: {socket: $W/admin.sock}
	cache: {path: ${2:-$W/cache}, min_free: 0B}
	upstreams:
	  - name: docker.io
	    endpoints: ["http://127.0.0.1:$HUB"]
	    insecure: true
	    credentials: {username: puller, password_file: $W/password}
	  - name: tls.example
	    endpoints: ["https://127.0.0.1:$TLS"]
	    ca: $W/good.pem
	YAML
}
config "$W/config.yaml"
entrepot_run || fail "entrepot does not start"
doctor() { # STATUS [CONFIG] [OPTION...]
    local want=$1 config=${2:-$W/config.yaml} rc=0
    shift $(($# < 2 ? 1 : 2))
    timeout 30 "${AS[@]}" "$ENTREPOT" doctor --config "$config" "$@" >"$W/out.log" 2>&1 || rc=$?
    [ "$rc" = "$want" ] || fail "doctor ends with $rc, not with $want: $(grep -v "^ok\|quay\|gcr\|k8s\|amazon\|aws\|gitlab" "$W/out.log")"
}
AS=()
finds() { grep -qE "$1" "$W/out.log" || fail "no line \"$1\""; }
finds_not() { ! grep -E "$1" "$W/out.log" || fail "a line \"$1\""; }

say "all is well"
"$ENTREPOT" setup docker --config "$W/config.yaml" >"$W/setup.log"
doctor 0
finds_not "^BROKEN|^\?"
finds "^ok +configuration: $W/config.yaml: good"
finds "^ok +daemon: it runs, version"
finds "^ok +listener 127.0.0.1:$PORT: entrepot answers"
finds "^ok +listener 127.0.0.1:$OWN_TLS: entrepot answers over TLS"
finds "^ok +listener 127.0.0.1:$OWN_TLS: tls.cert $W/own.pem is valid for (29|30) more days"
finds "^ok +listener 127.0.0.1:$FORWARD: entrepot answers"
finds "^ok +authority: intercept.ca.cert $W/cache/.* is valid"
finds "^WARNING authority: this system does not trust the authority .*update-ca-certificates"
finds "^ok +engine docker: runs, is set up, has requested nothing"
finds "^ok +disk $W/cache: .* are free"
finds "^ok +disk $W/cache: the index is not marked"
finds "^ok +clock: "
finds "^ok +registry docker.io: http://127.0.0.1:$HUB answers"
finds "^ok +registry docker.io: it accepts the configured credentials \(puller\)"
finds "^ok +registry tls.example: .* answers"
finds "^WARNING registry quay.io: .* cannot be reached.*; check"
! grep -q $'\x1b' "$W/out.log" || fail "colours off a terminal"

say "what engines have requested; --json"
curl -s -o /dev/null -A "docker/20.10.24 go/go1.19 kernel/6 os/linux arch/amd64" "http://127.0.0.1:$PORT/v2/library/none/manifests/1"
curl -s -o /dev/null -A "buildkit/v0.11" -x "http://127.0.0.1:$FORWARD" http://docker.io/v2/library/none/manifests/1
ask status --json | python3 -c 'import json, sys; e = json.load(sys.stdin)["engines"]; assert sorted(e) == ["buildkit", "docker"], e' || fail "engines"
doctor 0 "$W/config.yaml" --json
python3 - "$W/out.log" <<'PY' || fail "see above"
import json, sys
j = json.load(open(sys.argv[1]))
docker = [f for f in j["findings"] if f["topic"] == "engine" and f["subject"] == "docker"][0]
assert j["good"] and j["broken"] == 0 and j["warnings"] > 0, j
assert docker["level"] == "ok" and "last request" in docker["what"] and docker["do"] is None, docker
assert all(f["what"] for f in j["findings"]), j
PY

say "offline mode"
ask offline on >/dev/null
doctor 0
finds "^WARNING daemon: offline mode is on.*; entrepot offline off"
finds "^WARNING registry: none was asked: offline mode is on"
finds_not "registry docker.io"
ask offline off >/dev/null

say "a wrong password: Basic, then Bearer"
echo wrong >"$W/password"
doctor 1
finds "^BROKEN +registry docker.io: it refuses the configured credentials \(puller\): .*; check user and secret"
echo bearer >"$W/hub/login"
doctor 1
finds "^BROKEN +registry docker.io: it refuses the configured credentials"
echo of-the-test >"$W/password"
doctor 0
finds "^ok +registry docker.io: it accepts the configured credentials"

say "one registry's clock is wrong; then ours, by all of them"
echo 7290 >"$W/hub/ahead"
doctor 0
finds "^WARNING registry docker.io: its clock is 2 h ahead: other registries agree"
echo 7290 >"$W/tls/ahead"
doctor 1
finds "^BROKEN +clock: this node's clock is 2 h behind .*; synchronise it"
rm "$W/hub/ahead" "$W/tls/ahead"

say "our own certificate has expired, or will soon; the authority of interception is trusted"
cp "$W/expired.pem" "$W/own.pem"
doctor 1
finds "^BROKEN +listener 127.0.0.1:$OWN_TLS: tls.cert $W/own.pem expired [0-9]+ d ago; replace the file"
for life in "400 371 2[89]" "100 80 (19|20)" "28 22 [56]"; do
    read -r days age left <<<"$life"
    certificate own "$days" "$age"
    doctor 0
    finds "^WARNING listener 127.0.0.1:$OWN_TLS: tls.cert .* is valid for $left more days; replace the file"
done
for life in "400 360 (39|40)" "28 14 1[34]" "3 0 [23]"; do # what lives for less has less time left
    read -r days age left <<<"$life"
    certificate own "$days" "$age"
    doctor 0
    finds "^ok +listener 127.0.0.1:$OWN_TLS: tls.cert .* is valid for $left more days"
done
cp "$W/good.pem" "$W/own.pem"
authority=$("$ENTREPOT" ca --config "$W/config.yaml" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["certificate"])')
cp "$authority" "/etc/ssl/certs/$(openssl x509 -in "$authority" -noout -hash).0"
doctor 0
finds "^ok +authority: this system trusts"

say "a registry's certificate has expired"
registry tls "$TLS" expired
doctor 1
finds "^BROKEN +registry tls.example: .* cannot be reached: .*certificate"
registry tls "$TLS" good

say "a registry is down; one hangs"
kill "$(cat "$W/tls/pid")"
wait "$(cat "$W/tls/pid")" || true
doctor 1
finds "^BROKEN +registry tls.example: https://127.0.0.1:$TLS cannot be reached"
: >"$W/tls/pid"
registry tls "$TLS" good
kill -STOP "$(cat "$W/tls/pid")"
SECONDS=0
doctor 1
[ $SECONDS -le 8 ] || fail "a registry that hangs keeps it for $SECONDS s"
finds "^BROKEN +registry tls.example: .* cannot be reached"
finds "^ok +registry docker.io: it accepts"
kill -CONT "$(cat "$W/tls/pid")"

say "an engine: set up, then edited; its lines removed; not set up"
cp /etc/docker/daemon.json "$W/daemon.json"
sed -i "s/127.0.0.1:$PORT/127.0.0.1:1/" /etc/docker/daemon.json
doctor 1
finds "^BROKEN +engine docker: runs, was set up, and changed by hand since: .*daemon.json.*; entrepot setup docker"
echo '{}' >/etc/docker/daemon.json
doctor 1
finds "^BROKEN +engine docker: runs, was set up, and changed by hand"
rm /etc/docker/daemon.json
doctor 1
finds "^BROKEN +engine docker: runs, was set up, and changed by hand"
cp "$W/daemon.json" /etc/docker/daemon.json
doctor 0
"$ENTREPOT" setup docker --registry docker.io --address "127.0.0.1:$HUB" >"$W/setup.log"
doctor 0
finds "^ok +engine docker: runs, is set up with options of its own"
"$ENTREPOT" setup docker --undo >"$W/setup.log"
doctor 0
finds "^WARNING engine docker: runs, is not set up.*; entrepot setup docker"

say "an engine with the proxy: the store loses its authority, NO_PROXY, a hand at its file, another proxy; led to it by hand"
setup() { "$ENTREPOT" setup docker --config "$W/config.yaml" "$@" >"$W/setup.log" 2>&1 || fail "setup $*: $(cat "$W/setup.log")"; }
DROP_INS=/etc/systemd/system/docker.service.d BUNDLE=/etc/ssl/certs/ca-certificates.crt
setup --intercept
doctor 0
finds "^ok +engine docker: runs, is set up with the proxy, last request"
finds_not "engine docker: (it does not trust|.*options of its own)"
grep -v . $BUNDLE >"$W/bundle" || true
cp $BUNDLE "$W/whole"
cp "$W/bundle" $BUNDLE
doctor 1
finds "^BROKEN +engine docker: it does not trust the authority of interception: $BUNDLE does not have .*: run update-ca-certificates; entrepot setup docker --intercept"
cp "$W/whole" $BUNDLE
printf '[Service]\nEnvironment=NO_PROXY=tls.example\n' >$DROP_INS/theirs.conf
doctor 0
finds "^WARNING engine docker: runs, is set up with the proxy, for some registries only.*: $DROP_INS/theirs.conf, line 2: NO_PROXY has tls.example"
rm $DROP_INS/theirs.conf
cp $DROP_INS/entrepot-proxy.conf "$W/drop-in"
sed -i "s/127.0.0.1:$FORWARD/127.0.0.1:1/" $DROP_INS/entrepot-proxy.conf
doctor 1
finds "^BROKEN +engine docker: runs, was set up with the proxy, and changed by hand since: .*; entrepot setup docker --intercept --dry-run"
cp "$W/drop-in" $DROP_INS/entrepot-proxy.conf
sed "s/127.0.0.1:$FORWARD/127.0.0.1:1/" "$W/config.yaml" >"$W/other.yaml"
doctor 1 "$W/other.yaml" # since it does not listen there
finds "^WARNING engine docker: runs, is set up with another proxy, .*: $DROP_INS/.* does not lead docker to 127.0.0.1:1; entrepot setup docker --intercept"
sed /^intercept/d "$W/config.yaml" >"$W/other.yaml"
doctor 0 "$W/other.yaml"
finds "^WARNING engine docker: runs, is set up with another proxy, .*: intercept.address is not set"
setup --undo
doctor 0
finds "^WARNING engine docker: runs, is not set up"
mkdir -p $DROP_INS
printf '[Service]\nEnvironment=HTTPS_PROXY=http://proxy.lan:3128\n' >$DROP_INS/by-hand.conf
doctor 0
finds "^WARNING engine docker: runs, is not set up"
sed -i "s/proxy.lan:3128/127.0.0.1:$FORWARD/" $DROP_INS/by-hand.conf
doctor 1
finds "^ok +engine docker: runs, is set up with the proxy"
finds "^BROKEN +engine docker: it does not trust the authority"
rm $DROP_INS/by-hand.conf

say "the index is marked as damaged; the disk is full; the cache is in memory"
: >"$W/cache/index/damaged"
doctor 1
finds "^BROKEN +disk $W/cache: the index is marked as damaged: .*; systemctl restart entrepot"
rm "$W/cache/index/damaged"
mount -t tmpfs -o size=8M none "$W/fs/small"
config "$W/small.yaml" "$W/fs/small"
doctor 1 "$W/small.yaml"
finds "^BROKEN +disk $W/fs/small: the disk is full: .*; images are passed on without caching"
finds "^WARNING disk $W/fs/small: the cache is in memory"

say "a configuration that is not valid, or of another listener"
config "$W/bad.yaml"
echo "no_such_key: 1" >>"$W/bad.yaml"
doctor 1 "$W/bad.yaml"
finds "^BROKEN +configuration: it is not valid: $W/bad.yaml: line [0-9]+: no_such_key"
finds "^\? +daemon: it could not be asked"
config "$W/other.yaml" "$W/cache" "$HUB"
doctor 1 "$W/other.yaml"
finds "^BROKEN +listener 127.0.0.1:$HUB: another program answers there; choose another address"
config "$W/other.yaml" "$W/cache" 1
doctor 1 "$W/other.yaml"
finds "^BROKEN +listener 127.0.0.1:1: entrepot does not answer there: .*; if it runs"

say "an ordinary user: what it cannot look at is said, and is not broken"
echo "entrepot:x:61234:61234::/nonexistent:/usr/sbin/nologin" >>/etc/passwd
chmod 600 "$W/password" "$W/admin.sock"
AS=(setpriv --reuid 61235 --regid 61235 --clear-groups)
doctor 0
finds "^\? +configuration: this user cannot read all of it"
finds "^\? +daemon: it could not be asked: no permission"
finds "^ok +listener"
finds "run it as root$"
AS=()

say "entrepot hangs"
kill -STOP "$ENTREPOT_PID"
SECONDS=0
doctor 1
[ $SECONDS -le 15 ] || fail "a daemon that hangs keeps it for $SECONDS s"
finds "^BROKEN +daemon: it does not answer: .* within 5 s"
finds "^BROKEN +listener 127.0.0.1:$PORT: entrepot does not answer there: Timeout"
kill -CONT "$ENTREPOT_PID"

say "entrepot does not run: the rest is looked at all the same, as the service's user"
entrepot_stop
doctor 1
finds "^BROKEN +daemon: it does not answer: .*; systemctl status entrepot"
finds "^BROKEN +listener 127.0.0.1:$PORT: entrepot does not answer"
finds "^BROKEN +configuration: .*password"
chmod 644 "$W/password"
chown -R 61234 "$W/cache"
chmod 777 "$W"
doctor 1
finds "^ok +configuration: .* good for the user entrepot"
finds "^ok +registry docker.io: it accepts the configured credentials"

say "entrepot has another user, and a proxy in its environment that this shell does not have: registries are asked as it asks them"
echo "127.0.0.1 registry.internal" >>/etc/hosts
sed -i "s|https://127.0.0.1:$TLS|http://registry.internal:$HUB|; s|ca: $W/good.pem|insecure: true|" "$W/config.yaml"
doctor 1
finds "^ok +registry tls.example: http://registry.internal:$HUB answers"
DAEMON=(setpriv --reuid 61234 --regid 61234 --clear-groups env http_proxy=http://127.0.0.1:1)
entrepot_run || fail "entrepot does not start as another user"
doctor 1
finds "^ok +configuration: .* good for the user entrepot"
finds "^ok +daemon: it runs"
finds "^BROKEN +registry tls.example: http://registry.internal:$HUB cannot be reached: .*127.0.0.1 port 1 "
finds "^ok +registry docker.io: it accepts"
