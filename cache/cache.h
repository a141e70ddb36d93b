/* cache.h - the cache as the folders above see it: index, blob files, small bodies in memory, touches and leases in
 * one.
 *
 * One struct cache for a process; lives from start to end. Any thread unless noted. Repositories are full
 * names ("docker.io/library/nginx").
 */
#ifndef ENTREPOT_CACHE_CACHE_H
#define ENTREPOT_CACHE_CACHE_H

#include "base/pool.h"
#include "cache/importing.h"
#include "cache/ingest/ingest.h"
#include "cache/manifest.h"
#include "cache/store/memory.h"
#include "cache/index/rows.h"
#include "cache/store/store.h"

struct cache;

/* Opens the cache in `path`; io work goes to `pool`, which outlives the cache. A damaged index is moved aside and
 * rebuilt: tags from index.json, blobs from their files as they are requested, or found by the collector. Errors: those
 * of store_open and index_open. `watcher` (NULL: none) is called if damage is found later. */
struct cache *cache_open(const char *path, struct pool *pool, const struct index_watcher *watcher, struct err *err);
/* When it is not used any more; writes touches and index.json first. */
void cache_close(struct cache *c);

/* What the cache knows about a request, in one read transaction. */
struct cache_hit {
    bool tag_known; /* `tag` is filled in */
    struct tag_row tag;
    struct digest digest; /* what the request resolves to; DIGEST_NONE if a tag is not known */
    bool stored;          /* the blob is here, `blob` is filled in */
    bool linked;          /* ... and the repository has proved to contain it */
    bool repo_private;    /* only clients with a grant may read the repository */
    struct blob_row blob;
};

/* Whether the blob may be served under the repository's /blobs/. A manifest's digest there is answered with 404 by most
 * registries, with 200 by some. */
static inline bool cache_is_blob_of(const struct cache_hit *hit)
{
    return hit->linked && !(hit->blob.flags & BLOB_MANIFEST);
}

/* By tag (digest NULL) or by digest (tag NULL). */
void cache_find(struct cache *c, const char *repo, const char *tag, const struct digest *digest, struct cache_hit *hit);

/* Whether the repository has proved to contain the blob, be it here or not. */
bool cache_is_linked(struct cache *c, const char *repo, const struct digest *d);

/* Whether the tag is pinned. */
bool cache_is_pinned(struct cache *c, const char *repo, const char *tag);

/* Compares a blob's file with its entry. One system call, and a read of the index. */
enum cache_file {
    FILE_KNOWN,      /* as the index has it */
    FILE_UNVERIFIED, /* has changed since it was verified, or the index does not know it: cache_verify() first */
    FILE_MISSING,
};
enum cache_file cache_look(struct cache *c, const struct digest *d);

/* The body of a stored manifest: from memory, else from its file. The caller unrefs. NULL with ERR_NOT_FOUND,
 * ERR_CORRUPT or ERR_IO if the file is not what the index has; the entry is dropped then. */
struct body *cache_manifest(struct cache *c, const struct digest *d, int64_t size, struct err *err);
struct body *cache_load_manifest(struct cache *c, const struct digest *d, int64_t size, bool keep, struct err *err);
/* The same without counting as a use, and without keeping it in memory: for what looks at many of them. */
static inline struct body *cache_peek_manifest(struct cache *c, const struct digest *d, int64_t size, struct err *err)
{
    return cache_load_manifest(c, d, size, false, err);
}
/* The same if it is in memory: never waits for the disk. NULL: it is not. */
struct body *cache_manifest_at_hand(struct cache *c, const struct digest *d);
/* Opens a stored blob and leases it. The caller closes, then calls cache_release(). -1 with ERR_NOT_FOUND if it is not
 * here (its entry is dropped), ERR_UNVERIFIED if its file has to be verified first. */
int cache_open_blob(struct cache *c, const struct digest *d, int64_t *size, struct err *err);

/* Stores a manifest whose digest was verified: file first, then one transaction with its children, its link and (tag
 * not NULL) its tag; `tag` "" records that it was pulled by digest, if nothing else holds it. `m` may be NULL (no
 * children). `is_private`: it was fetched under a client's own identity. Everything is copied. `done` runs on `loop`.
 */
void cache_put_manifest(struct cache *c, const char *repo, const char *tag, const struct digest *d,
                        const char *media_type, struct body *body, const struct manifest *m, uint32_t cost_ms,
                        bool is_private, void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop);
/* Upstream answered at `checked_ms` that the tag points to `d`, whose manifest need not be stored. `done` (may be NULL)
 * runs on `loop` once it is written. */
void cache_put_tag(struct cache *c, const char *repo, const char *tag, const struct digest *d, int64_t checked_ms,
                   void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop);
