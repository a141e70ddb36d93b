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
        struct counted c = {.d = &f->digest};
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
        cache_read(f->cache, count_part, &c);
        assert_int_equal(c.bytes > 0, cases[k].verdict == VERIFIED_GOOD);
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

/* ---- for whom it is ---- */

struct naming {
    struct fixture *f;
    const char *repo;
};

/* The repository has a manifest that names the blob: anybody can write one. */
static bool apply_named(struct index_txn *t, void *arg, struct err *err)
{
    const struct naming *n = arg;
    struct child layer = {CHILD_CONTENT, n->f->digest, SIZE};
    struct blob_row row = {.size = 9, .created = 1, .used = 1, .flags = BLOB_MANIFEST};
    struct digest manifest;
    uint64_t repo;

    digest_of(DIGEST_SHA256, n->repo, strlen(n->repo), &manifest);
    return rows_intern_repo(t, n->repo, &repo, err) && rows_put_manifest(t, &manifest, &row, &layer, 1, err) &&
           rows_link(t, repo, &manifest, PROOF_BYTES, 1, err);
}

/* As fetched for this repository. */
static void leave_part_of(struct fixture *f, const char *host, const char *repo, bool is_private, int64_t from,
                          int64_t to)
{
    const struct ingest_events events = {on_end, on_deserted, on_drained, on_wanted, f};
    struct err err = {0};

    f->ended = 0;
    struct ingest *i = ingest_begin(cache_ingests(f->cache), &f->digest, host, f->loop, &events, NULL);
    ingest_also_link(i, repo, PROOF_BYTES, is_private);
    assert_true(ingest_describe(i, SIZE, "", &err));
    write_to(f, i, from, to);
    ingest_stop(i, NULL, false);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_PAUSED);
    ingest_unref(i);
}

static void assert_readers(struct fixture *f, const char *yes)
{
    static const char *const repos[] = {"docker.io/team/secret", "docker.io/team/other", "docker.io/team/named",
                                        "docker.io/library/new", "docker.io/team/unknown"};

    for (size_t k = 0; k < ARRAY_LEN(repos); k++)
        if (ingests_part_is_of(cache_ingests(f->cache), &f->digest, repos[k]) != !!strstr(yes, repos[k] + 10))
            fail_msg("%s, of \"%s\"", repos[k], yes);
}

/* What came in under a client's identity stays, for the repositories that have proved to contain it. A public one opens
 * it to others that are known to have it. */
static void for_whom(void **state)
{
    struct fixture *f = *state;
    struct naming n = {f, "docker.io/team/named"};

    assert_readers(f, "");
    assert_true(index_write_wait(cache_index(f->cache), apply_named, &n, NULL));
    leave_part_of(f, "docker.io", "docker.io/team/secret", true, 0, SEGMENT);
    assert_readers(f, "team/secret");
    leave_part_of(f, "docker.io", "docker.io/team/other", true, SEGMENT, 2 * SEGMENT);
    assert_readers(f, "team/secret team/other");
    leave_part_of(f, "docker.io", "docker.io/library/new", false, 2 * SEGMENT, 3 * SEGMENT);
    assert_readers(f, "team/secret team/other library/new team/named");
    leave_part_of(f, "docker.io", "docker.io/team/secret", true, 3 * SEGMENT, 4 * SEGMENT); /* it stays public */
    assert_readers(f, "team/secret team/other library/new team/named");
}

static void look_at_blob(struct index_txn *t, void *arg)
{
    struct fixture *f = arg;
    struct blob_row row;

    assert_true(rows_get_blob(t, &f->digest, &row));
    assert_true(row.flags & BLOB_PRIVATE);
    assert_true(rows_linked(t, rows_repo_id(t, "docker.io/team/secret"), &f->digest));
    assert_true(rows_linked(t, rows_repo_id(t, "docker.io/team/other"), &f->digest));
    assert_false(rows_linked(t, rows_repo_id(t, "docker.io/team/named"), &f->digest));
}

