#include "gc/gc_private.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "cache/layout.h"
#include "gc/repair/reconcile.h"
#include "gc/sweep.h"

#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>

enum {
    PAUSE_MS = 5,           /* between two transactions, for other writers */
    PART_AGE_S = 24 * 3600, /* a part that nobody came back for */
    LAYOUT_MS = 60000,      /* between two writings of index.json, at least */
    LAYOUT_IMAGES_MS = 10,  /* and so much more for each image */
};

/* ---- how much there may be ---- */

static int64_t share(int64_t bytes, double percent, int64_t total)
{
    return bytes >= 0 ? bytes : (int64_t)((double)total / 100 * percent);
}

struct limits gc_limits(struct gc *gc)
{
    struct limits l = {.max = INT64_MAX, .high = INT64_MAX, .low = INT64_MAX};
    int64_t total, available;
    struct err err;

    if (!store_space(gc->cache->store, &total, &available, &err)) {
        log_limited(LOG_LEVEL_ERROR, "space", "%s", err.msg);
        return l;
    }
    l.max = share(gc->o.max_bytes, gc->o.max_percent, total);
    /* A share of the file system is not meant to take what others had when we began. */
    if (gc->o.max_bytes < 0)
        l.max = MIN(l.max, gc->most);
    l.high = (int64_t)((double)l.max / 100 * gc->o.high);
    l.low = (int64_t)((double)l.max / 100 * gc->o.low);
    l.available = available;
    l.min_free = share(gc->o.min_free_bytes, gc->o.min_free_percent, total);
    l.missing = MAX(l.min_free - available, (int64_t)0);
    return l;
}

/* Where a collection ends that nobody gave a number: INT64_MAX if there is no need for one. */
static int64_t marks_target(struct gc *gc)
{
    struct limits l = gc_limits(gc);
    int64_t target = INT64_MAX;
    struct totals t;

    cache_totals(gc->cache, &t);
    if (t.bytes > l.high)
        target = l.low;
    if (l.missing > 0)
        target = MIN(target, MAX(t.bytes - l.missing, (int64_t)0));
    return target;
}

/* ---- a collection ---- */

static void pause_for_others(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
}

/* Runs one transaction; then, and only then, the files go. */
static bool run(struct gc *gc, struct sweep *s, bool (*pass)(struct index_txn *t, void *arg, struct err *err),
                struct gc_report *report, struct err *err)
{
    struct err own = {0};
    bool ok = index_write_wait(gc->cache->index, pass, s, &own);

    if (!ok && !(s->dry_run && own.code == ERR_CANCELLED)) {
        if (err)
            *err = own;
        return false;
    }
    s->from = s->next;
    for (size_t i = 0; i < s->go.removed.count && !s->dry_run; i++)
        cache_discard(gc->cache, &s->go.removed.list[i]);
    if (!s->dry_run)
        store_empty_trash(gc->cache->store);
    report->freed_bytes += s->go.removed.bytes;
    report->freed_blobs += (int64_t)s->go.removed.count;
    for (size_t i = 0; i < s->report.count; i++)
        gc_report_add(report, s->report.images[i].reference, true, s->report.images[i].why, s->report.images[i].bytes);
    return true;
}

static bool run_all(struct gc *gc, struct sweep *s, bool (*pass)(struct index_txn *t, void *arg, struct err *err),
                    struct gc_report *report, struct err *err)
{
    do {
        if (!run(gc, s, pass, report, err))
            return false;
        if (s->more && atomic_load(&gc->ending))
            return err_set(err, ERR_CANCELLED, "the cache is being stopped");
        if (s->more)
            pause_for_others();
    } while (s->more && !s->dry_run);
    return true;
}

struct flushed {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
};

