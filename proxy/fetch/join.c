/* The clients of a blob that is under way: those that join, and what happens when none is left. */
#include "proxy/fetch/blob.h"

#include "base/assert.h"
#include "base/log.h"

#include <event2/event.h>
#include <string.h>

static void blob_proved_elsewhere(void *arg, struct fetch_result *r)
{
    struct fetch_waiter *w = arg;

    if (r->err.code != ERR_OK) {
        fetch_answer_one(w, r, NULL);
        return;
    }
    w->proved = true;
    cache_link(w->fetcher->all->cache, w->want.name, &w->want.digest, w->want.is_private);
    fetch_again(w);
}

/* A blob of one repository is not another's without proof: a manifest of it names the blob, or its registry answers a
 * HEAD with 200. */
static void blob_prove_for(struct fetch_waiter *w)
{
    struct fetch_want head = w->want;

    head.kind = FETCH_BLOB_HEAD;
    head.force = head.keep = false;
    fetch_begin(w->fetcher->all, w->fetcher->loop, &head, blob_proved_elsewhere, w);
}

static bool blob_is_for_everybody(const struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);

    return !f->want.is_private || (b->ingest && ingest_is_public(b->ingest));
}

/* Whether w's repository is known to contain the blob. */
static bool is_known_to_have(const struct fetch *f, const struct fetch_waiter *w)
{
    struct cache *c = fetch_cache(f);

    return (blob_is_for_everybody(f) && cache_is_linked(c, w->want.name, &w->want.digest)) ||
           ingests_part_is_of(cache_ingests(c), &w->want.digest, w->want.name);
}

/* Whether what is missing of the piece comes from the registry, or, for a node that was `named` this one, from another
 * node that has begun to send it. */
static bool blob_is_on_way(const struct blob_fetch *b, const struct fetch_piece *p, bool named)
{
    const struct blob_source *s;
    int64_t first, end;

    if (ingest_is_stopping(b->ingest) || ingest_size(b->ingest) < 0 ||
        !ingest_gap(b->ingest, MAX(p->first, (int64_t)0), &first, &end))
        return false;
    TAILQ_FOREACH(s, &b->sources, entry)
        if (s->at <= first && p->last < s->end && (blob_source_is_registry(s) || (named && s->brought > 0)))
            return true;
    return false;
}

static void blob_lack(struct fetch *f, struct fetch_waiter *w)
{
    struct fetch_result none = {.how = HOW_ERROR};

    ON_LOOP(f->fetcher->loop);
    err_set(&none.err, ERR_NOT_FOUND, "a blob of %s: it is not here", w->want.name);
    fetch_answer_one(w, &none, NULL);
}

/* Another node asks for what is here alone; or any other joins what began for such a one, and begins after it. */
static void blob_join_have(struct fetch *f, struct fetch_waiter *w)
{
    struct blob_fetch *b = blob_of(f);

    if (!w->want.have) {
        STAILQ_INSERT_TAIL(&f->later, w, entry);
        return;
    }
    if (b->ingest && !ingest_is_stopping(b->ingest) && blob_answer_partial(f, w))
        return;
    if (b->ingest && b->waiters_follow && blob_is_on_way(b, &w->want.piece, w->want.named)) {
        struct fetch_result r = {.how = blob_how(f), .digest = f->digest, .size = ingest_size(b->ingest)};
        fetch_answer_one(w, &r, b->ingest);
        return;
    }
    blob_lack(f, w);
}

