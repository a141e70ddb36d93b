#!/bin/bash
# Archives that somebody made to do harm, or that are only large: an import takes time and room in proportion to what there is.
. "$(dirname "$0")/../lib.sh"
need_root

say "what an archive has is found out in linear time, and nobody is asked before that"
for kind in about tags referrers ids files; do
    python3 tests/airgap/hostile.py "$kind" "$W/$kind.tar"
    # Seconds of the processor: 1 or 2 of a slow one. What is quadratic takes 10 to 40.
    if (ulimit -t 6 && exec "$ENTREPOT" import "$W/$kind.tar" --name 'r.test/a/b:{tag}' --socket "$W/none") >"$W/said" 2>&1; then fail "without a daemon?"; fi
    grep -q 'cannot connect to' "$W/said" || fail "$kind: $(tail -n 1 "$W/said")"
done

say "a pipe without end is no archive after its first bytes, or has no room"
mkdir "$W/small"
mount -t tmpfs -o size=48m none "$W/small" || skip "no tmpfs here"
for kind in "letters:Unrecognized archive format:8" "zeros:neither an OCI image layout:16" "huge:not enough free space in $W/small.*TMPDIR:8" \
    "large:not enough free space in $W/small.*TMPDIR:48"; do
    IFS=: read -r kind words most <<<"$kind"
    if python3 tests/airgap/hostile.py pipe "$kind" 2>"$W/taken" |
        TMPDIR=$W/small timeout 60 "$ENTREPOT" import - --socket "$W/none" >"$W/said" 2>&1; then fail "$kind is imported"; fi
    grep -q "$words" "$W/said" || fail "$kind: $(cat "$W/said")"
    [ "$(cat "$W/taken")" -le "$most" ] || fail "$kind: $(cat "$W/taken") MiB were taken"
done
is "$(ls -A "$W/small")" "" "what is left in TMPDIR"

entrepot_start 9 "offline: true"
for kind in tags files; do
    from=$W/$kind.tar
    [ $kind = files ] || from=-
    (ulimit -t 6 && exec "$ENTREPOT" import "$from" --name 'r.test/a/b:{tag}' --socket "$W/admin.sock") < <(gzip -1c "$W/$kind.tar") >"$W/said" 2>&1 ||
        fail "$kind: $(tail -n 1 "$W/said")"
done
is "$(ask ls --json | jq '.images | length')" 20001 "images that are here"

say "a size that cannot be, and one that is not the blob's"
python3 tests/airgap/hostile.py sizes "$W/sizes.tar"
if ask import "$W/sizes.tar" >"$W/said" 2>&1; then fail "a layer of -1 bytes is taken"; fi
grep -q "sizes.tar: r.test/odd/x:1: layers\[1\] of sha256:[0-9a-f]*: its size, -1, is invalid" "$W/said" || fail "unclear: $(cat "$W/said")"
grep -q 'imported' "$W/said" && fail "something was sent: $(cat "$W/said")"
python3 tests/airgap/hostile.py wrong "$W/wrong.tar"
ask import "$W/wrong.tar" >"$W/said" 2>&1 || fail "import: $(cat "$W/said")"
grep -q "wrong.tar: r.test/odd/x:1: config of sha256:[0-9a-f]*: its size is 15, but the blob has 14 bytes" "$W/said" || fail "unclear: $(cat "$W/said")"

