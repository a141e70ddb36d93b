/* A blob from several sources: other nodes of the cluster and the bucket, beside its registry.
 *
 * The blob's stripes have homes (stripes.h). Of each stripe that is missing its home is asked, a few at a time; what
 * this node is the home of comes from the registry, for its own clients and for the nodes that ask. What fails is asked
 * of the next on the way, which ends at the registry: then everything is as without a cluster. Wrong bytes are found by
 * the digest; clients have got none of them by then (cache/ingest/ingest.h), and the blob is fetched again, from its
 * registry.
 */
#include "proxy/fetch/blob.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

enum {
    NODES_AT_ONCE = 6, /* exchanges with other nodes and the bucket, of one blob */
    LOOKED_AT = 256,   /* missing ranges, for the next thing to do */
    WAITING_MAX = 64,  /* clients' places that are looked at */
    LACKED_MAX = 2,    /* nodes that had nothing: no more are asked what they have */
};

/* ---- who is asked at all ---- */

bool fetchers_distrust(struct fetchers *all, const struct digest *d)
{
    bool found = false;

    pthread_mutex_lock(&all->distrust_lock);
    for (int i = 0; i < DISTRUSTED_MAX; i++)
        found = found || (digest_eq(&all->distrusted[i].digest, d) && all->distrusted[i].until_ms > clock_mono_ms());
    pthread_mutex_unlock(&all->distrust_lock);
    return found;
}

/* Private content goes between nodes over TLS alone. */
static bool striped_may_ask_nodes(const struct fetch *f)
{
    const struct cluster *c = f->fetcher->all->cluster;

    return cluster_asks(c, TIER_PEERS) && (!f->want.is_private || cluster_is_encrypted(c));
}

/* The bucket does not know whose a blob is: a manifest of this repository has to name it. */
static bool may_use_bucket(struct fetch *f)
{
    struct cluster *c = f->fetcher->all->cluster;
    struct digest *name = &blob_of(f)->bucket_name;

    if (f->want.is_private)
        bucket_name_private(f->want.name, &f->digest, name);
    else
        *name = f->digest;
    return cluster_bucket(c) && cluster_asks(c, TIER_SHARED) &&
           (!f->want.is_private || cluster_config(c)->shared.keep_private) &&
           cache_is_linked(fetch_cache(f), f->want.name, &f->digest) && bucket_may_have(cluster_bucket(c), name);
}

void blob_striped_begin(struct fetch *f)
{
    struct cluster *c = f->fetcher->all->cluster;
    struct blob_fetch *b = blob_of(f);

    ON_LOOP(f->fetcher->loop);
    if (!c || b->view || blob_is_relay(f) || fetchers_distrust(f->fetcher->all, &f->digest))
        return;
    b->bucket = may_use_bucket(f);
    struct peer_view *v = peers_view(cluster_peers(c));
    bool may_ask = v->count > 1 && striped_may_ask_nodes(f);
    if (may_ask || b->bucket)
        b->view = v;
    else
        peer_view_unref(v);
}

static void striped_unmap(struct blob_fetch *b)
{
    stripes_clear(&b->map);
    free(b->hops);
    free(b->tried);
    b->hops = b->tried = NULL;
    b->mapped = 0;
}

void blob_striped_note_giver(struct blob_fetch *b, struct peer *p)
{
    for (int i = 0; i < b->giver_count; i++)
        if (b->givers[i] == p)
            return;
    if (b->giver_count < GIVERS_MAX)
        b->givers[b->giver_count++] = peer_ref(p);
}

void blob_striped_clear(struct blob_fetch *b)
{
    while (b->giver_count > 0)
        peer_unref(b->givers[--b->giver_count]);
    striped_unmap(b);
    peer_view_unref(b->view);
    b->view = NULL;
}

/* For the size as far as it is known. What was tried of a smaller map was of its only stripe. */
static void striped_map(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    int64_t size = ingest_size(b->ingest);
    uint8_t hops = b->hops ? b->hops[0] : 0, tried = b->tried ? b->tried[0] : 0;

    size = size < 0 && f->want.size > 0 ? f->want.size : size;
    if (b->mapped == (size < 0 ? -1 : MAX(size, (int64_t)1)))
        return;
    bool grown = b->mapped == -1;
    striped_unmap(b);
    bool alone = !striped_may_ask_nodes(f);
    const struct ring_node *self = &b->view->nodes[b->view->self];
    if (alone)
        stripes_make(&b->map, self, 1, 0, digest_hash(&f->digest), size);
    else
        stripes_make(&b->map, b->view->nodes, b->view->count, b->view->self, digest_hash(&f->digest), size);
    b->mapped = size < 0 ? -1 : MAX(size, (int64_t)1);
    b->hops = xcalloc(b->map.stripes, 1);
    b->tried = xcalloc(b->map.stripes, 1);
    if (grown) {
        b->hops[0] = hops;
        b->tried[0] = tried;
    }
}

