/* ring.h - which nodes are the homes of a blob, or of a tag: rendezvous hashing (Thaler and Ravishankar, 1998). Pure
 * functions.
 *
 * Each node has a score for each key; in the order of the scores, the first is the key's home, the second is its home
 * while the first is away, and so on: when a node comes or goes, only its own keys move. A large blob is striped: its
 * ranges (ring_stripe()) belong to the first RING_HOMES_MAX nodes in turn, so that no node's link is the limit.
 *
 *     stripe    0   1   2   3   4   5   6  ...       of three nodes, in the order of their scores for the digest
 *     home      a   b   c   a   b   c   a
 *     then      b   c   a   c   a   b   b            while the home is away: spread over all the others
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
/* Which of `count` ranked nodes is asked for this stripe, in the given attempt (from 0). */
size_t ring_home(size_t count, int64_t stripe, size_t attempt);

#endif
