/* Clients that have gone before their answer, and fetches without waiters.
 *
 * These are not given up at once: an engine that fetches by parts closes one request and begins the next, and a client
 * that was cut off comes back. What the cache itself wants goes on, and so does a blob most of which is here.
 */
#include "proxy/fetch/private.h"

#include "base/assert.h"
#include "base/log.h"

#include <event2/event.h>

enum { DESERTED_MS = 5000 };

static bool fetch_is_wanted(const struct fetch *f)
{
    return f->for_cache || !STAILQ_EMPTY(&f->waiters) || !STAILQ_EMPTY(&f->later) ||
           (f->type->is_wanted && f->type->is_wanted(f));
}

static void fetch_give_up(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct fetch *f = arg;

    if (fetch_is_wanted(f) || f->fetcher->stopping)
        return;
    if (f->type->abandon && f->type->abandon(f))
        return;
    if (!fetch_is_calling(f))
        return; /* a callback of a worker, or of the index, ends it soon */
    log_debug("%s %s: no client waits for it any more", f->type->name, f->key);
    fetch_cancel_call(f);
    f->result.how = HOW_ERROR;
    err_set(&f->result.err, ERR_CANCELLED, "no client waits for it any more");
    fetch_run(f, STEP_DONE);
}

void fetch_note_desertion(struct fetch *f)
{
    const struct timeval wait = {.tv_sec = DESERTED_MS / 1000};

    ON_LOOP(f->fetcher->loop);
    if (fetch_is_wanted(f))
        return;
    if (f->want.kind == FETCH_BLOB_RELAY) { /* no other client can follow it */
        fetch_give_up(-1, 0, f);
        return;
    }
    if (!f->desertion)
        f->desertion = event_new(loop_base(f->fetcher->loop), -1, 0, fetch_give_up, f);
    event_add(f->desertion, &wait);
}

/* On the fetch loop. */
static void fetch_waiter_leave(void *arg)
{
    const struct fetch_result gone = {.how = HOW_ERROR, .err = {.code = ERR_CANCELLED, .msg = "its client has gone"}};
    struct fetch_waiter *w = arg;
    struct fetch *f = w->fetch;

    ON_LOOP(w->fetcher->loop);
    w->left = true; /* in case it is between two fetches */
    if (f) {
        STAILQ_REMOVE(&f->waiters, w, fetch_waiter, entry);
        w->fetch = NULL;
        fetch_answer_one(w, &gone, NULL);
        fetch_note_desertion(f);
    }
    fetch_waiter_unref(w);
}

void fetch_leave(struct fetch_waiter *w)
{
    ON_LOOP(w->loop);
    atomic_fetch_add(&w->refs, 1);
    loop_post(w->fetcher->loop, fetch_waiter_leave, w);
}
