#!/bin/bash
# What is built is hardened as Debian hardens its packages, whoever builds it; flags that are given have the last word.
. "$(dirname "$0")/../lib.sh"
command -v readelf >/dev/null || skip "needs readelf"

has() { grep -qE -- "$2" <<<"$1" || fail "$3"; }
flags() { # WORDS...: of the compiler for an object, of the linker for the binary, as make would run them
    env -u MAKEFLAGS -u MFLAGS -u SANITIZE make -n B="$W/b" "$@" "$W/b/base/err.o" "$W/b/entrepot" 2>&1 |
        grep -E -- "-o [^ ]*/(base/err.o|entrepot) " || fail "make -n: $*"
}

say "flags by default, and beside given ones"
plain=$(flags)
for f in -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=[23] -Wformat-security -Wl,-z,relro -Wl,-z,now " -pie "; do
    has "$plain" "$f" "no $f by default: $plain"
done
is "$(flags CFLAGS="-O0 -g" | grep -c FORTIFY_SOURCE=)" 0 "FORTIFY without optimization, which warns"
is "$(flags CFLAGS="-O2 -D_FORTIFY_SOURCE=2" | grep -c U_FORTIFY_SOURCE)" 0 "a level beside the given one, which warns"
is "$(flags CPPFLAGS="-D_FORTIFY_SOURCE=2" | grep -c "_FORTIFY_SOURCE=2")" 1 "a level given in CPPFLAGS"
has "$(flags CFLAGS="-O1 -fno-stack-protector")" "-fstack-protector-strong.*-fno-stack-protector" "CFLAGS do not come last"
has "$(flags LDFLAGS=-Wl,-z,lazy)" "-z,now.*-z,lazy" "LDFLAGS do not come last"
is "$(flags LDFLAGS=-static | grep -c -- " -pie ")" 0 "-pie beside -static"
is "$(flags SANITIZE=-fsanitize=address | grep -cE "FORTIFY_SOURCE=|stack-protector")" 0 "beside a sanitizer"
is "$(flags HARDEN= | grep -cE "FORTIFY_SOURCE=|stack-protector|relro")" 0 "HARDEN="

symbols=$(readelf -W --dyn-syms "$ENTREPOT")
! grep -qE '__(asan|tsan|ubsan)_' <<<"$symbols" || exit 0 # this one is not what is installed

say "the binary"
has "$(readelf -hW "$ENTREPOT")" "Type: *DYN" "it is no PIE"
has "$(readelf -lW "$ENTREPOT")" "GNU_RELRO" "no RELRO"
has "$(readelf -lW "$ENTREPOT")" "GNU_STACK .* RW +0x" "its stack is executable"
has "$(readelf -dW "$ENTREPOT")" "BIND_NOW" "RELRO is not full"
has "$symbols" "__stack_chk_fail" "no stack protector"
for f in memcpy snprintf vsnprintf; do has "$symbols" "__${f}_chk" "$f is not fortified"; done
# The C library's own start-up objects need not have it (Debian's have not), so the linked file does not say it.
if [ "$(uname -m)" = x86_64 ] && [ -f "${ENTREPOT%/*}/cli/main.o" ]; then
    has "$(readelf -nW "${ENTREPOT%/*}/cli/main.o")" "IBT, SHSTK" "no control flow protection"
fi
