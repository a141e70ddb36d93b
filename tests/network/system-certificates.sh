#!/bin/bash
# The system's certificates are read once for many connections to registries, whether an upstream has a `ca` beside them or not, and at once
# when they have changed.
. "$(dirname "$0")/../lib.sh"
. tests/concurrency/nginx.sh.inc
need_root
need openssl nginx strace
MANY=6
certificate() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -addext subjectAltName=IP:127.0.0.1 \
        -keyout "$W/$1.key" -out "$W/$1.crt" 2>/dev/null
}
for name in public own other; do certificate $name; done
mkdir -p "$W/www/v2/app/manifests"
for i in $(seq $((3 * MANY))); do
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%064d","size":2},"layers":[]}' "$i" >"$W/m"
    d=$(sha256sum <"$W/m" | sed 's/ .*//')
    mv "$W/m" "$W/www/v2/app/manifests/sha256:$d"
    echo "$d" >>"$W/digests"
done
PUBLIC=$(free_port) OWN=$(free_port)
server() { # PORT NAME: a connection for each request
    echo "server { listen 127.0.0.1:$1 ssl; ssl_certificate $W/$2.crt; ssl_certificate_key $W/$2.key; keepalive_timeout 0; root $W/www;
        location ~ /manifests/ { default_type application/vnd.oci.image.manifest.v1+json; } }"
}
nginx_start 0 "$(server "$PUBLIC" public) $(server "$OWN" own)"
export SSL_CERT_FILE=$W/system.pem # in place of the system's file
cp "$W/public.crt" "$SSL_CERT_FILE"
DAEMON=("${TRACED[@]}" -D --seccomp-bpf -e trace=openat -o "$W/opens")
entrepot_start 1 "
  - {name: public.test, endpoints: ['https://127.0.0.1:$PUBLIC']}
  - {name: own.test, endpoints: ['https://127.0.0.1:$OWN'], ca: $W/own.crt}
  - {name: both.test, endpoints: ['https://127.0.0.1:$PUBLIC'], ca: $W/own.crt}
  - {name: only.test, endpoints: ['https://127.0.0.1:$PUBLIC'], ca: $W/own.crt, ca_only: true}"
get() { # REGISTRY NTH-MANIFEST
    curl -s -m 20 -o "$W/got" -w '%{http_code}' "http://127.0.0.1:$PORT/v2/$1/app/manifests/sha256:$(sed -n "$2p" "$W/digests")"
}
opened() { grep -c "system.pem" "$W/opens" || true; }

for n in $(seq $MANY); do
    is "$(get public.test "$n")" 200 "by the system's certificates: $(cat "$W/got")"
    is "$(get own.test $((MANY + n)))" 200 "by a ca: $(cat "$W/got")"
    is "$(get both.test $((2 * MANY + n)))" 200 "by the system's certificates beside a ca: $(cat "$W/got")"
done
case $(get only.test 1) in 200) fail "the system's certificates count where ca_only is set" ;; esac
[ "$(opened)" -le 3 ] || fail "for $((3 * MANY)) connections the system's certificates were read $(opened) times"

say "they change"
cp "$W/other.crt" "$W/new.pem"
mv "$W/new.pem" "$SSL_CERT_FILE"
case $(get public.test $((MANY + 1))) in 200) fail "what is not trusted any more is trusted" ;; esac
grep -q "certificate" "$W/got" || fail "the error does not name the cause: $(cat "$W/got")"
is "$(get own.test 1)" 200 "by a ca, still"
cat "$W/other.crt" "$W/public.crt" >"$W/new.pem"
mv "$W/new.pem" "$SSL_CERT_FILE"
recovers() { [ "$(get public.test $((2 * MANY + 1)))" = 200 ]; } # after a pause: the registry has failed
wait_for 10 recovers || fail "what is trusted again is not: $(cat "$W/got")"
rm "$SSL_CERT_FILE"
case $(get public.test $((MANY + 2))) in 200) fail "without the system's certificates one of them is trusted" ;; esac
entrepot_stop
