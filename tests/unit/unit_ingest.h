/* unit_ingest.h - a blob of 3 MiB on its way into a cache of its own, for the tests of cache/ingest. The loop runs on
 * the test's own thread, turn by turn. */
#ifndef ENTREPOT_TESTS_UNIT_INGEST_H
#define ENTREPOT_TESTS_UNIT_INGEST_H

#include "tests/unit/unit.h"
#include "base/pool.h"
#include "cache/cache.h"
#include "cache/parts.h"

enum { MIB = 1 << 20, SIZE = 3 * MIB + 321 /* of the blob: its last MiB and segment are parts of one */ };

struct fixture {
    char *dir, *bytes;
    struct pool *pool;
    struct cache *cache;
    struct loop *loop;
    struct digest digest; /* of `bytes` */
    int ended, deserted, ready, wanted, drained;
    bool has_row;
    enum ingest_state state;
    struct err err;
};

UNUSED static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    f->dir = make_folder();
    f->loop = loop_new("test", NULL);
    f->pool = pool_new("io", 2, NULL);
    f->cache = cache_open(f->dir, f->pool, NULL, NULL);
    f->bytes = xmalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        f->bytes[i] = (char)(i * 7 + i / 4096);
    digest_of(DIGEST_SHA256, f->bytes, SIZE, &f->digest);
    *state = f;
    return f->cache ? 0 : -1;
}

UNUSED static int teardown(void **state)
{
    struct fixture *f = *state;

    pool_free(f->pool);
    cache_close(f->cache);
    loop_free(f->loop);
    remove_tree(f->dir);
    free(f->bytes);
    free(f);
    return 0;
}

UNUSED static void on_end(void *arg, enum ingest_state state, const struct err *err)
{
    struct fixture *f = arg;

    f->ended++;
    f->state = state;
    f->err = err ? *err : (struct err){0};
}

UNUSED static void on_deserted(void *arg)
{
    ((struct fixture *)arg)->deserted++;
}

UNUSED static void on_ready(void *arg)
{
    ((struct fixture *)arg)->ready++;
}

UNUSED static void on_wanted(void *arg)
{
    ((struct fixture *)arg)->wanted++;
}

UNUSED static void on_drained(void *arg)
{
    ((struct fixture *)arg)->drained++;
}

UNUSED static struct ingest *begin(struct fixture *f, const char *host)
{
    const struct ingest_events events = {on_end, on_deserted, on_drained, on_wanted, f};
    struct ingest *i = ingest_begin(cache_ingests(f->cache), &f->digest, host, f->loop, &events, NULL);

    assert_non_null(i);
    ingest_also_link(i, "docker.io/library/app", PROOF_BYTES, false);
    return i;
}

UNUSED static void write_to(struct fixture *f, struct ingest *i, int64_t from, int64_t to)
{
    struct err err = {0};

    if (!ingest_write(i, from, f->bytes + from, (size_t)(to - from), &err))
        fail_msg("%s", err.msg);
}

/* Turns of the loop, and what io workers and the index hand back to it, until the ingest has ended. */
UNUSED static void run_to_end(struct fixture *f)
{
    for (int n = 0; n < 5000 && f->ended == 0; n++) {
        loop_settle(f->loop);
        usleep(1000);
    }
    assert_int_equal(f->ended, 1);
}

/* What a follower at `first` may read now. */
UNUSED static int64_t available(struct fixture *f, struct ingest *i, int64_t first)
{
    struct follower *w = ingest_follow(i, f->loop, first, SIZE - 1, on_ready, f);
    struct err err = {0};
    int64_t n = follower_available(w, &err);

    follower_leave(w);
    return n;
}

#endif
