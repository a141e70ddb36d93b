#include "proxy/pull/prefetch.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/cond.h"

#include <string.h>

enum { LOOK_MS = 1000 /* between two checks whether the daemon stops */ };

struct prefetch {
    struct loop *loop;
    void (*done)(void *arg, const struct prefetch_result *r);
    void *arg;
    bool dropped;
    int64_t had;
    char unchecked[ERR_MSG_MAX]; /* why upstream did not confirm the tag; empty: it did, or it is not a tag */
    struct follower *follower;   /* of the blob, until it is stored */
    struct ingest *ingest;
    struct err failed;          /* ERR_OK: it is here */
    struct body *answer, *next; /* the listing, the query of its next page */
    struct cache *cache;
    struct fetchers *fetchers;
    struct fetch_want want; /* a copy */
};

/* Bytes of a blob that came with this prefetch, and stay although it failed. */
static int64_t arrived(const struct prefetch *p, const struct err *err)
{
    return p->ingest && err && err->code != ERR_DIGEST ? MAX(ingest_received(p->ingest) - p->had, (int64_t)0) : 0;
}

static void prefetch_end(struct prefetch *p, const struct err *err)
{
    int64_t got = arrived(p, err);

    if (p->follower)
        follower_leave(p->follower);
    if (p->ingest)
        ingest_unref(p->ingest);
    p->done(p->arg, &(struct prefetch_result){.err = err,
                                              .listing = p->answer,
                                              .next = p->next,
                                              .had = p->had,
                                              .got = got,
                                              .unchecked = p->unchecked[0] ? p->unchecked : NULL});
    body_unref(p->answer);
    body_unref(p->next);
    fetch_want_clear(&p->want);
    free(p);
}

static void prefetch_in_index(void *arg, const struct err *err)
{
    struct prefetch *p = arg;

    ON_LOOP(p->loop);
    prefetch_end(p, p->failed.code != ERR_OK ? &p->failed : err);
}

/* What a fetch has learnt (a tag, a link) may still be on its way into the index, where the caller looks next. */
static void prefetch_wait_for_index(struct prefetch *p)
{
    if (p->follower)
        follower_leave(p->follower);
    p->follower = NULL;
    cache_barrier(p->cache, prefetch_in_index, p, p->loop);
}

static void prefetch_look(void *arg)
{
    struct prefetch *p = arg;
    struct err err = {0};
    int kept = follower_is_kept(p->follower, &err);

    ON_LOOP(p->loop);
    if (kept < 0)
        prefetch_end(p, &err);
    else if (kept > 0)
        prefetch_wait_for_index(p);
}

static void note_unchecked(struct prefetch *p, const struct fetch_result *res)
{
    const char *why = res->err.msg;

    if (p->want.tag[0] == '\0' || res->how != HOW_STALE)
        return;
    if (res->upstream_status == 404)
        why = "the registry has deleted it, and the copy is kept";
    else if (!why[0]) /* upstream was not asked */
        why = fetchers_is_offline(p->fetchers) ? "the cache is offline" : "the registry's rate limit is used up";
    snprintf(p->unchecked, sizeof(p->unchecked), "%s", why);
}

static void prefetch_fetched(void *arg, struct fetch_result *res)
{
    struct prefetch *p = arg;

    ON_LOOP(p->loop);
    if (p->dropped && res->err.code == ERR_OK)
        err_set(&res->err, ERR_CANCELLED, "it is not wanted any more");
    if (res->err.code == ERR_NOT_FOUND && p->want.tag[0]) { /* its removal may be on its way into the index */
        p->failed = res->err;
        prefetch_wait_for_index(p);
        return;
    }
    if (res->err.code != ERR_OK) {
        prefetch_end(p, &res->err);
        return;
    }
    note_unchecked(p, res);
    if (!res->ingest || res->size <= 0) {
        p->answer = p->want.kind == FETCH_LISTING && res->body ? body_ref(res->body) : NULL;
        p->next = p->answer && res->next ? body_ref(res->next) : NULL;
        prefetch_wait_for_index(p);
        return;
    }
    p->had = ingest_resumed(res->ingest);
    p->ingest = ingest_ref(res->ingest);
    p->follower = ingest_follow(res->ingest, p->loop, res->size - 1, res->size - 1, prefetch_look, p);
    prefetch_look(p);
}

