/* image_tree.h - an image as a tree of blobs: the manifest and all that it and its children name.
 *
 * A blob is shared if another image holds it too: one that `ls` lists under another name, be it with the very same
 * manifest or in an index that contains it. The functions work on a transaction and belong to its thread.
 */
#ifndef ENTREPOT_PROXY_ADMIN_IMAGE_TREE_H
#define ENTREPOT_PROXY_ADMIN_IMAGE_TREE_H

#include "base/lookup.h"
#include "cache/cache.h"

#include <jansson.h>

struct image_leaf {
    struct digest digest;
    bool stored, manifest, shared;
    bool needed;  /* other than as a blob that registries need not have (foreign layers) */
    int64_t size; /* bytes */
    int64_t part; /* bytes that are here of one that is not stored */
    /* of a manifest, image_describe.c's: it has been read; it could be; its config; it can be run from here */
    bool looked, readable, whole;
    struct digest config;
};

struct image_tree {
    struct digest root;
    uint64_t repo;
    char tag[REF_TAG_MAX + 1]; /* the image's own name; "": every tag of `repo` that points to the root is its own */
    struct image_leaf *list;   /* the root first */
    size_t count, cap;
    bool cut;             /* it has more leaves than are looked at */
    struct lookup places; /* of the leaves, by digest */
};

/* Sets the list of a tree whose root and name are set. */
void image_tree_grow(struct image_tree *tree, struct index_txn *t);
void image_tree_free(struct image_tree *tree);
/* NULL: not of this tree. Borrowed. */
struct image_leaf *image_tree_find(const struct image_tree *tree, const struct digest *d);
/* Of a tree whose root is an image: whether everything it needs is here. *sure is false if it has more than config and
 * layers, or the list is cut. */
bool image_tree_is_whole(const struct image_tree *tree, bool *sure);
/* The references of other images that hold a blob of this tree: some of them, each once. A new array. */
json_t *image_tree_sharers(const struct image_tree *tree, struct index_txn *t, const struct digest *d);

#endif
