/* Room for what is coming in, requested before the first byte is written. What is stored, what was given and is on
 * its way, and what waits to be resumed are never more than the limit, and never leave less than min_free.
 *
 * Requests are answered in their order. Room that is free, or is being made, belongs to earlier requests: a later one
 * does not take it (gc->awaited). Nor is a request refused because others are pending: it waits until they are
 * answered.
 */
#include "gc/gc_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "gc/repair/reconcile.h"

enum {
    MANIFESTS_MAX = 16 << 20 /* bytes under the limit that blobs leave to manifests, which are kept without asking */
};

static int64_t ceiling(const struct limits *l)
{
    return l->max - MIN(l->max / 100, (int64_t)MANIFESTS_MAX);
}

/* How much would have to go for `bytes` more; not positive if there is room. With the lock held. */
static int64_t lacking(struct gc *gc, int64_t bytes, const struct limits *l)
{
    int64_t arriving = ingests_arriving(cache_ingests(gc->cache)), parked = ingests_parked(cache_ingests(gc->cache));
    /* What is on the disk already, of what was given and of what is requested (a part, an import), is not to come. */
    int64_t to_come = MAX(gc->promised + bytes - arriving, (int64_t)0);
    struct totals t;

    HOLDS(&gc->lock);
    cache_totals(gc->cache, &t);
    int64_t of_limit = bytes - (ceiling(l) - t.bytes - gc->promised - parked);
    /* Without min_free a write fails when the disk is full (proxy/fetch/room.c). */
    int64_t of_disk = l->min_free > 0 ? l->min_free - (l->available - to_come) : INT64_MIN;
    return MAX(of_limit, of_disk);
}

/* Grants it if there is room beside the bytes of those `before`; with the lock held. */
static bool room_promise(struct gc *gc, int64_t bytes, int64_t before, const struct limits *l)
{
    HOLDS(&gc->lock);
    if (bytes > ceiling(l) || lacking(gc, bytes + before, l) > 0)
        return false;
    gc->promised += bytes;
    return true;
}

/* The request's turn has come, or is over: its room is for the next ones. With the lock held. */
static void room_end_wait(struct gc *gc, struct room_request *w)
{
    HOLDS(&gc->lock);
    gc->awaited -= w->awaited;
    w->awaited = 0;
}

/* Grants the first request if there is room; with the lock held. */
static bool grant_first(struct gc *gc, struct room_request *w, const struct limits *l)
{
    HOLDS(&gc->lock);
    w->given = room_promise(gc, w->bytes, 0, l);
    if (w->given)
        room_end_wait(gc, w);
    return w->given;
}

static void room_answer(void *arg)
{
    struct room_request *w = arg;

    w->done(w->arg, w->given);
    free(w);
}

static void hurry(struct gc *gc)
{
    HOLDS(&gc->lock);
    gc->hurry = true;
    pthread_cond_signal(&gc->wake);
}

static bool room_take(void *arg, int64_t bytes)
{
    struct gc *gc = arg;
    struct limits l = gc_limits(gc);

    pthread_mutex_lock(&gc->lock);
    bool given = room_promise(gc, bytes, gc->awaited, &l);
    pthread_mutex_unlock(&gc->lock);
    return given;
}

/* Whether it may be worth waiting: for room that others may turn out not to need, or that can be made. With the lock
 * held. */
static bool may_wait(const struct gc *gc, const struct room_request *w)
{
    HOLDS(&gc->lock);
    return !gc->stopping && (gc->awaited > 0 || (w->from != ROOM_FREE && clock_mono_ms() >= gc->fruitless_ms));
}

static void room_ask(void *arg, int64_t bytes, enum room_from from, void (*done)(void *arg, bool given), void *done_arg,
                     struct loop *loop)
{
    struct gc *gc = arg;
    struct room_request *w = xcalloc(1, sizeof(*w));
    struct limits l = gc_limits(gc);

    *w = (struct room_request){.bytes = bytes, .from = from, .done = done, .arg = done_arg, .loop = loop};
    pthread_mutex_lock(&gc->lock);
    w->given = from != ROOM_ON_DISK && room_promise(gc, bytes, gc->awaited, &l);
    bool later = !w->given && may_wait(gc, w);
    if (later) {
        if (from != ROOM_ON_DISK && bytes <= ceiling(&l)) /* no blob is larger; sums stay sums */
            w->awaited = MIN(bytes, INGEST_SIZE_MAX);
        gc->awaited += w->awaited;
        STAILQ_INSERT_TAIL(&gc->requests, w, entry);
        hurry(gc);
    }
    pthread_mutex_unlock(&gc->lock);
    if (!later)
        loop_post(loop, room_answer, w);
}

static void room_book(void *arg, int64_t bytes)
{
    struct gc *gc = arg;
    struct limits l = gc_limits(gc);
    struct totals t;

    cache_totals(gc->cache, &t);
    pthread_mutex_lock(&gc->lock);
    gc->promised -= bytes;
    if ((t.bytes > l.high || l.missing > 0) && clock_mono_ms() >= gc->fruitless_ms)
        hurry(gc);
    pthread_mutex_unlock(&gc->lock);
}

