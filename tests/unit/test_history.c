/* What was served over time: buckets that fill, turn and are passed over. */
#include "proxy/page/history.h"

#include "tests/unit/unit.h"

static json_int_t bucket(const struct history_ring *r, const char *column, int back)
{
    json_t *j = history_json(r);
    const json_t *list = json_object_get(j, column);
    json_int_t n = json_integer_value(json_array_get(list, json_array_size(list) - 1 - (size_t)back));

    assert_int_equal(json_array_size(list), r->count);
    json_decref(j);
    return n;
}

static void buckets_fill_and_turn(void **state UNUSED)
{
    struct history_sums sums = {.requests = 100, .from_cache = 1000};
    struct history h;

    history_begin(&h, 6000, &sums);
    assert_int_equal(bucket(&h.hour, "requests", 0), 0); /* what was before is not in it */
    sums.requests += 5;
    sums.from_cache += 50;
    history_note(&h, 6001, &sums);
    sums.requests += 2;
    history_note(&h, 6059, &sums);
    assert_int_equal(bucket(&h.hour, "requests", 0), 7);
    assert_int_equal(bucket(&h.hour, "from_cache", 0), 50);
    sums.requests += 1;
    history_note(&h, 6060, &sums);
    assert_int_equal(bucket(&h.hour, "requests", 0), 1);
    assert_int_equal(bucket(&h.hour, "requests", 1), 7);
    assert_int_equal(bucket(&h.day, "requests", 0), 8);
}

static void buckets_that_are_passed_over_are_empty(void **state UNUSED)
{
    struct history_sums sums = {0};
    struct history h;

    history_begin(&h, 0, &sums);
    for (int minute = 0; minute < HISTORY_HOUR; minute++) {
        sums.hits += 3;
        history_note(&h, minute * 60 + 1, &sums);
    }
    assert_int_equal(bucket(&h.hour, "hits", HISTORY_HOUR - 1), 3);
    sums.hits += 4;
    history_note(&h, (HISTORY_HOUR + 9) * 60, &sums); /* ten minutes of silence */
    assert_int_equal(bucket(&h.hour, "hits", 0), 4);
    assert_int_equal(bucket(&h.hour, "hits", 1), 0);
    assert_int_equal(bucket(&h.hour, "hits", 9), 0);
    assert_int_equal(bucket(&h.hour, "hits", 10), 3);
    sums.hits += 1;
    history_note(&h, 40 * 86400, &sums); /* longer than either ring */
    assert_int_equal(bucket(&h.hour, "hits", 0), 1);
    assert_int_equal(bucket(&h.day, "hits", 0), 1);
    for (int i = 1; i < HISTORY_HOUR; i++)
        assert_int_equal(bucket(&h.hour, "hits", i), 0);
}

static void sums_and_clocks_that_go_back_do_no_harm(void **state UNUSED)
{
    struct history_sums sums = {.fetched = 1000};
    struct history h;

    history_begin(&h, 600, &sums);
    sums.fetched = 400; /* a registry was removed */
    history_note(&h, 660, &sums);
    assert_int_equal(bucket(&h.hour, "fetched", 0), 0);
    sums.fetched = 450;
    history_note(&h, 600, &sums);
    assert_int_equal(bucket(&h.hour, "fetched", 0), 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_fill_and_turn),
        cmocka_unit_test(buckets_that_are_passed_over_are_empty),
        cmocka_unit_test(sums_and_clocks_that_go_back_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
