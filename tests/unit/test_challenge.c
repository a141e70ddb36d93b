#include "tests/unit/unit.h"

#include "base/buf.h"
#include "upstream/challenge.h"

#include <string.h>

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

/* What there is no room for is known to have been there: another challenge beside it is no way in. */
static void too_long(void **state UNUSED)
{
    static const struct {
        const char *before;
        int len;
        const char *after;
        bool too_long;
    } cases[] = {
        {"Bearer realm=\"https://a/", 1013, "\"", false},
        {"Bearer realm=\"https://a/", 1014, "\"", true},
        {"Bearer realm=\"https://a/\",scope=\"", 1023, "\"", false},
        {"Bearer realm=\"https://a/\",scope=\"", 1024, "\"", true},
        {"Bearer realm=\"https://a/\",service=\"", 255, "\"", false},
        {"Bearer realm=\"https://a/\",service=\"", 256, "\"", true},
        {"Bearer realm=\"https://a/", 1014, "\", Basic realm=\"b\"", true},
        {"Basic realm=\"b\", Bearer realm=\"https://a/", 1014, "\"", true},
        {"Bearer realm=\"https://a/", 1014, "\", Bearer realm=\"https://b/\"", true},
        /* what is not looked at may be as long as it likes */
        {"Bearer error_description=\"", 1500, "\",realm=\"https://a/\"", false},
        {"Basic realm=\"", 1500, "\", Bearer realm=\"https://a/\"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char middle[1501];
        memset(middle, 'x', sizeof(middle));
        middle[cases[i].len] = '\0';
        _cleanup_free_ char *text = xasprintf("%s%s%s", cases[i].before, middle, cases[i].after);
        struct challenge c;
        challenge_parse(&c, text);
        if (c.too_long != cases[i].too_long || (!c.too_long && c.scheme != CHALLENGE_BEARER))
            fail_msg("%s%d%s: %d, %d", cases[i].before, cases[i].len, cases[i].after, c.too_long, c.scheme);
    }
}

/* A token that was refused is said to be none: in a Bearer challenge, once. */
static void refused_token(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"Bearer realm=\"https://a/\",service=\"s\"",
         "Bearer realm=\"https://a/\",service=\"s\",error=\"invalid_token\""},
        {"Bearer realm=\"https://a/\",error=\"insufficient_scope\"", NULL},
        {"Bearer realm=\"https://a/\", Basic realm=\"b\"", NULL},
        {"Bearer realm=https://a/", NULL},
        {"Basic realm=\"b\"", NULL},
        {"", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[CHALLENGE_MAX];
        snprintf(text, sizeof(text), "%s", cases[i][0]);
        challenge_add_invalid_token(text, sizeof(text));
        assert_string_equal(text, cases[i][1] ? cases[i][1] : cases[i][0]);
        snprintf(text, sizeof(text), "%s", cases[i][0]);
        challenge_add_invalid_token(text, strlen(text) + 22); /* one byte less than there has to be */
        assert_string_equal(text, cases[i][0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(challenges), cmocka_unit_test(too_long),
                                       cmocka_unit_test(refused_token)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
