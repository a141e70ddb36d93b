#!/bin/bash
# A registry of several addresses of which one drops what is sent to it, and a kept connection that has died without a word: a pull
# waits about a second, once. In a network of its own; with COMPARE=1 beside it the times of curl and of
# crane (from the chroot of make test-engines): - is none within 20 s.
# Takes minutes.
[ -n "${ENTREPOT_NETNS:-}" ] || {
    unshare -n -m true 2>/dev/null || { echo "cannot make a network namespace here"; exit 77; }
    ENTREPOT_NETNS=1 exec unshare -n -m bash "$0"
}
. "$(dirname "$0")/../lib.sh"
need_root
need ip openssl nginx
command -v nft >/dev/null || skip "needs nftables"
ip link set lo up
for a in 10.9.0.1 10.9.0.2 10.9.0.3 10.9.0.4; do ip addr add "$a/32" dev lo; done
for a in fd00:9::1 fd00:9::2; do ip addr add "$a/128" dev lo nodad; done
nft -f - <<'NFT' || skip "no nftables in this kernel"
table inet faults {
  set dead4 { type ipv4_addr; }
  set dead6 { type ipv6_addr; }
  set lost { type inet_service; }
  chain input {
    type filter hook input priority 0;
    ip daddr @dead4 tcp dport 8000-8999 drop
    ip6 daddr @dead6 tcp dport 8000-8999 drop
    tcp sport @lost drop
    tcp dport @lost drop
  }
}
NFT
OTHERS=()
cat >"$W/hosts" <<'EOT'
127.0.0.1 localhost
10.9.0.1 first.test
10.9.0.2 first.test
10.9.0.2 second.test
10.9.0.1 second.test
fd00:9::1 six.test
10.9.0.2 six.test
10.9.0.1 four.test
fd00:9::2 four.test
10.9.0.1 both.test
10.9.0.3 both.test
10.9.0.2 well.test
10.9.0.1 many.test
fd00:9::1 many.test
10.9.0.4 many.test
10.9.0.2 many.test
10.9.0.1 secret.test
10.9.0.2 secret.test
10.9.0.1 mute.test
10.9.0.2 mute.test
10.9.0.4 mute.test
10.9.0.1 multi.test
10.9.0.2 multi.test
EOT
mount --bind "$W/hosts" /etc/hosts
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext "subjectAltName=DNS:secret.test,DNS:multi.test" \
    -keyout "$W/key.pem" -out "$W/ca.pem" 2>/dev/null
