#include "gc/repair/reconcile.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "cache/parts.h"

#include <time.h>

enum { CHUNK = 256, PAUSE_MS = 2, PARTS_MAX = 4096, PART_AGE_S = 7 * 24 * 3600, IMPORT_AGE_MIN_S = 600 };

static void reconcile_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
}

/* ---- parts ---- */

struct old_parts {
    struct cache *cache;
    int64_t before; /* seconds since 1970 */
    size_t count;
    struct digest list[PARTS_MAX];
};

struct part_query {
    const struct digest *d;
    bool wanted, held;
};

static void read_part(struct index_txn *t, void *arg)
{
    struct part_query *q = arg;
    struct blob_row row;

    q->wanted = rows_has_ingest(t, q->d) && !rows_get_blob(t, q->d, &row);
    q->held = rows_references(t, q->d) > 0;
}

static bool pick_part(void *arg, const struct digest *d)
{
    struct old_parts *p = arg;
    struct part_query q = {.d = d};
    int64_t written_s = 0, bytes;

    cache_read(p->cache, read_part, &q);
    if (!store_stat_part(cache_store(p->cache), d, &written_s, &bytes) ||
        (q.wanted && (q.held || written_s > p->before)))
        return true;
    p->list[p->count++] = *d;
    return p->count < PARTS_MAX;
}

int64_t reconcile_parts(struct cache *c, int64_t import_age_s)
{
    struct old_parts *p = xmalloc(sizeof(*p));
    int64_t removed = 0;
    struct err err;

    OFF_LOOPS;
    p->cache = c;
    p->before = clock_now_s() - PART_AGE_S;
    /* However short room and grace are: one that is under way has been written to since. */
    store_remove_old_imports(cache_store(c), clock_now_s() - MAX(import_age_s, (int64_t)IMPORT_AGE_MIN_S));
    p->count = 0;
    store_each_part(cache_store(c), pick_part, p);
    for (size_t i = 0; i < p->count; i++) {
        if (cache_is_in_use(c, &p->list[i]))
            continue;
        if (ingests_forget(cache_ingests(c), &p->list[i], &err))
            removed++;
        else
            log_limited(LOG_LEVEL_WARN, "parts", "%s", err.msg);
    }
    free(p);
    return removed;
}

/* ---- entries without a file ---- */

struct reconcile_entries {
    size_t count;
    struct digest list[CHUNK];
    int64_t sizes[CHUNK];
    struct digest after;
};

static bool reconcile_add_entry(void *arg, const struct digest *d, const struct blob_row *row)
{
    struct reconcile_entries *e = arg;

    e->list[e->count] = *d;
    e->sizes[e->count++] = row->size;
    e->after = *d;
    return e->count < CHUNK;
}

static void read_entries(struct index_txn *t, void *arg)
{
    struct reconcile_entries *e = arg;

    e->count = 0;
    rows_each_blob(t, e->after.alg != DIGEST_NONE ? &e->after : NULL, reconcile_add_entry, e);
}

static void check_entry(struct cache *c, const struct digest *d, int64_t size, const struct verify_pace *pace,
                        struct reconciled *sum)
{
    struct file_info info;
    struct err err = {0};
    enum verified v = VERIFIED_GOOD;

    /* Only what stat(2) tells; the bytes are verified by `verify`, or on the next use. */
    if (!store_stat_blob(cache_store(c), d, &info, &err) ? err.code == ERR_NOT_FOUND : info.size != size)
        v = cache_verify(c, d, pace, NULL, &err);
    sum->missing += v == VERIFIED_MISSING;
    sum->damaged += v == VERIFIED_CORRUPT;
}

static void check_entries(struct cache *c, const struct verify_pace *pace, struct reconciled *sum)
{
    struct reconcile_entries *e = xcalloc(1, sizeof(*e));

    do {
        cache_read(c, read_entries, e);
        for (size_t i = 0; i < e->count && !pace->stop(pace->arg); i++)
            check_entry(c, &e->list[i], e->sizes[i], pace, sum);
        reconcile_pause();
    } while (e->count == CHUNK && !pace->stop(pace->arg));
    free(e);
}

/* ---- files without an entry ---- */

struct reconcile_walk {
    struct cache *cache;
    const struct verify_pace *pace;
    struct reconciled *sum;
    bool small;
};

struct blob_query {
    const struct digest *d;
    bool known;
};

static void read_blob(struct index_txn *t, void *arg)
{
    struct blob_query *q = arg;
    struct blob_row row;

    q->known = rows_get_blob(t, q->d, &row);
}

static bool check_file(void *arg, const struct digest *d, int64_t size)
{
    struct reconcile_walk *f = arg;
    struct blob_query q = {.d = d};
    struct err err = {0};

    if ((size <= MANIFEST_SIZE_MAX) != f->small)
        return !f->pace->stop(f->pace->arg);
    cache_read(f->cache, read_blob, &q);
    /* Leased: it is being brought in, its entry comes. */
    if (!q.known && !cache_is_in_use(f->cache, d)) {
        enum verified v = cache_verify(f->cache, d, f->pace, NULL, &err);
        f->sum->adopted += v == VERIFIED_ADOPTED;
        f->sum->damaged += v == VERIFIED_CORRUPT;
        if (v == VERIFIED_FAILED && err.code != ERR_CANCELLED)
            log_limited(LOG_LEVEL_WARN, "adopt", "adopting a file: %s", err.msg);
    }
    return !f->pace->stop(f->pace->arg);
}

void reconcile_files(struct cache *c, bool small, const struct verify_pace *pace, struct reconciled *sum)
{
    struct reconcile_walk f = {c, pace, sum, small};

    OFF_LOOPS;
    store_each_blob(cache_store(c), check_file, &f);
}

/* ---- all of it ---- */

void reconcile(struct cache *c, bool (*stop)(void *arg), void *arg, struct reconciled *sum)
{
    const struct verify_pace pace = {.stop = stop, .arg = arg};

    OFF_LOOPS;
    sum->parts += reconcile_parts(c, PART_AGE_S);
    reconcile_files(c, true, &pace, sum);
    check_entries(c, &pace, sum);
    reconcile_files(c, false, &pace, sum);
}
