/* The parts of the cache and what is done to one of them, for the rooms above. */
#include "cache/private.h"

struct index *cache_index(struct cache *c)
{
    return c->index;
}

struct store *cache_store(struct cache *c)
{
    return c->store;
}

struct ingests *cache_ingests(struct cache *c)
{
    return c->ingests;
}

struct importing *cache_importing(struct cache *c)
{
    return c->importing;
}

/* ---- the index ---- */

void cache_read(struct cache *c, void (*fn)(struct index_txn *t, void *arg), void *arg)
{
    index_read(c->index, fn, arg);
}

void cache_barrier(struct cache *c, void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop)
{
    index_barrier(c->index, done, arg, loop);
}

bool cache_settle(struct cache *c)
{
    return index_settle(c->index);
}

bool cache_is_rebuilding(struct cache *c)
{
    return atomic_load(&c->rebuilding);
}

/* ---- files ---- */

bool cache_has_file(struct cache *c, const struct digest *d)
{
    return store_has_blob(c->store, d);
}

bool cache_read_blob(struct cache *c, const struct digest *d, size_t max, struct buf *out, struct err *err)
{
    return store_read_blob(c->store, d, max, out, err);
}

void cache_run(struct cache *c, void (*fn)(void *arg), void *arg)
{
    pool_run(c->pool, fn, arg);
}

/* ---- use ---- */

void cache_touch(struct cache *c, const struct digest *d)
{
    touches_add(c->touches, d);
}

void cache_release(struct cache *c, const struct digest *d)
{
    leases_release(c->leases, d);
}

bool cache_is_in_use(struct cache *c, const struct digest *d)
{
    /* In this order: a blob is touched before its lease is released. */
    return leases_has(c->leases, d) || touches_has(c->touches, d);
}

size_t cache_take_requested(struct cache *c, struct requested **list)
{
    return touches_take(c->touches, list);
}

void cache_flush_touches(struct cache *c, void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop)
{
    touches_flush(c->touches, c->index, done, arg, loop);
}