bool blob_striped_is_on(const struct fetch *f)
{
    const struct blob_fetch *b = blob_of(f);

    return b->view && !b->without_piece && (blob_is_whole(f) || f->want.hops > 0 || b->hops);
}

/* ---- whom ---- */

static bool node_rests(void *arg, int node)
{
    const struct blob_fetch *b = arg;

    return peer_is_resting(b->view->list[node]);
}

static struct stripe_choice striped_choose(const struct fetch *f, size_t stripe)
{
    struct blob_fetch *b = blob_of(f);
    const struct config_cluster *c = cluster_config(f->fetcher->all->cluster);

    if (b->hops[stripe] == 0 && !blob_is_whole(f)) /* pieces that clients check themselves: not from other nodes */
        return (struct stripe_choice){.from = STRIPE_REGISTRY, .node = -1};
    const struct stripe_now now = {
        .stripe = stripe,
        .hops = b->hops[stripe],
        .tried = b->tried[stripe],
        .have = b->lacked < LACKED_MAX,
        .bucket = b->bucket,
        .bucket_first = c->order[0] == TIER_SHARED,
        .rests = node_rests,
        .arg = b,
    };

    return stripes_choose(&b->map, &now);
}

static int registry_sources(const struct blob_fetch *b)
{
    const struct blob_source *s;
    int n = 0;

    TAILQ_FOREACH(s, &b->sources, entry)
        n += blob_source_is_registry(s);
    return n;
}

static bool has_place(const struct fetch *f, enum stripe_from from)
{
    const struct blob_fetch *b = blob_of(f);
    int registry = registry_sources(b);

    return from == STRIPE_REGISTRY ? registry < blob_registry_limit(f) : b->source_count - registry < NODES_AT_ONCE;
}

void blob_striped_log(const struct fetch *f, int64_t first, int64_t end, const struct stripe_choice *c)
{
    static const char *const from[] = {"", ", if it has it", "the bucket", "the registry"};
    const struct blob_fetch *b = blob_of(f);

    log_debug("a blob of %s: stripe %zu, %lld to %lld, of %s%s, hops %d", f->want.name, stripes_at(&b->map, first),
              (long long)first, (long long)end, c->node >= 0 ? b->view->list[c->node]->who.address : "", from[c->from],
              c->hops);
}

void blob_striped_ask_first(struct fetch *f, int64_t first, int64_t end)
{
    struct blob_fetch *b = blob_of(f);
    int64_t from, to;

    ON_LOOP(f->fetcher->loop);
    striped_map(f);
    blob_striped_note_hops(f, &f->want);
    size_t stripe = stripes_at(&b->map, first);
    struct stripe_choice c = striped_choose(f, stripe);
    stripes_range(&b->map, stripe, &from, &to);
    end = MIN(end, MIN(to, first + RING_STRIPE_MIN));
    blob_striped_log(f, first, end, &c);
    blob_source_begin_at(f, first, end, false, &c);
}

/* ---- what ---- */

static const struct blob_source *source_on_way(const struct blob_fetch *b, int64_t at)
{
    const struct blob_source *s;

    TAILQ_FOREACH(s, &b->sources, entry)
        if (s->at <= at && at < s->end)
            return s;
    return NULL;
}

/* The first range at or behind `from` that is missing and on nobody's way, within one stripe. */
static bool striped_gap(const struct blob_fetch *b, int64_t from, int64_t *first, int64_t *end)
{
    const struct blob_source *s;
    int64_t begin, to;

    while (ingest_gap(b->ingest, from, first, end)) {
        if ((s = source_on_way(b, *first))) {
            if (s->end == INT64_MAX)
                return false;
            from = MAX(s->end, from + INGEST_SEGMENT);
            continue;
        }
        stripes_range(&b->map, stripes_at(&b->map, *first), &begin, &to);
        *end = MIN(*end, to);
        TAILQ_FOREACH(s, &b->sources, entry)
            if (s->at > *first)
                *end = MIN(*end, s->at);
        return true;
    }
    return false;
}

/* Begins with [first, end), if there is place. */
static bool striped_take(struct fetch *f, int64_t first, int64_t end)
{
    struct blob_fetch *b = blob_of(f);
    struct stripe_choice c = striped_choose(f, stripes_at(&b->map, first));

    if (!has_place(f, c.from))
        return false;
    blob_striped_log(f, first, end, &c);
    blob_source_begin_at(f, first, end, registry_sources(b) > 0, &c);
    return true;
}

