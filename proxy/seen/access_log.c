#include "proxy/seen/access_log.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "proxy/seen/access_out.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

enum {
    GATHER_MS = 50,
    FULL = 64 << 10,     /* bytes that wait: more would leave the caches before they are formatted */
    TEXT_MAX = 64 << 10, /* bytes of a write, and a line */
    LEAVE_MS = 2000,     /* for a slow reader, when the output changes or the process ends */
    END_MS = 1000,       /* and for what cannot be told to go on: a file that hangs */
};

struct access_feed {
    struct access_log *log;
    pthread_mutex_t lock;
    /* under lock */
    struct buf waiting; /* packed lines */
    uint32_t epoch;     /* of the lines that come now */
    bool paths;         /* whether these are to have them */
    /* the thread's */
    struct buf taken;
};

struct access_log {
    int count;
    struct access_feed *feeds;
    atomic_bool on;
    atomic_uint_fast64_t dropped;
    atomic_int_fast64_t until_ms; /* how long the thread may wait for a reader; 0: for ever */
    pthread_t thread;
    bool started;
    uint32_t epoch; /* the main thread's: outputs that were opened */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    /* under lock, before that of a feed */
    bool any, full, ending, ended; /* there are lines; so many that they are not to wait */
    struct access_outs opened;     /* and not yet the thread's */
    /* the thread's */
    struct access_outs outs; /* the last one is in use; lines from before go to those before */
    struct buf text;
    struct access_second second;
};

/* ---- writing: the thread ---- */

static void access_lose(struct access_log *l, uint64_t lines, int why)
{
    atomic_fetch_add_explicit(&l->dropped, lines, memory_order_relaxed);
    log_limited(LOG_LEVEL_WARN, "access log", "the access log cannot be written: %s; lines are dropped, pulls go on",
                strerror(why));
}

static void access_write(struct access_log *l, struct access_out *o)
{
    uint64_t lost = l->text.len > 0 ? access_out_write(o, l->text.data, l->text.len, &l->until_ms) : 0;

    if (lost > 0)
        access_lose(l, lost, errno);
    buf_clear(&l->text);
}

static struct access_out *out_of(struct access_log *l, uint32_t epoch)
{
    struct access_out *o;

    STAILQ_FOREACH(o, &l->outs, entry)
        if (o->epoch == epoch)
            return o->fd < 0 ? NULL : o;
    return NULL;
}

static struct access_out *last_out(struct access_log *l)
{
    struct access_out *o = STAILQ_FIRST(&l->outs);

    while (o && STAILQ_NEXT(o, entry))
        o = STAILQ_NEXT(o, entry);
    return o;
}

/* Formats and writes what was taken of one feed. */
static void access_drain(struct access_log *l, struct access_feed *f)
{
    const struct access_packed *p = access_packed_first(f->taken.data, f->taken.len);
    struct access_out *to = NULL;

    for (; p; p = access_packed_next(p, f->taken.data + f->taken.len)) {
        struct access_out *o = to && to->epoch == access_packed_epoch(p) ? to : out_of(l, access_packed_epoch(p));
        if (to && (o != to || l->text.len >= TEXT_MAX))
            access_write(l, to);
        to = o;
        if (o)
            access_format_line(&l->text, &l->second, p, o->format);
        else
            atomic_fetch_add_explicit(&l->dropped, 1, memory_order_relaxed);
    }
    if (to)
        access_write(l, to);
    buf_clear(&f->taken);
}

/* All feeds at one moment: of what they have, no line is for an output that was opened later. */
static void access_take(struct access_log *l)
{
    HOLDS(&l->lock);
    STAILQ_CONCAT(&l->outs, &l->opened);
    for (int i = 0; i < l->count; i++) {
        struct access_feed *f = &l->feeds[i];
        struct buf empty = f->taken;
        pthread_mutex_lock(&f->lock);
        f->taken = f->waiting;
        f->waiting = empty;
        pthread_mutex_unlock(&f->lock);
    }
}

static void access_free_outs(struct access_outs *outs, struct access_out *but)
{
    struct access_out *o;

    while ((o = STAILQ_FIRST(outs)) && o != but) {
        STAILQ_REMOVE_HEAD(outs, entry);
        access_out_free(o);
    }
}

/* Waits until there is something, and a moment longer, for more. */
static void access_wait(struct access_log *l)
{
    HOLDS(&l->lock);
    while (!l->any && !l->ending && STAILQ_EMPTY(&l->opened))
        pthread_cond_wait(&l->cond, &l->lock);
    int64_t until = clock_mono_ms() + GATHER_MS;
    while (!l->ending && !l->full && clock_mono_ms() < until)
        cond_wait_until(&l->cond, &l->lock, until);
    l->any = l->full = false;
}