void room_attach(struct gc *gc)
{
    ingests_set_room(cache_ingests(gc->cache),
                     &(struct ingest_room){room_take, room_ask, room_book, gc_settings(gc).blob_max, gc});
}

/* Returns how many bytes it freed. */
static int64_t room_sweep(struct gc *gc, const int64_t *target)
{
    struct gc_report report = {0};
    struct err err = {0};

    if (!gc_sweep(gc, false, target, &report, &err))
        log_limited(LOG_LEVEL_ERROR, "gc", "%s", err.msg);
    int64_t freed = report.freed_bytes;
    gc_report_free(&report);
    return freed;
}

static int64_t lacking_now(struct gc *gc, int64_t bytes)
{
    struct limits l = gc_limits(gc);

    pthread_mutex_lock(&gc->lock);
    int64_t lack = lacking(gc, bytes, &l);
    pthread_mutex_unlock(&gc->lock);
    return lack;
}

/* Whether so much can be evicted: what is pinned, in use or recent cannot, and nothing is evicted in vain. */
static bool can_free(struct gc *gc, int64_t target, int64_t lack)
{
    struct gc_report report = {0};
    struct err err = {0};

    bool can = gc_sweep(gc, true, &target, &report, &err) && report.freed_bytes >= lack;
    gc_report_free(&report);
    return can;
}

/* What has to be evicted for the request: not for bytes in ingest/ that are not there any more, or are of no use. */
static int64_t count_lack(struct gc *gc, const struct room_request *w)
{
    ingests_measure_parked(cache_ingests(gc->cache));
    int64_t lack = lacking_now(gc, w->bytes);
    if (lack <= 0)
        return lack;
    reconcile_parts(gc->cache, gc_settings(gc).grace_ms / 1000);
    ingests_measure_parked(cache_ingests(gc->cache));
    return lacking_now(gc, w->bytes);
}

/* Frees what one request needs, never more than its own size, beside what exceeds the limits anyway; true if it could
 * be given now. */
static bool room_make(struct gc *gc, struct room_request *w)
{
    struct limits l = gc_limits(gc);
    bool on_disk = w->from == ROOM_ON_DISK;
    int64_t lack = w->bytes, freed = 0;
    struct totals t;

    if (!on_disk && w->bytes > ceiling(&l))
        return false; /* nothing could make that much room */
    if (!on_disk) {
        lack = count_lack(gc, w);
        if (lack > w->bytes) { /* over the limits */
            freed += room_sweep(gc, NULL);
            lack = lacking_now(gc, w->bytes);
        }
    }
    cache_totals(gc->cache, &t);
    if (!on_disk && lack > t.bytes + ingests_parked(cache_ingests(gc->cache)))
        return false; /* what was given to others is in the way: all that is stored would be evicted in vain */
    int64_t target = t.bytes - lack;
    if (lack > 0 && (on_disk || can_free(gc, target, lack)))
        freed += room_sweep(gc, &target);
    l = gc_limits(gc);
    pthread_mutex_lock(&gc->lock);
    if (on_disk)
        w->given = freed >= w->bytes;
    else
        grant_first(gc, w, &l);
    if (!w->given && freed == 0)
        gc->fruitless_ms = clock_mono_ms() + FRUITLESS_MS;
    pthread_mutex_unlock(&gc->lock);
    return w->given;
}

static struct room_request *room_next(struct gc *gc)
{
    pthread_mutex_lock(&gc->lock);
    struct room_request *w = STAILQ_FIRST(&gc->requests);
    if (w)
        STAILQ_REMOVE_HEAD(&gc->requests, entry);
    pthread_mutex_unlock(&gc->lock);
    return w;
}

/* The one whose turn it is. */
static void answer_first(struct gc *gc, struct room_request *w)
{
    struct limits l = gc_limits(gc);

    pthread_mutex_lock(&gc->lock);
    if (w->from != ROOM_ON_DISK)
        grant_first(gc, w, &l); /* the one before may have made more room than it took */
    bool hopeless = w->from == ROOM_FREE || clock_mono_ms() < gc->fruitless_ms;
    pthread_mutex_unlock(&gc->lock);
    if (!w->given && !hopeless)
        room_make(gc, w);
    pthread_mutex_lock(&gc->lock);
    room_end_wait(gc, w);
    pthread_mutex_unlock(&gc->lock);
}

void room_answer_all(struct gc *gc)
{
    struct room_request *w;

    while ((w = room_next(gc))) {
        answer_first(gc, w);
        if (!w->given && w->from != ROOM_FREE)
            log_limited(LOG_LEVEL_WARN, "room",
                        "no room for a blob of %lld bytes: everything in the cache is in use, pinned or younger than "
                        "gc.grace; it is passed on without caching",
                        (long long)w->bytes);
        loop_post(w->loop, room_answer, w);
    }
}

void room_deny_all(struct gc *gc)
{
    struct room_request *w;

    while ((w = room_next(gc)))
        loop_post(w->loop, room_answer, w);
}
