/* gc.h - letting go of what nobody needs, and of the least needed when room is short.
 *
 * 1. Blobs that nothing refers to, unused for `grace`: removed.
 * 2. Above the high-water mark: images are retired, the least recently used first, until the low-water mark; of what an
 *    image held, each blob whose last reference goes is removed, each that another image holds stays.
 *
 * What is leased (being served or brought in), or belongs to an image that was used less than `grace` ago, stays. A
 * sweep works in transactions of at most 256 entries, with pauses for other writers; files are unlinked after the
 * transaction, so that a crash leaves a file without an entry, never an entry without a file.
 *
 * A collector has a thread of its own; its functions may be called from any thread.
 */
#ifndef ENTREPOT_GC_GC_H
#define ENTREPOT_GC_GC_H

#include "cache/cache.h"

struct gc;

struct gc_options {
    int64_t max_bytes; /* -1: a share of the file system */
    double max_percent;
    int64_t min_free_bytes; /* -1: a share */
    double min_free_percent;
    double high, low; /* percent of the limit */
    int64_t grace_ms, interval_ms;
};

struct gc_stats {
    int64_t limit_bytes;
    uint64_t freed_bytes, freed_blobs, runs;
};

struct gc_report {
    int64_t freed_bytes, freed_blobs;
    struct buf images; /* references of retired images, a line each; the caller frees */
};

/* Starts the collector; `cache` is borrowed. Errors: ERR_IO. */
struct gc *gc_new(struct cache *cache, const struct gc_options *options, struct err *err);
void gc_free(struct gc *gc);
void gc_get_stats(struct gc *gc, struct gc_stats *out);
/* Collects now, down to `target` bytes (-1: as the marks say); with `dry_run` only says what would go. Waits: for admin
 * workers, not for loops. */
bool gc_collect(struct gc *gc, bool dry_run, int64_t target, struct gc_report *report, struct err *err);
/* Drops one tag (or a manifest pulled by digest) and what only it held, whatever its age. Waits. Errors: ERR_NOT_FOUND.
 */
bool gc_remove(struct gc *gc, const char *repo, const char *tag, struct gc_report *report, struct err *err);

#endif
