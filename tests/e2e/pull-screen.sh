#!/bin/bash
# `entrepot pull` on a terminal shows a bar for every layer on its way and takes it away again, also on Ctrl-C and in a window that
# is made narrower; in a pipe it says plain lines, with --json the events; what it could not get it says, and exits 1.
. "$(dirname "$0")/../lib.sh"
need_root
need tmux
python3 -c 'import os; os.openpty()' 2>/dev/null || skip "no pseudo-terminals here (mount devpts)"

term() { tmux -S "$W/tmux.sock" "$@"; }
screen() { term capture-pane -p -S - -t t; }
shows() { screen | grep -E -- "$1" >/dev/null; }
on_cleanup() {
    term kill-server 2>/dev/null
    [ -s "$W/nginx.pid" ] && kill "$(cat "$W/nginx.pid")" 2>/dev/null
}
# An upstream that takes a few seconds for a layer.
slow_start() {
    SLOW=$(free_port)
    cat >"$W/nginx.conf" <<-CONF
	pid $W/nginx.pid;
	user root;
	error_log $W/nginx.log;
	events {}
	http {
	    access_log off;
	    proxy_temp_path $W/nginx-temp;
	    client_body_temp_path $W/nginx-body;
	    server {
	        listen 127.0.0.1:$SLOW;
	        location / { proxy_pass http://127.0.0.1:$REGISTRY_PORT; proxy_set_header Host \$http_host; proxy_max_temp_file_size 0; limit_rate 400k; }
	    }
	}
	CONF
    nginx -c "$W/nginx.conf" -e "$W/nginx.log" || fail "nginx does not start"
    wait_for 10 curl -sf "http://127.0.0.1:$SLOW/v2/" || fail "nginx does not answer"
}

registry_start
slow_start
for i in one two three four; do
    image_build $i
    image_push $i 1
done
entrepot_start "$SLOW"
cat >"$W/images.yaml" <<-YAML
	kind: Pod
	spec:
	  containers: [{name: a, image: "one:1"}]
YAML

say "on a terminal, interrupted, after the window has become narrower"
term -f /dev/null new-session -d -s t -x 100 -y 24 "TERM=screen bash --norc --noprofile"
term set-option -g default-terminal screen >/dev/null
term send-keys -t t "PS1='ready> '; clear" Enter
wait_for 10 shows '^ready>' || fail "no shell: $(screen)"
run="$ENTREPOT pull --socket $W/admin.sock"
fresh=0
fresh_screen() {
    fresh=$((fresh + 1))
    term resize-window -t t -x 100 -y 24
    term send-keys -t t "clear; echo fresh-$fresh" Enter
    wait_for 10 shows "^fresh-$fresh\$" || fail "no shell: $(screen)"
    term clear-history -t t
}
live_lines() { shows ' layer +\[' || shows ' of 1 images, '; }
interrupted() { # IMAGE; false if something is left on the screen
    sed -i "s|image: .*|image: \"$1:1\"}]|" "$W/images.yaml"
    fresh_screen
    term send-keys -t t "$run --from-kubernetes $W/images.yaml; echo status=\$?" Enter
    wait_for 10 shows '^  [0-9a-f]{12} layer +\[=*>? *\] .* / .*/s$' || fail "no bar: $(screen)"
    shows '^  0 of 1 images, ' || fail "no total: $(screen)"
    term resize-window -t t -x 60 -y 24
    sleep 0.5
    local totals
    totals=$(screen | grep -c ' of 1 images, ')
    term send-keys -t t C-c
    wait_for 10 shows '^status=130' || fail "Ctrl-C: $(screen)"
    shows 'what was fetched is kept' || fail "it does not say what became of it: $(screen)"
    [ "$totals" = 1 ] && ! live_lines
}
# tmux rewraps what is on the screen a moment before it tells the new width; a line that is drawn in between is lost to anybody. So
# there are three tries.
interrupted one || interrupted three || interrupted four || fail "live lines are left: $(screen)"

say "on a terminal, to the end"
fresh_screen
term send-keys -t t "$run one:1; echo status=\$?" Enter
wait_for 60 shows '^status=0' || fail "$(screen)"
shows '^docker.io/library/one:1: done, sha256:' || fail "$(screen)"
shows '^1 of 1 images are cached' || fail "$(screen)"
live_lines && fail "live lines are left: $(screen)"

say "in a pipe"
ask pull two:1 one:1 two:1 >"$W/out.txt" 2>"$W/err.txt" || fail "$(cat "$W/out.txt" "$W/err.txt")"
grep -q $'\033' "$W/out.txt" && fail "escapes in a pipe"
grep -qE '^docker.io/library/two:1: layer sha256:[0-9a-f]{12} fetched, ' "$W/out.txt" || fail "$(cat "$W/out.txt")"
grep -qE '^docker.io/library/(one|two):1: layer sha256:[0-9a-f]{12} is cached, ' "$W/out.txt" || fail "$(cat "$W/out.txt")"
is "$(grep -c '^docker.io/library/two:1: done' "$W/out.txt")" 1 "said twice, pulled once"
is "$(grep -c ": done, " "$W/out.txt")" 2 "lines of what is done"
is "$(cat "$W/err.txt")" "" "stderr"

say "with --json, and one that does not exist"
status=0
echo "none:1 # there is none" | ask pull --file - one:1 --json >"$W/out.json" 2>"$W/err.txt" || status=$?
is $status 1 "exit status"
is "$(jq -s 'last | "\(.images) \(.failed) \(.ok)"' -r "$W/out.json")" "2 1 false" "the last line"
is "$(jq -r 'select(.event == "image" and .status == "failed").reference' "$W/out.json")" docker.io/library/none:1 "which failed"
is "$(wc -l <"$W/err.txt")" 1 "lines on stderr"
grep -q '^entrepot: pulling docker.io/library/none:1' "$W/err.txt" || fail "$(cat "$W/err.txt")"

say "wrong usage, and a list that cannot be read"
status=0
ask pull --file "$W/nothing" >"$W/out.txt" 2>&1 || status=$?
is $status 1 "exit status without the list"
for words in "--platform linux" "--platform /" "UPPER" ""; do
    status=0
    # shellcheck disable=SC2086
    ask pull $words >"$W/out.txt" 2>&1 || status=$?
    is $status 2 "exit status of \"$words\""
done

say "what is here, for the next node; offline"
ask ls --pullable >"$W/pullable.txt"
is "$(cat "$W/pullable.txt")" "$(printf 'docker.io/library/%s:1@%s\n' one "$(upstream_digest one 1)" two "$(upstream_digest two 1)")" "ls --pullable"
is "$(ask ls --pullable --json | jq -r '.[]')" "$(cat "$W/pullable.txt")" "as JSON"
is "$(ask ls --pullable one:1)" "$(head -n 1 "$W/pullable.txt")" "one of them"
is "$(ask offline)" off "offline"
is "$(ask offline on)" on "offline on"
ask pull --file "$W/pullable.txt" >/dev/null || fail "what is here cannot be pulled offline"
is "$(ask ls --pullable)" "$(cat "$W/pullable.txt")" "what is here after that"
ask pull none:1 >/dev/null 2>&1 && fail "pulled offline what is not here"
is "$(ask offline off)" off "offline off"
entrepot_stop
