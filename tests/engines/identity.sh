#!/bin/bash
# Every kind of registry with every client of today, of Debian sid: what is public is had by everybody and cached, what is private by
# who may read it and cached, and neither a wrong login nor somebody else's gets it, cold or from the cache; a token that ends in the
# middle of a layer is nobody's failure. Another registry, which records all that it is ever sent, is in every cell: the layers lie
# there, by a redirect, and with the same login it is pulled from, and led to by challenges and redirects. It never gets a name, a
# password or a token of anybody. It prints a table for each client, and why a cell failed.
#
# CLIENTS, KINDS: fewer of them.
. "$(dirname "$0")/../alone.sh.inc" "$@"
. "$(dirname "$0")/../lib.sh"
. tests/node.sh.inc
SID=${ENTREPOT_SID:?the folder that tests/engines/chroot has made}
# docker and BuildKit with the classic store and, "-images", with containerd's.
CLIENTS=${CLIENTS:-containerd docker buildkit docker-images buildkit-images podman skopeo oras crane}
# public       nobody's pull; ecr and nexus let nobody in without a login
# private      the right login, one for all registries at the shared port: alice@REGISTRY (containerd: its own for each, by ns=)
# own-port     the same at a listener of this registry alone: alice. containerd has no use for one: it says which registry it means.
# wrong        a wrong password, other: somebody who may not read it; each for what nobody has brought, and what alice has
# expired      the first layer breaks off, and every token that there was has ended
# own-expired  the same at the listener of the registry alone, where the token is the client's, not the cache's: the body ends early,
#              and the client asks for the rest with a new token. oras does not ("copy failed: unexpected EOF"), of no registry.
SITUATIONS="public private own-port wrong other expired own-expired"
on_cleanup() { containerd_stop; docker_stop; }

# ---- registries ----

port_of() { sed -n "s/^$1 //p" "$W/$2"; } # KIND ports|listeners
registries_begin() {
    local k p=5100
    printf '%s\n' canary-alice-1 canary-wrong canary-bob >"$W/secrets"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$W/key.pem" -out "$W/cert.pem" -days 2 -subj /CN=localhost 2>/dev/null
    touch "$W/requests"
    python3 tests/identity/kinds.py "$W" >"$W/kinds.log" 2>&1 &
    PIDS+=($!)
    wait_for 10 test -s "$W/ports" || fail "no registries"
    KINDS=${KINDS:-$(cut -d ' ' -f 1 "$W/ports")}
    for k in $KINDS; do
        mkdir "$W/$k"
        cp "$W"/{key,cert}.pem "$W/$k"
        touch "$W/$k/evil" "$W/$k/accounts"
        echo "http://127.0.0.1:$((p + 3))" >"$W/$k.evil"
        python3 tests/identity/adversary.py "$W/$k" $((p + 1)) $((p + 2)) $((p + 4)) $((p + 3)) >>"$W/adversary.log" 2>&1 &
        PIDS+=($!)
        echo "$k $p" >>"$W/listeners"
        p=$((p + 10))
    done
    for k in $KINDS; do wait_for 20 curl -s -o /dev/null "$(cat "$W/$k.evil")/" || fail "no adversary"; done
}
begin() {
    local k
    {
        echo "listen:"
        echo "  - address: 127.0.0.1:$PORT"
        for k in $KINDS; do echo "  - {address: \"127.0.0.1:$(port_of "$k" listeners)\", upstream: $k.test}"; done
        printf 'admin: {socket: %s}\ncache: {path: %s, min_free: 0B}\n' "$W/admin.sock" "$W/cache"
        printf 'tags: {ttl: 1h, negative_ttl: 0s}\nupstreams:\n'
        for k in $KINDS; do
            echo "  - {name: $k.test, endpoints: [\"http://127.0.0.1:$(port_of "$k" ports)\"], insecure: true}"
            echo "  - {name: evil-$k.test, endpoints: [\"$(cat "$W/$k.evil")\"], insecure: true}"
        done
    } >"$W/config.yaml"
    entrepot_run || fail "entrepot does not start"
}
# What was sent of the layer, how often: the registry's own count.
fetched() { # LAYER
    grep -c "GET .*/$1 20[06] " "$W/requests" || true
}
# The adversary was asked, and was sent nothing of anybody's: no header for it but for tokens of its own; "YWxpY2" and "Ym9i" begin
# the tokens of alice and bob.
unhurt() {
    local asked=$W/$KIND/evil found
    [ -s "$asked" ] || { echo "the other registry was not asked at all"; return 1; }
    found=$(grep -niE '^(proxy-)?authorization: |^cookie: |canary|basic |entrepot\.|YWxpY2|Ym9i' "$asked" |
        grep -viE '^[0-9]+:authorization: bearer for-everybody' || true)
    cat "$asked" >>"$asked-all"
    [ -z "$found" ] || { echo "LEAKED: $found" && cat "$asked"; }
    : >"$asked"
    [ -z "$found" ]
}

