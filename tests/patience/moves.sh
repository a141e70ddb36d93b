#!/bin/bash
# A tag that moves is seen within its ttl; one that is deleted goes at once, or stays up to max_stale where that is configured;
# when a tag's freshness ends, a thousand clients are one question upstream; rules make tags immutable or checked often.
. "$(dirname "$0")/../lib.sh"
. tests/patience/hub.sh.inc
clock_start
hub_start
get() { curl -s -o "$W/got" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/app/manifests/$1"; }
digest() { is "$(get "$1")" 200 "status of app:$1"; sha256sum <"$W/got" | sed 's/ .*//; s/^/sha256:/'; }
heads() { hub_count ".head[\"app/$1\"] // 0"; }
gets() { hub_count '[.get[]] | add // 0'; }
for t in 1 v1 latest kept nightly; do one=$(hub "move?name=app&tag=$t&image=1"); done
entrepot_start "$HUB_PORT" "tags:
  ttl: 5m
  max_stale: 2h
  rules:
    - {tag: 'v*', ttl: never}
    - {repository: 'docker.io/library/*', tag: latest, ttl: 100s}
    - {repository: 'docker.io/library/app', tag: kept, deleted: keep, max_stale: 1h}"

for t in 1 v1 latest kept nightly; do is "$(digest $t)" "$one" "app:$t"; done
hub zero >/dev/null
for t in 1 v1 latest kept nightly; do two=$(hub "move?name=app&tag=$t&image=2"); done
say "while fresh, nobody is asked"
clock_at 92
is "$(digest latest)" "$one" "app:latest while fresh"
sleep 0.5
is "$(heads latest)" 1 "it is asked for in the last tenth of its freshness, beside serving it"
is "$(digest latest)" "$two" "and then it is the new one"
is "$(digest 1)" "$one" "app:1, while fresh"
is "$(heads 1)" 0 "questions about app:1"
say "within its ttl a move is seen"
clock_at 301
is "$(digest 1)" "$two" "app:1, past fresh"
is "$(heads 1)" 1 "questions about app:1"
is "$(gets)" 1 "one fetch of the new image, whoever came to it first"
is "$(digest v1)" "$one" "app:v1 is for ever"
clock_at 3000000
is "$(digest v1)" "$one" "app:v1 is for ever"
is "$(heads v1)" 0 "questions about app:v1"

say "a thousand clients at expiry"
digest 1 >/dev/null
hub zero >/dev/null
clock_at 3001000
python3 - "$PORT" <<'PY'
import asyncio, sys
async def one(start):
    r, w = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await start.wait()
    w.write(b"%s /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (b"HEAD" if id(w) % 3 == 0 else b"GET"))
    status = (await r.readline()).split()[1]
    await r.read()
    w.close()
    return status
async def main():
    start = asyncio.Event()
    tasks = [asyncio.create_task(one(start)) for _ in range(1000)]
    await asyncio.sleep(1)
    start.set()
    got = await asyncio.gather(*tasks)
    assert got == [b"200"] * 1000, {s: got.count(s) for s in set(got)}
asyncio.run(main())
PY
is "$(heads 1)" 1 "questions of a thousand clients"
is "$(gets)" 0 "fetches"

say "deleted upstream"
for t in kept nightly; do is "$(digest $t)" "$two" "app:$t"; hub "move?name=app&tag=$t&image=-1" >/dev/null; done
clock_at 3001400
is "$(get nightly)" 404 "app:nightly goes at once"
is "$(digest kept)" "$two" "app:kept stays"
curl -s -o /dev/null -D - "http://127.0.0.1:$PORT/v2/app/manifests/kept" | grep -q 'Cache-Status: entrepot; hit; ttl=-' || fail "it does not say that it is stale"
clock_at 3005000
sleep 0.2
[ "$(get kept)" = 404 ] || fail "app:kept is served past max_stale"

say "upstream is gone for longer than max_stale"
is "$(digest 1)" "$two" "app:1"
hub_stop
clock_at 3011000
is "$(digest 1)" "$two" "app:1, stale"
clock_at 3013000
case $(get 1) in 50?) ;; *) fail "app:1 is served past max_stale" ;; esac
ask pin app:1 >/dev/null
is "$(digest 1)" "$two" "pinned, it is served for ever"
entrepot_stop
