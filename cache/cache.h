/* cache.h - the cache as the rooms above see it: index, blob files, small bodies in memory, touches and leases in one.
 *
 * One struct cache for a process; lives from start to end. Any thread unless said otherwise. Repositories are full
 * names
 * ("docker.io/library/nginx").
 */
#ifndef ENTREPOT_CACHE_CACHE_H
#define ENTREPOT_CACHE_CACHE_H

#include "base/pool.h"
#include "cache/ingest.h"
#include "cache/manifest.h"
#include "cache/memory.h"
#include "cache/rows.h"
#include "cache/store.h"
#include "cache/use.h"

struct cache {
    /* set once; each does its own locking */
    struct index *index;
    struct store *store;
    struct memory *memory;
    struct use *use;
    struct pool *pool; /* io workers; borrowed */
    struct ingests *ingests;
};

/* Opens the cache in `path`; io work goes to `pool`, which outlives the cache. Errors: those of store_open, index_open.
 */
struct cache *cache_open(const char *path, struct pool *pool, struct err *err);
/* Call when nobody uses it any more; writes touches and the state of unfinished ingests first. */
void cache_close(struct cache *c);

/* What the cache knows about a request, in one read transaction. */
struct cache_hit {
    bool tag_known; /* `tag` is filled in */
    struct tag_row tag;
    struct digest digest; /* what the request comes down to; DIGEST_NONE if a tag is not known */
    bool stored;          /* the blob is here, `blob` is filled in */
    bool linked;          /* ... and the repository has proved to contain it */
    struct blob_row blob;
};

/* By tag (digest NULL) or by digest (tag NULL). */
void cache_find(struct cache *c, const char *repo, const char *tag, const struct digest *digest, struct cache_hit *hit);

/* Whether the repository has proved to contain the blob, be it here or not. */
bool cache_is_linked(struct cache *c, const char *repo, const struct digest *d);

/* The body of a stored manifest: from memory, else read and kept. The caller unrefs. NULL with ERR_NOT_FOUND or ERR_IO
 * if the file is not what the index says; the entry is dropped then. */
struct body *cache_manifest(struct cache *c, const struct digest *d, int64_t size, struct err *err);
/* Opens a stored blob and leases it; -1 if the file is not what the index says, and then the entry is dropped. The
 * caller closes, then calls use_release(). */
int cache_open_blob(struct cache *c, const struct digest *d, int64_t size, struct err *err);

/* Stores a manifest whose digest was verified: file first, then one transaction with its children, its link and (tag
 * not NULL) its tag; `tag` "" records that it was pulled by digest, if nothing else holds it. `m` may be NULL (no
 * children). Everything is copied. `done` runs on `loop`. */
void cache_put_manifest(struct cache *c, const char *repo, const char *tag, const struct digest *d,
                        const char *media_type, struct body *body, const struct manifest *m, uint32_t cost_ms,
                        void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop);
/* Upstream said at `checked_ms` that the tag points to `d` (whose manifest need not be here). */
void cache_put_tag(struct cache *c, const char *repo, const char *tag, const struct digest *d, int64_t checked_ms);
void cache_drop_tag(struct cache *c, const char *repo, const char *tag);
/* The repository has proved to contain the blob. */
void cache_link(struct cache *c, const char *repo, const struct digest *d);

void cache_totals(struct cache *c, struct totals *totals);

#endif
