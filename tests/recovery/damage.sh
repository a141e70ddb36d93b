#!/bin/bash
# What the disk can do to a cache: flipped bits, cut and lost blobs, a cut, zeroed, overwritten or lost index, an index that
# contradicts itself, or of a newer version. Each is noticed, named, healed; nothing wrong is ever served.
. "$(dirname "$0")/../lib.sh"
need_root

registry_start
for i in one two; do image_build $i; image_push $i 1; done
blobs=$(for i in one two; do upstream_manifest $i 1; done | jq -r '.config.digest, .layers[].digest' | sort -u)
big=$(upstream_manifest one 1 | jq -r '.layers[-1].digest')
base=$(upstream_manifest one 1 | jq -r '.layers[1].digest')
manifest=$(upstream_digest one 1)
file() { echo "$W/cache/blobs/${1/://}"; }
get() { curl -s -o "$W/got" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$1"; }
# Every blob and both manifests are right, or (with "refused") not served at all.
right() {
    local d code
    for d in $blobs; do
        code=$(get "library/$([ "$d" = "$big" ] && echo one || echo two)/blobs/$d")
        [ "$code" = 200 ] || code=$(get "library/one/blobs/$d")
        is "$code" 200 "blob $d"
        is "sha256:$(sha256sum <"$W/got" | sed 's/ .*//')" "$d" "blob"
    done
    for i in one two; do
        is "$(get "library/$i/manifests/1")" 200 "manifest of $i"
        is "sha256:$(sha256sum <"$W/got" | sed 's/ .*//')" "$(cat "$W/digest-$i")" "manifest of $i"
    done
}
for i in one two; do upstream_digest $i 1 >"$W/digest-$i"; done
logged() { wait_for 10 grep -q "$1" "$W/entrepot.log" || fail "the log does not say: $1"; : >"$W/entrepot.log"; }
# One bit in the middle of a file.
flip() { python3 -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(0, 2); n = f.tell() // 2; f.seek(n); b = f.read(1)[0]; f.seek(n); f.write(bytes([b ^ 16]))' "$1"; }

entrepot_start "" "tags: {ttl: 1h}"
right
sound() { "$TOOLS/check_cache" "$W/cache" --settled >"$W/check.out" || fail "$(cat "$W/check.out")"; }

say "a flipped bit, while the daemon runs"
chmod u+w "$(file "$big")"; flip "$(file "$big")"
before=$(registry_asked GET "$big")
right
is "$(registry_asked GET "$big")" $((before + 1)) "fetched again once"
logged "$big is damaged on disk"
[ -f "$W/cache/quarantine/${big/:/-}" ] || fail "it is not in quarantine"

say "a flipped bit, while it does not; with upstream away it is refused, not served"
entrepot_stop
chmod u+w "$(file "$base")"; flip "$(file "$base")"
registry_stop
entrepot_start "" "tags: {ttl: 1h}"
code=$(get "library/one/blobs/$base")
case $code in 5??) ;; *) fail "a damaged blob was answered with $code" ;; esac
logged "$base is damaged on disk"
registry_start
right

say "a cut blob, a lost blob, a damaged manifest"
truncate -s 100 "$(file "$big")"
rm "$(file "$base")"
right
entrepot_stop
chmod u+w "$(file "$manifest")"; flip "$(file "$manifest")"
entrepot_start "" "tags: {ttl: 1h}"
right
logged "not whole\|does not match its digest\|is damaged"
entrepot_stop
sound

say "a file that has no entry is adopted, one that lies about its name is put aside"
entrepot_start "" "tags: {ttl: 1h}"
entrepot_stop
head -c 5000 /dev/urandom >"$W/stray"
good=$(sha256sum <"$W/stray" | sed 's/ .*//')
cp "$W/stray" "$W/cache/blobs/sha256/$good"
echo lie >"$W/cache/blobs/sha256/$(printf '%064d' 7)"
entrepot_start "" "tags: {ttl: 1h}"
logged "1 blobs adopted, 1 damaged"
entrepot_stop
sound

# ---- the index; upstream is away from here on: what is on the node must do ----
registry_stop
broken() { # HOW COMMAND...: with the daemon stopped
    say "the index $1, upstream away"
    entrepot_start "" "tags: {ttl: 1h}"
    right
    entrepot_stop
    cp -a "$W/cache/index" "$W/index.kept"
    "${@:2}"
    : >"$W/entrepot.log"
    entrepot_start "" "tags: {ttl: 1h}"
    right
    logged "the index is whole again\|blobs adopted"
    is "$(ask ls --json | jq '.images | length')" 2 "images"
    entrepot_stop
    sound
    [ -n "$(find "$W/cache" -maxdepth 1 -name 'index.*-*')" ] || [ "$1" = "is lost" ] || fail "nothing was moved aside"
    rm -rf "$W"/cache/index.*-* "$W/index.kept"
}
data=$W/cache/index/data.mdb
size() { stat -c %s "$data"; }
cut_it() { truncate -s $(($(size) / 2)) "$data"; }
zero_it() { dd if=/dev/zero of="$data" bs=4096 count=$(($(size) / 4096)) conv=notrunc status=none; }
zero_head() { dd if=/dev/zero of="$data" bs=4096 count=2 conv=notrunc status=none; }
garble() { dd if=/dev/urandom of="$data" bs=4096 count=2 conv=notrunc status=none; }
lose() { rm -rf "$W/cache/index"; }
mark_it() { touch "$W/cache/index/damaged"; }
older() { "$TOOLS/break_index" "$W/cache" schema 1; }
broken "is cut" cut_it
broken "is all zeros" zero_it
broken "has no head" zero_head
broken "has noise for a head" garble
broken "was marked as damaged" mark_it
broken "is of an older version" older
broken "is lost" lose

