#include "proxy/fetch_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <string.h>

/* ---- steps ---- */

static const char *const STEP_NAMES[] = {"lookup", "verify",  "prove", "revalidate", "ask", "receive",
                                         "store",  "deliver", "fail",  "done",       "wait"};

static void fetch_free(struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    LIST_REMOVE(f, entry);
    fetch_forget_question(f);
    if (f->retry)
        event_free(f->retry);
    if (f->flush)
        event_free(f->flush);
    if (f->again)
        event_free(f->again);
    if (f->other_client)
        event_free(f->other_client);
    fetch_offers_end(f);
    if (f->ingest)
        ingest_unref(f->ingest);
    if (f->patience)
        event_free(f->patience);
    if (f->desertion)
        event_free(f->desertion);
    fetch_result_clear(&f->early);
    fetch_result_clear(&f->result);
    buf_free(&f->received);
    free(f->key);
    free(f->path);
    free(f->name);
    free(f->tag);
    free(f->listing);
    client_unref(f->client);
    site_unref(f->site);
    struct fetcher *fr = f->fetcher;
    free(f);
    if (fr->stopping && LIST_EMPTY(&fr->active))
        loop_stop(fr->loop);
}

static bool is_of_another_client(const struct fetch *f, const struct waiter *w)
{
    return w->client && f->client && strcmp(w->client->whose, f->client->whose) != 0;
}

/* The refusal of one client is not another's. */
static void let_other_clients_try(struct fetch *f)
{
    if (f->result.err.code == ERR_DENIED && f->is_private && f->kind != FETCH_ACCESS && !f->fetcher->stopping)
        fetch_part_with(f, is_of_another_client, fetch_begin_again);
}

static bool is_reader(const struct fetch *f UNUSED, const struct waiter *w)
{
    return w->kind == FETCH_MANIFEST;
}

/* Who only wanted to know the digest was first: the manifest itself has not come. */
static void let_readers_ask(struct fetch *f)
{
    if (f->kind == FETCH_MANIFEST_HEAD && !f->result.body && f->result.err.code == ERR_OK && !f->fetcher->stopping)
        fetch_part_with(f, is_reader, fetch_begin_again);
}

static void let_later_ones_begin(struct fetch *f)
{
    while (!STAILQ_EMPTY(&f->later)) {
        struct waiter *w = STAILQ_FIRST(&f->later);
        STAILQ_REMOVE_HEAD(&f->later, entry);
        if (f->fetcher->stopping)
            fetch_answer_one(w, &f->result, NULL);
        else
            fetch_again(w);
    }
}

void fetch_run(struct fetch *f, enum step step)
{
    ON_LOOP(f->fetcher->loop);
    while (step != STEP_WAIT) {
        log_debug("%s %s: %s", f->steps->name, f->key, STEP_NAMES[step]);
        f->step = step;
        if (step == STEP_DONE) {
            fetch_note_absence(f);
            let_other_clients_try(f);
            let_readers_ask(f);
            fetch_answer(f, NULL);
            let_later_ones_begin(f);
            if (f->putting) /* nobody has to wait for that, but the fetch */
                fetch_keep_answer(f);
            else
                fetch_free(f);
            return;
        }
        step = f->steps->run[step](f);
    }
}

void fetch_find(const struct fetch *f, const char *tag, const struct digest *digest, struct cache_hit *hit)
{
    cache_find(f->fetcher->all->cache, f->name, tag, digest, hit);
    if (hit->repo_private && !f->is_private)
        hit->stored = hit->linked = hit->tag_known = false;
}

void fetch_identify(const struct fetch *f, struct upstream_request *req)
{
    static const struct cred_identity nobody;
    const struct client *c = f->client;

    if (!f->is_private || !c)
        return;
    if (c->authorization) {
        req->authorization = c->authorization;
    } else if (client_is_for(c, f->site)) {
        req->identity = &c->id;
        req->whose = c->whose;
    } else if (f->site->config->client_access || !client_is_nobody(c)) {
        req->identity = &nobody;
        req->whose = "nobody";
    }
}

void fetch_call(struct fetch *f, const char *method, const char *path, const char *accept,
                bool (*on_head)(void *arg, const struct transfer_response *r),
                bool (*on_data)(void *arg, const void *data, size_t len),
                void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err))
{
    struct upstream_request req = {
        .method = method,
        .repository = f->path,
        .path = path,
        .accept = accept,
        .range_first = -1,
        .decode = true, /* everything but blobs goes this way */
        .bounded = true,
        .on_head = on_head,
        .on_data = on_data,
        .on_done = on_done,
        .arg = f,
    };

    req.optional = f->optional;
    req.lack_ms = f->tags.negative_ttl_ms;
    fetch_identify(f, &req);
    f->call = upstream_start(f->site->upstream, f->fetcher->engine, f->fetcher->loop, &req);
}