static void *access_run(void *arg)
{
    struct access_log *l = arg;
    bool ending = false;

    pthread_setname_np(pthread_self(), "access-log");
    pthread_mutex_lock(&l->lock);
    while (!ending) {
        access_wait(l);
        ending = l->ending;
        access_take(l);
        pthread_mutex_unlock(&l->lock);
        for (int i = 0; i < l->count; i++)
            access_drain(l, &l->feeds[i]);
        access_free_outs(&l->outs, last_out(l));
        pthread_mutex_lock(&l->lock);
        if (!l->ending && STAILQ_EMPTY(&l->opened))
            atomic_store(&l->until_ms, 0);
    }
    l->ended = true;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static bool access_start(struct access_log *l, struct err *err)
{
    sigset_t all, before;

    if (l->started)
        return true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&l->thread, NULL, access_run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = rc;
    l->started = rc == 0;
    return l->started || err_errno(err, ERR_IO, "starting the access log's thread");
}

/* ---- its life ---- */

struct access_log *access_log_new(int feeds)
{
    struct access_log *l = xcalloc(1, sizeof(*l));

    l->count = feeds;
    l->feeds = xcalloc((size_t)feeds, sizeof(*l->feeds));
    STAILQ_INIT(&l->opened);
    STAILQ_INIT(&l->outs);
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->cond);
    for (int i = 0; i < feeds; i++) {
        l->feeds[i].log = l;
        pthread_mutex_init(&l->feeds[i].lock, NULL);
    }
    return l;
}

bool access_log_open(struct access_log *l, const char *path, enum access_format format, struct err *err)
{
    if (!path && !l->started)
        return true;
    struct access_out *o = access_out_new(path, format, err);
    if (!o || !access_start(l, err)) {
        access_out_free(o);
        return false;
    }
    if (!path)
        atomic_store(&l->on, false); /* first: no line comes that has no place */
    pthread_mutex_lock(&l->lock);
    o->epoch = ++l->epoch;
    for (int i = 0; i < l->count; i++) {
        pthread_mutex_lock(&l->feeds[i].lock);
        l->feeds[i].epoch = o->epoch;
        l->feeds[i].paths = format != ACCESS_JSON;
        pthread_mutex_unlock(&l->feeds[i].lock);
    }
    STAILQ_INSERT_TAIL(&l->opened, o, entry);
    atomic_store(&l->until_ms, clock_mono_ms() + LEAVE_MS);
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
    atomic_store(&l->on, path != NULL);
    return true;
}

/* False: it hangs. */
static bool access_end(struct access_log *l)
{
    int64_t until = clock_mono_ms() + LEAVE_MS;

    pthread_mutex_lock(&l->lock);
    l->ending = true;
    atomic_store(&l->until_ms, until);
    pthread_cond_broadcast(&l->cond);
    while (!l->ended && clock_mono_ms() < until + END_MS)
        cond_wait_until(&l->cond, &l->lock, until + END_MS);
    bool ended = l->ended;
    pthread_mutex_unlock(&l->lock);
    if (ended)
        pthread_join(l->thread, NULL);
    else
        pthread_detach(l->thread);
    return ended;
}

void access_log_free(struct access_log *l)
{
    if (!l)
        return;
    uint64_t before = access_log_dropped(l);
    bool ended = !l->started || access_end(l);
    uint64_t lost = access_log_dropped(l) - before;
    if (!ended)
        log_warn("the access log's file or pipe hangs: its last lines are lost");
    else if (lost > 0)
        log_warn("the access log: the last %llu lines are lost, nobody took them", (unsigned long long)lost);
    if (!ended) /* the process ends, and the thread with it */
        return;
    for (int i = 0; i < l->count; i++) {
        buf_free(&l->feeds[i].waiting);
        buf_free(&l->feeds[i].taken);
        pthread_mutex_destroy(&l->feeds[i].lock);
    }
    access_free_outs(&l->opened, NULL);
    access_free_outs(&l->outs, NULL);
    buf_free(&l->text);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->lock);
    free(l->feeds);
    free(l);
}

struct access_feed *access_log_feed(struct access_log *l, int n)
{
    IN_STATE(n < l->count);
    return &l->feeds[n];
}

uint64_t access_log_dropped(const struct access_log *l)
{
    return atomic_load_explicit(&l->dropped, memory_order_relaxed);
}

/* ---- lines: the loops ---- */

bool access_feed_is_on(const struct access_feed *f)
{
    return atomic_load_explicit(&f->log->on, memory_order_relaxed);
}

static void access_wake(struct access_log *l, bool full)
{
    pthread_mutex_lock(&l->lock);
    l->any = true;
    l->full = l->full || full;
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
}

void access_feed_add(struct access_feed *f, const struct access_line *line)
{
    struct access_log *l = f->log;

    pthread_mutex_lock(&f->lock);
    size_t before = f->waiting.len;
    bool taken = before + ACCESS_PACKED_MAX <= ACCESS_FEED_MAX;
    if (taken)
        access_pack(&f->waiting, line, f->epoch, f->paths);
    bool full = before < FULL && f->waiting.len >= FULL;
    pthread_mutex_unlock(&f->lock);
    if (before == 0 || full)
        access_wake(l, full);
    if (!taken) {
        atomic_fetch_add_explicit(&l->dropped, 1, memory_order_relaxed);
        log_limited(LOG_LEVEL_WARN, "access log full",
                    "the access log is written more slowly than requests come: lines are dropped, pulls go on");
    }
}
