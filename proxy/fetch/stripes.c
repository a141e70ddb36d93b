#include "proxy/fetch/stripes.h"

#include "base/mem.h"

#include <string.h>

/* ---- the map ---- */

static void level_make(struct stripe_level *l, const struct ring_node *nodes, int count, uint64_t key, int zone,
                       int without)
{
    int ranked[RING_HOMES_MAX];
    size_t n = ring_rank(nodes, (size_t)count, key, zone, ranked, RING_HOMES_MAX);

    l->count = 0;
    for (size_t i = 0; i < n; i++) {
        if (ranked[i] == without)
            continue;
        l->nodes[l->count] = ranked[i];
        l->keys[l->count++] = nodes[ranked[i]].key;
    }
}

static void level_assign(struct stripe_level *l, uint64_t key, size_t stripes)
{
    l->homes = xmalloc(stripes);
    if (l->count > 0)
        ring_assign(l->keys, l->count, key, stripes, l->homes);
}

void stripes_make(struct stripe_map *m, const struct ring_node *nodes, int count, int self, uint64_t key, int64_t size)
{
    memset(m, 0, sizeof(*m));
    m->self = self;
    m->key = key;
    m->stripe = size < 0 ? RING_STRIPE_MIN : ring_stripe(size);
    m->stripes = size <= 0 ? 1 : (size_t)MIN((size - 1) / m->stripe + 1, (int64_t)STRIPES_MAX);
    m->one_zone = true;
    for (int i = 0; i < count; i++)
        m->one_zone = m->one_zone && nodes[i].zone == nodes[self].zone;
    level_make(&m->zone, nodes, count, key, nodes[self].zone, -1);
    level_make(&m->all, nodes, count, key, RING_ANYWHERE, -1);
    level_make(&m->before, nodes, count, key, RING_ANYWHERE, self);
    level_assign(&m->zone, key, m->stripes);
    level_assign(&m->all, key, m->stripes);
    level_assign(&m->before, key, m->stripes);
}

void stripes_clear(struct stripe_map *m)
{
    free(m->zone.homes);
    free(m->all.homes);
    free(m->before.homes);
    memset(m, 0, sizeof(*m));
}

size_t stripes_at(const struct stripe_map *m, int64_t offset)
{
    return (size_t)MIN(offset / m->stripe, (int64_t)m->stripes - 1);
}

void stripes_range(const struct stripe_map *m, size_t stripe, int64_t *first, int64_t *end)
{
    *first = (int64_t)stripe * m->stripe;
    *end = stripe + 1 == m->stripes ? INT64_MAX : *first + m->stripe;
}

/* ---- the way ---- */

/* The node that is asked at this level in the given attempt; -1: there is none. */
static int level_node(const struct stripe_map *m, const struct stripe_level *l, size_t stripe, size_t attempt)
{
    if (l->count == 0 || attempt >= l->count)
        return -1;
    size_t home = l->homes[stripe];
    return l->nodes[attempt == 0 ? home : ring_other(l->keys, l->count, m->key, stripe, home, attempt)];
}

static bool is_home_of_all(const struct stripe_map *m, size_t stripe)
{
    return level_node(m, &m->all, stripe, 0) == m->self;
}

/* The way, place by place. */
enum {
    PLACE_ZONE = 0,
    PLACE_ALL = PLACE_ZONE + STRIPE_TRIES,
    PLACE_HAVE = PLACE_ALL + STRIPE_TRIES,
    PLACE_BUCKET = PLACE_HAVE + STRIPE_TRIES,
    PLACE_BUCKET_FIRST = 31,
};

/* Looks for a node of one level. True: it is chosen. *is_home: this node itself takes the home's place. */
static bool choose_node(const struct stripe_map *m, const struct stripe_level *l, const struct stripe_now *now,
                        unsigned begin, bool *is_home, struct stripe_choice *c)
{
    for (unsigned a = 0; a < STRIPE_TRIES; a++) {
        int node = level_node(m, l, now->stripe, a);
        if (node < 0 || node == m->self) {
            *is_home = *is_home || node == m->self;
            return false;
        }
        if (begin + a < now->tried || now->rests(now->arg, node))
            continue;
        c->node = node;
        c->place = begin + a;
        return true;
    }
    return false;
}

static bool choose_bucket(const struct stripe_now *now, unsigned place, struct stripe_choice *c)
{
    if (!now->bucket || (place < PLACE_BUCKET_FIRST && now->tried > place))
        return false;
    *c = (struct stripe_choice){.from = STRIPE_BUCKET, .node = -1, .place = now->bucket_first ? now->tried : place};
    return true;
}

struct stripe_choice stripes_choose(const struct stripe_map *m, const struct stripe_now *now)
{
    struct stripe_choice c = {.from = STRIPE_PEER, .node = -1};
    bool home = now->hops >= 2 || is_home_of_all(m, now->stripe), zone_home = now->hops >= 1 || home, none = false;

    if (now->bucket_first && choose_bucket(now, PLACE_BUCKET_FIRST, &c))
        return c;
    c.hops = 1;
    if (!zone_home && choose_node(m, &m->zone, now, PLACE_ZONE, &zone_home, &c))
        return c;
    c.hops = 2;
    home = home || (zone_home && m->one_zone);
    if (!home && !m->one_zone && choose_node(m, &m->all, now, PLACE_ALL, &home, &c))
        return c;
    c.from = STRIPE_HAVE;
    if (home && now->have && choose_node(m, &m->before, now, PLACE_HAVE, &none, &c))
        return c;
    if (!now->bucket_first && choose_bucket(now, PLACE_BUCKET, &c))
        return c;
    return (struct stripe_choice){.from = STRIPE_REGISTRY, .node = -1, .place = PLACE_BUCKET + 1};
}