python3 tests/network/registry.py 8000 "$W/requests" &
PIDS+=($!)
python3 tests/network/registry.py 8443 "$W/requests.tls" "$W/ca.pem" "$W/key.pem" &
PIDS+=($!)
cat >"$W/nginx.conf" <<NGINX
daemon off; pid $W/nginx.pid; error_log stderr; worker_processes 1;
events {}
http {
    access_log $W/nginx.requests; client_body_temp_path $W/t1; proxy_temp_path $W/t2; fastcgi_temp_path $W/t3; uwsgi_temp_path $W/t4; scgi_temp_path $W/t5;
    server { listen [::]:8444 ssl http2 ipv6only=off; ssl_certificate $W/ca.pem; ssl_certificate_key $W/key.pem;
        location / { proxy_pass http://10.9.0.2:8000; } }
}
NGINX
nginx -c "$W/nginx.conf" 2>"$W/nginx.log" &
PIDS+=($!)
wait_for 10 curl -sf http://well.test:8000/v2/x/manifests/1 || fail "the registry does not start"

more=
for h in first second six four both many; do
    more="$more
  - {name: $h.test, endpoints: [\"http://$h.test:8000\"], insecure: true, trusted_hosts: [\"$h.test\"]}"
done
LOG=debug entrepot_start 1 "$more
  - {name: secret.test, endpoints: [\"https://secret.test:8443\"], ca: $W/ca.pem, trusted_hosts: [\"*.test\"]}
  - {name: multi.test, endpoints: [\"https://multi.test:8444\"], ca: $W/ca.pem, trusted_hosts: [\"*.test\"]}
  - {name: mute.test, endpoints: [\"http://mute.test:8001\"], insecure: true, trusted_hosts: [\"mute.test\"], stall_timeout: 2s}
  - {name: well.test, endpoints: [\"http://well.test:8000\"], insecure: true, trusted_hosts: [\"well.test\"]}
fetchers: 1"
first_byte() { # URL...: seconds; fails unless it is 200
    curl -s -o /dev/null -m 20 -w '%{http_code} %{time_starttransfer}\n' "$@" | { read -r code t; [ "$code" = 200 ] && echo "$t"; }
}
through() { first_byte "http://127.0.0.1:$PORT/v2/$1/x/manifests/$2"; } # HOST.test TAG
slower=$(is_sanitized && echo 3 || echo 1)
within() { awk -v t="$1" -v most="$2" -v slower="$slower" 'BEGIN {exit !(t <= most * slower)}' || fail "$3: $1 s, and $2 s would have been enough"; }

nft add element inet faults dead4 '{ 10.9.0.1, 10.9.0.4 }'
nft add element inet faults dead6 '{ fd00:9::1 }'
url_of() {
    case $1 in
    secret) echo https://secret.test:8443 ;;
    multi) echo https://multi.test:8444 ;;
    *) echo "http://$1.test:8000" ;;
    esac
}
HOSTS="first second six four secret multi many"
sid=${ENTREPOT_SID:-/var/cache/entrepot-tests/sid}
crane_starts() { # HOST
    local url begun
    url=$(url_of "$1") begun=$(date +%s.%N)
    timeout 20 chroot "$sid" crane manifest --insecure "${url#*://}/xx:1" >/dev/null 2>"$W/crane.$1.log" || return 0
    echo "$(date +%s.%N) $begun" | awk '{printf "%.3f", $1 - $2}' >"$W/crane.$1"
}
curl_starts() { first_byte -k "$(url_of "$1")/v2/x/manifests/1" >"$W/curl.$1" || true; }
others() { # HOST: their seconds, of COMPARE
    [ -z "${COMPARE:-}" ] || for t in curl crane; do
        if [ -s "$W/$t.$1" ]; then cat "$W/$t.$1"; else echo -; fi
    done
}
if [ -n "${COMPARE:-}" ]; then
    [ -x "$sid/usr/bin/crane" ] || fail "no crane in $sid"
    mount --bind "$W/hosts" "$sid/etc/hosts"
    for h in $HOSTS; do
        crane_starts $h &
        OTHERS+=($!)
        curl_starts $h &
        OTHERS+=($!)
    done
    wait "${OTHERS[@]}" # all at once: they take their time
fi
say "addresses of which all but one drop everything: seconds to the first byte, the first time, the next${COMPARE:+; curl, crane}"
for h in $HOSTS; do
    one=$(through $h.test "$h-1") || fail "$h: it was not got past the dead address"
    two=$(through $h.test "$h-2") || fail "$h: the second time"
    printf '  %-7s %9s %9s %9s %9s\n' "$h" "$one" "$two" $(others $h)
    within "$one" "$([ $h = many ] && echo 4 || echo 2.5)" "$h"
    within "$two" 0.7 "$h, when the dead address is known"
done

say "no address answers within a second, and then one does: a long way is not a dead address"
nft add element inet faults dead4 '{ 10.9.0.3 }'
(sleep 2.5; nft delete element inet faults dead4 '{ 10.9.0.3 }') &
PIDS+=($!)
t=$(through both.test slow) || fail "an address that answers late is given up"
within "$t" 9 "an address that answers late"
nft add element inet faults dead4 '{ 10.9.0.3 }' # the kept connection to it, too
code=$(curl -s -o /dev/null -m 30 -w '%{http_code} %{time_total}' "http://127.0.0.1:$PORT/v2/both.test/y/manifests/never")
case $code in 50[24]*) ;; *) fail "all addresses dead: $code" ;; esac

say "beside a dead address one that accepts and says nothing: its time-out passes once, not for each round of addresses"
python3 -c 'import socket, time; s = socket.create_server(("10.9.0.2", 8001)); time.sleep(600)' &
PIDS+=($!)
wait_for 5 sh -c 'ss -tln | grep -q 10.9.0.2:8001'
read -r code t < <(curl -s -o /dev/null -m 30 -w '%{http_code} %{time_total}\n' "http://127.0.0.1:$PORT/v2/mute.test/x/manifests/1")
is "$code" 504 "a registry that says nothing"
echo "  $t s"
within "$t" 5.5 "the time-out of 2 s"
grep -q "10.9.0.[14] 8001 does not answer" "$W/entrepot.log" || fail "no dead address was tried"

say "a kept connection dies without a word: the request goes out again on a fresh one; HTTP/1.1, TLS, HTTP/2"
for h in well secret multi; do
    through $h.test warm >/dev/null
    ports=$(ss -tnH state established "dst 10.9.0.2 and dport = :$(url_of $h | sed 's/.*://')" | awk '{n = split($3, a, ":"); print a[n]}' | paste -sd ,)
    [ -n "$ports" ] || fail "$h: no connection is kept"
    nft add element inet faults lost "{ $ports }"
    t=$(through $h.test "after-$h") || fail "$h: a dead connection is an error"
    echo "  $h $t s"
    within "$t" 3 "$h: a dead connection"
    awk -v t="$t" 'BEGIN {exit !(t > 1)}' || fail "$h: the connection was not dead"
    is "$(cat "$W/requests" "$W/requests.tls" | grep -c "^GET .* /v2/x/manifests/after-$h")" 1 "$h: requests that reached the registry"
    t=$(through $h.test again) || fail "$h: the next request"
    within "$t" 0.7 "$h: the next request"
done
entrepot_stop
