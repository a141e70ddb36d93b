#include "gc/parts.h"

#include "base/array.h"
#include "base/assert.h"
#include "cache/parts.h"

#include <stdlib.h>

enum {
    PARTS_MAX = 4096,
    CLIMB_MAX = 3,      /* layer, manifest, index, tag */
    HOLDERS_MAX = 1024, /* looked at for one part */
};

/* From a blob up to the images that name it. */
struct part_climb {
    struct index_txn *t;
    struct digest at;
    int depth, looks;
    int64_t used;
    bool known, pinned;
};

static bool look_at_user(void *arg, const struct holder *h)
{
    struct part_climb *c = arg;
    const struct digest below = c->at;
    struct blob_row row;

    if (++c->looks > HOLDERS_MAX)
        return false;
    c->pinned = c->pinned || h->kind == 'p';
    if (h->kind == 'm' && rows_get_blob(c->t, &h->manifest, &row)) {
        c->used = MAX(c->used, row.used);
        c->at = h->manifest;
        if (++c->depth < CLIMB_MAX)
            rows_each_holder(c->t, &c->at, look_at_user, c);
        c->depth--;
        c->at = below;
    }
    return !c->pinned;
}

static void read_users(struct index_txn *t, void *arg)
{
    struct part_climb *c = arg;
    struct blob_row row;

    c->t = t;
    c->known = rows_has_ingest(t, &c->at) && !rows_get_blob(t, &c->at, &row);
    if (c->known)
        rows_each_holder(t, &c->at, look_at_user, c);
}

struct part_walk {
    struct cache *cache;
    struct parts *out;
};

static bool list_part(void *arg, const struct digest *d)
{
    struct part_walk *w = arg;
    struct part_climb c = {.at = *d};
    int64_t bytes;

    if (cache_is_in_use(w->cache, d) || !store_stat_part(cache_store(w->cache), d, &c.used, &bytes))
        return true;
    cache_read(w->cache, read_users, &c);
    if (c.known && !c.pinned) {
        *ARRAY_NEXT(w->out->list, w->out->count, w->out->cap) = (struct part_use){*d, c.used, bytes};
        w->out->count++;
    }
    return w->out->count < PARTS_MAX;
}

static int by_use(const void *a, const void *b)
{
    const struct part_use *x = a, *y = b;

    return (x->used > y->used) - (x->used < y->used);
}

void parts_list(struct cache *cache, struct parts *out)
{
    struct part_walk w = {cache, out};

    OFF_LOOPS;
    *out = (struct parts){0};
    store_each_part(cache_store(cache), list_part, &w);
    if (out->count > 0)
        qsort(out->list, out->count, sizeof(*out->list), by_use);
}

void parts_free(struct parts *p)
{
    free(p->list);
    *p = (struct parts){0};
}
