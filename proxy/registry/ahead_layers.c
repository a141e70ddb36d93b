#include "proxy/registry/ahead_layers.h"

#include "base/clock.h"

enum {
    LAYERS_MAX = 512,  /* of an image, that are looked at */
    HOLDERS_MAX = 256, /* images of one layer */
    LATELY_S = 3600,   /* so long after its manifest was requested, an image may be fetched */
};

/* The manifests that name a layer, in one view of the index. */
struct ahead_search {
    struct cache *cache;
    struct index_txn *txn;
    const char *repo_name;
    const struct digest *layer;
    uint64_t repo;
    int looked_at;
    int64_t used, size; /* of the best one: seconds, bytes */
    struct digest best;
};

static bool search_holder(void *arg, const struct holder *h)
{
    struct ahead_search *s = arg;
    struct blob_row row;

    if (h->kind != 'm')
        return true;
    if (rows_linked(s->txn, s->repo, &h->manifest) && rows_get_blob(s->txn, &h->manifest, &row) &&
        (row.flags & BLOB_MANIFEST)) {
        int64_t used = cache_is_in_use(s->cache, &h->manifest) ? INT64_MAX : row.used;
        if (used > s->used) {
            s->used = used;
            s->best = h->manifest;
            s->size = row.size;
        }
    }
    return ++s->looked_at < HOLDERS_MAX;
}

static void search_index(struct index_txn *t, void *arg)
{
    struct ahead_search *s = arg;

    s->txn = t;
    s->repo = rows_repo_id(t, s->repo_name);
    if (s->repo)
        rows_each_holder(t, s->layer, search_holder, s);
}

static void layers_take(struct ahead_layers *l, const struct manifest *m)
{
    l->list = xcalloc(MIN(m->count, (size_t)LAYERS_MAX) + 1, sizeof(*l->list));
    for (size_t i = 0; i < m->count && l->count < LAYERS_MAX; i++) {
        const struct part *p = &m->parts[i];
        if (p->role != PART_LAYER || ahead_layers_get(l, &p->digest))
            continue;
        l->list[l->count++] =
            (struct ahead_layer){p->digest, p->size, p->seekable, part_is_foreign(p) ? LAYER_LEFT : LAYER_UNTOUCHED};
    }
}

bool ahead_layers_find(struct ahead_layers *l, struct cache *c, const char *repo, const struct digest *layer)
{
    struct ahead_search s = {.cache = c, .repo_name = repo, .layer = layer};
    _cleanup_manifest_ struct manifest m = {0};

    *l = (struct ahead_layers){0};
    s.used = clock_now_ms() / 1000 - LATELY_S;
    cache_read(c, search_index, &s);
    if (s.best.alg == DIGEST_NONE)
        return false;
    l->manifest = s.best;
    _cleanup_body_ struct body *body = cache_peek_manifest(c, &s.best, s.size, NULL);
    if (!body || !manifest_parse(&m, body->data, body->len, NULL) || m.kind != MANIFEST_IMAGE)
        return false;
    layers_take(l, &m);
    if (ahead_layers_get(l, layer))
        return true;
    ahead_layers_free(l); /* it is the image's config */
    return false;
}

struct ahead_layer *ahead_layers_get(const struct ahead_layers *l, const struct digest *d)
{
    for (size_t i = 0; i < l->count; i++)
        if (digest_eq(&l->list[i].digest, d))
            return &l->list[i];
    return NULL;
}

void ahead_layers_free(struct ahead_layers *l)
{
    free(l->list);
    *l = (struct ahead_layers){0};
}
