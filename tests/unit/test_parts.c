/* Parts at rest: how much is here of a blob that is not whole, and whether that is so. */
#include "tests/unit/unit_ingest.h"

#include "cache/verify.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { SEGMENT = INGEST_SEGMENT };

/* [from, to) and, if `to2` is not 0, [from2, to2) of the blob are here, at rest. */
static void leave_part(struct fixture *f, int64_t from, int64_t to, int64_t from2, int64_t to2)
{
    struct ingest *i = begin(f, "docker.io");
    struct err err = {0};

    assert_true(ingest_describe(i, SIZE, "", &err));
    write_to(f, i, from, to);
    if (to2 > 0)
        write_to(f, i, from2, to2);
    ingest_stop(i, NULL, false);
    f->ended = 0;
    run_to_end(f);
    ingest_unref(i);
}

static int open_part(struct fixture *f)
{
    int fd = store_open_part(cache_store(f->cache), &f->digest, false, NULL);

    assert_true(fd >= 0);
    return fd;
}

static void drop_part(struct fixture *f)
{
    assert_true(ingests_forget(cache_ingests(f->cache), &f->digest, NULL));
}

struct counted {
    const struct digest *d;
    int64_t bytes, size;
};

static void count_part(struct index_txn *t, void *arg)
{
    struct counted *c = arg;

    c->bytes = ingest_part_bytes(t, c->d, &c->size);
}

static void bytes_of_parts(void **state)
{
    static const struct {
        int64_t from, to, from2, to2, bytes;
    } cases[] = {
        {0, SEGMENT, 0, 0, SEGMENT},
        {0, SEGMENT + 77, 0, 0, SEGMENT}, /* what is not whole is not promised */
        {3 * SEGMENT, 20 * SEGMENT, 0, 0, 17 * SEGMENT},
        {3 * SEGMENT, 20 * SEGMENT, SIZE / SEGMENT * SEGMENT, SIZE, 17 * SEGMENT + SIZE % SEGMENT},
        {0, SIZE - SIZE % SEGMENT, 0, 0, SIZE - SIZE % SEGMENT},
    };
    struct fixture *f = *state;

    struct counted c = {.d = &f->digest};
    cache_read(f->cache, count_part, &c);
    assert_int_equal(c.bytes, 0);
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        leave_part(f, cases[k].from, cases[k].to, cases[k].from2, cases[k].to2);
        cache_read(f->cache, count_part, &c);
        assert_int_equal(c.bytes, cases[k].bytes);
        assert_int_equal(c.size, SIZE);
        drop_part(f);
    }
}

/* ---- what verify finds ---- */

static void punch(struct fixture *f)
{
    int fd = open_part(f);

    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * SEGMENT, SEGMENT), 0);
    close(fd);
}

static void cut(struct fixture *f)
{
    int fd = open_part(f);

    assert_int_equal(ftruncate(fd, 6 * SEGMENT), 0);
    close(fd);
}

static void lose(struct fixture *f)
{
    assert_true(store_remove_part(cache_store(f->cache), &f->digest, NULL));
}

static void spoil(struct fixture *f)
{
    int fd = open_part(f);

    assert_int_equal(pwrite(fd, "x", 1, 5 * SEGMENT), 1);
    close(fd);
}

static void nothing(struct fixture *f)
{
    (void)f;
}

/* All of the blob, which no client waited for: the part is at rest before it is hashed. */
static void leave_whole_part(struct fixture *f)
{
    int fd = store_open_part(cache_store(f->cache), &f->digest, true, NULL);

    assert_int_equal(pwrite(fd, f->bytes, SIZE, 0), SIZE);
    close(fd);
}

static bool apply_whole_row(struct index_txn *t, void *arg, struct err *err)
{
    static uint8_t ones[(SIZE + SEGMENT - 1) / SEGMENT / 8 + 1];
    struct fixture *f = arg;
    struct ingest_row row = {.size = SIZE, .bitmap = ones, .bitmap_len = sizeof(ones)};

    memset(ones, 0xff, sizeof(ones));
    return rows_put_ingest(t, &f->digest, &row, err);
}

static void damaged_parts(void **state)
{
    static const struct {
        void (*damage)(struct fixture *f);
        bool whole;
        enum verified verdict;
        const char *why;
    } cases[] = {
        {nothing, false, VERIFIED_GOOD, ""},
        {spoil, false, VERIFIED_GOOD, ""}, /* cannot be known */
        {punch, false, VERIFIED_CORRUPT, "from 20480 on"},
        {cut, false, VERIFIED_CORRUPT, "from 24576 on"},
        {lose, false, VERIFIED_MISSING, "not on disk"},
        {nothing, true, VERIFIED_GOOD, ""},
        {spoil, true, VERIFIED_CORRUPT, "which hash to"},
    };
    const struct verify_pace pace = {0};
    struct fixture *f = *state;

    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        struct err err = {0};
        int64_t bytes = 0;
        if (cases[k].whole) {
            leave_whole_part(f);
            assert_true(index_write_wait(cache_index(f->cache), apply_whole_row, f, &err));
        } else {
            leave_part(f, 3 * SEGMENT, 20 * SEGMENT, 100 * SEGMENT, 120 * SEGMENT);
        }
        cases[k].damage(f);
        assert_int_equal(cache_verify_part(f->cache, &f->digest, &pace, &bytes, &err), cases[k].verdict);
        assert_non_null(strstr(err.msg, cases[k].why));
        assert_int_equal(ingests_has_part(cache_ingests(f->cache), &f->digest), cases[k].verdict == VERIFIED_GOOD);
        if (cases[k].verdict == VERIFIED_GOOD)
            assert_int_equal(bytes, cases[k].whole ? SIZE : 37 * SEGMENT);
        drop_part(f);
    }
}

/* What an ingest has is its own concern. */
static void one_under_way(void **state)
{
    const struct verify_pace pace = {0};
    struct fixture *f = *state;
    struct err err = {0};
    int64_t bytes = 0;

    leave_part(f, 0, 20 * SEGMENT, 0, 0);
    punch(f);
    f->ended = 0;
    struct ingest *i = begin(f, "docker.io");
    assert_int_equal(cache_verify_part(f->cache, &f->digest, &pace, &bytes, &err), VERIFIED_GOOD);
    assert_int_equal(bytes, 0);
    ingest_stop(i, NULL, false);
    run_to_end(f);
    ingest_unref(i);
    assert_int_equal(cache_verify_part(f->cache, &f->digest, &pace, &bytes, &err), VERIFIED_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_of_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(one_under_way, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
