#include "proxy/fetch/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <string.h>

/* ---- coming in ---- */

static const struct fetch_type *const TYPES[] = {
    [FETCH_MANIFEST] = &MANIFEST_FETCH,   [FETCH_MANIFEST_HEAD] = &MANIFEST_FETCH, [FETCH_BLOB] = &BLOB_FETCH,
    [FETCH_BLOB_HEAD] = &BLOB_HEAD_FETCH, [FETCH_BLOB_RELAY] = &BLOB_FETCH,        [FETCH_LISTING] = &LISTING_FETCH,
    [FETCH_ADMIT] = &ADMIT_FETCH,
};

static struct fetch *fetch_new(struct fetcher *fr, const struct fetch_waiter *w)
{
    const struct fetch_type *type = TYPES[w->want.kind];
    struct fetch *f = xcalloc(1, type->size);

    f->fetcher = fr;
    f->type = type;
    f->key = xstrdup(w->key);
    fetch_want_copy(&f->want, &w->want);
    f->digest = f->want.digest;
    f->tags = config_tags_for(f->want.site->all, f->want.site->config, f->want.name, f->want.tag);
    f->result.size = -1;
    f->started_ms = clock_mono_ms();
    STAILQ_INIT(&f->waiters);
    STAILQ_INIT(&f->later);
    LIST_INSERT_HEAD(&fr->active, f, entry);
    return f;
}

/* A fetch of the same key is under way. */
static void fetch_join(struct fetch *f, struct fetch_waiter *w)
{
    w->joined = true;
    f->for_cache = f->for_cache || !w->done;
    if (!w->done) /* a refresh: this is one */
        fetch_waiter_unref(w);
    else if (f->type->join)
        f->type->join(f, w);
    else
        fetch_wait(f, w);
}

/* Upstream answered 404 a moment ago. A tag that may be served after it was deleted upstream is looked up. */
static bool fetch_is_absent(struct fetcher *fr, const struct fetch_waiter *w, struct fetch_result *r)
{
    struct absence *a = w->want.kind == FETCH_BLOB || w->want.kind == FETCH_ADMIT || w->want.force
                            ? NULL
                            : fetch_find_absence(fr, w->key);

    if (!a || (w->want.tag[0] &&
               (config_tags_for(w->want.site->all, w->want.site->config, w->want.name, w->want.tag).keep_deleted ||
                cache_is_pinned(fr->all->cache, w->want.name, w->want.tag))))
        return false;
    fetch_recall_absence(a, &r->err);
    r->no_api = a->no_api;
    r->upstream_status = 404; /* as fetch_note_absence() required */
    return true;
}

/* On the fetch loop. */
static void fetch_arrive(void *arg)
{
    struct fetch_waiter *w = arg;
    struct fetcher *fr = w->fetcher;
    struct fetch_result r = {.how = HOW_ERROR};
    struct fetch *f;

    ON_LOOP(fr->loop);
    if (w->left) {
        err_set(&r.err, ERR_CANCELLED, "its client has gone");
        fetch_answer_one(w, &r, NULL);
        return;
    }
    LIST_FOREACH(f, &fr->active, entry)
        if (strcmp(f->key, w->key) == 0)
            break;
    if (f) {
        fetch_join(f, w);
        return;
    }
    if (fr->stopping)
        err_set(&r.err, ERR_CANCELLED, "the cache is being stopped");
    if (fr->stopping || fetch_is_absent(fr, w, &r)) {
        fetch_answer_one(w, &r, NULL);
        return;
    }
    f = fetch_new(fr, w);
    f->for_cache = !w->done;
    if (w->done)
        fetch_wait(f, w);
    else
        fetch_waiter_unref(w);
    fetch_run(f, STEP_LOOKUP);
}

/* ---- start and stop ---- */

struct fetchers *fetchers_new(struct cache *cache, const struct config *config, struct cluster *cluster, int loops,
                              struct err *err)
{
    struct fetchers *all = xcalloc(1, sizeof(*all));

