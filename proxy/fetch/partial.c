/* Pieces of a blob that is not whole: what is here is served without the registry, offline too.
 *
 * A part on the disk is of public content alone (ingest_stop() drops others), and of one registry (ingest_begin()). A
 * repository of it that is known to contain the blob, by a manifest or by its registry's answer, may have of it what is
 * here. The first range that is missing is requested from the registry as of any other blob. Its size is known without.
 */
#include "proxy/fetch/blob.h"

#include "base/assert.h"

/* Whether all of the piece is here. The ingest's size is known. */
static bool has_piece(const struct blob_fetch *b, const struct fetch_piece *p)
{
    int64_t size = ingest_size(b->ingest), first, end;
    int64_t from = p->first >= 0 ? p->first : MAX(size - p->last, (int64_t)0);
    int64_t to = p->first >= 0 ? MIN(p->last + 1, size) : size;

    return size > 0 && from < to && (!ingest_gap(b->ingest, from, &first, &end) || first >= to);
}

static void answer_partial(struct fetch *f, struct fetch_waiter *w)
{
    const struct fetch_result r = {.how = HOW_PARTIAL, .digest = f->digest, .size = ingest_size(blob_of(f)->ingest)};

    w->joined = false;
    fetch_answer_one(w, &r, blob_of(f)->ingest);
}

bool blob_answer_partial(struct fetch *f, struct fetch_waiter *w)
{
    struct blob_fetch *b = blob_of(f);

    ON_LOOP(f->fetcher->loop);
    if (!b->ingest || !w->want.piece.given || w->want.keep || !has_piece(b, &w->want.piece))
        return false;
    answer_partial(f, w);
    return true;
}

/* A repository that the client may read is known to contain it. */
static bool is_open_and_linked(const struct fetch *f)
{
    return !f->want.is_private && !f->hit.repo_private && cache_is_linked(fetch_cache(f), f->want.name, &f->digest);
}

int64_t fetch_partial_size(const struct fetch *f)
{
    return is_open_and_linked(f) ? ingests_size_of(cache_ingests(fetch_cache(f)), &f->digest) : -1;
}

bool blob_may_be_partial(const struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    return !STAILQ_EMPTY(&f->waiters) && !blob_is_relay(f) && f->want.piece.given && !f->want.keep &&
           !blob_of(f)->ingest && ingests_has_part(cache_ingests(fetch_cache(f)), &f->digest) && is_open_and_linked(f);
}

bool blob_begin_partial(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    struct fetch_waiter *w;

    ON_LOOP(f->fetcher->loop);
    ingest_also_link(b->ingest, f->want.name, PROOF_HEAD, false);
    if (!has_piece(b, &f->want.piece))
        return false;
    ingest_touch(b->ingest);
    b->waiters_follow = b->unasked = true;
    while ((w = fetch_first_waiter(f)))
        answer_partial(f, w);
    return true;
}
