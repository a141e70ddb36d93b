/* A collection: the passes of sweep.h, one after the other, and what is removed by name. */
#include "gc/gc_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/latch.h"
#include "base/log.h"
#include "gc/repair/reconcile.h"
#include "gc/sweep.h"
#include "cache/parts.h"

#include <sys/syscall.h>
#include <time.h>

enum {
    PAUSE_MS = 5,                 /* between two transactions, for other writers */
    IMPORT_AGE_S = 7 * 24 * 3600, /* an import that was broken off, if there is room */
};

static void collect_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
}

/* Those that the last transaction has chosen. */
static void collect_parts(struct gc *gc, struct sweep *s, struct gc_report *report)
{
    struct err err;

    for (size_t i = s->parts_from.count; i < s->parts_next.count && !s->dry_run; i++)
        if (!ingests_forget(cache_ingests(gc->cache), &s->parts->list[i].digest, &err))
            log_limited(LOG_LEVEL_WARN, "parts", "%s", err.msg);
    report->freed_bytes += s->parts_next.bytes - s->parts_from.bytes;
    s->parts_from = s->parts_next;
}

/* Runs one transaction; then, and only then, the files go. */
static bool collect_run(struct gc *gc, struct sweep *s, bool (*pass)(struct index_txn *t, void *arg, struct err *err),
                        struct gc_report *report, struct err *err)
{
    struct err own = {0};
    bool ok = index_write_wait(cache_index(gc->cache), pass, s, &own);

    if (!ok && !(s->dry_run && own.code == ERR_CANCELLED)) {
        if (err)
            *err = own;
        return false;
    }
    s->from = s->next;
    for (size_t i = 0; i < s->go.removed.count && !s->dry_run; i++)
        cache_discard(gc->cache, &s->go.removed.list[i]);
    if (!s->dry_run)
        store_empty_trash(cache_store(gc->cache));
    collect_parts(gc, s, report);
    report->freed_bytes += s->go.removed.bytes;
    report->freed_blobs += (int64_t)s->go.removed.count;
    for (size_t i = 0; i < s->report.count; i++)
        gc_report_add(report, s->report.images[i].reference, true, s->report.images[i].why, s->report.images[i].bytes);
    return true;
}

static bool collect_run_all(struct gc *gc, struct sweep *s,
                            bool (*pass)(struct index_txn *t, void *arg, struct err *err), struct gc_report *report,
                            struct err *err)
{
    do {
        if (!collect_run(gc, s, pass, report, err))
            return false;
        if (s->more && atomic_load(&gc->ending))
            return err_set(err, ERR_CANCELLED, "the cache is being stopped");
        if (s->more)
            collect_pause();
    } while (s->more && !s->dry_run);
    return true;
}

/* What was used a moment ago must look so. */
static void flush_touches(struct gc *gc)
{
    struct latch written;
    struct err err;

    latch_init(&written);
    cache_flush_touches(gc->cache, latch_open, &written, NULL);
    if (!latch_wait(&written, &err))
        log_limited(LOG_LEVEL_ERROR, "touches", "writing touches: %s", err.msg);
}

static void collect_count(struct gc *gc, const struct gc_report *r)
{
    pthread_mutex_lock(&gc->lock);
    gc->stats.runs++;
    gc->stats.freed_bytes += (uint64_t)r->freed_bytes;
    gc->stats.freed_blobs += (uint64_t)r->freed_blobs;
    pthread_mutex_unlock(&gc->lock);
    if (r->freed_blobs > 0)
        log_info("collected %lld blobs, %lld bytes", (long long)r->freed_blobs, (long long)r->freed_bytes);
}

