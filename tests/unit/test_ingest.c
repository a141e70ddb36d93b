/* Blobs on their way in: what followers may read when, and what comes of wrong bytes, breaks and resumption. The loop
 * runs on the test's own thread, turn by turn. */
#include "tests/unit/unit_ingest.h"

/* Followers get what has arrived, up to the last byte; of the last MiB nothing before the digest is verified. */

/* Wrong bytes: the ingest fails, its followers never get the end, and nothing is stored. */

static void wrong_bytes(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};
    int64_t size;

    assert_true(ingest_describe(i, SIZE, "", &err));
    struct follower *w = ingest_follow(i, f->loop, 0, SIZE - 1, on_ready, f);
    follower_advance(w, 3 * MIB);
    f->bytes[17] ^= 1;
    write_to(f, i, 0, SIZE);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_FAILED);
    assert_int_equal(f->err.code, ERR_DIGEST);
    assert_int_equal(follower_available(w, &err), -1);
    assert_int_equal(err.code, ERR_DIGEST);
    follower_leave(w);
    ingest_unref(i);
    assert_true(cache_open_blob(f->cache, &f->digest, &size, NULL) < 0);
}

/* What arrived before a break is not asked for again: of the same registry alone, whole segments of it. */

static void resumed(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err broke = {0}, err = {0};
    int64_t first, last;

    assert_true(ingest_gap(i, 0, &first, &last) && first == 0);
    assert_true(ingest_describe(i, SIZE, "\"tag\"", &err));
    write_to(f, i, 0, 2 * MIB + 500);
    err_set(&broke, ERR_UNREACHABLE, "the connection broke");
    ingest_stop(i, &broke, false);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_PAUSED);
    ingest_unref(i);

    f->ended = 0;
    i = begin(f, "docker.io");
    assert_int_equal(ingest_resumed(i), 2 * MIB);
    assert_string_equal(ingest_validator(i), "\"tag\"");
    assert_true(ingest_gap(i, 0, &first, &last) && first == 2 * MIB && last == SIZE);
    assert_false(ingest_describe(i, SIZE + 1, "\"tag\"", &err)); /* another blob than the one it was */
    assert_int_equal(err.code, ERR_CORRUPT);
    ingest_stop(i, &broke, false);
    run_to_end(f);
    ingest_unref(i);

    f->ended = 0;
    i = begin(f, "quay.io"); /* whose bytes may be others */
    assert_int_equal(ingest_resumed(i), 0);
    assert_true(ingest_describe(i, SIZE, "", &err));
    write_to(f, i, 0, SIZE);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_STORED);
    ingest_unref(i);
}

/* A client that reads slowly what was there before a break gets it, also when the same blob begins again from another
 * registry meanwhile. */

static void what_was_there_stays(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};
    char got[1000];

    assert_true(ingest_describe(i, SIZE, "", &err));
    struct follower *slow = ingest_follow(i, f->loop, 0, SIZE - 1, on_ready, f);
    write_to(f, i, 0, MIB);
    ingest_stop(i, NULL, false);
    run_to_end(f);
    ingest_unref(i);
    f->ended = 0;
    i = begin(f, "quay.io");
    assert_true(ingest_describe(i, SIZE, "", &err));
    f->bytes[7] ^= 1;
    write_to(f, i, 0, 2 * INGEST_SEGMENT);
    f->bytes[7] ^= 1;
    assert_int_equal(follower_available(slow, &err), MIB);
    assert_int_equal(pread(follower_fd(slow), got, sizeof(got), 0), sizeof(got));
    assert_memory_equal(got, f->bytes, sizeof(got));
    follower_leave(slow);
    ingest_stop(i, NULL, true);
    run_to_end(f);
    ingest_unref(i);
}

static void look_for_row(struct index_txn *t, void *arg)
{
    struct fixture *f = arg;

    f->has_row = rows_has_ingest(t, &f->digest);
}

/* What is written after a crash to a new part must not be described by an old one's row: until that is gone, the source
 * waits. */

static void the_old_row_goes_first(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    write_to(f, i, 0, MIB);
    ingest_stop(i, NULL, false);
    run_to_end(f);
    ingest_unref(i);
    index_read(cache_index(f->cache), look_for_row, f);
    assert_true(f->has_row);
    f->ended = 0;
    i = begin(f, "quay.io");
    assert_true(ingest_is_ahead(i));
    for (int n = 0; n < 5000 && f->drained == 0; n++) {
        usleep(1000);
        loop_settle(f->loop);
    }
    assert_int_equal(f->drained, 1);
    assert_false(ingest_is_ahead(i));
    index_read(cache_index(f->cache), look_for_row, f);
    assert_false(f->has_row);
    ingest_stop(i, NULL, true);
    run_to_end(f);
    ingest_unref(i);
}

static void assert_gap(struct ingest *i, int64_t from, int64_t first, int64_t end)
{
    int64_t a, b;

    assert_true(ingest_gap(i, from, &a, &b));
    assert_int_equal(a, first);
    assert_int_equal(b, end);
}

/* Several sources at once, in any order: followers read wherever bytes are, what is here is not written again, and the
 * blob is stored when the last gap is closed. */

