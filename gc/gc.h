/* gc.h - removes what is unreferenced, and evicts images when room is short.
 *
 * 1. Blobs that nothing refers to, unused for `grace`: removed.
 * 2. Above the high-water mark: images are retired, the lowest rank first (policy.h), until the low-water mark; of what
 *    an image held, each blob whose last reference goes is removed, each that another image holds stays.
 * 3. Tags of manifests that are not here are forgotten after `grace`, unless the manifest was here and is lost: verify
 *    --repair brings it in again (scrub.h).
 *
 * What is leased (being served or brought in), or belongs to an image that was used less than `grace` ago, stays. A
 * sweep works in transactions of at most 256 entries, with pauses for other writers; files are moved to the trash
 * after the transaction and unlinked then, so that a crash leaves a file without an entry, never an entry without a
 * file. It runs by the clock, when the high-water mark is passed, when a blob on its way in needs room, and by
 * gc_collect().
 *
 * A collector has a thread of its own; its functions may be called from any thread.
 */
#ifndef ENTREPOT_GC_GC_H
#define ENTREPOT_GC_GC_H

#include "cache/cache.h"
#include "gc/policy.h"
#include "gc/repair/scrub.h"

struct gc;

struct gc_options {
    int64_t max_bytes; /* -1: a share of the file system, but no more than min_free leaves free at the start */
    double max_percent;
    int64_t min_free_bytes; /* -1: a share */
    double min_free_percent;
    double high, low; /* percent of the limit */
    int64_t blob_max; /* bytes; 0: none */
    int64_t grace_ms, interval_ms;
    const struct policy *policy;
};

/* The cache's file system at the start, in bytes, and what the cache had of it. */
struct gc_space {
    int64_t total, available, used;
};

struct gc_stats {
    int64_t limit_bytes, blob_max;
    double high, low; /* percent of the limit */
    uint64_t freed_bytes, freed_blobs, runs;
};

/* An image in a report: it went (would go), or why it stays. */
struct gc_image {
    char *reference;
    bool gone;
    const char *why; /* "room is needed", "asked for"; "pinned", "in use", "recent", "shared", "there is room" */
    int64_t bytes;   /* freed by it; of what stays, what its eviction would free */
};

struct gc_report {
    int64_t freed_bytes, freed_blobs;
    int64_t held_bytes, target_bytes; /* what the cache holds now, and was to hold; target -1: there was no need */
    struct gc_image *images;
    size_t count, cap;
};

void gc_report_add(struct gc_report *r, const char *reference, bool gone, const char *why, int64_t bytes);
void gc_report_clear(struct gc_report *r);
void gc_report_free(struct gc_report *r);

/* Starts the collector and answers the cache's questions for room from then on; `cache` is borrowed. Errors: ERR_IO. */
struct gc *gc_new(struct cache *cache, const struct gc_options *options, struct err *err);
/* Changes the options, but for the policy; collects soon if there is more than they allow. */
void gc_set_options(struct gc *gc, const struct gc_options *options);
/* Ends what it is doing, soon, running calls too, and its threads. Pending requests for room are denied; from now on
 * only room that is free is given. */
void gc_stop(struct gc *gc);
/* When neither it nor the cache's ingests are used any more. */
void gc_free(struct gc *gc);
/* Whether index and files have been brought together since the start (reconcile.h). */
bool gc_is_reconciled(struct gc *gc);
void gc_get_stats(struct gc *gc, struct gc_stats *out);
void gc_get_space(struct gc *gc, struct gc_space *out);
/* Collects now, down to `target` bytes (-1: as the marks say); with `dry_run` only reports what would be evicted, and
 * why every other image stays. Waits: for admin workers, not for loops. The caller frees the report. */
bool gc_collect(struct gc *gc, bool dry_run, int64_t target, struct gc_report *report, struct err *err);
/* Drops one tag (or a manifest pulled by digest) and what only it held, whatever its age. Waits. Errors: ERR_NOT_FOUND,
 * ERR_INVALID (it is pinned). */
bool gc_remove(struct gc *gc, const char *repo, const char *tag, struct gc_report *report, struct err *err);
/* Counts what gc_remove() of all these would free, pinned ones among them, and for its `images` what each of them
 * would free alone. Only reads the index; not for loops. The caller frees the report. */
struct gc_name {
    const char *repo, *tag;
};
void gc_would_remove(struct gc *gc, const struct gc_name *names, size_t count, struct gc_report *report);
/* Whether gc_remove() or gc_pin() would find the name, so that a request of several does all or nothing. Errors:
 * theirs. */
enum gc_wish { GC_REMOVE, GC_PIN, GC_UNPIN };
bool gc_check(struct gc *gc, enum gc_wish wish, const char *repo, const char *tag, const struct digest *digest,
              struct err *err);
/* Pins an image: it stays whatever happens, and so does what its tag comes to point to. Or releases it. `digest` (or
 * NULL) is for references by digest. Waits. Errors: ERR_NOT_FOUND. */
bool gc_pin(struct gc *gc, const char *repo, const char *tag, const struct digest *digest, bool pin, struct err *err);
/* Looks whether the disk kept what it was given (gc/repair/scrub.h). Waits; one at a time. Errors: ERR_INVALID (another
 * one is running), ERR_CANCELLED. */
bool gc_scrub(struct gc *gc, const struct scrub_wish *wish, struct scrub_sum *sum, struct err *err);

#endif
