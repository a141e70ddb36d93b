/* scrub.h - checks the whole cache: every blob is hashed again, every reference counted again.
 *
 * What is damaged is quarantined at once (a part of a blob is dropped) and, when wanted, fetched again, as is what an
 * earlier run, or anything else,
 * has found damaged or missing and what is still needed (store_note_lost()); contradictions within the index are
 * repaired when wanted. Runs on the caller's thread, beside everything else. Others than gc/ call gc_scrub().
 */
#ifndef ENTREPOT_GC_REPAIR_SCRUB_H
#define ENTREPOT_GC_REPAIR_SCRUB_H

#include "cache/verify.h"

#include <stdatomic.h>

struct scrub_sum {
    int64_t blobs, bytes;              /* verified */
    int64_t damaged, missing, adopted; /* blobs: wrong bytes; no file; no entry, and now there is one */
    int64_t parts, parts_damaged;      /* of blobs that are not whole, at rest; dropped */
    int64_t references;                /* rows of the index that contradict others */
    int64_t repaired, fetched, lost;   /* of those; of damaged and missing ones: fetched again, or not */
};

struct scrub_wish {
    int64_t bytes_per_s; /* 0: unlimited */
    bool repair;
    bool (*stop)(void *arg);
    /* Now and then. */
    void (*progress)(void *arg, const struct scrub_sum *sum, int64_t total_bytes);
    /* For everything that was wrong: a digest (or "-") and what is wrong with it. */
    void (*finding)(void *arg, const char *digest, const char *what);
    /* Fetches a blob again, from a repository that has it (full name); blocks. False with *err if it cannot. */
    bool (*fetch)(void *arg, const char *repo, const struct digest *d, bool manifest, struct err *err);
    void *arg;
};

/* Ends early when `*ending` becomes true. Blocks; one at a time (gc_scrub()). Errors: ERR_CANCELLED. */
bool scrub_run(struct cache *cache, const struct scrub_wish *wish, const atomic_bool *ending, struct scrub_sum *sum,
               struct err *err);

#endif
