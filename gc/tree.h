/* tree.h - what evicting an image would free. Internal to this folder. */
#ifndef ENTREPOT_GC_TREE_H
#define ENTREPOT_GC_TREE_H

#include "cache/cache.h"
#include "gc/policy.h"

/* The blobs that would lose their last holder, if the tags of the root (or one of them) were removed. */
struct weight {
    size_t blobs;
    int64_t bytes;
    int64_t missing; /* of what only this tree needs and is not here (yet) */
    double cost_ms;  /* of fetching them again */
    bool shared;     /* other images need some of what the root needs */
    bool leased;     /* the root, or something it needs, is being served or brought in */
};

/* Weighs the tree under a stored manifest; looks at no more than TREE_MAX blobs. */
enum { TREE_MAX = 40000 };
void tree_weigh(struct index_txn *t, struct cache *cache, const struct digest *root, struct weight *w);
/* The same if one tag of the root went, and its other names stayed. */
void tree_weigh_name(struct index_txn *t, struct cache *cache, uint64_t repo, const char *tag,
                     const struct digest *root, struct weight *w);
/* What would go with several manifests, however many, that each lose so many of their tags and pins; what is leased
 * stays. */
struct tree_root {
    struct digest digest;
    size_t lost;
};
void tree_weigh_all(struct index_txn *t, struct cache *cache, const struct tree_root *roots, size_t count,
                    struct weight *w);
/* The image as policies see it. */
struct policy_item tree_item(const struct digest *d, const struct blob_row *root, const struct weight *w);

#endif
