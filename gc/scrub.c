#include "gc/scrub.h"

#include "base/clock.h"
#include "base/log.h"
#include "gc/gc_private.h"
#include "gc/reconcile.h"

enum { CHUNK = 64, FINDINGS_MAX = 1000, PASSES_MAX = 100, PROGRESS_MS = 500 };

struct scrub {
    struct cache *cache;
    const struct scrub_wish *wish;
    struct scrub_sum *sum;
    int64_t said_ms;
    const atomic_bool *ending; /* of the collector */
};

static void say(struct scrub *s, const struct digest *d, const char *what)
{
    char text[DIGEST_TEXT_MAX] = "-";

    if (d && d->alg != DIGEST_NONE)
        digest_format(d, text);
    if (s->wish->finding)
        s->wish->finding(s->wish->arg, text, what);
}

static bool is_stopped(const struct scrub *s)
{
    return atomic_load(s->ending) || (s->wish->stop && s->wish->stop(s->wish->arg));
}

/* ---- the index against itself ---- */

struct findings {
    struct scrub *s;
    bool quiet;
    size_t count, wrong;
    struct finding list[FINDINGS_MAX];
};

static void add_finding(void *arg, const struct finding *f)
{
    struct findings *all = arg;

    if (!all->quiet)
        say(all->s, &f->digest, finding_text(f));
    if (all->count < FINDINGS_MAX)
        all->list[all->count++] = *f;
}

static void look(struct index_txn *t, void *arg)
{
    struct findings *all = arg;

    all->count = 0;
    all->wrong = rows_check(t, add_finding, all);
}

static bool apply_repairs(struct index_txn *t, void *arg, struct err *err)
{
    struct findings *all = arg;

    for (size_t i = 0; i < all->count; i++)
        if (!rows_repair(t, &all->list[i], err))
            return false;
    return true;
}

/* One repair may bring another to light: until there is nothing more to do. */
static bool check_references(struct scrub *s, struct err *err)
{
    struct findings *all = xcalloc(1, sizeof(*all));
    size_t before = SIZE_MAX;
    bool ok = true;

    all->s = s;
    index_read(s->cache->index, look, all);
    s->sum->references = (int64_t)all->wrong;
    for (int pass = 0; s->wish->repair && all->wrong > 0 && pass < PASSES_MAX && ok && !is_stopped(s); pass++) {
        if (all->wrong == before && all->wrong < FINDINGS_MAX)
            break;
        before = all->wrong;
        all->quiet = true;
        ok = index_write_wait(s->cache->index, apply_repairs, all, err);
        index_read(s->cache->index, look, all);
    }
    if (s->wish->repair)
        s->sum->repaired = s->sum->references - (int64_t)all->wrong;
    free(all);
    return ok || err_wrap(err, "repairing the index");
}

/* ---- the files against their digests ---- */

struct chunk {
    size_t count;
    struct {
        struct digest digest;
        bool manifest;
    } list[CHUNK];
    struct digest after;
};

static bool add_blob(void *arg, const struct digest *d, const struct blob_row *row)
{
    struct chunk *c = arg;

    c->list[c->count].digest = *d;
    c->list[c->count++].manifest = row->flags & BLOB_MANIFEST;
    c->after = *d;
    return c->count < CHUNK;
}

static void read_chunk(struct index_txn *t, void *arg)
{
    struct chunk *c = arg;

    c->count = 0;
    rows_each_blob(t, c->after.alg != DIGEST_NONE ? &c->after : NULL, add_blob, c);
}

struct origin {
    const struct digest *d;
    char repo[REF_NAME_MAX + 1];
    bool known;
};

static void read_origin(struct index_txn *t, void *arg)
{
    struct origin *o = arg;

    o->known = rows_find_repo(t, o->d, o->repo);
}

static void fetch_again(struct scrub *s, const struct origin *o, bool manifest)
{
    struct err err = {0};
    char why[ERR_MSG_MAX + 64];

    if (!s->wish->repair)
        return;
    if (o->known && s->wish->fetch && s->wish->fetch(s->wish->arg, o->repo, o->d, manifest, &err)) {
        s->sum->fetched++;
        return;
    }
    s->sum->lost++;
    snprintf(why, sizeof(why), "cannot be fetched again: %s", o->known ? err.msg : "no repository is known to have it");
    say(s, o->d, why);
}

static void check_blob(struct scrub *s, const struct digest *d, bool manifest, const struct verify_pace *pace)
{
    struct origin o = {.d = d};
    struct err err = {0};

    if (s->wish->repair)
        index_read(s->cache->index, read_origin, &o); /* what is dropped does not say it any more */
    switch (cache_verify(s->cache, d, pace, &s->sum->bytes, &err)) {
    case VERIFIED_CORRUPT:
        s->sum->damaged++;
        say(s, d, err.msg);
        fetch_again(s, &o, manifest);
        break;
    case VERIFIED_MISSING:
        s->sum->missing++;
        say(s, d, "is in the index and not on disk");
        fetch_again(s, &o, manifest);
        break;
    case VERIFIED_FAILED:
        if (err.code != ERR_CANCELLED)
            say(s, d, err.msg);
        return;
    default:
        break;
    }
    s->sum->blobs++;
}

static void check_blobs(struct scrub *s, const struct verify_pace *pace)
{
    struct chunk *c = xcalloc(1, sizeof(*c));
    struct totals t;

    cache_totals(s->cache, &t);
    do {
        index_read(s->cache->index, read_chunk, c);
        for (size_t i = 0; i < c->count && !is_stopped(s); i++) {
            check_blob(s, &c->list[i].digest, c->list[i].manifest, pace);
            if (s->wish->progress && clock_mono_ms() - s->said_ms >= PROGRESS_MS) {
                s->said_ms = clock_mono_ms();
                s->wish->progress(s->wish->arg, s->sum, t.bytes);
            }
        }
    } while (c->count == CHUNK && !is_stopped(s));
    free(c);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

bool gc_scrub(struct gc *gc, const struct scrub_wish *wish, struct scrub_sum *sum, struct err *err)
{
    struct scrub s = {gc->cache, wish, sum, clock_mono_ms(), &gc->ending};
    const struct verify_pace pace = {wish->bytes_per_s, wish->stop ? wish->stop : never, wish->arg};
    struct reconciled r = {0};

    memset(sum, 0, sizeof(*sum));
    if (pthread_mutex_trylock(&gc->scrubbing) != 0)
        return err_set(err, ERR_INVALID, "a verification is running already");
    bool ok = check_references(&s, err);
    if (ok) {
        reconcile_files(gc->cache, true, &pace, &r);
        reconcile_files(gc->cache, false, &pace, &r);
        sum->adopted = r.adopted;
        sum->damaged += r.damaged;
        check_blobs(&s, &pace);
    }
    pthread_mutex_unlock(&gc->scrubbing);
    if (ok && is_stopped(&s))
        ok = err_set(err, ERR_CANCELLED, "stopped");
    if (ok)
        log_info("verified %lld blobs, %lld bytes: %lld damaged, %lld missing, %lld adopted, %lld rows wrong",
                 (long long)sum->blobs, (long long)sum->bytes, (long long)sum->damaged, (long long)sum->missing,
                 (long long)sum->adopted, (long long)sum->references);
    return ok;
}