say "pages of the index overwritten: the daemon ends or heals, and the next start is right"
entrepot_start "" "tags: {ttl: 1h}"
right
entrepot_stop
for page in $(seq 2 $(($(size) / 4096 - 1))); do
    dd if=/dev/urandom of="$data" bs=4096 count=1 seek="$page" conv=notrunc status=none
done
for try in 1 2 3; do
    entrepot_try "" "tags: {ttl: 1h}" && (right) >/dev/null 2>&1 && break
    kill "$ENTREPOT_PID" 2>/dev/null || true
    wait "$ENTREPOT_PID" 2>/dev/null || true
done
right
entrepot_stop
sound

say "an index of a newer version is refused, with what to do"
"$TOOLS/break_index" "$W/cache" schema 99
"$ENTREPOT" serve --config "$W/config.yaml" >"$W/refused.log" 2>&1 && fail "it started" || true
grep -q "schema 99 of a newer version.*run the version that wrote it" "$W/refused.log" || fail "$(cat "$W/refused.log")"
"$TOOLS/break_index" "$W/cache" schema 2

say "an index that contradicts itself: verify says so, --repair puts it right"
registry_start
"$TOOLS/break_index" "$W/cache" parent
"$TOOLS/break_index" "$W/cache" total
entrepot_start "" "tags: {ttl: 1h}"
ask verify >"$W/verify.out" && fail "verify was content: $(cat "$W/verify.out")" || is $? 1 "exit of verify"
grep -q "not counted as a reference" "$W/verify.out" && grep -q "not the sum" "$W/verify.out" || fail "$(cat "$W/verify.out")"
chmod u+w "$(file "$big")"; flip "$(file "$big")"
rm "$(file "$base")"
ask verify --repair --json >"$W/verify.out" || true
tail -n 1 "$W/verify.out" | jq -e '.damaged == 1 and .missing == 1 and .fetched == 2 and .lost == 0 and .repaired == .references' >/dev/null ||
    fail "$(cat "$W/verify.out")"
ask verify --rate 0 >"$W/verify.out" || fail "verify after repair: $(cat "$W/verify.out")"
before=$(registry_asked GET blobs)
right
is "$(registry_asked GET blobs)" "$before" "nothing is fetched after the repair"

say "what verify alone found, what a client ran into, and what the last repair could not fetch, a later repair brings back"
sum() { ask verify --rate 0 "$@" --json | tail -n 1 | jq -c '[.damaged, .missing, .fetched, .lost, .ok]'; }
last=$(upstream_manifest two 1 | jq -r '.layers[-1].digest')
chmod u+w "$(file "$big")" "$(file "$manifest")"; flip "$(file "$big")"; flip "$(file "$manifest")"
rm "$(file "$base")"
is "$(sum)" "[2,1,0,0,false]" "verify"
is "$(sum)" "[0,2,0,0,false]" "verify again: they are not here, and what the lost manifest needs is not known"
rm "$(file "$last")"
registry_stop
code=$(get "library/two/blobs/$last")
case $code in 5??) ;; *) fail "a lost blob was answered with $code" ;; esac
is "$(sum --repair)" "[0,3,0,3,false]" "a repair with the registry away"
entrepot_stop
entrepot_start "" "tags: {ttl: 1h}"
registry_start
is "$(sum --repair)" "[0,4,4,0,false]" "a repair after that"
is "$(sum)" "[0,0,0,0,true]" "and all is well"
is "$(find "$W/cache/quarantine" -name '*.lost' | wc -l)" 0 "notes that are left"
before=$(registry_asked GET blobs)
right
is "$(registry_asked GET blobs)" "$before" "nothing is fetched after the repair"
rm "$(file "$big")"
is "$(sum)" "[0,1,0,0,false]" "one more is lost"
ask rm one:1 >/dev/null
is "$(sum --repair)" "[0,0,0,0,true]" "what nobody needs any more is not fetched"
say "a verification that would take hours ends with who asked for it, and does not hold up the daemon"
timeout -s INT 1 "$ENTREPOT" verify --rate 100 --socket "$W/admin.sock" >/dev/null 2>&1 || true
wait_for 5 ask verify --rate 0 || fail "it goes on without anybody: $(ask verify --rate 0 2>&1)"
"$ENTREPOT" verify --rate 100 --socket "$W/admin.sock" >/dev/null 2>&1 &
PIDS+=($!)
sleep 0.5
started=$(date +%s)
entrepot_stop
[ $(($(date +%s) - started)) -le 10 ] || fail "the daemon took $(($(date +%s) - started)) s to end"
sound
