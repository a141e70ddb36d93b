#!/bin/bash
# `entrepot pull` on a terminal shows a bar for each layer on its way and leaves a line for each image; Ctrl-C leaves the screen in
# order. Into a pipe it prints plain lines, with --json events.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
www=$W/www/v2/library/app
mkdir -p "$www/blobs" "$www/manifests"
layers=
for i in 1 2 3; do
    openssl enc -aes-128-ctr -nosalt -pass "pass:screen$i" -pbkdf2 </dev/zero 2>/dev/null | head -c 8000000 >"$W/blob" || true
    l=sha256:$(sha256sum <"$W/blob" | sed 's/ .*//')
    mv "$W/blob" "$www/blobs/$l"
    layers="$layers${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"$l\",\"size\":8000000}"
    echo "${l:7:12}" >>"$W/short"
done
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}' >"$W/blob"
config=sha256:$(sha256sum <"$W/blob" | sed 's/ .*//')
cp "$W/blob" "$www/blobs/$config"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":78},"layers":[%s]}' \
    "$config" "$layers" >"$www/manifests/1"
cp "$www/manifests/1" "$www/manifests/sha256:$(sha256sum <"$www/manifests/1" | sed 's/ .*//')"
nginx_start 4m
entrepot_start "$NGINX_PORT"

on_cleanup() { tmux -L "entrepot-$$" kill-server 2>/dev/null; }
screen() { tmux -L "entrepot-$$" capture-pane -pJ; }
run() { # COMMAND: on a terminal of 90 columns and 12 lines
    tmux -L "entrepot-$$" -f /dev/null new-session -d -x 90 -y 12 "$1; echo status \$?; sleep 60"
}
shows() { screen | grep -qE "$1"; }
pull="$ENTREPOT pull app:1 nope:1 --socket $W/admin.sock"

say "on a terminal"
run "$pull"
wait_for 10 shows '1 of 2 images, 3 on their way' || fail "no bars: $(screen)"
screen >"$W/during"
for l in $(cat "$W/short"); do grep -q "$l layer .*MiB / 7.6 MiB" "$W/during" || fail "no line for $l: $(cat "$W/during")"; done
grep -qE '1 of 2 images, 3 on their way' "$W/during" || fail "no line for all: $(cat "$W/during")"
grep -q '^docker.io/library/nope:1: failed' "$W/during" || fail "what failed has no line: $(cat "$W/during")"
is "$(tmux -L "entrepot-$$" capture-pane -p | awk 'length > 90' | wc -l)" 0 "lines that are too long"
wait_for 20 shows '^status' || fail "it does not end: $(screen)"
screen >"$W/after"
grep -q '^docker.io/library/app:1: done, sha256:.* 22.9 MiB, 22.9 MiB of it fetched' "$W/after" || fail "no line for the image: $(cat "$W/after")"
grep -q '^entrepot: pulling docker.io/library/nope:1.* upstream does not have it' "$W/after" || fail "no reason: $(cat "$W/after")"
grep -q '^status 1' "$W/after" || fail "one failed: $(cat "$W/after")"
grep -qE '\[=|on their way' "$W/after" && fail "live lines are left: $(cat "$W/after")"
tmux -L "entrepot-$$" kill-server

say "Ctrl-C"
ask rm app:1 >/dev/null
run "$pull"
wait_for 10 shows '\[=+>' || fail "no bar: $(screen)"
tmux -L "entrepot-$$" send-keys C-c
wait_for 5 shows '^status 130' || fail "Ctrl-C: $(screen)"
screen | grep -qE '\[=|on their way' && fail "live lines are left: $(screen)"
gone() { [ "$(metric entrepot_ingests)" = 0 ]; }
wait_for 10 gone || fail "the daemon goes on for nobody"

say "into a pipe, as events"
ask pull app:1 | cat >"$W/plain"
grep -q $'\033\|\r' "$W/plain" && fail "a pipe gets what moves cursors"
is "$(grep -cE '^docker.io/library/app:1: (manifest|config|layer) sha256:[0-9a-f]{12} (fetched|is here), ' "$W/plain")" 5 "lines for blobs"
is "$(tail -n 1 "$W/plain" | cut -d ' ' -f 1,2)" "docker.io/library/app:1: done," "the last line"
ask pull app:1 --json >"$W/events"
is "$(jq -r 'select(.event == "blob") | .status' "$W/events" | sort | uniq -c | tr -s ' ')" " 5 exists" "events of blobs"
is "$(tail -n 1 "$W/events" | jq -c '[.images, .failed, .fetched, .ok]')" "[1,0,0,true]" "the last event"
TERM=dumb ask pull app:1 >/dev/null || fail "a dumb terminal"
entrepot_stop
