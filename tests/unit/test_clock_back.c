/* The wall clock was ahead, and was set back: times in the index are to come. Tags are checked and images evicted
 * nevertheless, not only when the clock gets there. */
#include "tests/unit/unit_gc.h"

#include <event2/event.h>

#define REPO "docker.io/library/x"

enum { TTL_MS = 300000 };
static const int64_t YEAR_MS = (int64_t)365 * 86400 * 1000;

static void put_done(void *arg, const struct err *err)
{
    assert_null(err);
    *(bool *)arg = true;
}

static struct tag_row put_tag(struct fixture *f, const struct digest *d, int64_t checked_ms)
{
    struct cache_hit hit;
    bool done = false;

    cache_put_tag(f->cache, REPO, "1", d, checked_ms, put_done, &done, f->loop);
    for (int i = 0; i < 2000 && !done; i++) {
        event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        usleep(1000);
    }
    assert_true(done);
    cache_find(f->cache, REPO, "1", NULL, &hit);
    return hit.tag;
}

static void a_tag_is_checked_again(void **state)
{
    struct fixture *f = *state;
    struct digest a = put_image(f, "a", LAYERS(1)), b = put_image(f, "b", LAYERS(2));
    struct tag_row row;

    clock_advance(YEAR_MS);
    row = put_tag(f, &a, clock_now_ms());
    assert_true(cache_tag_is_fresh(&row, TTL_MS));
    row = put_tag(f, &b, clock_now_ms() - 1000); /* an earlier answer, written later */
    assert_true(digest_eq(&row.digest, &a));
    clock_advance(-2000); /* a small step: no need to ask */
    assert_true(cache_tag_is_fresh(&row, TTL_MS));
    clock_advance(2000 - YEAR_MS);
    assert_false(cache_tag_is_fresh(&row, TTL_MS));
    row = put_tag(f, &b, clock_now_ms()); /* the answer of today counts */
    assert_true(digest_eq(&row.digest, &b));
    assert_true(cache_tag_is_fresh(&row, TTL_MS));
    assert_false(cache_tag_is_fresh(&row, 0));
    clock_advance(TTL_MS);
    assert_false(cache_tag_is_fresh(&row, TTL_MS));
}

static void collect(struct fixture *f, int64_t target)
{
    struct gc_report report;

    assert_true(gc_collect(f->gc, false, target, &report, NULL));
    gc_report_free(&report);
}

static void images_are_evicted(void **state)
{
    struct fixture *f = *state;

    clock_advance(YEAR_MS);
    put_image(f, "a", LAYERS(1));
    put_image(f, NULL, LAYERS(2)); /* nothing holds it */
    collect(f, 0);
    assert_true(has_layer(f, 1) && has_layer(f, 2)); /* both were used a moment ago */
    clock_advance(-YEAR_MS);
    put_image(f, "c", LAYERS(3));
    collect(f, -1);
    assert_true(has_layer(f, 1));
    assert_false(has_layer(f, 2));
    collect(f, 0);
    assert_false(has_layer(f, 1));
    assert_true(has_layer(f, 3)); /* by today's clock it is recent */
}

static void a_use_sets_the_time_right(void **state)
{
    struct fixture *f = *state;
    struct digest a;

    clock_advance(YEAR_MS);
    a = put_image(f, "a", LAYERS(1));
    clock_advance(-YEAR_MS);
    cache_touch(f->cache, &a);
    collect(f, 0);
    assert_true(has_layer(f, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_tag_is_checked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(images_are_evicted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_use_sets_the_time_right, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
