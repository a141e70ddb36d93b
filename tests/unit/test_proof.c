/* Proofs of the nodes of a cluster: good for one request at one node, for a while, and once. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "cluster/proof.h"

#include <string.h>

#define SECRET "0123456789abcdef0123456789abcdef"

static const struct proof_of REQUEST = {"GET",
                                        "/v2/library/nginx/blobs/sha256:00?ns=docker.io",
                                        "10.0.0.7:5443",
                                        "v=1; hops=1; size=0; from=10.0.0.8:5443",
                                        "bytes=0-4194303",
                                        ""};

/* What nodes of other versions make of it: it never changes. */
static const char KNOWN[] = "t=1764424800123; n=0123456789abcdef0123456789abcdef; "
                            "m=98957ac6f12a476789972e1e58e1ac395bf5943acd7792d5b6e5f6c8921f4b62";

static enum err_code check(struct proofs *p, const struct proof_of *of, const char *value, int64_t *skew_ms)
{
    struct err err = {0};
    int64_t skew;

    bool ok = proof_check(p, of, value, skew_ms ? skew_ms : &skew, &err);
    assert_true(ok == (err.code == ERR_OK));
    assert_true(ok || err.msg[0]);
    return err.code;
}

static void right_once(void **state UNUSED)
{
    struct proofs *p = proofs_new(SECRET), *other_node = proofs_new(SECRET);
    char one[PROOF_MAX], two[PROOF_MAX];

    proof_make(p, &REQUEST, one);
    proof_make(p, &REQUEST, two);
    assert_string_not_equal(one, two);
    assert_true(strlen(one) < PROOF_MAX);
    for (int i = 0; i < 3; i++)
        assert_int_equal(check(other_node, &REQUEST, one, NULL), i == 0 ? ERR_OK : ERR_DENIED);
    assert_int_equal(check(other_node, &REQUEST, two, NULL), ERR_OK);
    proofs_free(p);
    proofs_free(other_node);
    proofs_free(NULL);
}

static void known_value(void **state UNUSED)
{
    struct proofs *p = proofs_new(SECRET);
    int64_t skew, now = clock_now_ms();

    assert_int_equal(check(p, &REQUEST, KNOWN, &skew), ERR_DENIED); /* it is old, but right */
    assert_true(skew < -PROOF_WINDOW_MS);
    clock_stop(1764424800123);
    assert_int_equal(check(p, &REQUEST, KNOWN, &skew), ERR_OK);
    assert_int_equal(skew, 0);
    clock_stop(now);
    proofs_free(p);
}

static void wrong_in_each_part(void **state UNUSED)
{
    struct proofs *p = proofs_new(SECRET), *others = proofs_new("another secret, as long as that one");
    char value[PROOF_MAX];
    int64_t skew;

    proof_make(p, &REQUEST, value);
    for (int part = 0; part < 6; part++) {
        struct proof_of other = REQUEST;
        const char **const parts[] = {&other.method, &other.target, &other.to,
                                      &other.peer,   &other.range,  &other.authorization};
        _cleanup_free_ char *longer = xasprintf("%s ", *parts[part]);
        *parts[part] = longer;
        assert_int_equal(check(p, &other, value, &skew), ERR_DENIED);
        *parts[part] = part == 5 ? "Basic x" : "";
        assert_int_equal(check(p, &other, value, &skew), ERR_DENIED);
        assert_int_equal(skew, 0);
    }
    assert_int_equal(check(others, &REQUEST, value, NULL), ERR_DENIED);
    assert_int_equal(check(p, &REQUEST, value, NULL), ERR_OK); /* nothing of that has used it up */
    proofs_free(p);
    proofs_free(others);
}

/* What is at the end of one part is not at the beginning of the next. */
static void parts_are_apart(void **state UNUSED)
{
    struct proofs *p = proofs_new(SECRET);
    struct proof_of one = REQUEST, two = REQUEST;
    char value[PROOF_MAX];

    one.range = "bytes=0-1\n7 Basic x\n";
    one.authorization = "";
    two.range = "bytes=0-1";
    two.authorization = "Basic x\n0 ";
    proof_make(p, &one, value);
    assert_int_equal(check(p, &two, value, NULL), ERR_DENIED);
    proofs_free(p);
}

static void each_character(void **state UNUSED)
{
    struct proofs *p = proofs_new(SECRET);
    char value[PROOF_MAX], other[PROOF_MAX];

    proof_make(p, &REQUEST, value);
    for (size_t i = 0; value[i]; i++) {
        strcpy(other, value);
        other[i] = value[i] == '1' ? '2' : '1';
        assert_int_equal(check(p, &REQUEST, other, NULL), ERR_DENIED);
        strcpy(other, value);
        other[i] = '\0';
        assert_int_equal(check(p, &REQUEST, other, NULL), ERR_DENIED);
        other[i] = (char)0xff;
        assert_int_equal(check(p, &REQUEST, other, NULL), ERR_DENIED);
        strcpy(other, value);
        memmove(other + i, value + i + 1, strlen(value) - i);
        assert_int_equal(check(p, &REQUEST, other, NULL), ERR_DENIED);
    }
    assert_int_equal(check(p, &REQUEST, value, NULL), ERR_OK);
    proofs_free(p);
}

