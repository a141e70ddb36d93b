/* Who waits for a fetch, and what each is given. */
#include "proxy/fetch/private.h"

#include "base/assert.h"

#include <string.h>

void fetch_result_clear(struct fetch_result *r)
{
    body_unref(r->body);
    body_unref(r->next);
    if (r->ingest)
        ingest_let_go(r->ingest);
    r->body = r->next = NULL;
    r->ingest = NULL;
}

void fetch_waiter_unref(struct waiter *w)
{
    if (atomic_fetch_sub(&w->refs, 1) > 1)
        return;
    free(w->path);
    free(w->name);
    free(w->tag);
    free(w->listing);
    client_unref(w->client);
    site_unref(w->site);
    free(w);
}

void fetch_wait(struct fetch *f, struct waiter *w)
{
    w->fetch = f;
    STAILQ_INSERT_TAIL(&f->waiters, w, entry);
}

struct waiter *fetch_first_waiter(struct fetch *f)
{
    struct waiter *w = STAILQ_FIRST(&f->waiters);

    if (w) {
        STAILQ_REMOVE_HEAD(&f->waiters, entry);
        w->fetch = NULL;
    }
    return w;
}

/* On the serve loop. */
static void deliver(void *arg)
{
    struct waiter *w = arg;

    ON_LOOP(w->loop);
    w->done(w->arg, &w->result);
    fetch_result_clear(&w->result);
    fetch_waiter_unref(w);
}

void fetch_answer_one(struct waiter *w, const struct fetch_result *r, struct ingest *ingest)
{
    if (!w->done) { /* nobody waits for it */
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
    if (w->joined && r->err.code == ERR_OK && (r->how == HOW_MISS || r->how == HOW_REVALIDATED))
        w->result.how = HOW_COLLAPSED;
    loop_post(w->loop, deliver, w);
}

void fetch_answer(struct fetch *f, struct ingest *ingest)
{
    struct waiter *w;

    ON_LOOP(f->fetcher->loop);
    while ((w = fetch_first_waiter(f)))
        fetch_answer_one(w, &f->result, ingest);
}

void fetch_part_with(struct fetch *f, bool (*is)(const struct fetch *f, const struct waiter *w),
                     void (*give)(struct fetch *f, struct waiter *w))
{
    struct waiters stay = STAILQ_HEAD_INITIALIZER(stay);
    struct waiter *w;

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

void fetch_begin_again(struct fetch *f UNUSED, struct waiter *w)
{
    fetch_again(w);
}

void fetch_answer_own(struct fetch *f, struct waiter *w)
{
    fetch_answer_one(w, &f->result, NULL);
}

void fetch_answer_early(struct fetch *f, struct waiter *w)
{
    fetch_answer_one(w, &f->early, NULL);
}

/* ---- coming in ---- */

bool fetch_takes_old(const struct fetch *f UNUSED, const struct waiter *w)
{
    return !w->force;
}

void fetch_again(struct waiter *w)
{
    loop_post(w->fetcher->loop, w->fetcher->all->arrive, w);
}

struct waiter *fetch_begin(struct fetchers *all, struct loop *loop, const struct fetch_request *req,
                           void (*done)(void *arg, struct fetch_result *result), void *arg)
{
    struct waiter *w = xcalloc(1, sizeof(*w));
    _cleanup_free_ char *key = fetch_make_key(all, req);

    if (req->kind == FETCH_LISTING) /* all pages of a list, to the same loop */
        key[strcspn(key, "?")] = '\0';
    w->fetcher = &all->list[text_hash(key) % (uint32_t)all->count];
    w->loop = loop;
    atomic_init(&w->refs, 1);
    w->done = done;
    w->arg = arg;
    w->kind = req->kind;
    w->site = site_ref(req->site);
    w->path = xstrdup(req->path);
    w->name = xstrdup(req->name);
    w->tag = xstrdup(req->tag ? req->tag : "");
    w->listing = xstrdup(req->listing ? req->listing : "");
    w->digest = *req->digest;
    w->client = req->client ? client_ref(req->client) : NULL;
    w->is_private = req->is_private;
    w->sent = req->sent;
    w->force = req->force;
    w->keep = req->keep;
    loop_post(w->fetcher->loop, all->arrive, w);
    return w;
}

void fetch_refresh(struct fetchers *all, struct loop *loop, const struct fetch_request *req)
{
    struct fetch_request forced = *req;

    forced.kind = FETCH_MANIFEST;
    forced.force = true;
    fetch_begin(all, loop, &forced, NULL, NULL);
}