char *fetch_reference_path(const struct fetch *f, const char *kind, bool by_digest)
{
    char text[DIGEST_TEXT_MAX];

    return xasprintf("%s/%s", kind, by_digest ? digest_format(&f->digest, text) : f->tag);
}

/* ---- coming in ---- */

static char *make_relay_key(struct fetchers *all, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return xasprintf("relay %llu %s", (unsigned long long)atomic_fetch_add(&all->relays, 1), digest_format(d, text));
}

void fetch_name_relay(struct fetch *f)
{
    free(f->key);
    f->key = make_relay_key(f->fetcher->all, &f->digest);
}

static char *make_key(struct fetchers *all, const struct fetch_request *req)
{
    char text[DIGEST_TEXT_MAX];

    switch (req->kind) {
    case FETCH_BLOB:
        return xasprintf("blob %s", digest_format(req->digest, text));
    case FETCH_BLOB_RELAY:
        return make_relay_key(all, req->digest);
    case FETCH_BLOB_HEAD:
        return xasprintf("look %s%s %s", req->is_private ? "private " : "", req->name,
                         digest_format(req->digest, text));
    case FETCH_LISTING: /* what a registry lists may depend on who asks */
        return xasprintf("list %s %s %s", req->is_private ? req->client->whose : "", req->name, req->listing);
    case FETCH_ACCESS:
        return xasprintf("access %s %s", req->client->whose, req->name);
    default: /* a tag is looked up once, for who wants its manifest and who wants its digest alone */
        return xasprintf("%s%s %s %s",
                         req->tag[0]                   ? "tag"
                         : req->kind == FETCH_MANIFEST ? "get"
                                                       : "head",
                         req->is_private ? " private" : "", req->name,
                         req->tag[0] ? req->tag : digest_format(req->digest, text));
    }
}

static struct fetch *fetch_new(struct fetcher *fr, const char *key, const struct waiter *w)
{
    struct fetch *f = xcalloc(1, sizeof(*f));

    f->fetcher = fr;
    f->steps = w->kind == FETCH_BLOB || w->kind == FETCH_BLOB_RELAY ? &BLOB_STEPS
               : w->kind == FETCH_ACCESS                            ? &ACCESS_STEPS
               : w->kind == FETCH_LISTING                           ? &LISTING_STEPS
               : w->kind == FETCH_BLOB_HEAD                         ? &LOOK_STEPS
                                                                    : &MANIFEST_STEPS;
    f->key = xstrdup(key);
    f->kind = w->kind;
    f->site = site_ref(w->site);
    f->path = xstrdup(w->path);
    f->name = xstrdup(w->name);
    f->tag = xstrdup(w->tag);
    f->listing = xstrdup(w->listing);
    f->digest = w->digest;
    f->client = w->client ? client_ref(w->client) : NULL;
    f->is_private = w->is_private;
    f->anew = w->anew;
    f->tags = config_tags_for(fr->all->config, f->site->config, f->name, f->tag);
    f->sent = w->sent;
    f->result.size = -1;
    f->started_ms = clock_mono_ms();
    STAILQ_INIT(&f->waiters);
    STAILQ_INIT(&f->later);
    LIST_INSERT_HEAD(&fr->active, f, entry);
    return f;
}

/* The same is under way. */
static void join(struct fetch *f, struct waiter *w)
{
    w->joined = true;
    f->errand = f->errand || !w->done;
    if (w->kind == FETCH_BLOB)
        fetch_blob_join(f, w);
    else if (!w->done) /* a refreshing: it is being done */
        fetch_waiter_unref(w);
    else if (f->answered_early && !w->anew)
        fetch_answer_one(w, &f->early, NULL);
    else
        fetch_wait(f, w);
}

/* Upstream said a moment ago that it does not have it. What may be served after it was deleted is looked for. */
static bool is_absent(struct fetcher *fr, const struct waiter *w, const char *key, struct fetch_result *r)
{
    struct absence *a =
        w->kind == FETCH_BLOB || w->kind == FETCH_ACCESS || w->anew ? NULL : fetch_find_absence(fr, key);

    if (!a || (w->tag[0] && (config_tags_for(fr->all->config, w->site->config, w->name, w->tag).keep_deleted ||
                             cache_is_pinned(fr->all->cache, w->name, w->tag))))
        return false;
    fetch_recall_absence(a, &r->err);
    r->no_api = a->no_api;
    r->upstream_status = 404; /* as fetch_note_absence() was told */
    return true;
}

