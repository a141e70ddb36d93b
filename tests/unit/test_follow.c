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

/* ---- bytes of other nodes ---- */

static int64_t readable_now(struct follower *w)
{
    struct err err = {0};

    return follower_available(w, &err);
}

/* A client gets nothing of them before they are verified, and then everything; another node gets them as they come. */
static void unvouched(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    struct follower *piece = ingest_follow(i, f->loop, 10, 19, on_ready, f);
    write_to(f, i, 0, MIB);
    assert_int_equal(readable_now(piece), 10); /* of the registry */
    assert_false(ingest_holds_back(i) || ingest_is_unvouched(i));
    struct follower *node = ingest_follow_for_node(i, f->loop, 0, SIZE - 1, on_ready, f);
    struct follower *early = ingest_follow(i, f->loop, 0, SIZE - 1, on_ready, f);
    assert_int_equal(readable_now(early), MIB);
    follower_advance(early, MIB / 2);
    ingest_note_unvouched(i);
    assert_true(ingest_holds_back(i) && ingest_is_unvouched(i) && follower_is_unvouched(early));
    struct follower *late = ingest_follow(i, f->loop, 0, SIZE - 1, on_ready, f);
    for (int64_t at = MIB; at < SIZE - 1; at = MIN(at + MIB, SIZE - 1)) {
        write_to(f, i, at, MIN(at + MIB, SIZE - 1));
        assert_int_equal(readable_now(piece), 0);
        assert_int_equal(readable_now(early), 0);
        assert_int_equal(readable_now(late), 0);
        assert_int_equal(follower_may_begin(late, &err), 0);
        assert_int_equal(readable_now(node), MIN(at + MIB, SIZE - 1)); /* also of the last MiB */
    }
    write_to(f, i, SIZE - 1, SIZE);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_STORED);
    assert_int_equal(readable_now(early), SIZE - MIB / 2);
    assert_int_equal(readable_now(late), SIZE);
    assert_int_equal(readable_now(piece), 10);
    assert_int_equal(readable_now(node), SIZE);
    follower_leave(early);
    follower_leave(late);
    follower_leave(piece);
    follower_leave(node);
    ingest_unref(i);
}

/* While only other nodes wait, nothing is held back. */
static void held_for_clients_alone(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    ingest_note_unvouched(i);
    assert_false(ingest_holds_back(i));
    struct follower *node = ingest_follow_for_node(i, f->loop, 0, SIZE - 1, on_ready, f);
    assert_false(ingest_holds_back(i));
    assert_false(ingest_is_wanted_whole(i)); /* it has other homes for the rest */
    struct follower *w = ingest_follow(i, f->loop, 0, 9, on_ready, f);
    assert_true(ingest_holds_back(i));
    follower_leave(w);
    assert_false(ingest_holds_back(i));
    follower_leave(node);
    ingest_stop(i, NULL, true);
    run_to_end(f);
    ingest_unref(i);
}

/* The client has the error before the first byte. */
static void wrong_bytes_of_a_node(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    ingest_note_unvouched(i);
    struct follower *w = ingest_follow(i, f->loop, 0, SIZE - 1, on_ready, f);
    f->bytes[17] ^= 1;
    write_to(f, i, 0, SIZE - 1);
    assert_int_equal(follower_may_begin(w, &err), 0);
    write_to(f, i, SIZE - 1, SIZE);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_FAILED);
    assert_int_equal(follower_may_begin(w, &err), -1);
    assert_int_equal(err.code, ERR_DIGEST);
    assert_int_equal(follower_position(w), 0);
    assert_true(follower_is_unvouched(w));
    follower_leave(w);
    ingest_unref(i);
}

/* What is larger cannot be held back: its client gets it as it comes, but for the last MiB. */
static void too_large_to_hold(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    const int64_t size = (int64_t)INGEST_HELD_MAX + 1;
    struct err err = {0};

    assert_true(ingest_describe(i, size, "", &err));
    ingest_note_unvouched(i);
    struct follower *w = ingest_follow(i, f->loop, 0, size - 1, on_ready, f);
    assert_true(ingest_holds_back(i)); /* its size may be a lie, too */
    write_to(f, i, 0, MIB);
    assert_int_equal(readable_now(w), 0);
    ingest_note_sized(i);
    assert_false(ingest_holds_back(i));
    assert_int_equal(readable_now(w), MIB);
    follower_leave(w);
    ingest_stop(i, NULL, true);
    run_to_end(f);
    ingest_unref(i);
}

/* It stays so, also behind a restart. */
static void unvouched_part(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err broke = {0}, err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    ingest_note_unvouched(i);
    write_to(f, i, 0, 2 * MIB);
    err_set(&broke, ERR_UNREACHABLE, "the connection broke");
    ingest_stop(i, &broke, false);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_PAUSED);
    ingest_unref(i);

    while (cache_wait_written(f->cache))
        ;
    cache_close(f->cache);
    f->cache = cache_open(f->dir, f->pool, NULL, NULL);
    assert_non_null(f->cache);
    f->ended = 0;
    i = begin(f, "docker.io");
    assert_int_equal(ingest_resumed(i), 2 * MIB);
    assert_true(ingest_is_unvouched(i));
    assert_true(ingest_describe(i, SIZE, "", &err));
    assert_int_equal(available(f, i, 0), 0);
    write_to(f, i, 2 * MIB, SIZE); /* of the registry */
    run_to_end(f);
    assert_int_equal(f->state, INGEST_STORED);
    assert_int_equal(available(f, i, 0), SIZE);
    ingest_unref(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_segment_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(deserted, setup, teardown),
        cmocka_unit_test_setup_teardown(moved, setup, teardown),
        cmocka_unit_test_setup_teardown(relay_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(unvouched, setup, teardown),
        cmocka_unit_test_setup_teardown(held_for_clients_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_bytes_of_a_node, setup, teardown),
        cmocka_unit_test_setup_teardown(too_large_to_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(unvouched_part, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
