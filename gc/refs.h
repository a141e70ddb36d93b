/* refs.h - what holds what, and changes of that which are more than one row (the rows themselves:
 * cache/index/rows_refs.c).
 *
 * Holders of a blob are the manifests that name it, tags and pins, all of them rows of `parent`; and leases, in memory
 * (cache/store/lease.h). Internal to this folder; everything works on a transaction of the caller's.
 */
#ifndef ENTREPOT_GC_REFS_H
#define ENTREPOT_GC_REFS_H

#include "gc/gc.h"

/* Blobs that lost their place in the index, to be unlinked after the transaction. */
struct removed {
    struct digest *list;
    size_t count, cap;
    int64_t bytes;
};

struct eviction {
    struct cache *cache;
    /* Seconds since 1970. What was used after `cutoff` stays, without a holder, for pass one to find; but not what was
     * used after `latest`, a time to come: the wall clock was set back since, and its true time is not known. */
    int64_t cutoff, latest;
    size_t entries; /* removed blobs, at most */
    struct removed removed;
    bool more; /* some are left for the next transaction */
};

/* Removes a blob that nothing holds or leases, and then what only it held. */
bool refs_drop(struct index_txn *t, struct eviction *g, const struct digest *root, struct err *err);
/* Removes all tags of a manifest, which is not pinned, and drops it; their references are added to `report`. */
bool refs_retire(struct index_txn *t, struct eviction *g, const struct digest *d, struct gc_report *report,
                 struct err *err);
/* Whether it was used so recently that it stays. */
static inline bool refs_is_recent(const struct eviction *g, int64_t used)
{
    return used > g->cutoff && used <= g->latest;
}
/* Sets these times for now. */
void refs_set_times(struct eviction *g, int64_t grace_ms);
/* "docker.io/library/nginx:1.27", or with "@sha256:…" */
bool refs_name(struct index_txn *t, uint64_t repo, const char *tag, char out[REF_TEXT_MAX]);

#endif
