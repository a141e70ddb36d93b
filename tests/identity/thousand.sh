#!/bin/bash
# 1000 clients with 1000 tokens for one private image, at once: upstream is asked about each of them once, and sends it once.
# Takes minutes.
. "$(dirname "$0")/../lib.sh"
. tests/identity/auth.sh.inc
need_root

clients=${CLIENTS:-1000}
clouds_start
pusher=$(canary pusher) everybody=$(canary everybody)
set_state '.accounts = {pusher: $p, team: $e}' --arg p "$pusher" --arg e "$everybody"
token_registry_start
image_build app
push_as "pusher:$pusher" app team/app:1
layer=$(skopeo inspect --creds "pusher:$pusher" --tls-verify=false --raw "docker://127.0.0.1:$REGISTRY_PORT/team/app:1" | jq -r '.layers[-1].digest')
seq "$clients" | xargs -P 4 -I{} curl -s -u "team:$everybody" "http://127.0.0.1:$CLOUD_PORT/token?service=registry&scope=repository:team/app:pull&n={}" |
    jq -r .token >"$W/tokens"
is "$(sort -u "$W/tokens" | wc -l)" "$clients" "tokens"
ulimit -n 8192
entrepot_start "" "tags: {ttl: 1h}"
: >"$W/registry.log"
cat >"$W/clients.py" <<'PY'
import asyncio, hashlib, sys
port, layer = int(sys.argv[1]), sys.argv[2]
tokens = [t.strip() for t in open(sys.argv[3])]
wrong = []
async def get(reader, writer, path, token):
    writer.write(f"GET /v2/team/app/{path} HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
    return int(head.split()[1]), body
async def client(token):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        status, body = await get(reader, writer, "manifests/1", token)
        if status != 200:
            wrong.append((status, body[:200]))
            return
        status, body = await get(reader, writer, "blobs/" + layer, token)
        if status != 200 or "sha256:" + hashlib.sha256(body).hexdigest() != layer:
            wrong.append((status, len(body)))
        writer.close()
    except Exception as e:
        wrong.append(repr(e))
async def main():
    await asyncio.wait_for(asyncio.gather(*map(client, tokens)), 120)
asyncio.run(main())
print(len(wrong), wrong[:3])
PY
out=$(python3 "$W/clients.py" "$PORT" "$layer" "$W/tokens") || fail "the clients: $out"
is "${out%% *}" 0 "clients that failed: $out"
is "$(registry_asked HEAD manifests/1)" "$clients" "HEADs upstream"
is "$(registry_asked GET manifests)" 1 "GETs of the manifest"
is "$(registry_asked GET "$layer")" 1 "GETs of the layer"
say "$clients clients, $(registry_asked HEAD manifests/1) HEADs, 1 manifest and 1 layer fetched; $(awk '/^VmHWM/ {print int($2 / 1024)}' "/proc/$ENTREPOT_PID/status") MiB at most"
entrepot_stop
