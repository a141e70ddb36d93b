/* What becomes of a blob's questions to other nodes and the bucket: those that fail, those that lie, and what other
 * nodes ask of this one meanwhile. */
#include "proxy/fetch/blob.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

enum { DISTRUST_MS = 10 * 60 * 1000 };

/* ---- whose it is ---- */

void blob_source_prove(const struct blob_source *s)
{
    const struct fetch *f = s->fetch;
    bool from_bucket = s->choice.from == STRIPE_BUCKET;
    bool by_bytes = blob_source_is_registry(s) || from_bucket || cluster_is_encrypted(f->fetcher->all->cluster);

    ON_LOOP(f->fetcher->loop);
    if (!from_bucket || f->want.is_private)
        ingest_also_link(blob_of(s->fetch)->ingest, f->want.name, by_bytes ? PROOF_BYTES : PROOF_HEAD,
                         f->want.is_private);
}

enum fetch_how blob_how(const struct fetch *f)
{
    const struct blob_fetch *b = blob_of(f);
    const struct blob_source *s = TAILQ_FIRST(&b->sources);
    enum stripe_from from = STRIPE_REGISTRY;

    if (b->has_opened)
        from = b->opened;
    else if (s && !blob_source_is_registry(s)) /* it has been asked: the size was known before */
        from = s->choice.from;
    return from == STRIPE_REGISTRY ? HOW_MISS : from == STRIPE_BUCKET ? HOW_SHARED : HOW_PEER;
}

/* ---- wrong bytes ---- */

void blob_striped_distrust(struct fetch *f)
{
    struct fetchers *all = f->fetcher->all;
    struct blob_fetch *b = blob_of(f);

    ON_LOOP(f->fetcher->loop);
    pthread_mutex_lock(&all->distrust_lock);
    all->distrusted[all->distrusted_next++ % DISTRUSTED_MAX] =
        (struct distrusted){f->digest, clock_mono_ms() + DISTRUST_MS};
    pthread_mutex_unlock(&all->distrust_lock);
    for (int i = 0; i < b->giver_count; i++) /* which of several it was is not known */
        if (b->giver_count == 1)
            peer_note_refusal(b->givers[i], "its bytes were wrong");
        else
            peer_note_failure(b->givers[i], "its bytes, or those of others, were wrong");
    if (b->bucket)
        bucket_note_wrong(cluster_bucket(all->cluster), &b->bucket_name);
    log_limited_about(LOG_LEVEL_ERROR, "wrong bytes from nodes", f->want.site->host,
                      "a blob of %s: what other nodes or the bucket sent was wrong; its registry alone is asked again",
                      f->want.name);
}

/* ---- other nodes that ask this one ---- */

void blob_striped_note_asked(struct fetch *f, const struct fetch_want *want)
{
    const struct blob_fetch *b = blob_of(f);

    if (!blob_striped_note_hops(f, want) || b->resting || b->paused || f->fetcher->stopping)
        return;
    if (b->waiters_follow)
        blob_sources_plan(f);
    else if (b->source_count == 0)
        fetch_run(f, STEP_ASK);
}

/* ---- failures ---- */

void blob_striped_wrong_size(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);

    ON_LOOP(f->fetcher->loop);
    err_set(&f->result.err, ERR_DIGEST, "a blob of %s: another node has told a wrong size", f->want.name);
    blob_sources_cancel(b);
    ingest_stop(b->ingest, &f->result.err, true); /* blob_finished() goes on */
}

static int nodes_place(const struct peer_view *v, const struct peer *p)
{
    for (int i = 0; i < v->count; i++)
        if (v->list[i] == p)
            return i;
    return -1;
}

/* A home has named another node, or that one has failed, and the home is to answer itself: it goes on there. */
static bool nodes_go_elsewhere(struct blob_source *s)
{
    struct fetch *f = s->fetch;
    struct blob_fetch *b = blob_of(f);
    struct stripe_choice c = s->choice;
    bool is_named = s->elsewhere[0] && !c.named && !c.insist && c.from == STRIPE_PEER, further = s->further;
    struct peer *p = is_named ? peer_view_find(b->view, s->elsewhere) : NULL;

    blob_source_flush(s);
    int64_t first = s->at, end = s->ranged_to;
    if ((!is_named && !c.named) || first >= end || ingest_state(b->ingest) != INGEST_RECEIVING ||
        ingest_is_stopping(b->ingest) || f->fetcher->stopping)
        return false;
    int home = is_named ? c.node : c.other, other = p ? nodes_place(b->view, p) : c.node;
    c.named = p && !p->is_self && !peer_is_resting(p);
    c.insist = !c.named;
    c.node = c.named ? other : home;
    c.other = c.named ? home : other;
    blob_source_free(s);
    blob_striped_log(f, first, end, &c);
    blob_source_begin_at(f, first, end, further, &c);
    return true;
}

void blob_striped_failed(struct blob_source *s, const char *why)
{
    struct fetch *f = s->fetch;
    struct blob_fetch *b = blob_of(f);
    struct stripe_choice c = s->choice;
    size_t stripe = stripes_at(&b->map, MAX(s->first, 0));

    ON_LOOP(f->fetcher->loop);
    if (nodes_go_elsewhere(s))
        return;
    log_debug("a blob of %s: stripe %zu of %s failed: status %d, %s", f->want.name, stripe,
              s->peer ? s->peer->who.address : "the bucket", s->status, why);
    blob_source_flush(s);
    blob_source_free(s);
    if (c.from == STRIPE_BUCKET)
        b->bucket = false;
    else if (c.from == STRIPE_HAVE)
        b->lacked++;
    if (c.from != STRIPE_BUCKET)
        b->tried[stripe] = (uint8_t)MAX(b->tried[stripe], c.place + 1);
    b->failed += c.from == STRIPE_PEER;
    if (ingest_state(b->ingest) != INGEST_RECEIVING || ingest_is_stopping(b->ingest) || f->fetcher->stopping)
        return; /* blob_finished() goes on */
    if (b->waiters_follow)
        blob_sources_plan(f);
    else
        fetch_run(f, STEP_ASK);
}