bool gc_sweep(struct gc *gc, bool dry_run, const int64_t *target, struct gc_report *report, struct err *err)
{
    struct parts parts = {0};
    struct totals totals;
    struct sweep s;

    HOLDS(&gc->collecting);
    sweep_init(&s, gc->cache, gc->policy, gc->learned, dry_run);
    flush_touches(gc);
    learn_from_requests(gc);
    importing_expire(cache_importing(gc->cache));
    refs_set_times(&s.go, gc_settings(gc).grace_ms);
    /* What has no holder may get one yet, tags their manifests. */
    bool rebuilding = cache_is_rebuilding(gc->cache);
    bool ok = rebuilding || collect_run_all(gc, &s, sweep_unreferenced, report, err);
    s.target = target ? *target : gc_marks_target(gc);
    /* In a dry run what the first pass found is still there. */
    int64_t unreferenced = report->freed_bytes;
    if (dry_run && s.target < INT64_MAX)
        s.target += unreferenced;
    cache_totals(gc->cache, &totals);
    if (ok && totals.bytes > s.target) {
        parts_list(gc->cache, &parts);
        s.parts = &parts;
        ok = collect_run_all(gc, &s, sweep_images, report, err);
        s.parts = NULL;
        parts_free(&parts);
    }
    cache_totals(gc->cache, &totals);
    bool missed = totals.bytes - s.parts_from.bytes > s.target;
    if (ok && !dry_run && missed)
        log_limited(LOG_LEVEL_WARN, "target",
                    "the cache holds %lld bytes where %lld are wanted, and the rest is in use, pinned or younger than "
                    "gc.grace",
                    (long long)totals.bytes, (long long)s.target);
    if (ok && !dry_run)
        ok = learn_rank_again(gc, err);
    if (ok && !dry_run && gc->saved != gc->version)
        ok = learn_save(gc, err);
    s.tag_repo = gc->tag_repo;
    snprintf(s.tag, sizeof(s.tag), "%s", gc->tag);
    if (ok && !dry_run && !rebuilding && (ok = collect_run(gc, &s, sweep_empty_tags, report, err))) {
        gc->tag_repo = s.tag_repo;
        snprintf(gc->tag, sizeof(gc->tag), "%s", s.tag);
    }
    if (ok && !dry_run)
        reconcile_parts(gc->cache, s.target < INT64_MAX ? gc_settings(gc).grace_ms / 1000 : IMPORT_AGE_S);
    if (!dry_run)
        ingests_measure_parked(cache_ingests(gc->cache));
    report->held_bytes = totals.bytes - (dry_run ? report->freed_bytes : 0);
    report->target_bytes = s.target == INT64_MAX ? -1 : MAX(s.target - (dry_run ? unreferenced : 0), (int64_t)0);
    bool fruitless = !dry_run && missed && report->freed_bytes == 0;
    sweep_free(&s);
    pthread_mutex_lock(&gc->lock);
    if (fruitless)
        gc->fruitless_ms = clock_mono_ms() + FRUITLESS_MS;
    pthread_mutex_unlock(&gc->lock);
    if (!dry_run)
        collect_count(gc, report);
    return ok || err_wrap(err, "collecting");
}

bool gc_collect(struct gc *gc, bool dry_run, int64_t target, struct gc_report *report, struct err *err)
{
    OFF_LOOPS;
    memset(report, 0, sizeof(*report));
    pthread_mutex_lock(&gc->collecting);
    bool ok = gc_sweep(gc, dry_run, target >= 0 ? &target : NULL, report, err);
    pthread_mutex_unlock(&gc->collecting);
    if (ok && dry_run)
        report_kept(gc, report);
    return ok;
}

bool gc_remove(struct gc *gc, const char *repo, const char *tag, struct gc_report *report, struct err *err)
{
    struct sweep s;
    char sign = strchr(tag, ':') ? '@' : ':';

    OFF_LOOPS;
    memset(report, 0, sizeof(*report));
    sweep_init(&s, gc->cache, gc->policy, gc->learned, false);
    s.repo_name = repo;
    s.tag_name = tag;
    s.go.cutoff = INT64_MAX;
    pthread_mutex_lock(&gc->collecting);
    flush_touches(gc);
    bool ok = collect_run(gc, &s, sweep_one_tag, report, err);
    if (ok && !s.found)
        ok = err_set(err, ERR_NOT_FOUND, "%s%c%s is not in the cache", repo, sign, tag);
    if (ok && s.pinned)
        ok = err_set(err, ERR_INVALID, "%s%c%s is pinned: entrepot unpin it first", repo, sign, tag);
    sweep_free(&s);
    pthread_mutex_unlock(&gc->collecting);
    if (ok)
        collect_count(gc, report);
    return ok;
}