/* Completed, it is as private as it was, and of the same repositories. */
static void private_when_whole(void **state)
{
    const struct ingest_events events = {on_end, on_deserted, on_drained, on_wanted, *state};
    struct fixture *f = *state;
    struct naming n = {f, "docker.io/team/named"};
    struct err err = {0};

    assert_true(index_write_wait(cache_index(f->cache), apply_named, &n, NULL));
    leave_part_of(f, "docker.io", "docker.io/team/secret", true, 0, 300 * SEGMENT);
    f->ended = 0;
    struct ingest *i = ingest_begin(cache_ingests(f->cache), &f->digest, "docker.io", f->loop, &events, NULL);
    assert_int_equal(ingest_resumed(i), 300 * SEGMENT);
    assert_false(ingest_is_public(i));
    ingest_also_link(i, "docker.io/team/other", PROOF_BYTES, true);
    assert_true(ingest_describe(i, SIZE, "", &err));
    write_to(f, i, 300 * SEGMENT, SIZE);
    run_to_end(f);
    assert_int_equal(f->state, INGEST_STORED);
    ingest_unref(i);
    cache_read(f->cache, look_at_blob, f);
}

/* Two hosts of the same 32 bits in front of the validator: that the names have another host is decisive. */
static bool apply_other_host(struct index_txn *t, void *arg, struct err *err)
{
    struct fixture *f = arg;
    struct ingest_row row;
    uint64_t id;

    if (!rows_get_ingest(t, &f->digest, &row) || !rows_intern_repo(t, "docker.ioo/team/secret", &id, err))
        return false;
    _cleanup_free_ uint8_t *bitmap = xmalloc(row.bitmap_len);
    memcpy(bitmap, row.bitmap, row.bitmap_len);
    row.bitmap = bitmap;
    row.repos[0].id = id;
    return rows_put_ingest(t, &f->digest, &row, err);
}

static void another_registrys(void **state)
{
    const struct ingest_events events = {on_end, on_deserted, on_drained, on_wanted, *state};
    struct fixture *f = *state;

    leave_part_of(f, "docker.io", "docker.io/team/secret", true, 0, 2 * SEGMENT);
    assert_true(index_write_wait(cache_index(f->cache), apply_other_host, f, NULL));
    f->ended = 0;
    struct ingest *i = ingest_begin(cache_ingests(f->cache), &f->digest, "docker.io", f->loop, &events, NULL);
    assert_int_equal(ingest_resumed(i), 0);
    ingest_stop(i, NULL, true);
    run_to_end(f);
    ingest_unref(i);
}

/* A row holds so many repositories; those behind them prove it again. */
static void many_repositories(void **state)
{
    struct fixture *f = *state;
    char name[64];

    for (int k = 0; k < INGEST_REPOS_MAX + 3; k++) {
        snprintf(name, sizeof(name), "docker.io/team/n%d", k);
        leave_part_of(f, "docker.io", name, true, k * SEGMENT, (k + 1) * SEGMENT);
    }
    for (int k = 0; k < INGEST_REPOS_MAX + 3; k++) {
        snprintf(name, sizeof(name), "docker.io/team/n%d", k);
        assert_int_equal(ingests_part_is_of(cache_ingests(f->cache), &f->digest, name), k < INGEST_REPOS_MAX);
    }
}

/* As an earlier version wrote it: of public repositories alone. */
static bool apply_plain_row(struct index_txn *t, void *arg, struct err *err)
{
    struct fixture *f = arg;
    uint8_t v[8 + 1 + 3 + 2] = {[0] = 77, [8] = 3, 'a', 'b', 'c', 0x81, 0x03};

    return txn_put(t, TABLE_INGEST, digest_key(&f->digest), digest_key_len(&f->digest), v, sizeof(v), err);
}

static void read_plain_row(struct index_txn *t, void *arg)
{
    struct fixture *f = arg;
    struct ingest_row row;

    assert_true(rows_get_ingest(t, &f->digest, &row));
    assert_int_equal(row.size, 77);
    assert_string_equal(row.validator, "abc");
    assert_int_equal(row.bitmap_len, 2);
    assert_int_equal(row.bitmap[0], 0x81);
    assert_false(row.is_private);
    assert_int_equal(row.repo_count, 0);
}

static void rows_of_before(void **state)
{
    struct fixture *f = *state;

    assert_true(index_write_wait(cache_index(f->cache), apply_plain_row, f, NULL));
    cache_read(f->cache, read_plain_row, f);
    drop_part(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_of_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(one_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(for_whom, setup, teardown),
        cmocka_unit_test_setup_teardown(private_when_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(another_registrys, setup, teardown),
        cmocka_unit_test_setup_teardown(many_repositories, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_of_before, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
