#include "gc/gc.h"

#include "base/clock.h"
#include "base/log.h"
#include "gc/sweep.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

enum { PAUSE_MS = 5 /* between two transactions, for other writers */ };

struct gc {
    /* set once */
    struct cache *cache;
    struct gc_options o;
    pthread_t thread;
    bool started;
    /* one collection at a time */
    pthread_mutex_t collecting;
    /* shared, under lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    struct gc_stats stats;
};

/* ---- how much there may be ---- */

static int64_t share(int64_t bytes, double percent, int64_t total)
{
    return bytes >= 0 ? bytes : (int64_t)((double)total / 100 * percent);
}

/* Bytes the cache may hold. */
static int64_t limit(struct gc *gc, int64_t *target)
{
    int64_t total, available;
    struct totals t;
    struct err err;

    cache_totals(gc->cache, &t);
    if (!store_space(gc->cache->store, &total, &available, &err)) {
        log_error("%s", err.msg);
        *target = INT64_MAX;
        return 0;
    }
    int64_t max = share(gc->o.max_bytes, gc->o.max_percent, total);
    int64_t min_free = share(gc->o.min_free_bytes, gc->o.min_free_percent, total);
    *target = INT64_MAX;
    if ((double)t.bytes > (double)max / 100 * gc->o.high)
        *target = (int64_t)((double)max / 100 * gc->o.low);
    if (available < min_free)
        *target = MIN(*target, MAX(t.bytes - (min_free - available), (int64_t)0));
    return max;
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
    for (size_t i = 0; i < s->count && !s->dry_run; i++) {
        memory_drop(gc->cache->memory, &s->removed[i]);
        if (!store_remove_blob(gc->cache->store, &s->removed[i], &own))
            log_error("%s", own.msg);
    }
    report->freed_bytes += s->bytes;
    report->freed_blobs += (int64_t)s->count;
    if (s->images.len > 0)
        buf_add(&report->images, s->images.data, s->images.len);
    return true;
}

static bool run_all(struct gc *gc, struct sweep *s, bool (*pass)(struct index_txn *t, void *arg, struct err *err),
                    struct gc_report *report, struct err *err)
{
    do {
        if (!run(gc, s, pass, report, err))
            return false;
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
        log_error("writing touches: %s", err->msg);
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

bool gc_collect(struct gc *gc, bool dry_run, int64_t target, struct gc_report *report, struct err *err)
{
    struct sweep s = {.cache = gc->cache, .dry_run = dry_run, .entries = dry_run ? SIZE_MAX : SWEEP_ENTRIES};
    struct totals totals;
    int64_t marks;

    memset(report, 0, sizeof(*report));
    pthread_mutex_lock(&gc->collecting);
    flush_touches(gc);
    s.cutoff = clock_now_s() - gc->o.grace_ms / 1000;
    bool ok = run_all(gc, &s, sweep_unreferenced, report, err);
    limit(gc, &marks);
    s.target = target >= 0 ? target : marks;
    cache_totals(gc->cache, &totals);
    if (ok && totals.bytes - (dry_run ? report->freed_bytes : 0) > s.target)
        ok = run_all(gc, &s, sweep_images, report, err);
    cache_totals(gc->cache, &totals);
    if (ok && !dry_run && totals.bytes > s.target)
        log_warn("the cache holds %lld bytes where %lld are wanted, and all of it is in use", (long long)totals.bytes,
                 (long long)s.target);
    sweep_free(&s);
    pthread_mutex_unlock(&gc->collecting);
    if (!dry_run)
        count(gc, report);
    return ok || err_wrap(err, "collecting");
}

bool gc_remove(struct gc *gc, const char *repo, const char *tag, struct gc_report *report, struct err *err)
{
    struct sweep s = {.cache = gc->cache, .entries = SWEEP_ENTRIES, .repo = repo, .tag = tag, .cutoff = -1};

    memset(report, 0, sizeof(*report));
    pthread_mutex_lock(&gc->collecting);
    flush_touches(gc);
    bool ok = run(gc, &s, sweep_one_tag, report, err);
    if (ok && !s.found)
        ok = err_set(err, ERR_NOT_FOUND, "%s%c%s is not in the cache", repo, strchr(tag, ':') ? '@' : ':', tag);
    sweep_free(&s);
    pthread_mutex_unlock(&gc->collecting);
    if (ok)
        count(gc, report);
    return ok;
}

/* ---- the collector's thread ---- */

static bool wait_for_next(struct gc *gc)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += gc->o.interval_ms / 1000;
    until.tv_nsec += gc->o.interval_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&gc->lock);
    int rc = 0;
    while (!gc->stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&gc->wake, &gc->lock, &until);
    bool go_on = !gc->stopping;
    pthread_mutex_unlock(&gc->lock);
    return go_on;
}

static void *work(void *arg)
{
    struct gc *gc = arg;

    pthread_setname_np(pthread_self(), "gc");
    while (wait_for_next(gc)) {
        struct gc_report report;
        struct err err;
        if (!gc_collect(gc, false, -1, &report, &err))
            log_error("%s", err.msg);
        buf_free(&report.images);
    }
    return NULL;
}

struct gc *gc_new(struct cache *cache, const struct gc_options *options, struct err *err)
{
    struct gc *gc = xcalloc(1, sizeof(*gc));

    gc->cache = cache;
    gc->o = *options;
    pthread_mutex_init(&gc->collecting, NULL);
    pthread_mutex_init(&gc->lock, NULL);
    pthread_cond_init(&gc->wake, NULL);
    int rc = pthread_create(&gc->thread, NULL, work, gc);
    if (rc != 0) {
        errno = rc;
        err_errno(err, ERR_IO, "starting the collector");
        gc_free(gc);
        return NULL;
    }
    gc->started = true;
    return gc;
}

void gc_free(struct gc *gc)
{
    if (!gc)
        return;
    pthread_mutex_lock(&gc->lock);
    gc->stopping = true;
    pthread_cond_signal(&gc->wake);
    pthread_mutex_unlock(&gc->lock);
    if (gc->started)
        pthread_join(gc->thread, NULL);
    pthread_cond_destroy(&gc->wake);
    pthread_mutex_destroy(&gc->lock);
    pthread_mutex_destroy(&gc->collecting);
    free(gc);
}

void gc_get_stats(struct gc *gc, struct gc_stats *out)
{
    int64_t ignored, max = limit(gc, &ignored);

    pthread_mutex_lock(&gc->lock);
    *out = gc->stats;
    pthread_mutex_unlock(&gc->lock);
    out->limit_bytes = max;
}
