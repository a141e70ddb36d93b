/* The requests that wait for a fetch, and their answers. */
#include "proxy/fetch/private.h"

#include "base/assert.h"

#include <string.h>

void fetch_result_clear(struct fetch_result *r)
{
    body_unref(r->body);
    body_unref(r->next);
    if (r->ingest)
        ingest_release(r->ingest);
    r->body = r->next = NULL;
    r->ingest = NULL;
}

void fetch_waiter_unref(struct fetch_waiter *w)
{
    if (atomic_fetch_sub(&w->refs, 1) > 1)
        return;
    free(w->key);
    fetch_want_clear(&w->want);
    free(w);
}

void fetch_wait(struct fetch *f, struct fetch_waiter *w)
{
    ON_LOOP(f->fetcher->loop);
    w->fetch = f;
    STAILQ_INSERT_TAIL(&f->waiters, w, entry);
}

struct fetch_waiter *fetch_first_waiter(struct fetch *f)
{
    struct fetch_waiter *w = STAILQ_FIRST(&f->waiters);

    ON_LOOP(f->fetcher->loop);
    if (w) {
        STAILQ_REMOVE_HEAD(&f->waiters, entry);
        w->fetch = NULL;
    }
    return w;
}

/* On the serve loop. */
static void waiter_deliver(void *arg)
{
    struct fetch_waiter *w = arg;

    ON_LOOP(w->loop);
    w->done(w->arg, &w->result);
    fetch_result_clear(&w->result);
    fetch_waiter_unref(w);
}

void fetch_answer_one(struct fetch_waiter *w, const struct fetch_result *r, struct ingest *ingest)
{
    if (!w->done) { /* a refresh: no client waits */
        fetch_waiter_unref(w);
        return;
    }
    w->result = *r;
    w->result.ingest = ingest;
    if (w->result.body)
        body_ref(w->result.body);
    if (w->result.next)
        body_ref(w->result.next);
    if (ingest)
        ingest_hold(ingest);
    bool came = r->how == HOW_MISS || r->how == HOW_PEER || r->how == HOW_SHARED || r->how == HOW_REVALIDATED;
    if (w->joined && r->err.code == ERR_OK && came) {
        w->result.joined = r->how;
        w->result.how = HOW_COLLAPSED;
    }
    loop_post(w->loop, waiter_deliver, w);
}

void fetch_answer(struct fetch *f, struct ingest *ingest)
{
    struct fetch_waiter *w;

    ON_LOOP(f->fetcher->loop);
    while ((w = fetch_first_waiter(f)))
        fetch_answer_one(w, &f->result, ingest);
}

void fetch_part_with(struct fetch *f, bool (*is)(const struct fetch *f, const struct fetch_waiter *w),
                     void (*give)(struct fetch *f, struct fetch_waiter *w))
{
    struct fetch_waiters stay = STAILQ_HEAD_INITIALIZER(stay);
    struct fetch_waiter *w;

    ON_LOOP(f->fetcher->loop);
    while ((w = fetch_first_waiter(f)))
        if (is(f, w))
            give(f, w);
        else
            STAILQ_INSERT_TAIL(&stay, w, entry);
    while ((w = STAILQ_FIRST(&stay))) {
        STAILQ_REMOVE_HEAD(&stay, entry);
        fetch_wait(f, w);
    }
}

void fetch_begin_again(struct fetch *f UNUSED, struct fetch_waiter *w)
{
    fetch_again(w);
}

void fetch_answer_own(struct fetch *f, struct fetch_waiter *w)
{
    fetch_answer_one(w, &f->result, NULL);
}

/* ---- coming in ---- */

bool fetch_takes_old(const struct fetch *f UNUSED, const struct fetch_waiter *w)
{
    return !w->want.force;
}

void fetch_again(struct fetch_waiter *w)
{
    loop_post(w->fetcher->loop, w->fetcher->all->arrive, w);
}

struct fetch_waiter *fetch_begin(struct fetchers *all, struct loop *loop, const struct fetch_want *want,
                                 void (*done)(void *arg, struct fetch_result *result), void *arg)
{
    struct fetch_waiter *w = xcalloc(1, sizeof(*w));

    w->key = fetch_key(all, want);
    w->fetcher = &all->list[fetch_key_loop(w->key, all->count)];
    w->loop = loop;
    atomic_init(&w->refs, 1);
    w->done = done;
    w->arg = arg;
    fetch_want_copy(&w->want, want);
    loop_post(w->fetcher->loop, all->arrive, w);
    return w;
}

void fetch_refresh(struct fetchers *all, struct loop *loop, const struct fetch_want *want)
{
    struct fetch_want forced = *want;

    forced.kind = FETCH_MANIFEST;
    forced.force = forced.refresh = true;
    fetch_begin(all, loop, &forced, NULL, NULL);
}
