#include "gc/repair/scrub.h"

#include "base/array.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "gc/repair/reconcile.h"
#include "cache/parts.h"

enum { CHUNK = 64, FINDINGS_MAX = 1000, PASSES_MAX = 100, PROGRESS_MS = 500 };

struct scrub_digests {
    struct digest *list;
    size_t count, cap;
};

static void digests_add(struct scrub_digests *all, const struct digest *d)
{
    *ARRAY_NEXT(all->list, all->count, all->cap) = *d;
    all->count++;
}

static void digests_free(struct scrub_digests *all)
{
    free(all->list);
}

struct scrub {
    struct cache *cache;
    const struct scrub_wish *wish;
    struct scrub_sum *sum;
    int64_t said_ms;
    const atomic_bool *ending; /* of the collector */
};

static void scrub_report(struct scrub *s, const struct digest *d, const char *what)
{
    char text[DIGEST_TEXT_MAX] = "-";

    if (d && d->alg != DIGEST_NONE)
        digest_format(d, text);
    if (s->wish->finding)
        s->wish->finding(s->wish->arg, text, what);
}

static bool scrub_is_stopped(const struct scrub *s)
{
    return atomic_load(s->ending) || (s->wish->stop && s->wish->stop(s->wish->arg));
}

/* ---- the index against itself ---- */

struct findings {
    size_t count, wrong;
    struct finding list[FINDINGS_MAX];
};

static void add_finding(void *arg, const struct finding *f)
{
    struct findings *all = arg;

    if (all->count < FINDINGS_MAX)
        all->list[all->count++] = *f;
}

static void scrub_look(struct index_txn *t, void *arg)
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

/* Not while the index is read: the callback may block. */
static void say_findings(struct scrub *s, const struct findings *all)
{
    char more[ERR_MSG_MAX];

    for (size_t i = 0; i < all->count && !scrub_is_stopped(s); i++)
        scrub_report(s, &all->list[i].digest, finding_text(&all->list[i]));
    if (all->wrong > all->count) {
        snprintf(more, sizeof(more), "%zu more rows are wrong", all->wrong - all->count);
        scrub_report(s, NULL, more);
    }
}

/* One repair may bring another to light: until there is nothing more to do. */
static bool check_references(struct scrub *s, struct err *err)
{
    struct findings *all = xcalloc(1, sizeof(*all));
    size_t before = SIZE_MAX;
    bool ok = true;

    cache_read(s->cache, scrub_look, all);
    say_findings(s, all);
    s->sum->references = (int64_t)all->wrong;
    for (int pass = 0; s->wish->repair && all->wrong > 0 && pass < PASSES_MAX && ok && !scrub_is_stopped(s); pass++) {
        if (all->wrong == before && all->wrong < FINDINGS_MAX)
            break;
        before = all->wrong;
        ok = index_write_wait(cache_index(s->cache), apply_repairs, all, err);
        cache_read(s->cache, scrub_look, all);
    }
    if (s->wish->repair)
        s->sum->repaired = s->sum->references - (int64_t)all->wrong;
    free(all);
    return ok || err_wrap(err, "repairing the index");
}

/* ---- the files against their digests ---- */

struct scrub_chunk {
    size_t count;
    struct {
        struct digest digest;
        bool manifest;
    } list[CHUNK];
    struct digest after;
};

static bool add_blob(void *arg, const struct digest *d, const struct blob_row *row)
{
    struct scrub_chunk *c = arg;

    c->list[c->count].digest = *d;
    c->list[c->count++].manifest = row->flags & BLOB_MANIFEST;
    c->after = *d;
    return c->count < CHUNK;
}

static void read_chunk(struct index_txn *t, void *arg)
{
    struct scrub_chunk *c = arg;

    c->count = 0;
    rows_each_blob(t, c->after.alg != DIGEST_NONE ? &c->after : NULL, add_blob, c);
}

struct scrub_origin {
    const struct digest *d;
    char repo[REF_NAME_MAX + 1];
    bool known;
};

static void read_origin(struct index_txn *t, void *arg)
{
    struct scrub_origin *o = arg;

    o->known = rows_find_repo(t, o->d, o->repo);
}

/* True if it is here again. */
static bool scrub_fetch_again(struct scrub *s, const struct scrub_origin *o, bool manifest)
{
    struct err err = {0};
    char why[ERR_MSG_MAX + 64];

    if (!s->wish->repair)
        return false;
    if (o->known && s->wish->fetch && s->wish->fetch(s->wish->arg, o->repo, o->d, manifest, &err)) {
        s->sum->fetched++;
        store_forget_lost(cache_store(s->cache), o->d);
        return true;
    }
    s->sum->lost++;
    snprintf(why, sizeof(why), "cannot be fetched again: %s", o->known ? err.msg : "no repository is known to have it");
    scrub_report(s, o->d, why);
    return false;
}