static void malformed(void **state UNUSED)
{
#define N "0123456789abcdef0123456789abcdef"
#define M "98957ac6f12a476789972e1e58e1ac395bf5943acd7792d5b6e5f6c8921f4b62"
    static const char *const values[] = {
        NULL,
        "",
        " ",
        "t=",
        "t=1",
        "t=1; n=",
        "t=1; n=" N,
        "t=1; n=" N "; m=",
        "t=1; n=" N "; m=" N,
        "t=1; n=" N "; m=" M M,
        "t=1; n=" N "; m=" M ";",
        "t=1; n=" N "; m=" M " ",
        " t=1; n=" N "; m=" M,
        "t=1;n=" N ";m=" M,
        "t=1, n=" N ", m=" M,
        "t=-1; n=" N "; m=" M,
        "t=+1; n=" N "; m=" M,
        "t= 1; n=" N "; m=" M,
        "t=0x1; n=" N "; m=" M,
        "t=1e3; n=" N "; m=" M,
        "t=1.5; n=" N "; m=" M,
        "t=99999999999999999999999999; n=" N "; m=" M,
        "t=00000000000000000000000000000000000000000000000000000000000000000000000000001; n=" N "; m=" M,
        "n=" N "; t=1; m=" M,
        "t=1; n=0123456789ABCDEF0123456789abcdef; m=" M,
        "t=1; n=0123456789abcdeg0123456789abcdef; m=" M,
        "t=1; n=" N "; m=z8957ac6f12a476789972e1e58e1ac395bf5943acd7792d5b6e5f6c8921f4b62",
        "t=1764424800123; n=" N "; m=98957AC6F12A476789972E1E58E1AC395BF5943ACD7792D5B6E5F6C8921F4B62",
        "%s%n; n=" N "; m=" M,
    };
    struct proofs *p = proofs_new(SECRET);
    _cleanup_free_ char *endless = xcalloc(1 << 20, 1);

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        int64_t skew = 1;
        assert_int_equal(check(p, &REQUEST, values[i], &skew), ERR_DENIED);
        assert_int_equal(skew, 0);
    }
    memset(endless, '1', (1 << 20) - 1);
    assert_int_equal(check(p, &REQUEST, endless, NULL), ERR_DENIED);
    memcpy(endless, "t=", 2);
    assert_int_equal(check(p, &REQUEST, endless, NULL), ERR_DENIED);
    proofs_free(p);
#undef N
#undef M
}

/* ---- clocks ---- */

static void clocks_apart(void **state UNUSED)
{
    static const struct {
        int64_t off_ms; /* the other clock, by ours */
        bool good;
    } cases[] = {{0, true},
                 {PROOF_WINDOW_MS - 1000, true},
                 {-(PROOF_WINDOW_MS - 1000), true},
                 {PROOF_WINDOW_MS, true},
                 {-PROOF_WINDOW_MS, true},
                 {PROOF_WINDOW_MS + 1, false},
                 {-(PROOF_WINDOW_MS + 1), false},
                 {600000, false},
                 {-600000, false},
                 {(int64_t)50 * 365 * 86400 * 1000, false}};
    struct proofs *p = proofs_new(SECRET);
    int64_t now = clock_now_ms();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char value[PROOF_MAX];
        int64_t skew = 1;
        clock_stop(now + cases[i].off_ms);
        proof_make(p, &REQUEST, value);
        clock_stop(now);
        assert_int_equal(check(p, &REQUEST, value, &skew), cases[i].good ? ERR_OK : ERR_DENIED);
        assert_int_equal(skew, cases[i].good ? 0 : cases[i].off_ms);
    }
    proofs_free(p);
}

/* The other clock may be wrong as long as its proof is not: who has no secret hears nothing of our clock. */
static void a_wrong_proof_has_no_clock(void **state UNUSED)
{
    struct proofs *p = proofs_new(SECRET), *others = proofs_new("another secret, as long as that one");
    int64_t now = clock_now_ms(), skew = 1;
    char value[PROOF_MAX];

    clock_stop(now + 600000);
    proof_make(others, &REQUEST, value);
    clock_stop(now);
    assert_int_equal(check(p, &REQUEST, value, &skew), ERR_DENIED);
    assert_int_equal(skew, 0);
    proofs_free(p);
    proofs_free(others);
}

/* ---- too many ---- */

static void a_full_table(void **state UNUSED)
{
    struct proofs *p = proofs_new(SECRET);
    char first[PROOF_MAX], value[PROOF_MAX];
    enum err_code code = ERR_OK;
    int n = 0;

    proof_make(p, &REQUEST, first);
    assert_int_equal(check(p, &REQUEST, first, NULL), ERR_OK);
    for (; code == ERR_OK && n <= PROOF_SEEN; n++) {
        proof_make(p, &REQUEST, value);
        code = check(p, &REQUEST, value, NULL);
    }
    assert_int_equal(code, ERR_BUSY);
    assert_in_range(n, PROOF_SEEN / 2, PROOF_SEEN / 4 * 3);
    assert_int_equal(check(p, &REQUEST, first, NULL), ERR_DENIED); /* it is still known to have been used */
    value[strlen(value) - 1] ^= 1;
    assert_int_equal(check(p, &REQUEST, value, NULL), ERR_DENIED); /* a wrong one takes no place */
    proofs_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_once),
        cmocka_unit_test(known_value),
        cmocka_unit_test(wrong_in_each_part),
        cmocka_unit_test(parts_are_apart),
        cmocka_unit_test(each_character),
        cmocka_unit_test(malformed),
        cmocka_unit_test(clocks_apart),
        cmocka_unit_test(a_full_table),
        cmocka_unit_test(a_wrong_proof_has_no_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
