#include "tests/unit/unit.h"

#include "upstream/refusal.h"

static const char *const SECRETS[] = {"correct horse", "bm90OmEtc2VjcmV0", NULL};

static void texts(void **state UNUSED)
{
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no access\",\"detail\":\"ask the owner\"}]}",
         "DENIED: no access: ask the owner"},
        {"{\"errors\":[{\"code\":\"A\",\"message\":\"one\"},{\"message\":\"two\"}]}", "A: one; two"},
        {"{\"errors\":[{\"code\":\"A\",\"message\":\"m\",\"detail\":{\"Tag\":\"x\"}}]}", "A: m: {\"Tag\":\"x\"}"},
        {"{\"errors\":[{\"code\":\"A\",\"message\":\"m\",\"detail\":null}]}", "A: m"},
        {"{\"errors\":[{\"code\":\"A\",\"detail\":{}},7,null]}", "A"},
        {"{\"message\":\"Repository not found\"}", "Repository not found"},
        {"{\"details\":\"incorrect username or password\"}", "incorrect username or password"},
        /* nothing that is meant for clients */
        {"{}", ""},
        {"", ""},
        {"<html>503</html>", ""},
        {"{\"errors\":\"x\"}", ""},
        {"{\"errors\":[{\"code\":\"A\"", ""},
        /* nothing that drives a terminal, ends a line, or turns one around */
        {"{\"message\":\"a\\u001b[31mb\\r\\nc\\u0000\\u007fd\"}", "a [31mb c\xef\xbf\xbd d"},
        {"{\"message\":\" a\\u009bb\\u202ec\\u2028d\\u2066e \"}", "a b c d e"},
        {"{\"message\":\"\xff\"}", "?"},
        /* no secrets: those that were sent, and what looks like one */
        {"{\"message\":\"password 'correct horse' is wrong\"}", "password '[...]' is wrong"},
        {"{\"message\":\"you sent Basic bm90OmEtc2VjcmV0\"}", "you sent Basic [...]"},
        {"{\"message\":\"you sent Bearer aaaaaaaaaaaaaaaaaaaaaaaa.b, no\"}", "you sent Bearer [...], no"},
        {"{\"message\":\"basic authentication is off\"}", "basic authentication is off"},
        {"{\"message\":\"token=eyJhbGciOiJub25lIn0.e30.x expired\"}", "token=[...] expired"},
        {"{\"message\":\"see https://a.example/x?sig=1&b=2 or https://b.example/y?\"}",
         "see https://a.example/x[...] or https://b.example/y[...]"},
        {"{\"message\":\"really? sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
         "really? sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[REFUSAL_MAX + 1];
        refusal_text(out, cases[i].body, strlen(cases[i].body), SECRETS);
        assert_string_equal(out, cases[i].text);
    }
}

/* However much it says, a bounded piece of it is passed on, cut between characters. */
static void bounds(void **state UNUSED)
{
    static char body[REFUSAL_READ_MAX];
    char out[REFUSAL_MAX + 1];
    size_t n = (size_t)snprintf(body, sizeof(body), "{\"errors\":[{\"message\":\"x");

    while (n < sizeof(body) - 8)
        n += (size_t)snprintf(body + n, sizeof(body) - n, "\xc3\xa9");
    n += (size_t)snprintf(body + n, sizeof(body) - n, "\"}]}");
    refusal_text(out, body, n, SECRETS);
    assert_true(strlen(out) <= REFUSAL_MAX && strlen(out) > REFUSAL_MAX - 4);
    assert_string_equal(out + strlen(out) - 5, "\xc3\xa9...");
}

static void expired(void **state UNUSED)
{
    static const struct {
        const char *body;
        bool is;
    } cases[] = {
        {"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"Your authorization token has expired. Reauthenticate and try "
         "again.\"}]}",
         true},
        {"<Error><Code>ExpiredToken</Code></Error>", true},
        {"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", true},
        {"expired", true},
        {"expire", false},
        {"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"requested access to the resource is denied\"}]}", false},
        {"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(refusal_says_expired(cases[i].body, strlen(cases[i].body)), cases[i].is);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(bounds), cmocka_unit_test(expired)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