static void scrub_blob(struct scrub *s, const struct digest *d, bool manifest, const struct verify_pace *pace)
{
    struct scrub_origin o = {.d = d};
    struct err err = {0};

    if (s->wish->repair)
        cache_read(s->cache, read_origin, &o); /* a dropped entry does not tell it any more */
    switch (cache_verify(s->cache, d, pace, &s->sum->bytes, &err)) {
    case VERIFIED_CORRUPT:
        s->sum->damaged++;
        scrub_report(s, d, err.msg);
        scrub_fetch_again(s, &o, manifest);
        break;
    case VERIFIED_MISSING:
        s->sum->missing++;
        scrub_report(s, d, "is in the index and not on disk");
        scrub_fetch_again(s, &o, manifest);
        break;
    case VERIFIED_FAILED:
        if (err.code != ERR_CANCELLED)
            scrub_report(s, d, err.msg);
        return;
    default:
        break;
    }
    s->sum->blobs++;
}

static void scrub_blobs(struct scrub *s, const struct verify_pace *pace)
{
    struct scrub_chunk *c = xcalloc(1, sizeof(*c));
    struct totals t;

    cache_totals(s->cache, &t);
    do {
        cache_read(s->cache, read_chunk, c);
        for (size_t i = 0; i < c->count && !scrub_is_stopped(s); i++) {
            scrub_blob(s, &c->list[i].digest, c->list[i].manifest, pace);
            if (s->wish->progress && clock_mono_ms() - s->said_ms >= PROGRESS_MS) {
                s->said_ms = clock_mono_ms();
                s->wish->progress(s->wish->arg, s->sum, t.bytes);
            }
        }
    } while (c->count == CHUNK && !scrub_is_stopped(s));
    free(c);
}

/* ---- blobs of which a part is here ---- */

struct scrub_parts {
    size_t count;
    struct digest list[CHUNK], after;
};

static bool add_part(void *arg, const struct digest *d)
{
    struct scrub_parts *p = arg;

    p->list[p->count++] = p->after = *d;
    return p->count < CHUNK;
}

static void scrub_read_parts(struct index_txn *t, void *arg)
{
    struct scrub_parts *p = arg;

    p->count = 0;
    rows_each_ingest(t, p->after.alg != DIGEST_NONE ? &p->after : NULL, add_part, p);
}

static void scrub_part(struct scrub *s, const struct digest *d, const struct verify_pace *pace)
{
    struct err err = {0};
    enum verified v = cache_verify_part(s->cache, d, pace, &s->sum->bytes, &err);

    if (v == VERIFIED_FAILED && err.code == ERR_CANCELLED)
        return;
    if (v != VERIFIED_GOOD)
        scrub_report(s, d, err.msg);
    s->sum->parts++;
    s->sum->parts_damaged += v == VERIFIED_CORRUPT || v == VERIFIED_MISSING;
}

static void scrub_parts(struct scrub *s, const struct verify_pace *pace)
{
    struct scrub_parts *p = xcalloc(1, sizeof(*p));

    do {
        cache_read(s->cache, scrub_read_parts, p);
        for (size_t i = 0; i < p->count && !scrub_is_stopped(s); i++)
            scrub_part(s, &p->list[i], pace);
    } while (p->count == CHUNK && !scrub_is_stopped(s));
    free(p);
}

/* ---- what was found damaged or missing earlier, and is not stored again ---- */

struct scrub_lost {
    struct index_txn *t;
    struct scrub_origin origin;
    bool needed, manifest;
};

static bool look_at_holder(void *arg, const struct holder *h)
{
    struct scrub_lost *l = arg;
    struct blob_row row;

    l->needed = true;
    l->manifest = l->manifest || h->kind != 'm' ||
                  (rows_get_blob(l->t, &h->manifest, &row) && manifest_is_index_type(row.media_type));
    return true;
}

static void read_lost(struct index_txn *t, void *arg)
{
    struct scrub_lost *l = arg;

    l->t = t;
    rows_each_holder(t, l->origin.d, look_at_holder, l);
    l->origin.known = l->origin.repo[0] || rows_find_repo(t, l->origin.d, l->origin.repo);
}

struct scrub_contents {
    struct index_txn *t;
    const struct digest *manifest;
    struct scrub_digests missing;
};