static struct prefetch *prefetch_new(struct puller *puller, struct loop *loop, const struct fetch_want *want,
                                     void (*done)(void *arg, const struct prefetch_result *r), void *arg)
{
    struct prefetch *p = xcalloc(1, sizeof(*p));

    p->loop = loop;
    p->done = done;
    p->arg = arg;
    p->fetchers = puller->fetchers;
    p->cache = puller->cache;
    fetch_want_copy(&p->want, want);
    p->want.sent = (struct sent_before){.fd = -1};
    p->want.keep = true;
    return p;
}

static void prefetch_run(void *arg)
{
    struct prefetch *p = arg;

    ON_LOOP(p->loop);
    fetch_begin(p->fetchers, p->loop, &p->want, prefetch_fetched, p);
}

struct prefetch *prefetch_begin(struct puller *puller, struct loop *loop, const struct fetch_want *want,
                                void (*done)(void *arg, const struct prefetch_result *r), void *arg)
{
    struct prefetch *p = prefetch_new(puller, loop, want, done, arg);

    prefetch_run(p); /* its answer comes through the loop's mailbox, not now */
    return p;
}

void prefetch_drop(struct prefetch *p)
{
    struct err err = {0};

    ON_LOOP(p->loop);
    p->dropped = true;
    err_set(&err, ERR_CANCELLED, "it is not wanted any more");
    if (p->follower)
        prefetch_end(p, &err);
}

/* ---- waiting ---- */

/* Referred to by the thread that waits, and by the callback, which does not come when the loops have ended. */
struct prefetch_waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int refs;
    bool ended, ok;
    struct err err;
};

/* With the lock held, which it gives up. */
static void prefetch_waiter_unref(struct prefetch_waiter *w)
{
    HOLDS(&w->lock);
    bool last = --w->refs == 0;

    pthread_mutex_unlock(&w->lock);
    if (!last)
        return;
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void wake(void *arg, const struct prefetch_result *r)
{
    struct prefetch_waiter *w = arg;

    pthread_mutex_lock(&w->lock);
    w->ok = !r->err;
    if (r->err)
        w->err = *r->err;
    w->ended = true;
    pthread_cond_signal(&w->cond);
    prefetch_waiter_unref(w);
}

static bool prefetch_wait_a_while(struct prefetch_waiter *w)
{
    cond_wait_until(&w->cond, &w->lock, clock_mono_ms() + LOOK_MS);
    return w->ended;
}

bool prefetch_wait(struct puller *p, struct loop *loop, const struct fetch_want *want, struct err *err)
{
    struct prefetch_waiter *w = xcalloc(1, sizeof(*w));

    OFF_LOOPS;
    w->refs = 2;
    pthread_mutex_init(&w->lock, NULL);
    cond_init(&w->cond);
    loop_post(loop, prefetch_run, prefetch_new(p, loop, want, wake, w));
    pthread_mutex_lock(&w->lock);
    while (!w->ended && (prefetch_wait_a_while(w) || atomic_load(p->serving)))
        ;
    bool ok = w->ok;
    if (!w->ended)
        err_set(err, ERR_CANCELLED, "the cache is being stopped");
    else if (!ok && err)
        *err = w->err;
    prefetch_waiter_unref(w);
    return ok;
}

bool prefetch_site(struct puller *p, const char *name, const struct site **site, const char **path)
{
    const char *slash = strchr(name, '/');
    char host[REF_HOST_MAX + 1];

    if (!slash || (size_t)(slash - name) >= sizeof(host))
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)(slash - name), name);
    *site = sites_find(p->sites, host);
    *path = slash + 1;
    return *site != NULL;
}
