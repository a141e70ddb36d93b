#include "tests/unit/unit.h"

#include "base/buf.h"
#include "upstream/challenge.h"

static void challenges(void **state UNUSED)
{
    static const struct {
        const char *text;
        enum challenge_scheme scheme;
        const char *realm, *service, *scope;
    } cases[] = {
        {"Bearer "
         "realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/"
         "nginx:pull\"",
         CHALLENGE_BEARER, "https://auth.docker.io/token", "registry.docker.io", "repository:library/nginx:pull"},
        {"Basic realm=\"Registry Realm\"", CHALLENGE_BASIC, "Registry Realm", "", ""},
        {"bearer REALM=\"https://a/\" , Service=b", CHALLENGE_BEARER, "https://a/", "b", ""},
        {"Basic realm=\"x\", Bearer realm=\"https://y\",service=\"z\"", CHALLENGE_BEARER, "https://y", "z", ""},
        {"Bearer realm=\"https://y\", Basic realm=\"x\"", CHALLENGE_BEARER, "https://y", "", ""},
        {"Negotiate, Basic realm=\"x\"", CHALLENGE_BASIC, "x", "", ""},
        {"Bearer realm=\"a\\\"b\"", CHALLENGE_BEARER, "a\"b", "", ""},
        {"bearer realm=https://a/token?of=me,service=r", CHALLENGE_BEARER, "https://a/token?of=me", "r", ""},
        {"Bearer realm=\"https://a/\",service=\"r\",scope=\"\"", CHALLENGE_BEARER, "https://a/", "r", ""},
        {"Digest realm=\"x\", nonce=\"y\", qop=\"auth\"", CHALLENGE_NONE, "", "", ""},
        {"Negotiate", CHALLENGE_NONE, "", "", ""},
        {"Negotiate YIIJvwYG+/==", CHALLENGE_NONE, "", "", ""},
        {"AWS4-HMAC-SHA256 realm=\"x\",service=\"y\"", CHALLENGE_NONE, "", "", ""},
        {"Bearerer realm=\"https://a/\"", CHALLENGE_NONE, "", "", ""},
        {"Digest realm=\"x\", nonce=\"a, Basic realm=z\", Basic realm=\"y\"", CHALLENGE_BASIC, "y", "", ""},
        {"Negotiate, Digest realm=\"n\", Bearer realm=\"https://y\"", CHALLENGE_BEARER, "https://y", "", ""},
        {"Bearer", CHALLENGE_NONE, "", "", ""},
        {"Bearer realm=\"unterminated", CHALLENGE_NONE, "", "", ""},
        {"", CHALLENGE_NONE, "", "", ""},
        {",,,", CHALLENGE_NONE, "", "", ""},
        {"\"\"\"", CHALLENGE_NONE, "", "", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct challenge c, again;
        _cleanup_buf_ struct buf said = {0};
        challenge_parse(&c, cases[i].text);
        if ((int)c.scheme != (int)cases[i].scheme)
            print_error("%s\n", cases[i].text);
        assert_int_equal(c.scheme, cases[i].scheme);
        if (c.scheme == CHALLENGE_NONE)
            continue;
        assert_string_equal(c.realm, cases[i].realm);
        assert_string_equal(c.service, cases[i].service);
        assert_string_equal(c.scope, cases[i].scope);
        challenge_format(&c, &said); /* says the same */
        challenge_parse(&again, said.data);
        assert_memory_equal(&again, &c, sizeof(c));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(challenges)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
