#!/bin/bash
# What the shells offer: every command, the options that its --help shows, their values, and the images of the daemon that the
# line names. zsh and fish are asked where they are installed.
. "$(dirname "$0")/../lib.sh"
python3 tests/e2e/commands.py make "$W" || fail "no archives"
entrepot_start
ask import "$W/twice.tar" >/dev/null || fail "import"
for shell in bash zsh fish; do "$ENTREPOT" completion $shell >"$W/completion.$shell" || fail "completion $shell"; done
mkdir "$W/bin" "$W/here" "$W/here/folder"
ln -s "$ENTREPOT" "$W/bin/entrepot"
touch "$W/here/file.tar"
export PATH=$W/bin:$PATH
COMMANDS=$("$ENTREPOT" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')

in_bash() { # LINE: what bash would offer, sorted, on one line
    (cd "$W/here" && bash --norc -u -c '. "$1"; COMP_LINE=$2 COMP_POINT=${#2}; COMPREPLY=(); _entrepot entrepot
        printf "%s\n" "${COMPREPLY[@]-}"' - "$W/completion.bash" "$1" | sort | paste -sd ' ')
}
in_fish() {
    (cd "$W/here" && HOME=$W fish --no-config -c 'source $argv[1]; complete -C $argv[2]' "$W/completion.fish" "$1" | cut -f 1 | sort | paste -sd ' ')
}

say "bash"
is "$(in_bash 'entrepot ' | tr ' ' '\n')" "$(sort <<<"$COMMANDS")" "commands"
is "$(in_bash 'entrepot ver')" "verify version" "commands that begin so"
for c in $COMMANDS; do
    is "$(in_bash "entrepot $c --" | tr ' ' '\n')" \
        "$({ echo --help; "$ENTREPOT" "$c" --help | sed 's/entrepot [a-z]* --[a-z-]*//g' | grep -oE -e '--[a-z][a-z-]+'; } | sort -u)" "options of $c"
done
s=--socket=$W/admin.sock
while IFS='|' read -r line due; do is "$(in_bash "$line")" "$due" "\"$line\""; done <<EOF
entrepot config |check diff show
entrepot debug d|dump
entrepot offline |off on
entrepot help p|peers pin pull pulls
entrepot setup p|podman
entrepot completion |bash fish zsh
entrepot export --format |docker oci
entrepot export x --signatures=|include omit separate
entrepot import |file.tar folder
entrepot serve --cache |folder
entrepot gc --to |
entrepot status |
entrepot inspect $s twice.example/b|twice.example/both:1
entrepot inspect $s twice.example/both:|1
entrepot pin --socket $W/admin.sock twice|twice.example/both:1 twice.example/one:1
entrepot rm --cache $W/none |
entrepot none |
EOF

say "an image of Docker Hub, by its short name"
mkdir "$W/stub"
printf '#!/bin/sh\necho "  \\"reference\\": \\"docker.io/library/nginx:1.27\\","\necho "  \\"reference\\": \\"docker.io/org/app:1\\","\n' >"$W/stub/entrepot"
chmod +x "$W/stub/entrepot"
is "$(PATH=$W/stub:$PATH in_bash "entrepot ls ")" "docker.io/library/nginx:1.27 docker.io/org/app:1 nginx:1.27 org/app:1" "names"

say "real keys"
python3 tests/e2e/commands.py keys "$W" bash || fail "bash: see above"
if is_here zsh; then python3 tests/e2e/commands.py keys "$W" zsh || fail "zsh: see above"; else say "zsh: skipped, it is not here"; fi

if is_here fish; then
    say "fish"
    is "$(in_fish 'entrepot ' | tr ' ' '\n')" "$(sort <<<"$COMMANDS")" "commands"
    is "$(in_fish 'entrepot config ')" "check diff show" "words"
    is "$(in_fish 'entrepot export --format ')" "docker oci" "values"
    is "$(in_fish "entrepot rm $s twice")" "twice.example/both:1 twice.example/one:1" "images"
    is "$(in_fish 'entrepot gc --t')" "--to" "options"
else
    say "fish: skipped, it is not here"
fi
entrepot_stop