static bool add_missing(void *arg, const struct child *c)
{
    struct scrub_contents *all = arg;
    struct blob_row row;

    if (c->role == CHILD_CONTENT && !rows_get_blob(all->t, &c->digest, &row))
        digests_add(&all->missing, &c->digest);
    return true;
}

static void read_contents(struct index_txn *t, void *arg)
{
    struct scrub_contents *all = arg;
    struct blob_row row;

    all->t = t;
    if (rows_get_blob(t, all->manifest, &row) && !manifest_is_index_type(row.media_type))
        rows_each_child(t, all->manifest, add_missing, all);
}

/* While a manifest was lost, nothing held its layers. */
static void fetch_contents(struct scrub *s, const struct scrub_origin *of)
{
    struct scrub_contents all = {.manifest = of->d};

    cache_read(s->cache, read_contents, &all);
    for (size_t i = 0; i < all.missing.count && !scrub_is_stopped(s); i++) {
        struct scrub_origin o = *of;
        o.d = &all.missing.list[i];
        s->sum->missing++;
        scrub_fetch_again(s, &o, false);
    }
    digests_free(&all.missing);
}

enum lost_now { LOST_UNNEEDED, LOST_HERE, LOST_FETCHED, LOST_LACKED };

static enum lost_now check_lost_one(struct scrub *s, const struct digest *d)
{
    struct scrub_lost l = {.origin.d = d};

    if (store_has_blob(cache_store(s->cache), d) ||
        !store_read_lost(cache_store(s->cache), d, &l.manifest, l.origin.repo))
        return LOST_HERE;
    cache_read(s->cache, read_lost, &l);
    if (!l.needed)
        return LOST_UNNEEDED;
    s->sum->missing++;
    scrub_report(s, d, "was damaged or lost earlier, and is not here again");
    if (!scrub_fetch_again(s, &l.origin, l.manifest))
        return LOST_LACKED;
    if (l.manifest)
        fetch_contents(s, &l.origin);
    return LOST_FETCHED;
}

static bool add_lost(void *arg, const struct digest *d)
{
    digests_add(arg, d);
    return true;
}

/* What a manifest needs is known when it is here again: until none comes any more. What nothing needs is forgotten,
 * unless something that may need it is not here yet. */
static void check_lost(struct scrub *s)
{
    struct scrub_digests all = {0};
    bool lacked = false, again = true;

    store_each_lost(cache_store(s->cache), add_lost, &all);
    _cleanup_free_ enum lost_now *now = xcalloc(all.count + 1, sizeof(*now));
    while (again && !scrub_is_stopped(s)) {
        again = false;
        for (size_t i = 0; i < all.count && !scrub_is_stopped(s); i++) {
            if (now[i] != LOST_UNNEEDED)
                continue;
            now[i] = check_lost_one(s, &all.list[i]);
            again = again || now[i] == LOST_FETCHED;
            lacked = lacked || now[i] == LOST_LACKED;
        }
    }
    lacked = lacked || cache_is_rebuilding(s->cache); /* what names it may not have been found yet */
    for (size_t i = 0; i < all.count && !scrub_is_stopped(s); i++)
        if (now[i] == LOST_HERE || (now[i] == LOST_UNNEEDED && !lacked))
            store_forget_lost(cache_store(s->cache), &all.list[i]);
    digests_free(&all);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

bool scrub_run(struct cache *cache, const struct scrub_wish *wish, const atomic_bool *ending, struct scrub_sum *sum,
               struct err *err)
{
    struct scrub s = {cache, wish, sum, clock_mono_ms(), ending};
    const struct verify_pace pace = {wish->bytes_per_s, wish->stop ? wish->stop : never, wish->arg};
    struct reconciled r = {0};

    OFF_LOOPS;
    memset(sum, 0, sizeof(*sum));
    bool ok = check_references(&s, err);
    if (ok) {
        check_lost(&s);
        reconcile_files(cache, true, &pace, &r);
        reconcile_files(cache, false, &pace, &r);
        sum->adopted = r.adopted;
        sum->damaged += r.damaged;
        scrub_blobs(&s, &pace);
        scrub_parts(&s, &pace);
    }
    if (ok && scrub_is_stopped(&s))
        ok = err_set(err, ERR_CANCELLED, "stopped");
    if (ok)
        log_info("verified %lld blobs and %lld parts of others, %lld bytes: %lld damaged, %lld missing, %lld adopted, "
                 "%lld parts damaged, %lld rows wrong",
                 (long long)sum->blobs, (long long)sum->parts, (long long)sum->bytes, (long long)sum->damaged,
                 (long long)sum->missing, (long long)sum->adopted, (long long)sum->parts_damaged,
                 (long long)sum->references);
    return ok;
}
