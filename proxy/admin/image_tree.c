#include "proxy/admin/image_tree.h"

#include "base/array.h"
#include "base/mem.h"

#include <string.h>

enum { LEAVES_MAX = 20000, SHARERS_MAX = 16, CLIMB_MAX = 4, HOLDERS_MAX = 1024 /* looked at for one blob */ };

struct leaf_key {
    const struct image_tree *tree;
    const struct digest *digest;
};

static bool is_leaf(const void *arg, uint32_t place)
{
    const struct leaf_key *k = arg;

    return digest_eq(&k->tree->list[place].digest, k->digest);
}

static uint32_t place_of(const struct image_tree *tree, const struct digest *d, uint64_t hash)
{
    return lookup_find(&tree->places, hash, is_leaf, &(struct leaf_key){tree, d});
}

struct image_leaf *image_tree_find(const struct image_tree *tree, const struct digest *d)
{
    uint32_t place = place_of(tree, d, lookup_hash_digest(d));

    return place == LOOKUP_NONE ? NULL : &tree->list[place];
}

bool image_tree_is_whole(const struct image_tree *tree, bool *sure)
{
    bool whole = tree->count > 0;

    *sure = !tree->cut;
    for (size_t i = 0; i < tree->count; i++) {
        *sure = *sure && (i == 0 || !tree->list[i].manifest);
        whole = whole && (tree->list[i].stored || !tree->list[i].needed);
    }
    return whole;
}

static void add_leaf(struct image_tree *tree, const struct digest *d, bool needed)
{
    uint64_t hash = lookup_hash_digest(d);
    uint32_t place = place_of(tree, d, hash);

    if (place != LOOKUP_NONE)
        tree->list[place].needed |= needed;
    tree->cut = tree->cut || (place == LOOKUP_NONE && tree->count == LEAVES_MAX);
    if (tree->cut || place != LOOKUP_NONE)
        return;
    lookup_add(&tree->places, hash, (uint32_t)tree->count);
    *ARRAY_NEXT(tree->list, tree->count, tree->cap) = (struct image_leaf){.digest = *d, .needed = needed};
    tree->count++;
}

void image_tree_free(struct image_tree *tree)
{
    free(tree->list);
    tree->list = NULL;
    tree->count = tree->cap = 0;
    lookup_free(&tree->places);
}

static bool tree_add_child(void *arg, const struct child *c)
{
    if (child_is_content(c))
        add_leaf(arg, &c->digest, c->role == CHILD_CONTENT);
    return true;
}

/* ---- other images that hold it ---- */

/* From a blob up to the tags that need it. */
struct tree_climb {
    const struct image_tree *tree;
    struct index_txn *t;
    bool through_tree;                                  /* also by way of the tree's own manifests */
    bool (*found)(void *arg, const struct holder *tag); /* false: that is enough */
    void *arg;
    /* where it is */
    struct digest at;
    int depth, looks;
    bool over;
};

static bool is_own_name(const struct tree_climb *c, const struct holder *h)
{
    return digest_eq(&c->at, &c->tree->root) && h->repo == c->tree->repo &&
           (!c->tree->tag[0] || strcmp(h->tag, c->tree->tag) == 0);
}

static bool climb_holder(void *arg, const struct holder *h)
{
    struct tree_climb *c = arg;
    const struct digest below = c->at;

    if (++c->looks > HOLDERS_MAX)
        return false;
    if (h->kind == 't' && !is_own_name(c, h)) {
        c->over = !c->found(c->arg, h);
    } else if (h->kind == 'm' && c->depth < CLIMB_MAX && (c->through_tree || !image_tree_find(c->tree, &h->manifest))) {
        c->at = h->manifest;
        c->depth++;
        rows_each_holder(c->t, &c->at, climb_holder, c);
        c->depth--;
        c->at = below;
    }
    return !c->over;
}

static bool note_found(void *arg, const struct holder *tag UNUSED)
{
    *(bool *)arg = true;
    return false;
}

struct tree_share {
    struct image_tree *tree;
    bool changed;
};

static bool share_child(void *arg, const struct child *child)
{
    struct tree_share *s = arg;
    struct image_leaf *l = child_is_content(child) ? image_tree_find(s->tree, &child->digest) : NULL;

    if (l && !l->shared)
        l->shared = s->changed = true;
    return true;
}

/* A blob with another holder is shared, and so is everything below it. */
static void mark_shared(struct image_tree *tree, struct index_txn *t)
{
    struct tree_share s = {tree, true};

    for (bool first = true; s.changed; first = false) {
        s.changed = false;
        for (size_t i = 0; i < tree->count; i++) {
            struct image_leaf *l = &tree->list[i];
            struct tree_climb c = {.tree = tree, .t = t, .found = note_found, .arg = &l->shared, .at = l->digest};
            if (first && !l->shared)
                rows_each_holder(t, &l->digest, climb_holder, &c);
            if (l->shared && l->manifest)
                rows_each_child(t, &l->digest, share_child, &s);
        }
    }
}

void image_tree_grow(struct image_tree *tree, struct index_txn *t)
{
    struct blob_row row;
    int64_t size;

    add_leaf(tree, &tree->root, true);
    for (size_t i = 0; i < tree->count; i++) {
        struct digest d = tree->list[i].digest;
        if (!rows_get_blob(t, &d, &row)) {
            tree->list[i].part = ingest_part_bytes(t, &d, &size);
            continue;
        }
        tree->list[i].stored = true;
        tree->list[i].size = row.size;
        tree->list[i].manifest = row.flags & BLOB_MANIFEST;
        if (tree->list[i].manifest)
            rows_each_child(t, &d, tree_add_child, tree);
    }
    mark_shared(tree, t);
}

/* ---- their names ---- */

struct tree_names {
    struct index_txn *t;
    json_t *list;
};

static bool add_name(void *arg, const struct holder *h)
{
    struct tree_names *n = arg;
    char name[REF_NAME_MAX + 1], text[REF_TEXT_MAX];
    size_t i;
    json_t *known;

    if (!rows_repo_name(n->t, h->repo, name))
        return true;
    ref_join(name, h->tag, text);
    json_array_foreach(n->list, i, known)
        if (strcmp(json_string_value(known), text) == 0)
            return true;
    json_array_append_new(n->list, json_string(text));
    return json_array_size(n->list) < SHARERS_MAX;
}

json_t *image_tree_sharers(const struct image_tree *tree, struct index_txn *t, const struct digest *d)
{
    struct tree_names n = {t, json_array()};
    struct tree_climb c = {.tree = tree, .t = t, .through_tree = true, .found = add_name, .arg = &n, .at = *d};

    rows_each_holder(t, d, climb_holder, &c);
    return n.list;
}
