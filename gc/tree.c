#include "gc/tree.h"

#include "base/array.h"
#include "base/lookup.h"

#include <string.h>

/* For blobs whose fetch was not measured: adopted, imported. */
static const double LATENCY_MS = 50, BYTES_PER_MS = 20000, COST_MIN_MS = 5;

struct node {
    struct digest digest;
    int64_t size; /* as its holder has it */
    size_t lost;  /* holders that would go */
    bool goes, done;
};

/* Nodes in the order in which they were met. */
struct tree {
    struct node *list;
    size_t count, cap, most;
    struct lookup places;
    bool spares; /* what is leased stays */
};

struct node_key {
    const struct tree *tree;
    const struct digest *digest;
};

static bool is_node(const void *arg, uint32_t place)
{
    const struct node_key *k = arg;

    return digest_eq(&k->tree->list[place].digest, k->digest);
}

/* The node of a digest, made if need be; NULL when the tree is as large as it may get. */
static struct node *node_of(struct tree *tree, const struct digest *d)
{
    uint64_t hash = lookup_hash_digest(d);
    uint32_t place = lookup_find(&tree->places, hash, is_node, &(struct node_key){tree, d});

    if (place != LOOKUP_NONE)
        return &tree->list[place];
    if (tree->count == tree->most)
        return NULL;
    lookup_add(&tree->places, hash, (uint32_t)tree->count);
    *ARRAY_NEXT(tree->list, tree->count, tree->cap) = (struct node){.digest = *d};
    return &tree->list[tree->count++];
}

static bool lose_child(void *arg, const struct child *c)
{
    struct tree *tree = arg;
    struct node *n = c->role == CHILD_SUBJECT ? NULL : node_of(tree, &c->digest);

    if (n) {
        n->lost++;
        n->size = c->size;
    }
    return true;
}

struct held {
    bool by_manifest;
};

static bool tree_look(void *arg, const struct holder *h)
{
    struct held *held = arg;

    held->by_manifest = h->kind == 'm';
    return false; /* 'm' sorts before 'p' and 't': the first one tells */
}

static void tree_add(struct weight *w, const struct blob_row *row)
{
    double cost = row->cost_ms > 0 ? row->cost_ms : LATENCY_MS + (double)row->size / BYTES_PER_MS;

    w->blobs++;
    w->bytes += row->size;
    w->cost_ms += MAX(cost, COST_MIN_MS);
}

static void tree_miss(struct index_txn *t, const struct tree *tree, struct weight *w)
{
    struct blob_row row;

    for (size_t i = 0; i < tree->count; i++) {
        const struct node *n = &tree->list[i];
        if (!n->done && n->size > 0 && rows_references(t, &n->digest) <= n->lost && !rows_get_blob(t, &n->digest, &row))
            w->missing += n->size;
    }
}

/* A node that goes no longer holds its children; those that nothing else holds go too, and so on: the list is gone
 * through until nothing changes, since a node may lose its last holder after it was passed. */
static void tree_settle(struct index_txn *t, struct cache *cache, struct tree *tree, struct weight *w)
{
    struct blob_row row;

    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < tree->count; i++) {
            struct node *n = &tree->list[i];
            if (n->done || !rows_get_blob(t, &n->digest, &row))
                continue;
            if (!n->goes && (n->lost == 0 || rows_references(t, &n->digest) > n->lost))
                continue;
            bool leased = cache_is_in_use(cache, &n->digest);
            w->leased = w->leased || leased;
            if (leased && tree->spares)
                continue;
            n->goes = n->done = true;
            tree_add(w, &row);
            if (row.flags & BLOB_MANIFEST)
                rows_each_child(t, &n->digest, lose_child, tree);
            changed = true;
        }
    }
}

/* `goes`: whether the root loses its last holder. */
static void tree_weigh_root(struct index_txn *t, struct cache *cache, const struct digest *root, bool goes,
                            struct weight *w)
{
    struct tree tree = {.most = TREE_MAX};

    memset(w, 0, sizeof(*w));
    node_of(&tree, root)->goes = goes;
    tree_settle(t, cache, &tree, w);
    for (size_t i = 0; i < tree.count; i++)
        w->shared = w->shared || (!tree.list[i].goes && tree.list[i].lost > 0);
    w->shared = w->shared || !goes;
    tree_miss(t, &tree, w);
    free(tree.list);
    lookup_free(&tree.places);
}

void tree_weigh(struct index_txn *t, struct cache *cache, const struct digest *root, struct weight *w)
{
    struct held held = {0};

    rows_each_holder(t, root, tree_look, &held);
    tree_weigh_root(t, cache, root, !held.by_manifest, w);
}

void tree_weigh_name(struct index_txn *t, struct cache *cache, uint64_t repo, const char *tag,
                     const struct digest *root, struct weight *w)
{
    size_t own = rows_pinned(t, repo, tag) ? 2 : 1;

    tree_weigh_root(t, cache, root, rows_references(t, root) <= own, w);
}

void tree_weigh_all(struct index_txn *t, struct cache *cache, const struct tree_root *roots, size_t count,
                    struct weight *w)
{
    struct tree tree = {.most = SIZE_MAX, .spares = true};

    memset(w, 0, sizeof(*w));
    for (size_t i = 0; i < count; i++)
        node_of(&tree, &roots[i].digest)->lost += roots[i].lost;
    tree_settle(t, cache, &tree, w);
    free(tree.list);
    lookup_free(&tree.places);
}

struct policy_item tree_item(const struct digest *d, const struct blob_row *root, const struct weight *w)
{
    struct policy_item item = {
        .clock = root->clock, .used = root->used, .uses = root->uses, .bytes = w->bytes, .cost_ms = w->cost_ms};

    memcpy(&item.id, (const uint8_t *)digest_key(d) + 1, sizeof(item.id)); /* behind the algorithm */
    return item;
}
