#include "tests/unit/unit.h"

#include "base/buf.h"
#include "proxy/http/range.h"

/* What is sent of 100 bytes: "first-last" of each part. */
static void ranges(void **state UNUSED)
{
    static const struct {
        const char *header;
        enum range_verdict verdict;
        const char *parts;
    } cases[] = {
        {NULL, RANGE_WHOLE, "0-99"},
        /* one */
        {"bytes=0-0", RANGE_PART, "0-0"},
        {"bytes=10-", RANGE_PART, "10-99"},
        {"bytes=10-1000", RANGE_PART, "10-99"},
        {"bytes=-5", RANGE_PART, "95-99"},
        {"bytes=-500", RANGE_PART, "0-99"},
        {"bytes=-99999999999999999999", RANGE_PART, "0-99"},
        {"bytes=99-99999999999999999999", RANGE_PART, "99-99"},
        {"BYTES=0-1", RANGE_PART, "0-1"},
        {"Bytes= \t0-1 ", RANGE_PART, "0-1"},
        {"bytes=00000000000000000000000000001-2", RANGE_PART, "1-2"},
        {"bytes=9223372036854775807-9223372036854775807,0-1", RANGE_PART, "0-1"},
        /* cannot be satisfied */
        {"bytes=100-", RANGE_OUTSIDE, ""},
        {"bytes=-0", RANGE_OUTSIDE, ""},
        {"bytes=99999999999999999999-", RANGE_OUTSIDE, ""},
        {"bytes=100-200,-0,300-", RANGE_OUTSIDE, ""},
        /* ignored */
        {"bytes=5-4", RANGE_WHOLE, "0-99"},
        {"bytes=200-100", RANGE_WHOLE, "0-99"},
        {"bytes=a-b", RANGE_WHOLE, "0-99"},
        {"lines=0-1", RANGE_WHOLE, "0-99"},
        {"bytes=", RANGE_WHOLE, "0-99"},
        {"bytes=,", RANGE_WHOLE, "0-99"},
        {"bytes=-", RANGE_WHOLE, "0-99"},
        {"bytes=--5", RANGE_WHOLE, "0-99"},
        {"bytes=+1-2", RANGE_WHOLE, "0-99"},
        {"bytes=5", RANGE_WHOLE, "0-99"},
        {"bytes=5 - 6", RANGE_WHOLE, "0-99"},
        {"bytes=5- 6", RANGE_WHOLE, "0-99"},
        {"bytes =0-1", RANGE_WHOLE, "0-99"},
        {"bytes", RANGE_WHOLE, "0-99"},
        {"", RANGE_WHOLE, "0-99"},
        {"bytes=0-1;3-4", RANGE_WHOLE, "0-99"},
        {"bytes=0-1 3-4", RANGE_WHOLE, "0-99"},
        {"bytes=0-1,5-4", RANGE_WHOLE, "0-99"},
        {"bytes=0-1,x", RANGE_WHOLE, "0-99"},
        {"bytes=x,0-1", RANGE_WHOLE, "0-99"},
        {"bytes=0-1,bytes=3-4", RANGE_WHOLE, "0-99"},
        /* several */
        {"bytes=0-1,3-4", RANGE_PARTS, "0-1 3-4"},
        {"bytes=0-0,-1", RANGE_PARTS, "0-0 99-99"},
        {"bytes= ,, 0-1 ,\t, 3-4\t, ,", RANGE_PARTS, "0-1 3-4"},
        {"bytes=90-,0-1,50-59", RANGE_PARTS, "90-99 0-1 50-59"},
        /* one behind the other: both are counted by the client */
        {"bytes=0-9,10-19", RANGE_PARTS, "0-9 10-19"},
        {"bytes=10-19,0-9", RANGE_PARTS, "10-19 0-9"},
        /* overlapping */
        {"bytes=0-9,9-19", RANGE_PART, "0-19"},
        {"bytes=0-,-1", RANGE_PART, "0-99"},
        {"bytes=5-5,5-5,5-5", RANGE_PART, "5-5"},
        {"bytes=20-29,0-50", RANGE_PART, "0-50"},
        {"bytes=80-89,40-49,0-9,45-55,5-6", RANGE_PARTS, "80-89 40-55 0-9"},
        {"bytes=0-9,60-69,5-64,90-", RANGE_PARTS, "0-69 90-99"},
        {"bytes=0-9,10-19,9-10", RANGE_PART, "0-19"},
        /* some of them cannot be satisfied */
        {"bytes=0-9,100-", RANGE_PART, "0-9"},
        {"bytes=100-,0-9,-0,50-1000,400-500", RANGE_PARTS, "0-9 50-99"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_ranges_ struct ranges r;
        _cleanup_buf_ struct buf parts = {0};
        enum range_verdict v = ranges_parse(cases[i].header, 100, &r);
        for (int n = 0; n < r.count && v != RANGE_OUTSIDE; n++) {
            const struct range *s = r.all ? &r.all[n] : &r.one;
            buf_addf(&parts, "%s%d-%d", n > 0 ? " " : "", (int)s->first, (int)s->last);
        }
        buf_add(&parts, "", 1);
        if (v != cases[i].verdict || strcmp(parts.data, cases[i].parts) != 0)
            print_error("%s: %d, %s\n", cases[i].header, v, parts.data);
        assert_int_equal(v, cases[i].verdict);
        assert_string_equal(parts.data, cases[i].parts);
        assert_true((v == RANGE_PARTS) == (r.all != NULL));
    }
}

static void of_nothing(void **state UNUSED)
{
    static const char *headers[] = {"bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=0-0,-1,5-"};

    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct ranges r;
        assert_int_equal(ranges_parse(headers[i], 0, &r), RANGE_OUTSIDE);
    }
}

/* Every other byte, `count` times. */
static void many(void **state UNUSED)
{
    static const struct {
        int count;
        bool backwards;
        const char *more; /* behind them */
        enum range_verdict verdict;
        int parts;
    } cases[] = {
        {1000, false, "", RANGE_PARTS, 1000},
        {RANGES_MAX, false, "", RANGE_PARTS, RANGES_MAX},
        {RANGES_MAX, true, "", RANGE_PARTS, RANGES_MAX},
        {RANGES_MAX, false, ",,,", RANGE_PARTS, RANGES_MAX},
        {RANGES_MAX - 1, true, ",0-", RANGE_PART, 1},
        {RANGES_MAX + 1, false, "", RANGE_WHOLE, 1},
        {RANGES_MAX, false, ",1-1", RANGE_WHOLE, 1}, /* one too many, even if it could be joined */
        {RANGES_MAX, false, ",-0", RANGE_WHOLE, 1},
        {10 * RANGES_MAX, false, "", RANGE_WHOLE, 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf header = {0};
        _cleanup_ranges_ struct ranges r;
        buf_adds(&header, "bytes=");
        for (int n = 0; n < cases[i].count; n++) {
            int at = 2 * (cases[i].backwards ? cases[i].count - 1 - n : n);
            buf_addf(&header, "%s%d-%d", n > 0 ? "," : "", at, at);
        }
        buf_add(&header, cases[i].more, strlen(cases[i].more) + 1);
        assert_int_equal(ranges_parse(header.data, INT64_MAX, &r), cases[i].verdict);
        assert_int_equal(r.count, cases[i].parts);
        if (r.all)
            assert_true(ranges_ascend(&r) == !cases[i].backwards);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(of_nothing),
        cmocka_unit_test(many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
