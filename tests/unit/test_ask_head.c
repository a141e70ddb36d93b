/* The value of Entrepot-Peer, by which nodes say how far a question has come, or what else they have to say. */
#include "tests/unit/unit.h"

#include "cluster/ask.h"

static void parsed(void **state UNUSED)
{
    static const struct {
        const char *value;
        bool good;
        int hops;
        int64_t size;
        bool have;
        const char *from;
    } cases[] = {
        {"v=1; hops=1", true, 1, 0, false, ""},
        {"v=1; hops=2; size=5; from=a:1; have; insist", true, 2, 5, true, "a:1"},
        {"v=1;hops=2;have", true, 2, 0, true, ""},
        {"hops=1; v=7; later=x; ; ;", true, 1, 0, false, ""}, /* of a later version */
        {"v=1; hops=1; size=-5", true, 1, 0, false, ""},
        {"v=1; hops=1; size=99999999999999999999999", true, 1, ASK_SIZE_MAX, false, ""},
        {"", false, 0, 0, false, ""},
        {"v=1", false, 0, 0, false, ""},
        {"hops=1", false, 0, 0, false, ""},
        {"v=0; hops=1", false, 0, 0, false, ""},
        {"v=1; hops=0", false, 0, 0, false, ""},
        {"v=1; hops=3", false, 0, 0, false, ""},
        {"v=1; hops=-1", false, 0, 0, false, ""},
        {"v=1; hops=4294967297", false, 0, 0, false, ""},
        {"v=4294967297; hops=1", true, 1, 0, false, ""}, /* as of any later version */
        {"v=1x; hops=1", false, 0, 0, false, ""},
        {"v=1; hops=1 2", false, 0, 0, false, ""},
        {"v=1, hops=1", false, 0, 0, false, ""},
        {"V=1; HOPS=1", false, 0, 0, false, ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ask_head h;
        bool good = ask_parse(cases[i].value, &h);
        if (good != cases[i].good)
            fail_msg("%s", cases[i].value);
        if (!good)
            continue;
        assert_int_equal(h.hops, cases[i].hops);
        assert_true(h.size == cases[i].size);
        assert_true(h.have == cases[i].have);
        assert_string_equal(h.from, cases[i].from);
    }
}

/* The longest that a node writes can be read, and nothing longer. */
static void lengths(void **state UNUSED)
{
    char name[PEER_NAME_MAX + 2];
    struct ask_head h;

    memset(name, 'a', sizeof(name));
    name[PEER_NAME_MAX + 1] = '\0';
    _cleanup_free_ char *over = xasprintf("v=1; hops=1; from=%s", name);
    assert_false(ask_parse(over, &h));
    name[PEER_NAME_MAX] = '\0';
    _cleanup_free_ char *most = xasprintf("v=1; hops=1; from=%s", name);
    assert_true(ask_parse(most, &h) && strcmp(h.from, name) == 0);
    name[253 + 6] = '\0'; /* a host's longest name, and a port */
    _cleanup_free_ char *full = xasprintf("v=1; hops=1; size=%lld; from=%s; have; insist", 1LL << 40, name);
    assert_true(ask_parse(full, &h) && h.have && h.insist);
    _cleanup_free_ char *all =
        xasprintf("v=1; hops=1; size=%lld; from=%s; not=%s; have; named; insist", 1LL << 62, name, name);
    assert_true(ask_parse(all, &h) && h.named && strcmp(h.failed, name) == 0);
    _cleanup_free_ char *far = xasprintf("v=1; hops=1;%*s", (int)ASK_PEER_MAX, "");
    assert_false(ask_parse(far, &h));
}

/* The node that is named instead. */
static void elsewhere(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"v=1", ""},
        {"v=1; elsewhere=", ""},
        {"v=1; elsewhere=10.0.0.9:5443", "10.0.0.9:5443"},
        {"v=1; elsewhere=[fd00::7]:5443; later=1", "[fd00::7]:5443"},
        {"v=1; elsewhere=a b", "a"},
    };
    char out[PEER_NAME_MAX + 1], *long_one = xcalloc(5000, 1);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ask_elsewhere(cases[i][0], out);
        assert_string_equal(out, cases[i][1]);
    }
    memset(long_one, 'a', 4999);
    memcpy(long_one, "elsewhere=", 10);
    ask_elsewhere(long_one, out);
    assert_int_equal(strlen(out), PEER_NAME_MAX);
    free(long_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsed),
        cmocka_unit_test(lengths),
        cmocka_unit_test(elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
