# tests/lib.sh - what the scripts share: a folder that goes away, processes that are ended by pid, a registry, an entrepot,
# images. Source it first; it sets -eu.
set -eu -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ENTREPOT=$PWD/${B:-build}/entrepot
TOOLS=$PWD/${B:-build}/tests/tools
W=$(mktemp -d "${TMPDIR:-/tmp}/entrepot-test.XXXXXX")
PIDS=()
export PYTHONPATH=$PWD/tests PYTHONDONTWRITEBYTECODE=1
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:$W/stand-in

# Whether a process is one of this test's. Numbers come back within a minute when many tests run: what has ended may be another's now.
export TEST_FOLDER=$W
is_ours() { # PID
    local stat parent value
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -r _ parent _ <<<"${stat##*) }"
    [ "$parent" != $$ ] || return 0
    while IFS= read -r -d '' value; do
        [ "$value" != "TEST_FOLDER=$W" ] || return 0
    done 2>/dev/null <"/proc/$1/environ"
    return 1
}
end_ours() { # SIGNAL PID
    ! is_ours "$2" || kill "-$1" "$2" 2>/dev/null
}

cleanup() {
    local status=$? p
    set +e
    trap '' USR1
    [ $status != 0 ] && [ -s "$W/missing" ] && status=77
    for p in "${PIDS[@]}"; do end_ours TERM "$p"; done
    for p in "${PIDS[@]}"; do
        for _ in $(seq 50); do is_ours "$p" || break; sleep 0.1; done
        end_ours KILL "$p"
        wait "$p" 2>/dev/null
    done
    type -t on_cleanup >/dev/null && on_cleanup
    grep " $W/" /proc/self/mounts | awk '{print $2}' | sort -r | while read -r m; do umount -l "$m"; done
    # A test that failed leaves its logs behind on stdout.
    if [ $status != 0 ] && [ $status != 77 ]; then
        for l in "$W"/*.log; do [ -f "$l" ] && { echo "--- $l"; tail -n 20 "$l" | cut -c 1-300; }; done
    fi
    # A sanitizer's word is a failure, whatever the test thought.
    if grep -lE 'ERROR: (Address|Leak)Sanitizer|runtime error:|WARNING: ThreadSanitizer' "$W"/*.log 2>/dev/null; then
        grep -hE -A 30 'ERROR: (Address|Leak)Sanitizer|runtime error:|WARNING: ThreadSanitizer' "$W"/*.log | head -n 80
        status=1
    fi
    # Secrets of tests (tests/identity/auth.sh.inc) have no place in anything that entrepot writes.
    if [ -s "$W/secrets" ] && grep -rlaF -f "$W/secrets" "$W/entrepot.log" "$W/cache/index" "$W/cache/index.json" 2>/dev/null; then
        echo "FAILED: a secret was written to the files above"
        status=1
    fi
    [ -s "$W/missing" ] && [ $status = 77 ] && echo "needs $(sort -u "$W/missing" | paste -sd ' ')"
    rm -rf "$W"
    find "$PORTS" -xtype l -delete 2>/dev/null
    exit $status
}
trap cleanup EXIT
trap 'exit 143' TERM INT

# A test that uses a tool which is not installed is skipped, and says which. In place of each such tool there is a stand-in on the
# PATH, so that it does not matter where and how the test runs it: it notes its name and ends the test.
TOOLS_OF_TESTS="buildah busybox containerd crun ctr curl docker docker-registry dockerd htpasswd ip jq mkfs.ext4 mkfs.xfs
    nginx openssl pgrep podman python3 runc skopeo strace tmux umoci wrk xz zstd"
is_here() { [[ $(command -v "$1") != "" && $(command -v "$1") != "$W/stand-in/"* ]]; }
stand_in() { # TOOL
    mkdir -p "$W/stand-in"
    printf '#!/bin/sh\necho %s >>"%s/missing"\nkill -USR1 %s 2>/dev/null\nexit 127\n' "$1" "$W" $$ >"$W/stand-in/$1"
    chmod +x "$W/stand-in/$1"
}
trap 'exit 77' USR1
for tool in $TOOLS_OF_TESTS; do is_here "$tool" || stand_in "$tool"; done
need() { # TOOL...
    for tool in "$@"; do is_here "$tool" || skip "needs $tool"; done
}

skip() { echo "$*"; exit 77; }
fail() { echo "FAILED: $*"; exit 1; }
say() { echo "* $*"; }
is() { [ "$1" = "$2" ] || fail "$3: \"$1\" is not \"$2\""; }

# Below the kernel's own range, from which connections take theirs. It is this test's until its end, whatever others run beside it: a
# link to its folder says so.
PORTS=${TMPDIR:-/tmp}/entrepot-ports.$UID
free_port() {
    python3 -c '
import errno, os, random, socket, sys
os.makedirs(sys.argv[1], exist_ok=True)
while True:
    s, port = socket.socket(), random.randrange(10240, 32000)
    try:
        s.bind(("127.0.0.1", port))
        os.symlink(sys.argv[2], f"{sys.argv[1]}/{port}")
    except OSError as e:
        if e.errno not in (errno.EADDRINUSE, errno.EEXIST):
            raise
        continue
    print(port)
    break' "$PORTS" "$W"
}

wait_for() { # SECONDS COMMAND...
    local n=$(($1 * 20))
    shift
    for _ in $(seq $n); do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done
    return 1
}

# ---- a real registry ----

REGISTRY_PORT=
registry_start() {
    [ -n "$REGISTRY_PORT" ] || REGISTRY_PORT=$(free_port)
    cat >"$W/registry.yml" <<-YML
	version: 0.1
	log: {level: error, accesslog: {disabled: false}}
	storage: {filesystem: {rootdirectory: $W/registry}, delete: {enabled: true}}
	http: {addr: "127.0.0.1:$REGISTRY_PORT"}
	YML
    docker-registry serve "$W/registry.yml" >>"$W/registry.log" 2>&1 &
    REGISTRY_PID=$!
    PIDS+=($REGISTRY_PID)
    wait_for 20 curl -sf "http://127.0.0.1:$REGISTRY_PORT/v2/" || fail "the registry does not start"
}
registry_stop() { kill "$REGISTRY_PID"; wait "$REGISTRY_PID" 2>/dev/null || true; }
# How often entrepot asked the registry: METHOD PATH-PATTERN (answers of 200 and 206).
registry_asked() { grep -cE "\"$1 [^ ]*$2[^\"]*\" 20[06] .*\"entrepot/" "$W/registry.log" || true; }

# ---- entrepot ----

PORT=
DAEMON=() # what it runs under: a command and its arguments
# What is preloaded comes before ASan's runtime, which does without the first place.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
# LeakSanitizer is a tracer itself, and fails in a process that has one.
TRACED=(env "ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0" strace -qq -f)
# [upstream port] [more YAML]; CACHE_MORE: more keys of cache:, UPSTREAM_MORE: one of the upstream; FETCH and PARALLEL: cache.fetch and
# the upstream's parallel, where they are not to be the defaults.
entrepot_start() {
    entrepot_try "$@" || fail "entrepot does not start"
}
# Whether what is tested is under a sanitizer, whose own memory is many times what it looks after.
is_sanitized() { nm "$ENTREPOT" 2>/dev/null | grep -E "__[at]san_init" >/dev/null; }
entrepot_is_ready() { curl -sf "http://127.0.0.1:$PORT/readyz" || ! kill -0 "$ENTREPOT_PID"; }
entrepot_try() { # the same; false if it does not start
    case "${CACHE_MORE:-}" in *min_free*) ;; *) local CACHE_MORE="min_free: 0B${CACHE_MORE:+, $CACHE_MORE}" ;; esac # whatever this disk has
    [ -n "$PORT" ] || PORT=$(free_port)
    cat >"$W/config.yaml" <<-YAML
	listen: [{address: "127.0.0.1:$PORT"}]
	admin: {socket: $W/admin.sock}
	cache: {path: $W/cache${CACHE_MORE:+, $CACHE_MORE}${FETCH:+, fetch: $FETCH}}
	log: {level: ${LOG:-info}}
	upstreams:
	  - name: docker.io
	    endpoints: ["http://127.0.0.1:${1:-$REGISTRY_PORT}"]
	    insecure: true
	    stall_timeout: 10s
	    ${PARALLEL:+parallel: $PARALLEL}
	    ${UPSTREAM_MORE:-}
	${2:-}
	YAML
    entrepot_run
}
entrepot_run() { # [CONFIG] [LOG]: with a configuration that is there, and listens on PORT; false if it does not start
    "${DAEMON[@]}" "$ENTREPOT" serve --config "${1:-$W/config.yaml}" ${SERVE_MORE:-} >>"${2:-$W/entrepot.log}" 2>&1 &
    ENTREPOT_PID=$!
    PIDS+=($ENTREPOT_PID)
    wait_for 20 entrepot_is_ready && kill -0 "$ENTREPOT_PID" 2>/dev/null
}
entrepot_stop() {
    kill -TERM "$ENTREPOT_PID"
    wait "$ENTREPOT_PID" || fail "entrepot ended with $?"
}
ask() { "$ENTREPOT" "$@" --socket "$W/admin.sock"; }
metric() { # NAME[{labels}]: the sum of what matches
    curl -sf "http://127.0.0.1:$PORT/metrics" | awk -v n="$1" 'index($0, n) == 1 {s += $NF} END {printf "%.0f\n", s}'
}

# ---- images ----

# Two images on a common base: NAME:1 and NAME-b:1, of busybox and a few random layers (LAYER_BYTES). Root only (umoci sets
# owners).
with_libraries() { # TOOL: into bin; what it is linked with, if it is not static, to where it looks for it
    local file
    need "$1"
    file=$(command -v "$1")
    cp "$file" "bin/$1"
    ldd "$file" 2>/dev/null | grep -oE '/[^ ]+' | while read -r l; do mkdir -p ".${l%/*}" && cp -L "$l" ".$l"; done || true
}
layer() { # BUNDLE LAYOUT:TAG COMMAND: one layer
    (cd "$1/rootfs" && eval "$3")
    umoci repack --image "$2" --refresh-bundle "$1" >/dev/null 2>&1
}
image_build() { # NAME: base layers shared by every image of this run
    local l=$W/layout bundle=$W/bundle-$1
    if [ ! -d "$l" ]; then
        umoci init --layout "$l"
        umoci new --image "$l:base"
        umoci unpack --image "$l:base" "$W/bundle-base" >/dev/null 2>&1
        layer "$W/bundle-base" "$l:base" 'mkdir -p bin proc sys dev etc tmp; with_libraries busybox; ln -sf busybox bin/sh; ln -sf busybox bin/cat; echo root:x:0:0::/:/bin/sh >etc/passwd'
        layer "$W/bundle-base" "$l:base" "head -c ${LAYER_BYTES:-3000000} /dev/urandom >shared-data"
    fi
    umoci tag --image "$l:base" "$1"
    umoci unpack --image "$l:$1" "$bundle" >/dev/null 2>&1
    layer "$bundle" "$l:$1" "echo hello from $1 >hello; head -c ${LAYER_BYTES:-2500000} /dev/urandom >data"
    umoci config --image "$l:$1" --config.entrypoint /bin/cat --config.cmd /hello --architecture amd64 --os linux
    rm -rf "$bundle"
}
image_push() { # NAME TAG
    skopeo copy -q --dest-tls-verify=false "oci:$W/layout:$1" "docker://127.0.0.1:$REGISTRY_PORT/library/$1:$2"
}
upstream_digest() { # NAME TAG
    skopeo inspect --tls-verify=false --raw "docker://127.0.0.1:$REGISTRY_PORT/library/$1:$2" | sha256sum | sed 's/ .*//; s/^/sha256:/'
}
upstream_manifest() { skopeo inspect --tls-verify=false --raw "docker://127.0.0.1:$REGISTRY_PORT/library/$1:$2"; }
need_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }
