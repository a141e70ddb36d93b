/* sweep.h - the two passes of a collection, as changes of the index (gc.h says what they are for). Internal to this
 * room. */
#ifndef ENTREPOT_GC_SWEEP_H
#define ENTREPOT_GC_SWEEP_H

#include "cache/cache.h"

enum { SWEEP_ENTRIES = 256 /* rows of `blob` removed in one transaction */ };

struct sweep {
    struct cache *cache;
    int64_t cutoff; /* seconds since 1970: what was used later stays */
    int64_t target; /* bytes; the second pass ends there */
    size_t entries; /* removed in one transaction, at most */
    bool dry_run;   /* look, and take it back */
    /* what this transaction did; begun anew each time it is run */
    size_t count, room;
    struct digest *removed;
    int64_t bytes;
    struct buf images; /* references of retired images, a line each */
    bool more;         /* there may be more to remove */
    /* gc_remove(): */
    const char *repo, *tag;
    bool found;
};

void sweep_free(struct sweep *s);
/* For index_write(): arg is the sweep. */
bool sweep_unreferenced(struct index_txn *t, void *arg, struct err *err);
bool sweep_images(struct index_txn *t, void *arg, struct err *err);
bool sweep_one_tag(struct index_txn *t, void *arg, struct err *err);

#endif
