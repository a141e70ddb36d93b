/* ring.h - which nodes are the homes of a blob, or of a tag: rendezvous hashing (Thaler and Ravishankar, 1998). Pure
 * functions.
 *
 * Each node has a score for each key; in the order of the scores, the first is the key's home, the second is its home
 * while the first is away, and so on: when a node comes or goes, only its own keys move. A large blob is striped: its
 * ranges (ring_stripe()) belong to the first RING_HOMES_MAX nodes, each to the one with the best score for it that has
 * not got its share yet (consistent hashing with bounded loads: Mirrokni, Thorup, Zadimoghaddam, 2016), so that no
 * node's link is the limit, and a node that comes or goes moves few.
 */
#ifndef ENTREPOT_CLUSTER_RING_H
#define ENTREPOT_CLUSTER_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RING_HOMES_MAX = 64,       /* nodes that the stripes of one blob belong to */
    RING_STRIPE_MIN = 4 << 20, /* bytes */
    RING_STRIPE_MAX = 16 << 20,
    RING_STRIPES = 64,  /* how many a blob is to have, between these */
    RING_ANYWHERE = -1, /* as a zone: all of them */
};

struct ring_node {
    uint64_t key; /* ring_hash() of what it is known by */
    int zone;     /* a number, 0 or more */
};

/* FNV-1a, mixed: the same on every node. */
uint64_t ring_hash(const void *data, size_t len);
/* The nodes of `zone` in the order of their scores for `key`: the first `max` of them, as places in `nodes`. Returns
 * how many there are. */
size_t ring_rank(const struct ring_node *nodes, size_t count, uint64_t key, int zone, int *ranked, size_t max);
/* Bytes of a stripe of a blob of this size: a power of two. */
int64_t ring_stripe(int64_t size);
/* The homes of the stripes of a blob with this key, among `count` nodes (at most RING_HOMES_MAX): places in `keys`. The
 * home of stripe 0 does not depend on how many there are. */
void ring_assign(const uint64_t *keys, size_t count, uint64_t key, size_t stripes, uint8_t *homes);
/* Where else the stripe is asked for, in the given attempt (from 1): by its scores, without its home. Not to be called
 * with fewer than two nodes. */
size_t ring_other(const uint64_t *keys, size_t count, uint64_t key, size_t stripe, size_t home, size_t attempt);

#endif
