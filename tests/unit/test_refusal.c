#include "tests/unit/unit.h"

#include "upstream/refusal.h"

#include <time.h>

#define SENT   "Basic bm90OmEtc2VjcmV0" /* not:a-secret */
#define SECRET "correct horse"

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
        refusal_text(out, cases[i].body, strlen(cases[i].body), SENT, SECRET);
        assert_string_equal(out, cases[i].text);
    }
}

/* A registry repeats what it was sent in many ways. */
static void secrets(void **state UNUSED)
{
    static const struct {
        const char *secret, *body, *text;
    } cases[] = {
        {NULL, "{\"message\":\"decoded: not:a-secret, a-secret\"}", "decoded: [...], [...]"},
        /* JSON escapes it, in a detail and in text that is JSON itself */
        {"pa\"ss\\word", "{\"errors\":[{\"detail\":{\"password\":\"pa\\\"ss\\\\word\"}}]}", "{\"password\":\"[...]\"}"},
        {"pa\"ss\\word", "{\"message\":\"got pa\\\"ss\\\\word\"}", "got [...]"},
        {"pa\"ss\\word", "{\"message\":\"{\\\"p\\\":\\\"pa\\\\\\\"ss\\\\\\\\word\\\"}\"}", "{\"p\":\"[...]\"}"},
        {"caf\xc3\xa9-au-lait", "{\"message\":\"{\\\"p\\\":\\\"caf\\\\u00E9-au-lait\\\"}\"}", "{\"p\":\"[...]\"}"},
        {"\xf0\x9f\x93\xa6-box", "{\"message\":\"x\\\\ud83d\\\\udce6-box\"}", "x[...]"},
        {"tab\tinside-it", "{\"errors\":[{\"detail\":[\"tab\\tinside-it\"]}]}", "[\"[...]\"]"},
        {"tab\tinside-it", "{\"message\":\"tab\\tinside-it.\"}", "[...]."},
        {" begins with a space", "{\"message\":\"< begins with a space>\"}", "<[...]>"},
        {"a/b+c=d%", "{\"message\":\"password=a%2Fb%2bc%3Dd%25&x, a\\/b+c=d%.\"}", "password=[...]&x, [...]."},
        /* a short one is a word, or no secret */
        {"abc", "{\"message\":\"user:abc is not abcd, says 'abc'\"}", "user:[...] is not abcd, says '[...]'"},
        {"a", "{\"message\":\"bad a, access denied\"}", "bad [...], access denied"},
        {"", "{\"message\":\"nothing\"}", "nothing"},
        {"\\", "{\"message\":\"a\\\\b\"}", "a\\b"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[REFUSAL_MAX + 1];
        refusal_text(out, cases[i].body, strlen(cases[i].body), SENT, cases[i].secret);
        assert_string_equal(out, cases[i].text);
    }
    char out[REFUSAL_MAX + 1];
    const char *body = "{\"message\":\"you sent token-of-mine.\"}";
    refusal_text(out, body, strlen(body), "Bearer   token-of-mine", NULL);
    assert_string_equal(out, "you sent [...].");
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
    refusal_text(out, body, n, SENT, SECRET);
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

/* A body made to keep us busy is read in no time: the work grows with what is passed on, not with the square of the
 * body. */
static void costs(void **state UNUSED)
{
    static const char *const fillings[] = {"?", "\\\\", "a?", "[", "\\u0001"};
    static char body[REFUSAL_READ_MAX];
    char out[REFUSAL_MAX + 1];

    for (size_t i = 0; i < ARRAY_LEN(fillings); i++) {
        size_t n = (size_t)snprintf(body, sizeof(body), "{\"message\":\"x");
        while (n < sizeof(body) - 16)
            n += (size_t)snprintf(body + n, sizeof(body) - n, "%s", fillings[i]);
        n += (size_t)snprintf(body + n, sizeof(body) - n, "\"}");
        clock_t begun = clock(); /* of this process, however busy the machine is */
        for (int k = 0; k < 20; k++)
            refusal_text(out, body, n, SENT, SECRET);
        if (clock() - begun > 3 * CLOCKS_PER_SEC / 2)
            fail_msg("%s: %lld us", fillings[i], (long long)(clock() - begun));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts), cmocka_unit_test(secrets), cmocka_unit_test(bounds),
                                       cmocka_unit_test(expired), cmocka_unit_test(costs)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
