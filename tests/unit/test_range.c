#include "tests/unit/unit.h"

#include "proxy/http/range.h"

static void ranges(void **state UNUSED)
{
    static const struct {
        const char *header;
        enum range_verdict verdict;
        int64_t first, last;
    } cases[] = {
        {NULL, RANGE_WHOLE, 0, 99},
        {"bytes=0-0", RANGE_PART, 0, 0},
        {"bytes=10-", RANGE_PART, 10, 99},
        {"bytes=10-1000", RANGE_PART, 10, 99},
        {"bytes=-5", RANGE_PART, 95, 99},
        {"bytes=-500", RANGE_PART, 0, 99},
        {"bytes=99-99999999999999999999", RANGE_PART, 99, 99},
        {"bytes=100-", RANGE_OUTSIDE, 0, 0},
        {"bytes=-0", RANGE_OUTSIDE, 0, 0},
        {"bytes=5-4", RANGE_WHOLE, 0, 99},
        {"bytes=0-1,3-4", RANGE_WHOLE, 0, 99},
        {"bytes=a-b", RANGE_WHOLE, 0, 99},
        {"lines=0-1", RANGE_WHOLE, 0, 99},
        {"bytes=", RANGE_WHOLE, 0, 99},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t first, last;
        enum range_verdict v = range_parse(cases[i].header, 100, &first, &last);
        if (v != cases[i].verdict)
            print_error("%s\n", cases[i].header);
        assert_int_equal(v, cases[i].verdict);
        if (v == RANGE_PART) {
            assert_int_equal(first, cases[i].first);
            assert_int_equal(last, cases[i].last);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
