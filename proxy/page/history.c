#include "proxy/page/history.h"

#include "base/mem.h"

#include <stddef.h>
#include <string.h>

static void ring_begin(struct history_ring *r, int64_t step_s, int count, int64_t now_s)
{
    memset(r, 0, sizeof(*r));
    r->step_s = step_s;
    r->count = count;
    r->bucket = now_s / step_s;
}

/* The bucket of now; those that were passed over are empty. */
static struct history_sums *ring_turn(struct history_ring *r, int64_t now_s)
{
    int64_t bucket = MAX(now_s / r->step_s, r->bucket);

    if (bucket - r->bucket > r->count)
        r->bucket = bucket - r->count;
    while (r->bucket < bucket) {
        r->bucket++;
        r->sums[r->bucket % r->count] = (struct history_sums){0};
    }
    return &r->sums[r->bucket % r->count];
}

void history_begin(struct history *h, int64_t now_s, const struct history_sums *sums)
{
    h->last = *sums;
    ring_begin(&h->hour, 60, HISTORY_HOUR, now_s);
    ring_begin(&h->day, 1200, HISTORY_DAY, now_s);
}

/* A sum that shrank (a registry was removed) counts as unchanged. */
static uint64_t added(uint64_t before, uint64_t now)
{
    return now > before ? now - before : 0;
}

void history_note(struct history *h, int64_t now_s, const struct history_sums *sums)
{
    struct history_sums *const buckets[] = {ring_turn(&h->hour, now_s), ring_turn(&h->day, now_s)};

    for (size_t i = 0; i < ARRAY_LEN(buckets); i++) {
        struct history_sums *b = buckets[i];
        b->requests += added(h->last.requests, sums->requests);
        b->hits += added(h->last.hits, sums->hits);
        b->from_cache += added(h->last.from_cache, sums->from_cache);
        b->from_peers += added(h->last.from_peers, sums->from_peers);
        b->from_shared += added(h->last.from_shared, sums->from_shared);
        b->from_upstream += added(h->last.from_upstream, sums->from_upstream);
        b->fetched += added(h->last.fetched, sums->fetched);
    }
    h->last = *sums;
}

static json_t *column_json(const struct history_ring *r, size_t offset)
{
    json_t *list = json_array();

    for (int i = 1; i <= r->count; i++) {
        const char *at = (const char *)&r->sums[(r->bucket + i) % r->count] + offset;
        json_array_append_new(list, json_integer((json_int_t) * (const uint64_t *)at));
    }
    return list;
}

json_t *history_json(const struct history_ring *r)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "step", (json_int_t)r->step_s, "requests",
                     column_json(r, offsetof(struct history_sums, requests)), "hits",
                     column_json(r, offsetof(struct history_sums, hits)), "from_cache",
                     column_json(r, offsetof(struct history_sums, from_cache)), "from_peers",
                     column_json(r, offsetof(struct history_sums, from_peers)), "from_shared",
                     column_json(r, offsetof(struct history_sums, from_shared)), "from_upstream",
                     column_json(r, offsetof(struct history_sums, from_upstream)), "fetched",
                     column_json(r, offsetof(struct history_sums, fetched)));
}
