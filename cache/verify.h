/* verify.h - does a blob's file match its digest?
 *
 * A file is verified before its entry is made, and its change time is kept with the entry. A file that was written to
 * since, or that no entry knows, is verified again before it is served: here.
 */
#ifndef ENTREPOT_CACHE_VERIFY_H
#define ENTREPOT_CACHE_VERIFY_H

#include "cache/cache.h"

enum verified {
    VERIFIED_GOOD,    /* as the index has it */
    VERIFIED_ADOPTED, /* right, and not known to the index: now it is */
    VERIFIED_CORRUPT, /* moved to quarantine/, its entry dropped; the blob will be fetched again */
    VERIFIED_MISSING, /* there is no file; its entry is dropped */
    VERIFIED_FAILED,  /* unknown: stopped, or the index could not be written */
};

struct verify_pace {
    int64_t bytes_per_s; /* 0: unlimited, and what is read stays in the page cache */
    bool (*stop)(void *arg);
    void *arg;
};

/* Hashes the file of a blob and makes file and index agree. Blocks: io workers and other threads of their own. `pace`
 * and `bytes` (those read) may be NULL. *err is set for VERIFIED_CORRUPT and VERIFIED_FAILED. */
enum verified cache_verify(struct cache *c, const struct digest *d, const struct verify_pace *pace, int64_t *bytes,
                           struct err *err);

/* The part of a blob that is not whole, and that no ingest has: the bytes that its bitmap promises can be read, and are
 * in no hole; if all of the blob is here, they hash to its digest. VERIFIED_CORRUPT or VERIFIED_MISSING (no file): it
 * was dropped, *err says why. Blocks. `bytes`: as above, not NULL. */
enum verified cache_verify_part(struct cache *c, const struct digest *d, const struct verify_pace *pace, int64_t *bytes,
                                struct err *err);

/* The same as cache_verify() for a file that import.h has assembled, and, if it is right, its publication. Errors:
 * ERR_DIGEST (the file is removed), ERR_IO, ERR_NO_SPACE, ERR_CANCELLED. Blocks. */
bool cache_adopt_import(struct cache *c, const struct digest *d, const struct verify_pace *pace, struct err *err);

/* Blobs that were verified before they were written, and whose files have just been put in their places: their entries,
 * all or none. Blocks. */
bool cache_enter_pieces(struct cache *c, const struct store_piece *list, size_t count, struct err *err);

#endif
