#!/bin/bash
# What root can read and write says nothing about the service: `config check` is made as a user, and names what that user
# lacks, and what to do. The daemon says the same when it fails to start.
. "$(dirname "$0")/../lib.sh"
need_root
chmod 755 "$W"
install -m 0755 "$ENTREPOT" "$W/entrepot" # where nobody can run it
mkdir -p "$W/etc"

conf() { printf '%s\n' "$@" >"$W/etc/config.yaml"; }
check() { "$W/entrepot" config check --config "$W/etc/config.yaml" --user "${1:-nobody}" >"$W/out" 2>&1; }
good() { check || fail "$1: $(cat "$W/out")"; }
bad() { # WHAT PATTERN: nobody cannot use it, root can
    check && fail "$1 passes for good"
    grep -qE -- "$2" "$W/out" || fail "$1: $(cat "$W/out")"
    cp "$W/out" "$W/said"
    check root || fail "$1, for root: $(cat "$W/out")"
    say "$1"
}
do_as_said() { sh -c "$(sed -n "s/.*\`\($1 [^\`]*\)\`.*/\1/p" "$W/said")"; }
# ---- files that it reads ----

install -d -o nobody -m 0700 "$W/cache"
echo not-a-secret >"$W/etc/secret"
echo '{}' >"$W/etc/docker.json"
cp /etc/ssl/certs/ca-certificates.crt "$W/etc/ca.pem"
printf '#!/bin/sh\n' >"$W/etc/provider"
chmod 755 "$W/etc/provider"
while read -r file keys; do
    conf "cache: {path: $W/cache}" "admin: {socket: $W/cache/admin.sock}" "upstreams: [{name: a.io, ${keys//@/$W/etc/$file}}]"
    chmod 755 "$W/etc/provider"
    chmod 644 "$W/etc/secret" "$W/etc/docker.json" "$W/etc/ca.pem"
    good "$file that everybody can read"
    chmod go-rwx "$W/etc/$file"
    bad "$keys" "as the user nobody: .*config.yaml.*line 3.*$file: Permission denied"
done <<'FILES'
secret credentials: {username: u, password_file: @}
docker.json credentials: {docker_config: @}
docker.json credentials: {provider: gcp, key_file: @}
secret credentials: {provider: azure, tenant: t, client_id: c, client_secret_file: @}
provider credentials: {provider: kubelet, command: @}
ca.pem ca: @
FILES
conf "cache: {path: $W/cache}" "admin: {socket: $W/cache/admin.sock}"
good "a plain one"
grep -q 'good for the user nobody' "$W/out" || fail "who it is good for: $(cat "$W/out")"
chmod 600 "$W/etc/config.yaml"
bad "the configuration itself" 'reading the configuration .*Permission denied'
chmod 644 "$W/etc/config.yaml"

# ---- places that it writes ----

chown root "$W/cache"
bad "a cache of another user" "$W/cache cannot be written by nobody .*chown -R nobody: $W/cache"
do_as_said chown
good "after what it says was done"
rmdir "$W/cache"
bad "a cache that cannot be made" "cannot be written by nobody .*install -d -o nobody -m 0700 $W/cache"
do_as_said install
good "after what it says was done"
mkdir "$W/cache/index"
bad "an index that root has left there" "$W/cache/index cannot be written"
chown nobody "$W/cache/index"
touch "$W/cache/index/data.mdb"
bad "a file of the index that root has left there" "$W/cache/index/data.mdb cannot be written"
rm -r "$W/cache/index"
conf "cache: {path: $W/cache}" "admin: {socket: $W/etc/admin.sock}"
bad "an admin socket that cannot be made" "the socket $W/etc/admin.sock: $W/etc cannot be written"
conf "cache: {path: $W/cache}" "admin: {socket: $W/cache/admin.sock}" "listen: [{address: 'unix:$W/etc/r.sock'}]"
bad "a listener that cannot be made" "the socket $W/etc/r.sock: $W/etc cannot be written"

# ---- who may ask ----

conf "cache: {path: $W/cache}" "admin: {socket: $W/cache/admin.sock}"
check no-such-user && fail "a user that is not there"
grep -q 'no such user' "$W/out" || fail "a user that is not there: $(cat "$W/out")"
setpriv --reuid nobody --clear-groups "$W/entrepot" config check --config "$W/etc/config.yaml" --user root >"$W/out" 2>&1 &&
    fail "nobody checks as root"
grep -q 'only root' "$W/out" || fail "nobody checks as root: $(cat "$W/out")"
is "$(setpriv --reuid nobody --clear-groups "$W/entrepot" config check --config "$W/etc/config.yaml")" "$W/etc/config.yaml: good" \
    "nobody's own"
is "$("$W/entrepot" config check --config "$W/etc/config.yaml" --user nobody --json | jq -r .user)" nobody "the user in JSON"

# ---- the daemon's own words, with a file system that its unit has made read-only ----

start_read_only() {
    mount --bind "$W/etc" "$W/etc"
    mount -o remount,bind,ro "$W/etc"
    STATE_DIRECTORY=/var/lib/entrepot INVOCATION_ID=1 timeout 10 "$ENTREPOT" serve --config "$1" --listen 127.0.0.1:0
}
conf "cache: {path: $W/etc/images}" "admin: {socket: $W/cache/admin.sock}"
cp "$W/etc/config.yaml" "$W/cache.yaml"
conf "cache: {path: $W/cache}" "admin: {socket: $W/etc/admin.sock}"
cp "$W/etc/config.yaml" "$W/socket.yaml"
export -f start_read_only
export W ENTREPOT
unshare -m bash -c "start_read_only $W/cache.yaml" >"$W/out" 2>&1 && fail "it starts on a read-only file system"
grep -qF "Read-only file system; run \`install -d -o root -m 0700 $W/etc/images\` and \`systemctl edit entrepot\` with the lines \`[Service]\` and \`ReadWritePaths=$W/etc/images\`" \
    "$W/out" || fail "a read-only cache: $(cat "$W/out")"
unshare -m bash -c "start_read_only $W/socket.yaml" >"$W/out" 2>&1 && fail "it starts with a socket on a read-only file system"
grep -qF "ReadWritePaths=$W/etc\`" "$W/out" || fail "a read-only socket: $(cat "$W/out")"
