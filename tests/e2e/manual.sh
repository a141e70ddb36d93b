#!/bin/bash
# The manual: a page for each command, with the options that --help shows and the command takes; what pages refer to is there; they
# are clean, the same by each awk, and installed.
. "$(dirname "$0")/../lib.sh"
need python3 mandoc

docs/man/pages "$ENTREPOT" "$W/man" || fail "no pages"
python3 tests/e2e/manual.py "$ENTREPOT" "$W/man" docs/man/entrepot.yaml.5 systemd/*.service systemd/*.socket systemd/*.timer >"$W/found" ||
    fail "$(cat "$W/found")"
for page in "$W"/man/*.1; do mandoc -Tlint -W warning "$page" || fail "${page##*/}"; done

say "each awk"
mkdir "$W/bin"
for awk in mawk gawk original-awk busybox; do
    is_here $awk || { say "$awk: skipped, it is not here"; continue; }
    more=
    [ $awk = busybox ] && more=awk
    printf '#!/bin/sh\nexec %s %s "$@"\n' "$(command -v $awk)" "$more" >"$W/bin/awk"
    chmod +x "$W/bin/awk"
    PATH=$W/bin:$PATH docs/man/pages "$ENTREPOT" "$W/again" || fail "$awk: no pages"
    diff -r "$W/man" "$W/again" || fail "$awk makes other pages"
done

say "what does not fit ends the build"
cp -r docs/man "$W/source"
refused() { # WHAT, in the message
    "$W/source/pages" "$ENTREPOT" "$W/other" 2>"$W/err" && fail "pages are made with $1"
    grep -q "$1" "$W/err" || fail "$1: $(cat "$W/err")"
    cp docs/man/commands/* "$W/source/commands/"
}
rm "$W/source/commands/gc.mdoc"
refused 'gc.mdoc is missing'
printf '.Sh OPTIONS\n.It Fl \\-no-such\nText.\n' >>"$W/source/commands/gc.mdoc"
refused 'nothing in --help is called OPTIONS, --no-such'
printf '.Sh ENVIRONMENT\n.It Ev NO_SUCH\n' >>"$W/source/commands/gc.mdoc"
refused 'entrepot.1 has no Ev NO_SUCH'

say "make install"
make install DESTDIR="$W/root" PREFIX=/usr ENTREPOT_SKIP_PACKAGES=1 >"$W/install.log" 2>&1 || fail "make install"
diff <(cd "$W/man" && ls) <(cd "$W/root/usr/share/man/man1" && ls) || fail "other pages are installed"
[ -s "$W/root/usr/share/man/man5/entrepot.yaml.5" ] || fail "entrepot.yaml(5) is not installed"
