#include "proxy/seen/feed.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/lookup.h"

#include <event2/event.h>
#include <string.h>

enum {
    FEED_BATCH = 32,
    FEED_RECENT = 256,
    FEED_MS = 100,
    FEED_BATCHES_MAX = 64,   /* that are on their way: beyond, what can be spared is dropped */
    FEED_BATCHES_END = 1024, /* and beyond these all: the pulls' loop does not keep up */
};

struct feed_batch {
    struct pull_feed *feed;
    int count;
    bool plain[FEED_BATCH];      /* a manifest that was here, sent whole: others alike are counted there */
    uint64_t hashes[FEED_BATCH]; /* of these */
    struct pull_request list[FEED_BATCH];
};

struct pull_feed {
    struct loop *from, *to;
    struct pulls *pulls;
    struct event *later;
    struct feed_batch *batch;     /* the loop's; NULL: nothing has been gathered */
    uint64_t recent[FEED_RECENT]; /* hashes of manifests that were posted a moment ago */
    int64_t recent_ms[FEED_RECENT];
    atomic_int under_way;
};

static void batch_take(void *arg)
{
    struct feed_batch *b = arg;
    struct pull_feed *f = b->feed;

    ON_LOOP(f->to);
    for (int i = 0; i < b->count; i++)
        pulls_take(f->pulls, &b->list[i]);
    free(b);
    atomic_fetch_sub(&f->under_way, 1);
}

void pull_feed_flush(struct pull_feed *f)
{
    struct feed_batch *b = f->batch;

    ON_LOOP(f->from);
    if (!b || b->count == 0)
        return;
    f->batch = NULL;
    event_del(f->later);
    atomic_fetch_add(&f->under_way, 1);
    loop_post(f->to, batch_take, b);
}

static void feed_turn(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    pull_feed_flush(arg);
}

struct pull_request *pull_feed_next(struct pull_feed *f)
{
    ON_LOOP(f->from);
    if (!f->batch) {
        f->batch = xmalloc(sizeof(*f->batch));
        f->batch->feed = f;
        f->batch->count = 0;
    }
    return &f->batch->list[f->batch->count];
}

/* Whether it was posted within the last second. */
static bool is_repeated(struct pull_feed *f, uint64_t hash)
{
    int64_t now = clock_mono_ms();
    size_t at = hash % FEED_RECENT;

    bool repeated = f->recent[at] == hash && now - f->recent_ms[at] < 1000;
    if (!repeated)
        f->recent_ms[at] = now;
    f->recent[at] = hash;
    return repeated;
}

static uint64_t feed_hash(const struct pull_request *r)
{
    return lookup_hash(r->name, strlen(r->name)) ^ lookup_hash(r->tag, strlen(r->tag)) * 7 ^
           lookup_hash_digest(&r->digest) * 31 ^ lookup_hash(r->client, strlen(r->client)) * 127 ^
           lookup_hash(r->agent, strlen(r->agent)) * 8191 ^ (uint64_t)r->head;
}

/* To the one that ended last. */
static void add_alike(struct pull_request *as, int64_t bytes, int64_t ended_ms)
{
    as->count++;
    as->bytes += bytes;
    as->duration_ms += ended_ms - as->ended_ms;
    as->ended_ms = ended_ms;
}

bool pull_feed_again(struct pull_feed *f, const struct pull_again *again)
{
    struct feed_batch *b = f->batch;
    const char *agent = again->agent ? again->agent : "";

    ON_LOOP(f->from);
    for (int i = b ? b->count - 1 : -1; i >= 0; i--) {
        struct pull_request *as = &b->list[i];
        if (!b->plain[i] || as->head != again->head || !digest_eq(&as->digest, again->digest) ||
            strcmp(as->tag, again->tag) != 0 || strcmp(as->name, again->name) != 0 ||
            strcmp(as->client, again->client) != 0 || strcmp(as->agent, agent) != 0)
            continue;
        add_alike(as, again->bytes, again->ended_ms);
        return true;
    }
    return false;
}

/* The same manifest, from the cache, to the same client: one entry says how often. */
static bool feed_merge(struct feed_batch *b, const struct pull_request *r, uint64_t hash)
{
    for (int i = b->count - 1; i >= 0; i--) {
        struct pull_request *as = &b->list[i];
        if (as->blob || b->hashes[i] != hash || strcmp(as->name, r->name) != 0 || strcmp(as->tag, r->tag) != 0)
            continue;
        add_alike(as, r->bytes, r->ended_ms);
        return true;
    }
    return false;
}

void pull_feed_add(struct pull_feed *f)
{
    struct feed_batch *b = f->batch;
    struct pull_request *r = pull_feed_next(f);
    bool plain =
        !r->blob && r->status == 200 && r->whole && !r->failure && r->from == PULL_FROM_CACHE && r->waited_ms < 0;
    uint64_t hash = plain ? feed_hash(r) : 0;

    r->count = 1;
    if (plain && feed_merge(b, r, hash))
        return;
    int under_way = atomic_load_explicit(&f->under_way, memory_order_relaxed);
    if (under_way >= (plain || r->begins ? FEED_BATCHES_MAX : FEED_BATCHES_END)) {
        free(r->failure);
        return;
    }
    bool wait = r->blob || (plain && is_repeated(f, hash));
    b->plain[b->count] = plain;
    b->hashes[b->count++] = hash;
    if (b->count == FEED_BATCH || !wait)
        pull_feed_flush(f);
    else if (b->count == 1)
        event_add(f->later, &(struct timeval){.tv_usec = FEED_MS * 1000});
}

struct pull_feed *pull_feed_new(struct loop *from, struct loop *to, struct pulls *pulls)
{
    struct pull_feed *f = xcalloc(1, sizeof(*f));

    f->from = from;
    f->to = to;
    f->pulls = pulls;
    f->later = event_new(loop_base(from), -1, 0, feed_turn, f);
    return f;
}

void pull_feed_free(struct pull_feed *f)
{
    if (!f)
        return;
    for (int i = 0; f->batch && i < f->batch->count; i++)
        free(f->batch->list[i].failure);
    free(f->batch);
    event_free(f->later);
    free(f);
}