static void runs(void **state)
{
    enum { SEG = INGEST_SEGMENT };
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};
    struct ingest_span waiting[4];

    assert_true(ingest_describe(i, SIZE, "", &err));
    struct follower *middle = ingest_follow(i, f->loop, MIB + 100, MIB + 199, on_ready, f);
    assert_false(ingest_is_wanted_whole(i));
    assert_int_equal(follower_available(middle, &err), 0);
    loop_settle(f->loop);
    assert_int_equal(f->wanted, 1);
    assert_int_equal(ingest_waiting(i, waiting, 4, NULL), 1);
    assert_int_equal(waiting[0].first, MIB + 100);
    assert_int_equal(waiting[0].end, MIB + 200);
    assert_gap(i, MIB + 100, MIB, SIZE); /* a segment is filled from its start */
    write_to(f, i, MIB, MIB + 150);
    assert_int_equal(follower_available(middle, &err), 50);
    assert_gap(i, 0, 0, MIB);
    assert_gap(i, MIB, MIB + 150, SIZE);                /* and continued where it broke off */
    write_to(f, i, MIB + 10 * SEG + 5, MIB + 11 * SEG); /* begins no segment: nothing of it is kept */
    assert_gap(i, MIB, MIB + 150, SIZE);
    write_to(f, i, 2 * MIB, 2 * MIB + SEG);
    assert_gap(i, MIB, MIB + 150, 2 * MIB);
    f->bytes[MIB + 120] ^= 1; /* of another answer: what is here stays */
    write_to(f, i, MIB, 2 * MIB + 2 * SEG);
    f->bytes[MIB + 120] ^= 1;
    assert_int_equal(follower_available(middle, &err), 100);
    assert_gap(i, MIB, 2 * MIB + 2 * SEG, SIZE);
    assert_int_equal(ingest_received(i), MIB + 2 * SEG);
    write_to(f, i, 2 * MIB + 2 * SEG, SIZE);
    assert_int_equal(f->ended, 0);
    write_to(f, i, 0, MIB);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_STORED);
    follower_leave(middle);
    ingest_unref(i);
}

/* More bytes than were announced are refused, and a size that is beyond all measure. */

static void sizes(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_false(ingest_describe(i, INGEST_SIZE_MAX + 1, "", &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_true(ingest_describe(i, MIB, "", &err));
    assert_false(ingest_write(i, 0, f->bytes, MIB + 1, &err));
    assert_int_equal(err.code, ERR_UPSTREAM);
    ingest_stop(i, &err, true);
    run_to_end(f);
    ingest_unref(i);
}

/* A size that becomes known while bytes are here: they may be all of it; and it is no size if there are more. */

static void a_size_that_comes_late(void **state)
{
    struct fixture *f = *state;
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_true(ingest_describe(i, -1, "", &err));
    write_to(f, i, 0, SIZE);
    assert_false(ingest_describe(i, SIZE - 1, "", &err));
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_true(ingest_describe(i, SIZE, "", &err));
    run_to_end(f);
    assert_int_equal(f->state, INGEST_STORED);
    ingest_unref(i);
}

/* The owner is told when the last follower has left, not when another one is still there. */

/* From piece to piece of a blob: each is read as far as it is here, also one that lies before the last. */

/* A registry that does not answer takes nothing away: what is here stays, of a repository that has not proved to have
 * it. */

static void nothing_was_added(void **state)
{
    struct fixture *f = *state;
    const struct ingest_events events = {on_end, on_deserted, on_wanted, on_wanted, f};
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    write_to(f, i, 0, 2 * MIB);
    for (int n = 0; n < 3; n++) {
        ingest_stop(i, NULL, false);
        run_to_end(f);
        assert_int_equal(f->state, INGEST_PAUSED);
        ingest_unref(i);
        f->ended = 0;
        i = ingest_begin(cache_ingests(f->cache), &f->digest, "docker.io", f->loop, &events, NULL);
        assert_int_equal(ingest_resumed(i), 2 * MIB);
    }
    ingest_stop(i, NULL, true);
    run_to_end(f);
    ingest_unref(i);
}

/* What came from where is known while the blob arrives, over a pause, and after its end. */
static void where_bytes_came_from(void **state)
{
    struct fixture *f = *state;
    struct ingests *all = cache_ingests(f->cache);
    struct ingest *i = begin(f, "docker.io");
    int64_t from[INGEST_FROMS];
    struct err err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    write_to(f, i, 0, MIB);
    assert_false(ingests_came(all, &f->digest, from)); /* nothing has come from elsewhere than a registry */
    ingest_note_from(i, INGEST_FROM_NODES);
    write_to(f, i, MIB / 2, 2 * MIB); /* of which half a MiB was here */
    assert_true(ingests_came(all, &f->digest, from));
    assert_int_equal(from[INGEST_FROM_REGISTRY], MIB);
    assert_int_equal(from[INGEST_FROM_NODES], MIB);
    ingest_stop(i, NULL, false);
    run_to_end(f);
    ingest_unref(i);
    f->ended = 0;
    i = begin(f, "docker.io");
    ingest_note_from(i, INGEST_FROM_BUCKET);
    write_to(f, i, 2 * MIB, SIZE);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_STORED);
    ingest_unref(i);
    assert_true(ingests_came(all, &f->digest, from));
    assert_int_equal(from[INGEST_FROM_REGISTRY], MIB);
    assert_int_equal(from[INGEST_FROM_NODES], MIB);
    assert_int_equal(from[INGEST_FROM_BUCKET], SIZE - 2 * MIB);
}

/* A relay's source waits while its follower is far behind, until it is told to go on, whoever asks meanwhile. */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(resumed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_there_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(the_old_row_goes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(runs, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_size_that_comes_late, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_was_added, setup, teardown),
        cmocka_unit_test_setup_teardown(where_bytes_came_from, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