/* On the fetch loop. */
static void arrive(void *arg)
{
    struct waiter *w = arg;
    struct fetcher *fr = w->fetcher;
    struct fetch_result r = {.how = HOW_ERROR};
    const struct fetch_request req = {w->kind,    w->site,   w->path,       w->name, w->tag,  &w->digest,
                                      w->listing, w->client, w->is_private, w->sent, w->anew, w->keep};
    _cleanup_free_ char *key = make_key(fr->all, &req);
    struct fetch *f;

    ON_LOOP(fr->loop);
    if (w->left) {
        err_set(&r.err, ERR_CANCELLED, "its client is gone");
        fetch_answer_one(w, &r, NULL);
        return;
    }
    LIST_FOREACH(f, &fr->active, entry)
        if (strcmp(f->key, key) == 0)
            break;
    if (f) {
        join(f, w);
        return;
    }
    if (fr->stopping)
        err_set(&r.err, ERR_CANCELLED, "the cache is being stopped");
    if (fr->stopping || is_absent(fr, w, key, &r)) {
        fetch_answer_one(w, &r, NULL);
        return;
    }
    f = fetch_new(fr, key, w);
    f->errand = !w->done;
    if (w->done)
        fetch_wait(f, w);
    else
        fetch_waiter_unref(w);
    fetch_run(f, STEP_LOOKUP);
}

void fetch_again(struct waiter *w)
{
    loop_post(w->fetcher->loop, arrive, w);
}

struct waiter *fetch_begin(struct fetchers *all, struct loop *loop, const struct fetch_request *req,
                           void (*done)(void *arg, struct fetch_result *result), void *arg)
{
    struct waiter *w = xcalloc(1, sizeof(*w));
    _cleanup_free_ char *key = make_key(all, req);

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
    w->anew = req->anew;
    w->keep = req->keep;
    loop_post(w->fetcher->loop, arrive, w);
    return w;
}

void fetch_refresh(struct fetchers *all, struct loop *loop, const struct fetch_request *req)
{
    struct fetch_request anew = *req;

    anew.kind = FETCH_MANIFEST;
    anew.anew = true;
    fetch_begin(all, loop, &anew, NULL, NULL);
}

void fetchers_set_offline(struct fetchers *all, bool offline)
{
    atomic_store(&all->offline, offline);
}

bool fetchers_is_offline(const struct fetchers *all)
{
    return atomic_load(&all->offline);
}

bool fetchers_is_cut_off(const struct fetchers *all, const struct site *site)
{
    return !site->upstream || fetchers_is_offline(all);
}

/* ---- start and stop ---- */

struct fetchers *fetchers_new(struct cache *cache, const struct config *config, int loops, struct err *err)
{
    struct fetchers *all = xcalloc(1, sizeof(*all));

    all->cache = cache;
    all->config = config;
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

/* On the fetch loop: blobs are paused, the rest is let go. */
static void stop(void *arg)
{
    struct fetcher *fr = arg;
    struct fetch *f, *next;
    struct err err = {0};

    ON_LOOP(fr->loop);
    fr->stopping = true;
    err_set(&err, ERR_CANCELLED, "the cache is being stopped");
    for (f = LIST_FIRST(&fr->active); f; f = next) {
        next = LIST_NEXT(f, entry);
        if (f->call)
            upstream_cancel(f->call);
        f->call = NULL;
        if (f->ingest) {
            ingest_stop(f->ingest, &err, false); /* its `finished` ends the fetch, after the checkpoint */
            continue;
        }
        if (f->step == STEP_STORE || f->step == STEP_VERIFY)
            continue; /* the index's answer, the worker's, ends it */
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
        loop_post(all->list[i].loop, stop, &all->list[i]);
    for (int i = 0; i < all->count; i++)
        loop_join(all->list[i].loop);
    /* Tokens are asked for on behalf of whoever needs one: such a transfer is no fetch's own. */
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

void fetchers_free(struct fetchers *all)
{
    if (!all)
        return;
    for (int i = 0; i < all->count; i++) {
        struct fetcher *f = &all->list[i];
        fetch_forget_absences(f);
        fetch_forget_listings(f);
        transfer_engine_free(f->engine);
        loop_free(f->loop);
    }
    fetch_apis_clear(all);
    fetch_offers_clear(all);
    free(all);
}

uint64_t fetchers_mismatches(const struct fetchers *all)
{
    return atomic_load(&all->mismatches);
}
