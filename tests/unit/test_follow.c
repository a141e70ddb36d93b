/* Followers of a blob on its way in: what they may read when, and who is told what. */
#include "tests/unit/unit_ingest.h"

static void the_last_segment_waits(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};
    int64_t size;

    ingest_hold(i);
    assert_true(ingest_describe(i, SIZE, "\"tag\"", &err));
    assert_int_equal(available(f, i, 0), 0);
    write_to(f, i, 0, MIB / 2);
    assert_int_equal(available(f, i, 0), MIB / 2);
    assert_int_equal(available(f, i, 1000), MIB / 2 - 1000);
    write_to(f, i, MIB / 2, 3 * MIB);
    assert_int_equal(available(f, i, 0), 3 * MIB);
    struct follower *last = ingest_follow(i, f->loop, 0, SIZE - 1, on_ready, f);
    follower_advance(last, 3 * MIB);
    struct follower *piece = ingest_follow(i, f->loop, 3 * MIB, SIZE - 1, on_ready, f); /* who checks it himself */
    assert_int_equal(follower_available(last, &err), 0);
    write_to(f, i, 3 * MIB, SIZE - 1);
    assert_int_equal(follower_available(last, &err), 0); /* all but one byte is here */
    assert_int_equal(follower_available(piece, &err), SIZE - 1 - 3 * MIB);
    follower_leave(piece);
    write_to(f, i, SIZE - 1, SIZE);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_STORED);
    assert_true(f->ready > 0);
    assert_int_equal(follower_available(last, &err), SIZE - 3 * MIB);
    follower_leave(last);
    ingest_release(i);
    ingest_unref(i);
    int fd = cache_open_blob(f->cache, &f->digest, &size, &err);
    assert_true(fd >= 0 && size == SIZE);
    close(fd);
}

static void deserted(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    struct follower *one = ingest_follow(i, f->loop, 0, SIZE - 1, on_ready, f);
    struct follower *two = ingest_follow(i, f->loop, 0, SIZE - 1, on_ready, f);
    assert_int_equal(ingest_followers(i), 2);
    follower_leave(one);
    loop_settle(f->loop);
    assert_int_equal(f->deserted, 0);
    follower_leave(two);
    loop_settle(f->loop);
    assert_int_equal(f->deserted, 1);
    ingest_stop(i, NULL, true);
    run_to_end(f);
    ingest_unref(i);
}

static void moved(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    struct follower *w = ingest_follow(i, f->loop, 1000, 1999, on_ready, f);
    write_to(f, i, 0, MIB + 500);
    assert_int_equal(follower_available(w, &err), 1000);
    follower_advance(w, 1000);
    follower_move(w, MIB, MIB + 999);
    assert_int_equal(follower_position(w), MIB);
    assert_int_equal(follower_available(w, &err), 500);
    follower_advance(w, 500);
    int ready = f->ready;
    assert_int_equal(follower_available(w, &err), 0);
    write_to(f, i, MIB + 500, MIB + 2000);
    loop_settle(f->loop);
    assert_int_equal(f->ready, ready + 1);
    assert_int_equal(follower_available(w, &err), 500);
    follower_move(w, 10, 19);
    assert_int_equal(follower_available(w, &err), 10);
    follower_move(w, 2 * MIB, SIZE - 1); /* while it waits for this, it is moved to what is here */
    assert_int_equal(follower_available(w, &err), 0);
    follower_move(w, 20, 29);
    assert_int_equal(follower_available(w, &err), 10);
    follower_move(w, SIZE - 1, SIZE - 1);
    assert_int_equal(follower_available(w, &err), 0);
    write_to(f, i, MIB + 2000, SIZE);
    run_to_end(f);
    assert_int_equal(follower_available(w, &err), 1);
    follower_leave(w);
    ingest_unref(i);
}

static void relay_waits(void **state)
{
    struct fixture *f = *state;
    const struct ingest_events events = {on_end, on_deserted, on_drained, on_wanted, f};
    const struct sent_before none = {.fd = -1};
    struct err err = {0};

    ingests_set_relays_max(cache_ingests(f->cache), 1);
    struct ingest *i = ingest_begin_relay(cache_ingests(f->cache), &f->digest, f->loop, &events, &none, &err);
    assert_non_null(i);
    assert_true(ingest_describe(i, SIZE, "", &err));
    struct follower *w = ingest_follow(i, f->loop, 0, SIZE - 1, on_ready, f);
    write_to(f, i, 0, RELAY_WINDOW);
    assert_false(ingest_is_ahead(i));
    write_to(f, i, RELAY_WINDOW, RELAY_WINDOW + 1000);
    assert_true(ingest_is_ahead(i));
    follower_advance(w, RELAY_WINDOW / 4);
    assert_true(ingest_is_ahead(i));
    assert_int_equal(f->drained, 0);
    follower_advance(w, RELAY_WINDOW / 2);
    loop_settle(f->loop);
    assert_int_equal(f->drained, 1);
    assert_false(ingest_is_ahead(i));
    follower_leave(w);
    ingest_stop(i, NULL, true);
    run_to_end(f);
    ingest_unref(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_segment_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(deserted, setup, teardown),
        cmocka_unit_test_setup_teardown(moved, setup, teardown),
        cmocka_unit_test_setup_teardown(relay_waits, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
