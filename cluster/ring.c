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

static uint64_t stripe_score(uint64_t node, uint64_t key, size_t stripe)
{
    return ring_mix(node ^ ring_mix(key + (uint64_t)stripe * 0x9e3779b97f4a7c15ULL));
}

void ring_assign(const uint64_t *keys, size_t count, uint64_t key, size_t stripes, uint8_t *homes)
{
    size_t most = (stripes + count - 1) / count, load[RING_HOMES_MAX] = {0};

    for (size_t s = 0; s < stripes; s++) {
        size_t best = count;
        uint64_t best_score = 0;
        for (size_t i = 0; i < count; i++) {
            uint64_t score = stripe_score(keys[i], key, s);
            if (load[i] < most && (best == count || score > best_score)) {
                best = i;
                best_score = score;
            }
        }
        homes[s] = (uint8_t)best;
        load[best]++;
    }
}

size_t ring_other(const uint64_t *keys, size_t count, uint64_t key, size_t stripe, size_t home, size_t attempt)
{
    bool used[RING_HOMES_MAX] = {0};
    size_t best = home;

    for (size_t a = 0; a < attempt; a++) {
        if (a % (count - 1) == 0)
            for (size_t i = 0; i < count; i++)
                used[i] = i == home;
        uint64_t best_score = 0;
        best = home;
        for (size_t i = 0; i < count; i++) {
            uint64_t score = stripe_score(keys[i], key, stripe);
            if (!used[i] && (best == home || score > best_score)) {
                best = i;
                best_score = score;
            }
        }
        used[best] = true;
    }
    return best;
}