    all->arrive = fetch_arrive;
    all->cache = cache;
    all->cluster = cluster;
    pthread_mutex_init(&all->distrust_lock, NULL);
    atomic_init(&all->offline, config->offline);
    fetch_apis_init(all);
    fetch_offers_init(all);
    for (int i = 0; i < MIN(loops, (int)ARRAY_LEN(all->list)); i++) {
        struct fetcher *f = &all->list[i];
        char name[16];
        snprintf(name, sizeof(name), "fetch-%d", i);
        f->all = all;
        LIST_INIT(&f->active);
        TAILQ_INIT(&f->absences);
        TAILQ_INIT(&f->listings);
        f->loop = loop_new(name, err);
        if (!f->loop)
            goto fail;
        all->count++;
        f->engine = transfer_engine_new(f->loop, err);
        if (!f->engine || !loop_start(f->loop, err))
            goto fail;
    }
    return all;
fail:
    fetchers_stop(all);
    fetchers_free(all);
    return NULL;
}

/* On the fetch loop: blobs are paused, other fetches are cancelled. */
static void fetcher_stop(void *arg)
{
    struct fetcher *fr = arg;
    struct fetch *f, *next;
    struct err err = {0};

    ON_LOOP(fr->loop);
    fr->stopping = true;
    err_set(&err, ERR_CANCELLED, "the cache is being stopped");
    for (f = LIST_FIRST(&fr->active); f; f = next) {
        next = LIST_NEXT(f, entry);
        fetch_cancel_call(f);
        if (f->type->stop && f->type->stop(f, &err))
            continue;
        if (f->step == STEP_STORE || f->step == STEP_VERIFY)
            continue; /* the callback of the index, or of the worker, ends it */
        f->result.err = err;
        f->result.how = HOW_ERROR;
        fetch_run(f, STEP_DONE);
    }
    if (LIST_EMPTY(&fr->active))
        loop_stop(fr->loop);
}

void fetchers_stop(struct fetchers *all)
{
    atomic_store(&all->stopping, true);
    for (int i = 0; i < all->count; i++)
        loop_post(all->list[i].loop, fetcher_stop, &all->list[i]);
    for (int i = 0; i < all->count; i++)
        loop_join(all->list[i].loop);
    /* A token is fetched for all calls that need it: such a transfer belongs to no fetch. */
    for (int i = 0; i < all->count; i++)
        if (all->list[i].engine)
            transfer_engine_end(all->list[i].engine);
}

bool fetchers_settle(struct fetchers *all)
{
    bool any = false;

    for (int i = 0; i < all->count; i++)
        any = loop_settle(all->list[i].loop) || any;
    return any;
}

void fetchers_each_loop(const struct fetchers *all, void (*fn)(void *arg, struct loop *loop), void *arg)
{
    for (int i = 0; i < all->count; i++)
        fn(arg, all->list[i].loop);
}

struct config_tags fetch_tags_for(const struct site *site, const char *name, const char *tag)
{
    return config_tags_for(site->all, site->config, name, tag);
}

struct forgetting {
    struct fetcher *fetcher;
    char *name;
};

static void forget_repository(void *arg)
{
    struct forgetting *g = arg;

    fetch_forget_absences_of(g->fetcher, g->name);
    fetch_forget_listings_of(g->fetcher, g->name);
    free(g->name);
    free(g);
}

void fetch_forget_repository(struct fetchers *all, const char *name)
{
    for (int i = 0; i < all->count; i++) {
        struct forgetting *g = xmalloc(sizeof(*g));
        *g = (struct forgetting){&all->list[i], xstrdup(name)};
        loop_post(all->list[i].loop, forget_repository, g);
    }
}

void fetchers_free(struct fetchers *all)
{
    if (!all)
        return;
    for (int i = 0; i < all->count; i++) {
        struct fetcher *f = &all->list[i];
        fetch_forget_absences(f);
        fetch_forget_listings(f);
        while (f->spare_count > 0)
            buf_free(&f->spare[--f->spare_count]);
        fetch_forget_view(f);
        transfer_engine_free(f->engine);
        loop_free(f->loop);
    }
    fetch_apis_clear(all);
    fetch_offers_clear(all);
    pthread_mutex_destroy(&all->distrust_lock);
    free(all);
}
