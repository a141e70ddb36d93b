/* model.h - the world of gc_model: the blobs that there are, what the model says of them, and how a cache is compared
 * with it. */
#ifndef ENTREPOT_TESTS_MODEL_H
#define ENTREPOT_TESTS_MODEL_H

#include "base/clock.h"
#include "gc/gc.h"
#include "tests/tools/model/life.h"

enum { LAYERS = 20, IMAGES = 14, BLOBS = LAYERS + IMAGES, TAGS = 10, REPOS = 2, GRACE_S = 100, CHILDREN = 6 };

/* What there is in this world; made from the seed. */
struct blob {
    struct digest digest;
    char data[600];
    size_t len;
    bool manifest;
    struct child children[CHILDREN]; /* of a manifest */
    int child[CHILDREN];             /* the same as indices */
    size_t count;
};

struct model {
    bool stored[BLOBS];
    int64_t used[BLOBS]; /* seconds */
    int tag[TAGS];       /* blob; -1 none */
    int64_t checked[TAGS];
    bool pinned[TAGS];
};

/* Outlives the process that works on the cache. */
struct shared {
    struct life life;
    struct model m;
    int64_t began_ms, clock_ms;
};

/* What a cache holds. */
struct seen {
    struct model m;
    size_t references[BLOBS], wrong;
    struct totals totals;
};

extern struct shared *S;
extern struct blob world[BLOBS];
extern struct cache *cache;
extern int leases[BLOBS]; /* of this process */
extern char names[TAGS][32];

/* Says what differs (of which blob; -1: of none) and ends the process. */
void fail(const char *what, int blob);
void make_blob(int i, uint64_t seed);
const char *repo_of(int tag);
/* Holders of a blob: manifests that name it, its stored subject, tags, pins. */
size_t references(const struct model *m, int blob);
/* What a collection does that lacks no room: to a fixed point. */
void model_sweep(struct model *m, int64_t cutoff);
/* The cache as it is; fails if its tables contradict each other. */
struct seen look(void);
/* Counts and totals of a cache are those of the model. */
void check_references(const struct seen *s, const struct model *m);
/* Cache and model are the same. */
void check_all(const struct model *m);

#endif