/* What clients and other nodes wait for. */
static bool striped_take_waited(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    struct ingest_span waiting[WAITING_MAX];
    int64_t size = ingest_size(b->ingest), first, end;
    bool whole = blob_is_whole(f);
    size_t count = ingest_waiting(b->ingest, waiting, WAITING_MAX, whole ? NULL : &(size_t){0});

    for (size_t k = 0; k < count; k++) {
        int64_t to = waiting[k].end >= size ? INT64_MAX
                                            : (waiting[k].end + INGEST_SEGMENT - 1) / INGEST_SEGMENT * INGEST_SEGMENT;
        for (int n = 0; n < 2 && striped_gap(b, n == 0 ? waiting[k].first : end, &first, &end) && first < to; n++)
            if (striped_take(f, first, whole ? end : MIN(end, to)))
                return true;
    }
    return false;
}

/* The first that is missing from `from` on, of which somebody has place for a question. */
static bool striped_take_from(struct fetch *f, int64_t from)
{
    const struct blob_fetch *b = blob_of(f);
    int64_t first, end;

    for (int n = 0; n < LOOKED_AT && striped_gap(b, from, &first, &end); n++, from = end)
        if (striped_take(f, first, end))
            return true;
        else if (end == INT64_MAX)
            return false;
    return false;
}

static int64_t striped_begin_of(const struct blob_fetch *b)
{
    uint64_t own = ring_hash(&b->view->nodes[b->view->self].key, sizeof(uint64_t)) ^ b->map.key;
    int64_t first, end;

    stripes_range(&b->map, (size_t)(own % b->map.stripes), &first, &end);
    return first;
}

bool blob_striped_step(struct fetch *f)
{
    struct blob_fetch *b = blob_of(f);
    int64_t from;

    ON_LOOP(f->fetcher->loop);
    striped_map(f);
    if (b->source_count == 0)
        ingest_listen(b->ingest);
    else if (clock_mono_ms() < b->held_ms || ingest_is_ahead(b->ingest))
        return false;
    if (striped_take_waited(f))
        return true;
    if (!blob_is_whole(f))
        return false;
    /* Each node has an order of its own, so that they do not all ask the same home at the same time. Not of a blob that
     * is sent to a client while it arrives. */
    bool own_order = ingest_is_unvouched(b->ingest) && ingest_size(b->ingest) <= INGEST_HELD_MAX;
    from = own_order ? striped_begin_of(b) : 0;
    return striped_take_from(f, from) || (from > 0 && striped_take_from(f, 0));
}

/* ---- other nodes that ask this one ---- */

/* What this node asks of another on the same level is not waited for: that one may wait for us. */
static bool striped_turn(struct blob_fetch *b, size_t stripe, int hops)
{
    struct blob_source *s, *next;
    bool any = false;

    for (s = TAILQ_FIRST(&b->sources); s; s = next) {
        next = TAILQ_NEXT(s, entry);
        if (s->choice.from != STRIPE_PEER || s->choice.hops > hops || s->at >= s->end ||
            stripes_at(&b->map, MAX(s->at, (int64_t)0)) != stripe)
            continue;
        blob_source_flush(s);
        blob_source_free(s);
        any = true;
    }
    return any;
}

bool blob_striped_note_hops(struct fetch *f, const struct fetch_want *want)
{
    struct blob_fetch *b = blob_of(f);
    bool turned = false;

    ON_LOOP(f->fetcher->loop);
    if (want->hops == 0 || !b->view || !b->ingest)
        return false;
    f->want.size = f->want.size > 0 ? f->want.size : want->size;
    striped_map(f);
    int64_t last = MIN(want->piece.last, INGEST_SIZE_MAX);
    for (size_t k = stripes_at(&b->map, MAX(want->piece.first, 0)); k <= stripes_at(&b->map, last); k++) {
        if (b->hops[k] >= want->hops)
            continue;
        log_debug("a blob of %s: another node asks for stripe %zu, hops %d", f->want.name, k, want->hops);
        b->hops[k] = (uint8_t)want->hops;
        turned = striped_turn(b, k, want->hops) || turned;
    }
    return turned;
}

void blob_striped_expect(struct fetch *f)
{
    const struct blob_fetch *b = blob_of(f);
    int64_t first, end;

    ON_LOOP(f->fetcher->loop);
    if (blob_striped_is_on(f) && blob_is_whole(f) && ingest_gap(b->ingest, 0, &first, &end) && !source_on_way(b, first))
        ingest_note_unvouched(b->ingest);
}

/* ---- the bucket ---- */

void blob_striped_offer(struct fetch *f)
{
    struct cluster *c = f->fetcher->all->cluster;
    struct blob_fetch *b = blob_of(f);
    bool is_public = ingest_is_public(b->ingest);
    struct digest name = f->digest;

    ON_LOOP(f->fetcher->loop);
    if (!c || !cluster_bucket(c) || blob_is_relay(f) || (!is_public && !cluster_config(c)->shared.keep_private))
        return;
    if (!is_public)
        bucket_name_private(f->want.name, &f->digest, &name);
    bucket_offer(cluster_bucket(c), &f->digest, &name, ingest_size(b->ingest));
}
