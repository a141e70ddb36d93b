#!/bin/bash
# What the ways build, by the commands of docs/operations.md, in a clone of this commit: build/walks/entrepot, and what each of them took in
# build/walks/built. It is kept as long as nothing changes that goes into packages and images.
. "$(dirname "$0")/../lib.sh"
need_root
need openssl skopeo
command -v mmdebstrap >/dev/null || skip "needs mmdebstrap"
OUT=$PWD/${B:-build}/walks
TOP=$PWD
DISTROS=${DISTROS:-bookworm trixie}
[ -z "$(git status --porcelain -uno)" ] || say "what is not committed is not in it"
KEY=$({ git ls-tree -r HEAD | grep -vE '	(docs/[^/]*\.md|tests/|[A-Z]*\.md)'; echo "$DISTROS"; grep -E '^    (git|make|sudo make)' docs/operations.md; } | sha256sum)
if [ "$(cat "$OUT/of" 2>/dev/null)" = "$KEY" ]; then
    say "is built"
    exit 0
fi
mkdir -p "$OUT"
rm -rf --one-file-system "$OUT/entrepot" "$OUT/ways" "$OUT/of" "$OUT/built" "$OUT"/ca.*

# The image brings the certificates of the machine that it was made on: an authority of the test's is among them.
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=walks" -keyout "$OUT/ca.key" -out "$OUT/ca.crt" 2>/dev/null
cat /etc/ssl/certs/ca-certificates.crt "$OUT/ca.crt" >"$OUT/ca.bundle"
# Root may do all of it.
mkdir -p "$W/bin"
is_here sudo || printf '#!/bin/sh\nexec "$@"\n' >"$W/bin/sudo"
chmod +x "$W/bin"/* 2>/dev/null || true

seconds_since() { awk -v n="${EPOCHREALTIME/./}" -v b="$1" 'BEGIN {printf "%.1f", (n - b) / 1000000}'; }
do_it() { # COMMAND
    (cd "$at" && env -i HOME="$W" PATH="$PATH:$W/bin" DEBIAN_FRONTEND=noninteractive ENTREPOT_CHROOTS="${ENTREPOT_CHROOTS:-}" \
        unshare --mount sh -ec 'mount --bind "$1" /etc/ssl/certs/ca-certificates.crt; exec bash -ec "$2"' sh "$OUT/ca.bundle" "$1") >"$W/out.log" 2>&1 ||
        fail "$1: $(tail -n 20 "$W/out.log")"
}
at=$OUT
for way in $(python3 tests/walks/ways.py docs/operations.md); do
    for release in $DISTROS; do
        at=$OUT
        while IFS=$'\t' read -r where _ command; do
            [ "$where" = build ] || continue
            command=${command//bookworm/$release}
            if ! grep -qF "	$command" "$OUT/built" 2>/dev/null; then
                began=${EPOCHREALTIME/./}
                do_it "${command/ URL / $TOP }"
                printf '%s\t%s\n' "$(seconds_since "$began")" "$command" >>"$OUT/built"
                say "$(tail -n 1 "$OUT/built")"
                case $command in make\ image*) mkdir -p "$OUT/ways/$way" && cp -a "$at/build/image" "$OUT/ways/$way/" ;; esac
            fi
            case $command in *" && cd "*) at=$OUT/${command##*" && cd "} ;; esac
        done < <(python3 tests/walks/ways.py docs/operations.md "$way")
    done
done
echo "$KEY" >"$OUT/of"