static void on_flushed(void *arg, const struct err *err)
{
    struct flushed *f = arg;

    if (err)
        log_limited(LOG_LEVEL_ERROR, "touches", "writing touches: %s", err->msg);
    pthread_mutex_lock(&f->lock);
    f->done = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

/* What was used a moment ago must look so. */
static void flush_touches(struct gc *gc)
{
    struct flushed f = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

    use_flush(gc->cache->use, gc->cache->index, on_flushed, &f, NULL);
    pthread_mutex_lock(&f.lock);
    while (!f.done)
        pthread_cond_wait(&f.cond, &f.lock);
    pthread_mutex_unlock(&f.lock);
}

static void count(struct gc *gc, const struct gc_report *r)
{
    pthread_mutex_lock(&gc->lock);
    gc->stats.runs++;
    gc->stats.freed_bytes += (uint64_t)r->freed_bytes;
    gc->stats.freed_blobs += (uint64_t)r->freed_blobs;
    pthread_mutex_unlock(&gc->lock);
    if (r->freed_blobs > 0)
        log_info("collected %lld blobs, %lld bytes", (long long)r->freed_blobs, (long long)r->freed_bytes);
}

void gc_measure_parked(struct cache *c)
{
    atomic_store(&c->parked, MAX(store_ingest_bytes(c->store) - atomic_load(&c->arriving), 0));
}

bool gc_sweep(struct gc *gc, bool dry_run, int64_t target, struct gc_report *report, struct err *err)
{
    struct totals totals;
    struct sweep s;

    sweep_init(&s, gc->cache, gc->o.policy, dry_run);
    flush_touches(gc);
    importing_expire(gc->cache->importing);
    s.go.cutoff = clock_now_s() - gc->o.grace_ms / 1000;
    /* What has no holder may get one yet, tags their manifests. */
    bool rebuilding = atomic_load(&gc->cache->rebuilding);
    bool ok = rebuilding || run_all(gc, &s, sweep_unreferenced, report, err);
    s.target = target >= 0 ? target : marks_target(gc);
    /* In a dry run what the first pass found is still there. */
    int64_t unreferenced = report->freed_bytes;
    if (dry_run && s.target < INT64_MAX)
        s.target += unreferenced;
    cache_totals(gc->cache, &totals);
    if (ok && totals.bytes > s.target)
        ok = run_all(gc, &s, sweep_images, report, err);
    cache_totals(gc->cache, &totals);
    if (ok && !dry_run && totals.bytes > s.target)
        log_limited(LOG_LEVEL_WARN, "target",
                    "the cache holds %lld bytes where %lld are wanted, and the rest is in use, pinned or younger than "
                    "gc.grace",
                    (long long)totals.bytes, (long long)s.target);
    s.tag_repo = gc->tag_repo;
    snprintf(s.tag, sizeof(s.tag), "%s", gc->tag);
    if (ok && !dry_run && !rebuilding && (ok = run(gc, &s, sweep_empty_tags, report, err))) {
        gc->tag_repo = s.tag_repo;
        snprintf(gc->tag, sizeof(gc->tag), "%s", s.tag);
    }
    if (ok && !dry_run)
        reconcile_parts(gc->cache, s.target < INT64_MAX ? gc->o.grace_ms / 1000 : PART_AGE_S);
    if (!dry_run)
        gc_measure_parked(gc->cache);
    report->held_bytes = totals.bytes - (dry_run ? report->freed_bytes : 0);
    report->target_bytes = s.target == INT64_MAX ? -1 : s.target - (dry_run ? unreferenced : 0);
    bool fruitless = !dry_run && totals.bytes > s.target && report->freed_bytes == 0;
    sweep_free(&s);
    pthread_mutex_lock(&gc->lock);
    if (fruitless)
        gc->fruitless_ms = clock_mono_ms() + FRUITLESS_MS;
    pthread_mutex_unlock(&gc->lock);
    if (!dry_run)
        count(gc, report);
    return ok || err_wrap(err, "collecting");
}

bool gc_collect(struct gc *gc, bool dry_run, int64_t target, struct gc_report *report, struct err *err)
{
    memset(report, 0, sizeof(*report));
    pthread_mutex_lock(&gc->collecting);
    bool ok = gc_sweep(gc, dry_run, target, report, err);
    pthread_mutex_unlock(&gc->collecting);
    if (ok && dry_run)
        report_kept(gc, report);
    return ok;
}

bool gc_remove(struct gc *gc, const char *repo, const char *tag, struct gc_report *report, struct err *err)
{
    struct sweep s;
    char sign = strchr(tag, ':') ? '@' : ':';

    memset(report, 0, sizeof(*report));
    sweep_init(&s, gc->cache, gc->o.policy, false);
    s.repo_name = repo;
    s.tag_name = tag;
    s.go.cutoff = INT64_MAX;
    pthread_mutex_lock(&gc->collecting);
    flush_touches(gc);
    bool ok = run(gc, &s, sweep_one_tag, report, err);
    if (ok && !s.found)
        ok = err_set(err, ERR_NOT_FOUND, "%s%c%s is not in the cache", repo, sign, tag);
    if (ok && s.pinned)
        ok = err_set(err, ERR_INVALID, "%s%c%s is pinned: entrepot unpin it first", repo, sign, tag);
    sweep_free(&s);
    pthread_mutex_unlock(&gc->collecting);
    if (ok)
        count(gc, report);
    return ok;
}

/* ---- the collector's thread ---- */

static bool wait_for_next(struct gc *gc)
{
    const int64_t until_ms = clock_mono_ms() + gc->o.interval_ms;

    pthread_mutex_lock(&gc->lock);
    while (!gc->stopping && !gc->hurry && cond_wait_until(&gc->wake, &gc->lock, until_ms))
        ;
    gc->hurry = false;
    bool go_on = !gc->stopping;
    pthread_mutex_unlock(&gc->lock);
    return go_on;
}

/* index.json, for other tools and for a day on which the index is lost; the more images, the less often. */
static void save_layout(struct gc *gc)
{
    int64_t now = clock_mono_ms();
    struct totals t;
    struct err err;

    if (now < gc->layout_ms)
        return;
    cache_totals(gc->cache, &t);
    gc->layout_ms = now + LAYOUT_MS + t.manifests * LAYOUT_IMAGES_MS;
    if (!layout_save(gc->cache, &err))
        log_limited(LOG_LEVEL_WARN, "layout", "%s", err.msg);
}

static bool is_ending(void *arg)
{
    return atomic_load(&((struct gc *)arg)->ending);
}

static void *bring_together(void *arg)
{
    struct gc *gc = arg;
    struct reconciled sum = {0};
    struct err err;

    pthread_setname_np(pthread_self(), "reconcile");
    syscall(SYS_ioprio_set, 1 /* this thread */, 0, 3 << 13 /* when the disk is idle */);
    reconcile(gc->cache, is_ending, gc, &sum);
    bool rebuilt = atomic_load(&gc->cache->rebuilding) && !is_ending(gc);
    if (rebuilt && !cache_end_rebuilding(gc->cache, &err))
        log_error("ending the index's rebuilding: %s", err.msg);
    atomic_store(&gc->settled, true);
    if (rebuilt)
        log_info("the index is whole again: %lld blobs adopted", (long long)sum.adopted);
    else if (sum.adopted || sum.damaged || sum.missing || sum.parts)
        log_info("after an interrupted run: %lld blobs adopted, %lld damaged, %lld missing, %lld unusable parts "
                 "removed",
                 (long long)sum.adopted, (long long)sum.damaged, (long long)sum.missing, (long long)sum.parts);
    return NULL;
}

static bool use_policy(struct index_txn *t, void *arg, struct err *err)
{
    return rows_set_policy(t, ((const struct policy *)arg)->name, err);
}

static void *work(void *arg)
{
    struct gc *gc = arg;
    struct err err;

    pthread_setname_np(pthread_self(), "gc");
    if (!index_write_wait(gc->cache->index, use_policy, (void *)gc->o.policy, &err))
        log_error("changing to policy %s: %s", gc->o.policy->name, err.msg);
    while (wait_for_next(gc)) {
        struct gc_report report = {0};
        pthread_mutex_lock(&gc->collecting);
        room_answer_all(gc);
        if (!gc_sweep(gc, false, -1, &report, &err))
            log_limited(LOG_LEVEL_ERROR, "gc", "%s", err.msg);
        pthread_mutex_unlock(&gc->collecting);
        gc_report_free(&report);
        index_restock(gc->cache->index);
        save_layout(gc);
    }
    return NULL;
}

static bool add_size(void *arg, const struct digest *d, int64_t size)
{
    (void)d;
    *(int64_t *)arg += size;
    return true;
}

/* While the index is being made anew it does not know what there is. */
static void measure(struct gc *gc)
{
    struct totals t;
    struct err err;

    gc->most = INT64_MAX;
    cache_totals(gc->cache, &t);
    gc->space.used = t.bytes;
    if (atomic_load(&gc->cache->rebuilding)) {
        gc->space.used = 0;
        store_each_blob(gc->cache->store, add_size, &gc->space.used);
    }
    if (!store_space(gc->cache->store, &gc->space.total, &gc->space.available, &err))
        return;
    int64_t least = share(gc->o.min_free_bytes, gc->o.min_free_percent, gc->space.total);
    gc->most = MAX(gc->space.available + gc->space.used - least, (int64_t)0);
}

struct gc *gc_new(struct cache *cache, const struct gc_options *options, struct err *err)
{
    struct gc *gc = xcalloc(1, sizeof(*gc));

    gc->cache = cache;
    gc->o = *options;
    if (!gc->o.policy)
        gc->o.policy = &POLICY_GDSF;
    measure(gc);
    gc_measure_parked(cache);
    STAILQ_INIT(&gc->wishes);
    pthread_mutex_init(&gc->collecting, NULL);
    pthread_mutex_init(&gc->scrubbing, NULL);
    pthread_mutex_init(&gc->lock, NULL);
    cond_init(&gc->wake);
    int rc = pthread_create(&gc->thread, NULL, work, gc);
    if (rc != 0) {
        errno = rc;
        err_errno(err, ERR_IO, "starting the collector");
        gc_free(gc);
        return NULL;
    }
    gc->started = true;
    rc = pthread_create(&gc->reconciler, NULL, bring_together, gc);
    if (rc != 0) { /* what a crash left would stay as it is, and a rebuilding would never end */
        errno = rc;
        err_errno(err, ERR_IO, "starting the reconciler");
        gc_free(gc);
        return NULL;
    }
    gc->reconciling = true;
    room_attach(gc);
    return gc;
}

void gc_stop(struct gc *gc)
{
    if (!gc)
        return;
    atomic_store(&gc->ending, true);
    pthread_mutex_lock(&gc->lock);
    gc->stopping = true;
    pthread_cond_signal(&gc->wake);
    pthread_mutex_unlock(&gc->lock);
    if (gc->started)
        pthread_join(gc->thread, NULL);
    if (gc->reconciling)
        pthread_join(gc->reconciler, NULL);
    gc->started = gc->reconciling = false;
    room_deny_all(gc);
}

void gc_free(struct gc *gc)
{
    if (!gc)
        return;
    gc_stop(gc);
    gc->cache->room = (struct cache_room){0};
    pthread_cond_destroy(&gc->wake);
    pthread_mutex_destroy(&gc->lock);
    pthread_mutex_destroy(&gc->collecting);
    pthread_mutex_destroy(&gc->scrubbing);
    free(gc);
}

bool gc_is_settled(struct gc *gc)
{
    return atomic_load(&gc->settled);
}

void gc_get_space(struct gc *gc, struct gc_space *out)
{
    *out = gc->space;
}

void gc_get_stats(struct gc *gc, struct gc_stats *out)
{
    struct limits l = gc_limits(gc);

    pthread_mutex_lock(&gc->lock);
    *out = gc->stats;
    pthread_mutex_unlock(&gc->lock);
    out->limit_bytes = l.max;
}

bool gc_scrub(struct gc *gc, const struct scrub_wish *wish, struct scrub_sum *sum, struct err *err)
{
    if (pthread_mutex_trylock(&gc->scrubbing) != 0)
        return err_set(err, ERR_INVALID, "a verification is running already");
    bool ok = scrub_run(gc->cache, wish, &gc->ending, sum, err);
    pthread_mutex_unlock(&gc->scrubbing);
    return ok;
}