# ---- clients: pull_CLIENT REFERENCE, with the login in LOGIN (a folder with docker's config.json, which all of them read) ----

LOGIN= # below /tmp/here of the node, in the folder of the kind
USER_AND_PASSWORD=() # for containerd, which is given them with each pull
auth_file() { echo "$LOGIN/config.json"; }
login_as() { # AT USER PASSWORD: the file as they all write it; with no USER no login
    rm -rf "$NODE/tmp/here/$LOGIN"
    mkdir -p "$NODE/tmp/here/$LOGIN"
    USER_AND_PASSWORD=("${@:2}")
    if [ $# = 1 ]; then
        echo '{"auths": {}}'
    else
        jq -n --arg at "$1" --arg auth "$(printf '%s:%s' "$2" "$3" | base64 -w0)" '{auths: {($at): {auth: $auth}}}'
    fi >"$NODE/tmp/here/$(auth_file)"
}
# By the client's own command, which has to let the right one in.
log_in() { # CLIENT AT USER PASSWORD
    local command
    login_as "$2"
    USER_AND_PASSWORD=("$3" "$4")
    case $1 in
    containerd) return ;;
    docker* | buildkit*) command=(docker --config "$LOGIN" login) ;;
    podman) command=(podman --storage-driver vfs login --tls-verify=false --authfile "$(auth_file)") ;;
    skopeo) command=(skopeo login --tls-verify=false --authfile "$(auth_file)") ;;
    oras) command=(oras login --plain-http --registry-config "$(auth_file)") ;;
    crane) command=(env DOCKER_CONFIG="$LOGIN" crane auth login) ;;
    esac
    echo "$4" | n "${command[@]}" -u "$3" --password-stdin "$2"
}
pull_containerd() { cri_pull "${1/#127.0.0.1:$PORT\//}" "${USER_AND_PASSWORD[@]}"; }
pull_docker() { n docker --config "$LOGIN" pull -q "$1"; }
pull_docker-images() { pull_docker "$1"; }
# What is in the image comes out again.
pull_buildkit() {
    rm -rf "$NODE/tmp/here/$KIND/out" "$NODE/tmp/here/$KIND/context"
    mkdir "$NODE/tmp/here/$KIND/context"
    echo "FROM $1" >"$NODE/tmp/here/$KIND/context/Dockerfile"
    n docker --config "$LOGIN" build --pull --progress plain -o "$KIND/out" "$KIND/context" && [ -s "$NODE/tmp/here/$KIND/out/data" ]
}
pull_buildkit-images() { pull_buildkit "$1"; }
pull_podman() { n podman --storage-driver vfs pull -q --tls-verify=false --retry 0 --authfile "$(auth_file)" "$1"; }
pull_skopeo() {
    rm -rf "$NODE/tmp/here/$KIND/out"
    n skopeo copy -q --src-tls-verify=false --authfile "$(auth_file)" "docker://$1" "dir:$KIND/out"
}
pull_oras() {
    rm -rf "$NODE/tmp/here/$KIND/out"
    n oras copy --from-plain-http --from-registry-config "$(auth_file)" "$1" --to-oci-layout "$KIND/out:1"
}
pull_crane() { n env DOCKER_CONFIG="$LOGIN" crane pull --insecure "$1" "$KIND/out.tar"; }

# ---- situations: 0 if it is as it should be, and what was so in TOLD ----

