/* Pieces of a blob that is not whole: what is here is served without the registry, offline too.
 *
 * The index has for which repositories of which registry a part was fetched (cache/ingest/part.c). They may have of it
 * what is here; of a public part also others of the registry that are known to contain the blob, by a manifest or by
 * their registry's answer. Who may read a private repository is decided before (proxy/registry/access.c), as for whole
 * blobs. The first range that is missing is requested from the registry as of any other blob. HEAD is answered with its
 * size, without asking.
 */
#include "proxy/fetch/blob.h"

#include "base/assert.h"

/* Whether all of the piece is here, and may be sent before the whole is verified. The ingest's size is known. */
static bool has_piece(const struct blob_fetch *b, const struct fetch_want *want)
{
    const struct fetch_piece *p = &want->piece;
    int64_t size = ingest_size(b->ingest), first, end;
    int64_t from = p->first >= 0 ? p->first : MAX(size - p->last, (int64_t)0);
    int64_t to = p->first >= 0 ? MIN(p->last + 1, size) : size;

    if (want->hops == 0 && ingest_is_unvouched(b->ingest))
        return false; /* it is held back */
    return size > 0 && from < to && (!ingest_gap(b->ingest, from, &first, &end) || first >= to);
}

static bool part_is_of(const struct fetch *f, const char *repo)
{
    return ingests_part_is_of(cache_ingests(fetch_cache(f)), &f->digest, repo);
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
    if (!b->ingest || !w->want.piece.given || w->want.keep || !has_piece(b, &w->want))
        return false;
    /* The fetch itself may be about to find out whether its repository contains the blob. */
    if (!b->proved && !part_is_of(f, w->want.name))
        return false;
    answer_partial(f, w);
    return true;
}

int64_t fetch_partial_size(const struct fetch *f)
{
    struct ingests *ingests = cache_ingests(fetch_cache(f));
    bool may_read = f->want.is_private || !f->hit.repo_private;

    if (may_read && part_is_of(f, f->want.name))
        return ingests_size_of_part(ingests, &f->digest);
    if (may_read && cache_is_linked(fetch_cache(f), f->want.name, &f->digest))
        return ingests_size_of_arriving(ingests, &f->digest);
    return -1;
}

bool blob_may_be_partial(const struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    return !STAILQ_EMPTY(&f->waiters) && !blob_is_relay(f) && (f->want.is_private || !f->hit.repo_private) &&
           f->want.piece.given && !f->want.keep && !blob_of(f)->ingest && part_is_of(f, f->want.name);
}

bool blob_begin_partial(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    struct fetch_waiter *w;

    ON_LOOP(f->fetcher->loop);
    blob_striped_begin(f);
    ingest_also_link(b->ingest, f->want.name, PROOF_HEAD, f->want.is_private);
    b->proved = true;
    if (!has_piece(b, &f->want))
        return false;
    ingest_touch(b->ingest);
    b->waiters_follow = b->unasked = true;
    while ((w = fetch_first_waiter(f)))
        answer_partial(f, w);
    return true;
}

/* ---- a piece that is requested, or not served as one ---- */

bool blob_piece_to_ask(const struct fetch *f, int64_t *first, int64_t *end)
{
    const struct blob_fetch *b = blob_of(f);
    const struct fetch_piece *p = &f->want.piece;
    int64_t size = ingest_size(b->ingest), to;

    ON_LOOP(f->fetcher->loop);
    if (!p->given || b->without_piece || blob_is_whole(f) || upstream_has_no_ranges(f->want.site->upstream))
        return false;
    *first = p->first >= 0 ? p->first : size >= 0 ? MAX(size - p->last, (int64_t)0) : -1;
    if (*first < 0) { /* the last bytes, and as many before as a segment may begin earlier */
        *end = p->last + INGEST_SEGMENT;
        return true;
    }
    to = p->first >= 0 ? p->last + 1 : size; /* of an open one: as large as can be */
    if (size >= 0) {
        bool missing = ingest_gap(b->ingest, *first, first, end) && *first < to;
        *end = missing ? MIN(*end, to) : *first;
        return true;
    }
    *first = *first / INGEST_SEGMENT * INGEST_SEGMENT;
    *end = to > INGEST_SIZE_MAX ? INT64_MAX : (to + INGEST_SEGMENT - 1) / INGEST_SEGMENT * INGEST_SEGMENT;
    return true;
}

/* A piece that is not within the blob: its beginning shows how large the blob is. Anything else, and if the beginning
 * is refused, too: the whole is asked for. */
bool blob_may_restart(struct fetch *f, bool outside, bool hinted)
{
    struct blob_fetch *b = blob_of(f);

    ON_LOOP(f->fetcher->loop);
    if (outside && hinted && f->want.piece.first != 0) {
        f->want.piece.first = f->want.piece.last = 0;
        return true;
    }
    if (b->restarted)
        return false;
    b->restarted = true;
    b->without_piece = b->without_piece || hinted;
    return true;
}

bool blob_needs_beginning(const struct fetch *f, int64_t size)
{
    const struct fetch_piece *p = &f->want.piece;
    int64_t first = p->first >= 0 ? p->first : MAX(size - p->last, (int64_t)0);

    ON_LOOP(f->fetcher->loop);
    return blob_is_relay(f) && p->given && !blob_of(f)->without_piece && (p->first < 0 || p->last + 1 >= size) &&
           size - first > size / 2;
}
