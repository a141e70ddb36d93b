#!/bin/bash
# `entrepot ls` of 5000 images: all of them, sorted, each once; of one image, that one alone. The daemon is as small afterwards as
# before, also while clients ask for the list and do not read it, or leave in the middle. So is it with the plan of a large export.
. "$(dirname "$0")/../lib.sh"
images=5000
"${B:-build}/tests/bench/scale" "$W/cache" make $images 1 2>"$W/make.log" || fail "$(tail -n 1 "$W/make.log")"
CACHE_MORE="max_size: 100TiB"
entrepot_start 9 "gc: {interval: 1h}"
limit=32768
case "${SANITIZE:-}${B:-}" in *asan* | *tsan* | *address* | *thread*) limit=1048576 ;; esac # they keep what is freed
memory() { awk '/^Rss(Anon|Shmem)/ {n += $2} END {print n}' "/proc/$ENTREPOT_PID/status"; }
is_small() { [ "$(memory)" -le $limit ] || fail "$(memory) KiB of memory $1"; }

say "all of them, five at once"
for n in $(seq 0 $((images - 1))); do echo "docker.io/team$((n % 100))/app$((n % 1000)):v$n"; done | LC_ALL=C sort -t : -k 1,1 -k 2,2 >"$W/expected"
lists=()
for n in 1 2 3 4 5; do
    ask ls --json >"$W/list.$n" &
    lists+=($!)
done
wait "${lists[@]}"
is_small "after five lists"
for n in 1 2 3 4 5; do
    jq -r '.images[].reference' "$W/list.$n" >"$W/references"
    cmp "$W/references" "$W/expected" || fail "list $n is not what there is"
done
is "$(jq -c '[.images[] | [.platforms, .cached, .size, (.image_id | length), .pinned]] | unique' "$W/list.1" | jq -c 'map([.[0], .[1]]) | unique')" \
    '[[["linux/amd64"],true]]' "platforms, and whether they are here"
is "$(ask ls | wc -l)" $((images + 1)) "lines of the table"

say "some of them"
is "$(ask ls docker.io/team1/app1 --json | jq -r '.images[].reference' | xargs)" \
    "docker.io/team1/app1:v1 docker.io/team1/app1:v1001 docker.io/team1/app1:v2001 docker.io/team1/app1:v3001 docker.io/team1/app1:v4001" "one repository"
is "$(ask ls team1/app1:v2001 --json | jq -r '.images[].reference')" docker.io/team1/app1:v2001 "one tag"
digest=$(ask ls team1/app1:v2001 --json | jq -r '.images[].digest')
is "$(ask ls "team1/app1@$digest" --json | jq -r '.images[].reference')" docker.io/team1/app1:v2001 "one digest"
is "$(ask ls team1/app1:v5 --json | jq -c .images)" '[]' "a tag that is not here"
is "$(ask inspect team1/app1:v2001 --json | jq -c '[.tags, (.platforms[0].layers | length)]')" '[["v2001"],4]' "inspect"
is "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$W/admin.sock" 'http://x/v1/images?digest=sha256:1')" 400 "a digest that is none"
is "$(curl -sI -o /dev/null -w '%{http_code}' --unix-socket "$W/admin.sock" 'http://x/v1/images')" 200 "HEAD"

say "clients that do not read, or leave"
python3 - "$W/admin.sock" "$ENTREPOT_PID" "$limit" $images <<'PY'
import json, socket, sys, time

path, pid, limit, images = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def ask():
    s = socket.socket(socket.AF_UNIX)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(path)
    s.sendall(b"GET /v1/images HTTP/1.1\r\nHost: x\r\n\r\n")
    return s

def memory():
    return sum(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith(("RssAnon", "RssShmem")))

waiting = [ask() for _ in range(20)]
for s in waiting:
    s.recv(100, socket.MSG_PEEK)
time.sleep(1)
assert memory() <= limit, f"{memory()} KiB while 20 clients do not read"
for s in waiting[1:]:
    s.close()
leaving = [ask() for _ in range(50)]
for s in leaving:
    s.close()
text = b""
while not text.endswith(b"0\r\n\r\n"):
    piece = waiting[0].recv(65536)
    assert piece, "the list is cut"
    text += piece
head, _, rest = text.partition(b"\r\n\r\n")
body = b""
while rest:
    size, _, rest = rest.partition(b"\r\n")
    body += rest[:int(size, 16)]
    rest = rest[int(size, 16) + 2:]
assert len(json.loads(body)["images"]) == images
PY
is_small "after clients that left"

say "a large export's plan"
jq -c '{references: [.images[:4000][].reference]}' "$W/list.1" >"$W/wish"
curl -sf --max-time 60 --unix-socket "$W/admin.sock" -d "@$W/wish" http://x/v1/export -o "$W/plan" || fail "no plan"
is "$(jq '[.members[] | select(.digest) | .name] | length == (unique | length)' "$W/plan")" true "each blob once"
is "$(jq '[.members[] | select(.digest)] | length' "$W/plan")" $((4000 * 3 + 50)) "manifests, configs, layers"
is_small "after an export's plan"
entrepot_stop
