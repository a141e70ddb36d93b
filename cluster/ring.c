#include "cluster/ring.h"

#include "base/mem.h"

/* The finalizer of MurmurHash3: without it, FNV's last bytes reach few of the upper bits. */
static uint64_t ring_mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 33;
}

uint64_t ring_hash(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3ULL;
    return ring_mix(h);
}

static uint64_t ring_score(const struct ring_node *n, uint64_t key)
{
    return ring_mix(n->key ^ ring_mix(key));
}

/* By insertion: `max` is small, and most nodes are not among the first. */
size_t ring_rank(const struct ring_node *nodes, size_t count, uint64_t key, int zone, int *ranked, size_t max)
{
    uint64_t scores[RING_HOMES_MAX];
    size_t n = 0;

    max = MIN(max, (size_t)RING_HOMES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (zone != RING_ANYWHERE && nodes[i].zone != zone)
            continue;
        uint64_t score = ring_score(&nodes[i], key);
        if (n == max && (max == 0 || score <= scores[n - 1]))
            continue;
        size_t at = n < max ? n++ : n - 1;
        for (; at > 0 && scores[at - 1] < score; at--) {
            scores[at] = scores[at - 1];
            ranked[at] = ranked[at - 1];
        }
        scores[at] = score;
        ranked[at] = (int)i;
    }
    return n;
}

int64_t ring_stripe(int64_t size)
{
    int64_t stripe = RING_STRIPE_MIN;

    while (stripe < RING_STRIPE_MAX && size / stripe >= RING_STRIPES)
        stripe *= 2;
    return stripe;
}

size_t ring_home(size_t count, int64_t stripe, size_t attempt)
{
    size_t k = (size_t)stripe, home = k % count;

    if (attempt == 0 || count == 1)
        return home;
    size_t others = count - 1, step = (k / count + attempt - 1) % others;
    return (home + 1 + step) % count;
}
