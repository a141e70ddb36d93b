/* private.h - the cache from inside: for the files of this folder. */
#ifndef ENTREPOT_CACHE_PRIVATE_H
#define ENTREPOT_CACHE_PRIVATE_H

#include "cache/cache.h"
#include "cache/parts.h"
#include "cache/store/touch.h"

#include <stdatomic.h>

struct cache {
    /* set once; each does its own locking */
    struct index *index;
    struct store *store;
    struct memory *memory;
    struct leases *leases;
    struct touches *touches;
    struct importing *importing;
    struct ingests *ingests;
    struct pool *pool; /* io workers; borrowed */
    /* any thread */
    atomic_bool tags_changed; /* since index.json was written */
    /* The index was lost and is being rebuilt from the files: what is unreferenced may be referenced later, and
     * index.json knows more than the index does. Set at the start, cleared once by the folder above. */
    atomic_bool rebuilding;
};

/* verify.c: naps until as much as `done` bytes may have been read since. */
struct verify_pace;
void verify_keep_pace(const struct verify_pace *pace, int64_t done, int64_t started_ms);

#endif
