/* Room for what is coming in. The cache asks before it keeps a blob; what is granted and kept never exceeds the limit.
 */
#include "gc/gc_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

enum {
    MANIFESTS_MAX = 16 << 20 /* bytes under the limit that blobs leave to manifests, which are kept without asking */
};

static int64_t ceiling(const struct limits *l)
{
    return l->max - MIN(l->max / 100, (int64_t)MANIFESTS_MAX);
}

/* Grants it if there is room; with the lock held. */
static bool grant(struct gc *gc, const struct room_wish *w, const struct limits *l)
{
    struct totals t;

    HOLDS(&gc->lock);
    cache_totals(gc->cache, &t);
    if (t.bytes + gc->granted + w->bytes > ceiling(l))
        return false;
    gc->granted += w->bytes;
    return true;
}

static void answer(void *arg)
{
    struct room_wish *w = arg;

    w->done(w->arg, w->granted);
    free(w);
}

static void hurry(struct gc *gc)
{
    HOLDS(&gc->lock);
    gc->hurry = true;
    pthread_cond_signal(&gc->wake);
}

static void ask(void *arg, int64_t bytes, bool on_disk, void (*done)(void *arg, bool granted), void *done_arg,
                struct loop *loop)
{
    struct gc *gc = arg;
    struct room_wish *w = xcalloc(1, sizeof(*w));
    struct limits l = gc_limits(gc);

    *w = (struct room_wish){.bytes = bytes, .on_disk = on_disk, .done = done, .arg = done_arg, .loop = loop};
    pthread_mutex_lock(&gc->lock);
    w->granted = !on_disk && grant(gc, w, &l);
    bool later = !w->granted && !gc->stopping && clock_mono_ms() >= gc->fruitless_ms;
    if (later) {
        STAILQ_INSERT_TAIL(&gc->wishes, w, entry);
        hurry(gc);
    }
    pthread_mutex_unlock(&gc->lock);
    if (!later)
        loop_post(loop, answer, w);
}

static void kept(void *arg, int64_t bytes)
{
    struct gc *gc = arg;

    pthread_mutex_lock(&gc->lock);
    gc->granted -= bytes;
    pthread_mutex_unlock(&gc->lock);
}

static void expect(void *arg, int64_t bytes)
{
    struct gc *gc = arg;
    struct limits l = gc_limits(gc);
    struct totals t;

    cache_totals(gc->cache, &t);
    if (t.bytes + bytes <= l.high && l.missing == 0)
        return;
    pthread_mutex_lock(&gc->lock);
    if (clock_mono_ms() >= gc->fruitless_ms)
        hurry(gc);
    pthread_mutex_unlock(&gc->lock);
}

void room_attach(struct gc *gc)
{
    gc->cache->room = (struct cache_room){ask, kept, expect, gc};
}

/* Frees what one wish needs; true if it could be granted now. */
static bool make(struct gc *gc, struct room_wish *w)
{
    struct gc_report report = {0};
    struct limits l = gc_limits(gc);
    struct totals t;
    struct err err = {0};

    cache_totals(gc->cache, &t);
    pthread_mutex_lock(&gc->lock);
    int64_t target = w->on_disk ? t.bytes - w->bytes : MIN(l.low, ceiling(&l) - gc->granted - w->bytes);
    pthread_mutex_unlock(&gc->lock);
    if (!w->on_disk && w->bytes > ceiling(&l))
        return false; /* nothing could make that much room */
    if (!gc_sweep(gc, false, MAX(target, (int64_t)0), &report, &err))
        log_limited(LOG_LEVEL_ERROR, "gc", "%s", err.msg);
    bool enough = report.freed_bytes >= w->bytes;
    pthread_mutex_lock(&gc->lock);
    w->granted = w->on_disk ? enough : grant(gc, w, &l);
    if (report.freed_bytes == 0)
        gc->fruitless_ms = clock_mono_ms() + FRUITLESS_MS;
    pthread_mutex_unlock(&gc->lock);
    gc_report_free(&report);
    return w->granted;
}

static struct room_wish *next(struct gc *gc)
{
    pthread_mutex_lock(&gc->lock);
    struct room_wish *w = STAILQ_FIRST(&gc->wishes);
    if (w)
        STAILQ_REMOVE_HEAD(&gc->wishes, entry);
    pthread_mutex_unlock(&gc->lock);
    return w;
}

void room_answer_all(struct gc *gc)
{
    struct limits l = gc_limits(gc);
    struct room_wish *w;

    while ((w = next(gc))) {
        pthread_mutex_lock(&gc->lock);
        w->granted = !w->on_disk && grant(gc, w, &l); /* the one before may have made more room than it took */
        bool hopeless = clock_mono_ms() < gc->fruitless_ms;
        pthread_mutex_unlock(&gc->lock);
        if (!w->granted && !hopeless)
            make(gc, w);
        if (!w->granted)
            log_limited(LOG_LEVEL_WARN, "room",
                        "no room for a blob of %lld bytes: everything in the cache is in use, pinned or younger than "
                        "gc.grace; it is passed on and not kept",
                        (long long)w->bytes);
        loop_post(w->loop, answer, w);
    }
}

void room_deny_all(struct gc *gc)
{
    struct room_wish *w;

    while ((w = next(gc)))
        loop_post(w->loop, answer, w);
}