TOLD=
CLIENT= KIND=
lets_nobody_in() { [[ " nexus ecr " = *" $KIND "* ]]; }
# The image's name and layer, as alice sees them: of this client's and situation's own.
REPOSITORY= LAYER=
image_of() { # REPOSITORY
    REPOSITORY=$1
    LAYER=$(python3 tests/identity/kinds.py --layer "$KIND/$1")
}
cache_status() { curl -sI -u "alice@$KIND.test:canary-alice-1" "http://127.0.0.1:$PORT/v2/$KIND.test/$REPOSITORY/blobs/$LAYER" | tr -d '\r' | sed -n 's/^cache-status: //ip'; }
is_a_hit() { [ "$(cache_status)" = "entrepot; hit" ]; }
is_cached() { # TIMES it was fetched for that
    local times
    times=$(fetched "$LAYER")
    TOLD="whole, cached"
    # A client may have the last byte before it is all on the disk here.
    wait_for 5 is_a_hit || { TOLD="whole, NOT CACHED" && echo "Cache-Status: $(cache_status)"; return 1; }
    [ "$times" -le "$1" ] || { TOLD="whole, $times FETCHES" && return 1; }
}
is_not_cached() {
    TOLD="refused, nothing"
    [ "$(fetched "$LAYER")" = 0 ] && [[ $(cache_status) != "entrepot; hit"* ]] || { TOLD="refused, CACHED"; return 1; }
}
pulls() { # AT
    TOLD="NOT HAD"
    "pull_$CLIENT" "$1/$REPOSITORY:1"
}
refused() { # AT
    TOLD="HAD"
    local said=$W/$KIND/said
    ! "pull_$CLIENT" "$1/$REPOSITORY:1" >"$said" 2>&1 || return 1
    cat "$said"
    TOLD="OTHERWISE"
    grep -qiE 'unauthorized|denied|forbidden|authentication required|not authorized|authorization failed|does not have permission|\b40[13]\b' "$said"
}
shared() { echo "127.0.0.1:$PORT/$KIND.test"; }
# containerd has a login for each registry, and says which one it means.
name() { [ "$CLIENT" = containerd ] && echo "$1" || echo "$1@$KIND.test"; }
public() {
    image_of "public/$CLIENT-away"
    login_as "127.0.0.1:$PORT"
    if lets_nobody_in; then
        refused "$(shared)" && is_not_cached
    else
        pulls "$(shared)" && is_cached 1
    fi
}
private() {
    image_of "private/$CLIENT-away"
    log_in "$CLIENT" "127.0.0.1:$PORT" "$(name alice)" canary-alice-1 || { TOLD="NO LOGIN"; return 1; }
    pulls "$(shared)" && is_cached 1
}
own-port() {
    local at=127.0.0.1:$(port_of "$KIND" listeners)
    image_of "private/$CLIENT-own-away"
    log_in "$CLIENT" "$at" alice canary-alice-1 || { TOLD="NO LOGIN"; return 1; }
    pulls "$at" && is_cached 1
}
refuses() { # WHAT USER PASSWORD
    login_as "127.0.0.1:$PORT" "$(name "$2")" "$3"
    image_of "private/$CLIENT-away"
    refused "$(shared)" || { TOLD="warm: $TOLD"; return 1; }
    image_of "private/$CLIENT-$1-away"
    refused "$(shared)" && is_not_cached
}
wrong() { refuses wrong alice canary-wrong; }
other() { refuses other bob canary-bob; }
ends() { # AT
    echo "$REPOSITORY 1600000" >"$W/$KIND.cut"
    pulls "$1" || return 1
    [ ! -f "$W/$KIND.cut" ] || { TOLD="NOT CUT"; return 1; }
    is_cached 2
}
expired() {
    image_of "private/$CLIENT-ended"
    login_as "127.0.0.1:$PORT" "$(name alice)" canary-alice-1
    ends "$(shared)"
}
own-expired() {
    local at=127.0.0.1:$(port_of "$KIND" listeners)
    image_of "private/$CLIENT-own-ended"
    login_as "$at" alice canary-alice-1
    ends "$at"
}
cannot() { # SITUATION
    case $1:$CLIENT in
    own-port:containerd | own-expired:containerd | own-expired:oras) ;;
    *) return 1 ;;
    esac
}
# With the login of the cell, one way to the other registry.
lure() { # SITUATION
    local reference USER_AND_PASSWORD=("${USER_AND_PASSWORD[@]}") evil=127.0.0.1:$PORT/evil-$KIND.test/team
    case $1 in
    public) reference=$evil/app:$CLIENT ;;
    private) reference=$(shared)/private/$CLIENT-lured:1 ;;
    wrong | other) reference=$evil/basic:1 ;;
    expired) reference=$(shared)/private/$CLIENT-moved:1 ;;
    own-*) reference=127.0.0.1:$(port_of "$KIND" listeners)/private/$CLIENT-moved:1 ;;
    esac
    if [ "$CLIENT" = containerd ]; then
        # It takes the registry at its word when that says who gives its tokens; and it has a login for each registry.
        [ "$1" != private ] || reference=$(shared)/private/$CLIENT-moved:1
        [[ $reference != */evil-* ]] || USER_AND_PASSWORD=()
    fi
    "pull_$CLIENT" "$reference" || true
}

