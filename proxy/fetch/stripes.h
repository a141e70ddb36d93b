/* stripes.h - of whom a stripe of a blob is asked: a pure function of who its homes are, how far the question has come,
 * and what has failed so far.
 *
 *     this node's client asks      the home in its zone, or another node of the zone while that is away       hops 1
 *     that home is asked           the home among all nodes, if that is beyond the zone                       hops 2
 *     the home among all           who was the home before this node came, if it has it (`have`);
 *                                  the bucket; the registry
 *
 * A question goes one level further at most with each hop, so that it ends at a registry; the home among all goes there
 * by itself, also for its own clients, so that none comes back while nothing fails. What fails, or rests, is passed
 * over; after all of them comes the registry.
 */
#ifndef ENTREPOT_PROXY_FETCH_STRIPES_H
#define ENTREPOT_PROXY_FETCH_STRIPES_H

#include "cluster/ring.h"

enum {
    STRIPES_MAX = 4096, /* of a blob; what is behind belongs to the last one */
    STRIPE_TRIES = 2,   /* nodes of a level that are asked, one after the other */
};

/* The nodes that may be homes. */
struct stripe_level {
    size_t count;
    int nodes[RING_HOMES_MAX];     /* places in the view */
    uint64_t keys[RING_HOMES_MAX]; /* theirs */
    uint8_t *homes;                /* of each stripe: a place in `nodes` */
};

struct stripe_map {
    int self;
    uint64_t key;
    int64_t stripe; /* bytes of one */
    size_t stripes;
    bool one_zone;                         /* all nodes are in it */
    struct stripe_level zone, all, before; /* `before`: all without this node */
};

/* Sets it for a blob of `size` bytes; -1: not known, then there is one stripe. */
void stripes_make(struct stripe_map *m, const struct ring_node *nodes, int count, int self, uint64_t key, int64_t size);
void stripes_clear(struct stripe_map *m);
size_t stripes_at(const struct stripe_map *m, int64_t offset);
/* [*first, *end) of a stripe; the last one has no end: INT64_MAX. */
void stripes_range(const struct stripe_map *m, size_t stripe, int64_t *first, int64_t *end);

enum stripe_from { STRIPE_PEER, STRIPE_HAVE, STRIPE_BUCKET, STRIPE_REGISTRY };

struct stripe_now {
    size_t stripe;
    int hops;       /* with which nodes have asked this one for it; 0: none has */
    unsigned tried; /* how many places of the way have failed */
    bool have;      /* others may be asked for what they have */
    bool bucket;    /* the bucket may be asked */
    bool bucket_first;
    bool (*rests)(void *arg, int node);
    void *arg;
};

struct stripe_choice {
    enum stripe_from from;
    int node, hops;
    bool named, insist; /* cluster/ask.h; set by striped.c alone: so is the next one */
    int other;          /* a home that has named this node; with `insist`, one that it had named */
    unsigned place;     /* on the way: if it fails, `tried` is one more than that */
};

struct stripe_choice stripes_choose(const struct stripe_map *m, const struct stripe_now *now);

#endif