say "an export does not follow, write to, or hand over to what another user has put into a folder for everybody"
mkdir -m 1777 "$W/shared"
chmod 755 "$W"
them() { setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"; }
refused() { # WORDS PATH
    if ask export r.test/a/b:t1 -o "$2" >"$W/said" 2>&1; then fail "exported to $2"; fi
    grep -q "$1" "$W/said" || fail "unclear: $(cat "$W/said")"
}
echo mine >"$W/precious"
mkdir "$W/mine"
them ln -s "$W/precious" "$W/shared/link.tar"
them ln -s "$W/mine" "$W/shared/folder"
them touch "$W/shared/theirs.tar" "$W/shared/part.tar.part"
for path in link.tar folder folder/ folder/x.tar theirs.tar; do
    refused "belongs to another user, in a world-writable folder\|Permission denied" "$W/shared/$path"
done
refused 'part.tar.part belongs to another user' "$W/shared/part.tar"
is "$(cat "$W/precious")$(ls "$W/mine")" mine "what the links led to"
is "$(find "$W/shared" -size +0 -type f)" "" "files that are not empty"
touch "$W/own.tar"
ln -s "$W/own.tar" "$W/shared/own.tar"
ask export r.test/a/b:t1 -o "$W/shared/own.tar" >/dev/null || fail "a link of one's own is followed"
[ -s "$W/own.tar" ] || fail "a link of one's own is followed"

say "what it replaces keeps its owner and mode"
chmod 600 "$W/own.tar"
chown 65534:65534 "$W/own.tar"
ask export r.test/a/b:t1 -o "$W/own.tar" >/dev/null
is "$(stat -c '%a %u %g' "$W/own.tar")" "600 65534 65534" "mode and owner"
(umask 027 && ask export r.test/a/b:t1 -o "$W/new.tar" >/dev/null)
is "$(stat -c %a "$W/new.tar")" 640 "mode of a new one"

say "an import does not change a user's files, unless it is told to"
python3 tests/airgap/layouts.py "$W/layout"
chmod 600 "$W"/layout/blobs/sha256/*
modes() { stat -c '%a %h %n' "$1"/blobs/sha256/* | sort >"$2"; }
modes "$W/layout" "$W/before"
ask import "$W/layout" >/dev/null 2>&1 || fail "import"
modes "$W/layout" "$W/after"
cmp "$W/before" "$W/after" || fail "an import changed its folder"
entrepot_stop
rm -rf "$W/cache"
entrepot_start 9 "offline: true"
ask import --link "$W/layout" >"$W/said" 2>&1 || fail "import"
grep -q ': linked, \|: cloned, ' "$W/said" || fail "nothing is shared with --link"
if grep -q ': linked, ' "$W/said"; then
    is "$(stat -c '%a %h' "$W"/layout/blobs/sha256/* | sort -u)" "444 2" "mode and links"
fi

say "an import reads regular files of its folder only"
for what in file folder fifo; do
    rm -rf "$W/layout" "$W/outside"
    python3 tests/airgap/layouts.py "$W/layout"
    blob=$(find "$W/layout/blobs/sha256" -type f -print -quit)
    case $what in
        file) mv "$blob" "$W/outside" && ln -s "$W/outside" "$blob" ;;
        folder) mv "$W/layout/blobs" "$W/outside" && ln -s "$W/outside" "$W/layout/blobs" ;;
        fifo) rm "$blob" && mkfifo "$blob" ;;
    esac
    if timeout 20 "$ENTREPOT" import "$W/layout" --socket "$W/admin.sock" >"$W/said" 2>&1; then fail "a $what is imported"; fi
    grep -q 'is a symbolic link, or in a folder that is one\|is not a regular file' "$W/said" || fail "$what: $(cat "$W/said")"
done

say "what another repository says about an image is not that image's"
image=$(python3 tests/airgap/hostile.py tied "$W/tied.tar")
ask import "$W/tied.tar" >/dev/null 2>&1 || fail "import"
referrers() { curl -sf "http://127.0.0.1:$PORT/v2/r.test/$1/referrers/$image" | jq '.manifests | length'; }
is "$(referrers a/b)" 0 "referrers that the image has"
is "$(referrers evil/x)" 1 "referrers that the other one has"
ask export r.test/a/b:1 -o "$W/tied.out.tar" >/dev/null
is "$(tar -xOf "$W/tied.out.tar" index.json | grep -c evil)" 0 "what is exported of the other one"
is "$(tar -tf "$W/tied.out.tar" | grep -c blobs/)" 2 "blobs that are exported: a manifest and its config"
entrepot_stop