void blob_join(struct fetch *f, struct fetch_waiter *w)
{
    struct blob_fetch *b = blob_of(f);
    bool same = strcmp(f->want.name, w->want.name) == 0;

    ON_LOOP(f->fetcher->loop);
    /* Another registry's bytes are not waited for: it may be slow, or lie. And what is arriving under a client's
     * identity is for its repository, or for others of that registry if that proves it. Any other request gets a fetch
     * of its own, without caching. */
    if (strcmp(f->want.site->host, w->want.site->host) != 0 || (same && f->want.is_private && !w->want.is_private)) {
        w->joined = false;
        if (w->want.keep) { /* it wants the blob cached: it starts again, with a HEAD, when it is */
            STAILQ_INSERT_TAIL(&f->later, w, entry);
            return;
        }
        w->want.kind = FETCH_BLOB_RELAY;
        free(w->key);
        w->key = fetch_key(w->fetcher->all, &w->want);
        fetch_again(w);
        return;
    }
    if (!same && !w->proved && !is_known_to_have(f, w)) {
        if (w->want.have) /* the registry is not asked for it */
            blob_lack(f, w);
        else
            blob_prove_for(w);
        return;
    }
    if (w->want.have || (f->want.have && !b->waiters_follow)) {
        blob_join_have(f, w);
        return;
    }
    if (!w->want.ahead) {
        b->ahead = false;
        b->whole = b->whole || !w->want.piece.given;
        b->kept = b->kept || w->want.keep;
    }
    if (!same && b->ingest)
        ingest_also_link(b->ingest, w->want.name, PROOF_HEAD, w->want.is_private);
    if (same && w->want.is_private && w->want.client)
        fetch_offer(f->fetcher->all, w->want.name, w->want.client);
    if (b->ingest && b->source_count == 0 && fetch_is_offline(f)) { /* no more of it will come */
        struct fetch_result none = {.how = HOW_ERROR};
        err_set(&none.err, ERR_NOT_FOUND, "a blob of %s: this part of it is not in the cache, and %s", w->want.name,
                fetch_why_offline(f));
        if (!blob_answer_partial(f, w))
            fetch_answer_one(w, &none, NULL);
        return;
    }
    if (b->unasked && b->ingest && b->source_count == 0 && !ingest_is_stopping(b->ingest) && blob_answer_partial(f, w))
        return;
    enum ingest_state state = b->ingest ? ingest_state(b->ingest) : INGEST_RECEIVING;
    if (b->waiters_follow && !ingest_is_stopping(b->ingest) && state != INGEST_FAILED && state != INGEST_PAUSED) {
        /* The fetch's own result may be of an attempt that failed and is being repeated. */
        struct fetch_result r = {.how = blob_how(f), .digest = f->digest, .size = ingest_size(b->ingest)};
        const struct fetch_want asked = {.hops = w->want.hops, .size = w->want.size, .piece = w->want.piece};
        if (w->want.hops == 0)
            blob_striped_expect(f);
        fetch_answer_one(w, &r, b->ingest); /* it may be freed at once */
        blob_striped_note_asked(f, &asked);
    } else {
        fetch_wait(f, w);
        blob_striped_note_asked(f, &w->want);
    }
}

/* ---- leaving ---- */

bool blob_is_wanted(const struct fetch *f)
{
    const struct blob_fetch *b = blob_of(f);

    return b->question || (b->ingest && ingest_followers(b->ingest) > 0);
}

/* Most of it is here: the rest is fetched, too. Not of a blob of unknown size. */
static bool blob_is_nearly_whole(const struct fetch *f)
{
    const struct blob_fetch *b = blob_of(f);
    int64_t size = ingest_size(b->ingest);

    return !blob_is_relay(f) && size > 0 && blob_is_whole(f) && ingest_received(b->ingest) * 2 >= size;
}

bool blob_abandon(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);

    ON_LOOP(f->fetcher->loop);
    if (!b->ingest || blob_is_nearly_whole(f))
        return b->ingest;
    if (f->want.kind != FETCH_BLOB_RELAY)
        log_info("no client waits for a blob of %s any more: paused at %lld of %lld bytes", f->want.name,
                 (long long)ingest_received(b->ingest), (long long)ingest_size(b->ingest));
    blob_sources_cancel(b);
    if (f->call)
        upstream_cancel(f->call);
    f->call = NULL;
    if (b->retry)
        event_del(b->retry);
    if (b->other_client)
        event_del(b->other_client);
    b->paused = true;
    ingest_stop(b->ingest, NULL, false);
    return true;
}

/* Of another repository; or of a client of this node, where another node has asked first, for a range by a size that
 * may be wrong. */
static bool asks_otherwise(const struct fetch *f, const struct fetch_waiter *w)
{
    return strcmp(w->want.name, f->want.name) != 0 || (f->want.hops > 0 && w->want.hops == 0);
}

void blob_let_others_try(struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    if (!f->fetcher->stopping)
        fetch_part_with(f, asks_otherwise, fetch_begin_again);
}