# ---- the tables ----

hosts() { # REGISTRY ADDRESS
    printf 'server = "%s"\n[host."http://127.0.0.1:%s"]\n  capabilities = ["pull", "resolve"]\n' "$2" "$PORT" |
        node_file "/etc/containerd/certs.d/$1/hosts.toml"
}
configure_engines() { # [docker's features]
    local k
    printf 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n  config_path = "/etc/containerd/certs.d"\n' |
        node_file /etc/containerd/config.toml
    for k in $KINDS; do
        hosts "$k.test" "http://127.0.0.1:$(port_of "$k" ports)"
        hosts "evil-$k.test" "$(cat "$W/$k.evil")"
    done
    echo "{\"features\": {\"containerd-snapshotter\": ${1:-false}}}" | node_file /etc/docker/daemon.json
    : | node_file /etc/containers/registries.conf
}
cell() { # SITUATION
    local log=$W/$CLIENT-$KIND-$1 status=ok
    TOLD=-
    if ! cannot "$1"; then
        "$1" >"$log" 2>&1 || status=FAIL
        rm -f "$W/$KIND.cut"
        lure "$1" >"$log-lure" 2>&1
        unhurt >>"$log" 2>&1 || status=FAIL TOLD="LEAKED"
    fi
    echo "$TOLD" >"$log-told"
    [ $status = ok ] || { echo "--- $CLIENT, $KIND, $1: $TOLD" && tail -n 40 "$log" | cut -c 1-400; } >"$log-failed"
}
row() {
    local situation
    LOGIN=$KIND/login
    for situation in $SITUATIONS; do cell "$situation"; done
}
table() {
    local s
    printf '%-17s' "$CLIENT"
    printf '%-18s' $SITUATIONS
    echo
    for KIND in $KINDS; do
        printf '%-17s' "  $KIND"
        for s in $SITUATIONS; do printf '%-18s' "$(cat "$W/$CLIENT-$KIND-$s-told")"; done
        echo
    done
}
STORE=
engine_begin() {
    local store=classic
    case $CLIENT in
    *-images) store=containerd ;;&
    docker* | buildkit*)
        [ "$STORE" != $store ] || return 0
        docker_stop
        configure_engines "$([ $store = classic ] && echo false || echo true)"
        docker_start
        STORE=$store
        ;;
    esac
}

node_begin "$SID"
registries_begin
begin
configure_engines
containerd_start
for CLIENT in $CLIENTS; do
    engine_begin
    rows=()
    for KIND in $KINDS; do # a few at once: they wait more than they work
        row &
        rows+=($!)
        [ ${#rows[@]} -lt 4 ] || { wait "${rows[0]}" && rows=("${rows[@]:1}"); }
    done
    wait "${rows[@]}"
    table
done
echo "= the other registry was asked $(cat "$W"/*/evil-all | grep -c '^[A-Z]* /') times"
cat "$W"/*-failed 2>/dev/null || true
if grep -q canary- "$W/entrepot.log"; then fail "a secret is in the log"; fi
entrepot_stop
"$TOOLS/check_cache" "$W/cache" >"$W/check.out" || fail "$(cat "$W/check.out")"
rm -f "$W"/{containerd,dockerd,kinds,adversary}.log
FAILED=$(find "$W" -maxdepth 1 -name '*-failed' | wc -l)
[ "$FAILED" = 0 ] || fail "$FAILED cells"
