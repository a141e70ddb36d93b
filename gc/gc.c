#include "gc/gc_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "cache/parts.h"
#include "cache/layout.h"
#include "gc/repair/reconcile.h"
#include "gc/sweep.h"

#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>

enum {
    LAYOUT_MS = 60000,     /* between two writings of index.json, at least */
    LAYOUT_IMAGES_MS = 10, /* and so much more for each image */
};

/* ---- the collector's thread ---- */

static bool wait_for_next(struct gc *gc)
{
    const int64_t until_ms = clock_mono_ms() + gc_settings(gc).interval_ms;

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
    bool rebuilt = cache_is_rebuilding(gc->cache) && !is_ending(gc);
    if (rebuilt && !cache_end_rebuilding(gc->cache, &err))
        log_error("ending the index's rebuilding: %s", err.msg);
    atomic_store(&gc->reconciled, true);
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

static void *gc_work(void *arg)
{
    struct gc *gc = arg;
    struct err err;

    pthread_setname_np(pthread_self(), "gc");
    if (!index_write_wait(cache_index(gc->cache), use_policy, (void *)gc->policy, &err))
        log_error("changing to policy %s: %s", gc->policy->name, err.msg);
    while (wait_for_next(gc)) {
        struct gc_report report = {0};
        pthread_mutex_lock(&gc->collecting);
        room_answer_all(gc);
        if (!gc_sweep(gc, false, NULL, &report, &err))
            log_limited(LOG_LEVEL_ERROR, "gc", "%s", err.msg);
        pthread_mutex_unlock(&gc->collecting);
        gc_report_free(&report);
        index_restock(cache_index(gc->cache));
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

/* While the index is being rebuilt it does not know what is stored. */
static void gc_measure(struct gc *gc)
{
    struct totals t;
    struct err err;

    gc->most = INT64_MAX;
    cache_totals(gc->cache, &t);
    gc->space.used = t.bytes;
    if (cache_is_rebuilding(gc->cache)) {
        gc->space.used = 0;
        store_each_blob(cache_store(gc->cache), add_size, &gc->space.used);
    }
    if (!store_space(cache_store(gc->cache), &gc->space.total, &gc->space.available, &err))
        return;
    pthread_mutex_lock(&gc->settings_lock);
    gc_set_most(gc);
    pthread_mutex_unlock(&gc->settings_lock);
}

struct gc *gc_new(struct cache *cache, const struct gc_options *options, struct err *err)
{
    struct gc *gc = xcalloc(1, sizeof(*gc));

    gc->cache = cache;
    gc->o = *options;
    gc->policy = options->policy ? options->policy : &POLICY_GDSF;
    pthread_mutex_init(&gc->settings_lock, NULL);
    learn_open(gc);
    gc_measure(gc);
    ingests_measure_parked(cache_ingests(cache));
    STAILQ_INIT(&gc->requests);
    pthread_mutex_init(&gc->collecting, NULL);
    pthread_mutex_init(&gc->scrubbing, NULL);
    pthread_mutex_init(&gc->lock, NULL);
    cond_init(&gc->wake);
    int rc = pthread_create(&gc->thread, NULL, gc_work, gc);
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
    ingests_set_room(cache_ingests(gc->cache), NULL);
    pthread_cond_destroy(&gc->wake);
    pthread_mutex_destroy(&gc->lock);
    pthread_mutex_destroy(&gc->settings_lock);
    pthread_mutex_destroy(&gc->collecting);
    pthread_mutex_destroy(&gc->scrubbing);
    gc->policy->close(gc->learned);
    free(gc);
}

void gc_set_options(struct gc *gc, const struct gc_options *options)
{
    pthread_mutex_lock(&gc->settings_lock);
    gc->o = *options;
    gc_set_most(gc);
    pthread_mutex_unlock(&gc->settings_lock);
    ingests_set_blob_max(cache_ingests(gc->cache), options->blob_max);
    pthread_mutex_lock(&gc->lock); /* it may be over the new marks, and sleeps for the old interval */
    gc->hurry = true;
    pthread_cond_signal(&gc->wake);
    pthread_mutex_unlock(&gc->lock);
}

bool gc_is_reconciled(struct gc *gc)
{
    return atomic_load(&gc->reconciled);
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
    const struct gc_options o = gc_settings(gc);
    out->blob_max = o.blob_max;
    out->high = o.high;
    out->low = o.low;
}

bool gc_scrub(struct gc *gc, const struct scrub_wish *wish, struct scrub_sum *sum, struct err *err)
{
    OFF_LOOPS;
    if (pthread_mutex_trylock(&gc->scrubbing) != 0)
        return err_set(err, ERR_INVALID, "a verification is running already");
    bool ok = scrub_run(gc->cache, wish, &gc->ending, sum, err);
    pthread_mutex_unlock(&gc->scrubbing);
    return ok;
}
