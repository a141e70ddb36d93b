/* What the policy learns from: the images that are requested, as their touches are written. */
#include "gc/gc_private.h"

#include "base/assert.h"
#include "base/log.h"
#include "cache/parts.h"
#include "gc/tree.h"

#include <time.h>

enum {
    LESSON = 64,      /* requests in one view of the index */
    RANK_PARTS = 16,  /* transactions of a collection that list images again */
    RANK_PAUSE_MS = 5 /* between two of them, for other writers */
};

struct lesson {
    struct gc *gc;
    const struct requested *list;
    size_t count;
    int64_t capacity;
};

/* What has just come in may not be here as a whole, and is worth what it will be. */
static void learn_request(struct index_txn *t, struct lesson *l, const struct requested *r)
{
    struct blob_row row;
    struct weight w;

    if (!rows_get_blob(t, &r->digest, &row) || !(row.flags & BLOB_RANKED))
        return;
    tree_weigh(t, l->gc->cache, &r->digest, &w);
    struct policy_item item = tree_item(&r->digest, &row, &w);
    if (w.bytes > 0 && w.missing > 0) {
        item.cost_ms *= (double)(w.bytes + w.missing) / (double)w.bytes;
        item.bytes += w.missing;
    }
    if (item.bytes > 0)
        l->gc->policy->observe(l->gc->learned, &item, r->times, l->capacity);
}

static void learn_requests(struct index_txn *t, void *arg)
{
    struct lesson *l = arg;

    for (size_t i = 0; i < l->count; i++)
        learn_request(t, l, &l->list[i]);
}

void learn_from_requests(struct gc *gc)
{
    _cleanup_free_ struct requested *list = NULL;
    size_t count = cache_take_requested(gc->cache, &list);
    struct limits limits = gc_limits(gc);

    HOLDS(&gc->collecting);
    for (size_t i = 0; i < count && limits.max > 0; i += LESSON) {
        struct lesson l = {gc, list + i, MIN(count - i, (size_t)LESSON), limits.max};
        cache_read(gc->cache, learn_requests, &l);
    }
    uint32_t version = gc->policy->version(gc->learned);
    if (version != gc->version) {
        gc->version = version;
        gc->ranking = true;
        gc->ranked = (struct sweep_place){0};
    }
}

bool learn_rank_again(struct gc *gc, struct err *err)
{
    struct sweep s;
    bool ok = true;

    HOLDS(&gc->collecting);
    if (!gc->ranking)
        return true;
    sweep_init(&s, gc->cache, gc->policy, gc->learned, false);
    for (int i = 0; i < RANK_PARTS && gc->ranking && ok && !atomic_load(&gc->ending); i++) {
        s.ranked = gc->ranked;
        ok = index_write_wait(cache_index(gc->cache), sweep_rank_again, &s, err);
        gc->ranked = ok ? s.ranked_next : gc->ranked;
        gc->ranking = s.more || !ok;
        if (gc->ranking)
            nanosleep(&(struct timespec){.tv_nsec = RANK_PAUSE_MS * 1000000L}, NULL);
    }
    sweep_free(&s);
    return ok;
}

/* ---- over restarts ---- */

struct learned {
    size_t len;
    uint8_t data[POLICY_SAVED_MAX];
};

static bool apply_learned(struct index_txn *t, void *arg, struct err *err)
{
    const struct learned *l = arg;

    return rows_set_learned(t, l->data, l->len, err);
}

bool learn_save(struct gc *gc, struct err *err)
{
    struct learned l;

    l.len = gc->policy->save(gc->learned, l.data);
    gc->saved = gc->version;
    return l.len == 0 || index_write_wait(cache_index(gc->cache), apply_learned, &l, err);
}

static void read_learned(struct index_txn *t, void *arg)
{
    struct learned *l = arg;

    l->len = rows_learned(t, l->data, sizeof(l->data));
}

void learn_open(struct gc *gc)
{
    struct learned l = {0};

    cache_read(gc->cache, read_learned, &l);
    gc->learned = gc->policy->open(l.data, l.len);
    gc->version = gc->saved = gc->policy->version(gc->learned);
}