/* The same on behalf of an operator. Blocks. */
bool cache_set_tag(struct cache *c, const char *repo, const char *tag, const struct digest *d, struct err *err);
/* Whether upstream confirmed the tag less than `ttl_ms` ago. A time to come (the wall clock was set back since) counts
 * as fresh only if it is less than `ttl_ms` ahead: else the tag would not be checked until the clock gets there. */
bool cache_tag_is_fresh(const struct tag_row *row, int64_t ttl_ms);
void cache_drop_tag(struct cache *c, const char *repo, const char *tag);
/* Upstream has to be asked about the tag before it is served as fresh: it counts as checked at `checked_ms`, unless
 * that was earlier. */
void cache_doubt_tag(struct cache *c, const char *repo, const char *tag, int64_t checked_ms);
/* The manifest was deleted from the repository: as rows_unlink(). */
void cache_unlink(struct cache *c, const char *repo, const struct digest *d);
/* The repository's registry answered that it contains the blob; unless `is_private`, the repository is public. */
void cache_link(struct cache *c, const char *repo, const struct digest *d, bool is_private);
/* The same for a blob that it lists: one that is not stored yet is linked when it is. */
void cache_link_listed(struct cache *c, const char *repo, const struct digest *d, bool is_private);
/* From now on only clients with a grant may read the repository, or it is public again. */
void cache_set_private(struct cache *c, const char *repo, bool is_private);
bool cache_is_private(struct cache *c, const char *repo);
/* Whether the cache has, or had, something of the repository, and that is public. */
bool cache_is_public(struct cache *c, const char *repo);
/* Whether some repository of this registry has sent the blob's bytes: then its answers about others count. */
bool cache_was_sent_by(struct cache *c, const char *host, const struct digest *d);

/* The file of a stored blob could not be read: it is verified before it is served again. */
void cache_suspect(struct cache *c, const struct digest *d);
/* Removes the file of a blob whose entry was dropped, unless it has been fetched again. Blocks. */
void cache_discard(struct cache *c, const struct digest *d);
/* Every file has been visited: the index is complete again. Blocks. */
bool cache_end_rebuilding(struct cache *c, struct err *err);
/* Inside a change of the index: drops the entry of a blob that has no file (any more), and notes that it is lost
 * (store_note_lost()). What a lost manifest held stays for gc.grace, in case it is fetched again. */
bool cache_drop_lost(struct cache *c, struct index_txn *t, const struct digest *d, struct err *err);

void cache_totals(struct cache *c, struct totals *totals);

/* Visits the public repositories that have images, sorted by name, beginning with `from` or what follows it, as long as
 * fn returns true: all of them by full name, or those of one registry by the name it has there. */
void cache_each_repo(struct cache *c, const char *registry, const char *from, bool (*fn)(void *arg, const char *name),
                     void *arg);
/* The same for the tags of a repository. False: the cache does not know it, or it is private and `may_be_private` is
 * false. */
bool cache_each_tag(struct cache *c, const char *repo, bool may_be_private, const char *from,
                    bool (*fn)(void *arg, const char *tag), void *arg);
/* The same for the stored manifests that refer to this one, and that the repository has proved to contain. */
bool cache_each_referrer(struct cache *c, const char *repo, bool may_be_private, const struct digest *subject,
                         bool (*fn)(void *arg, const struct digest *d, const struct blob_row *row), void *arg);

/* ---- use ---- */

/* One use of the blob, now. */
void cache_touch(struct cache *c, const struct digest *d);
/* Ends the lease of cache_open_blob(). */
void cache_release(struct cache *c, const struct digest *d);
/* Whether it is leased, or was used a moment ago: then it is not collected. */
bool cache_is_in_use(struct cache *c, const struct digest *d);
/* Writes what was used to the index; `done` (may be NULL) as for index_write(). */
void cache_flush_touches(struct cache *c, void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop);

/* ---- access to its parts ---- */

/* One consistent view of the index, for what rows.h reads; as index_read(). */
void cache_read(struct cache *c, void (*fn)(struct index_txn *t, void *arg), void *arg);
/* `done` runs on `loop` when every change that was queued before is in the index, or has failed. */
void cache_barrier(struct cache *c, void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop);
/* As index_wait_written(). */
bool cache_wait_written(struct cache *c);
/* Whether the blob's file is there. */
bool cache_has_file(struct cache *c, const struct digest *d);
/* Reads a small blob whole, at most `max` bytes, without counting that as a use. Errors: as store_read_blob(). */
bool cache_read_blob(struct cache *c, const struct digest *d, size_t max, struct buf *out, struct err *err);
/* Runs fn(arg) on an io worker. */
void cache_run(struct cache *c, void (*fn)(void *arg), void *arg);
/* Whether the index was lost and is being rebuilt from the files: what is unreferenced may be referenced later. */
bool cache_is_rebuilding(struct cache *c);

/* What is on its way in, and what is being imported. */
struct ingests *cache_ingests(struct cache *c);
struct importing *cache_importing(struct cache *c);

#endif
