#!/bin/bash
# A daemon that is told to stop finishes the pieces of imports that are on their way, and never says that there is no room for them.
. tests/lib.sh
need python3

entrepot_start 9
python3 - "$W/admin.sock" "$ENTREPOT_PID" <<'PY'
import hashlib, os, signal, socket, sys, time
path, pid = sys.argv[1], int(sys.argv[2])
piece, links = b"a" * 1000, []
for n in range(12):
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(20)
    link.connect(path)
    digest = hashlib.sha256(b"%d" % n).hexdigest()
    link.sendall(b"POST /v1/import/bytes?digest=sha256:%s&offset=0&size=1000000 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
                 % digest.encode() + piece[:500])
    links.append(link)
time.sleep(0.3)
os.kill(pid, signal.SIGTERM)
time.sleep(0.3)
for link in links:
    link.sendall(piece[500:])
answers = [link.recv(4096) for link in links]
wrong = [a for a in answers if b" 200 " not in a.split(b"\r\n")[0]]
if wrong:
    sys.exit("%d of %d were refused: %s" % (len(wrong), len(links), wrong[0].decode()))
PY
wait "$ENTREPOT_PID" || fail "entrepot ended with $?"
