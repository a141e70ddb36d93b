/* policy.h - in which order images are evicted when room is short.
 *
 * A policy turns what is known of an image into a rank; the image with the lowest rank goes first. Ranks are not
 * negative, and not below the item's clock. A policy may keep a clock, one number for the whole cache that only grows:
 * an image's rank is made with the clock as it was when the image was last used, and the clock moves when an image
 * goes. A policy may learn from what is requested, and rank in another way from then on. It is one struct of functions
 * in a file of its own.
 *
 * Threads: a state belongs to one thread at a time (the collector's); policy->rank() only reads it.
 */
#ifndef ENTREPOT_GC_POLICY_H
#define ENTREPOT_GC_POLICY_H

#include <stddef.h>
#include <stdint.h>

/* An image, or what else is evicted as one. */
struct policy_item {
    uint64_t id;    /* evenly distributed: the beginning of its digest */
    double clock;   /* the policy's clock at its last use */
    int64_t used;   /* its last use, seconds since 1970 */
    uint32_t uses;  /* 1 when it came in */
    int64_t bytes;  /* that its eviction would really free; more than 0 */
    double cost_ms; /* of fetching those again */
};

enum { POLICY_SAVED_MAX = 64 /* bytes */ };

struct policy {
    const char *name;
    /* What the policy has learned; `saved` is what save() wrote before a restart, or `len` is 0. NULL: it does not
     * learn, and the functions below take NULL. */
    void *(*open)(const void *saved, size_t len);
    void (*close)(void *state);
    /* The item was requested `times` times, also if it had to be fetched; `capacity` of the cache in bytes. */
    void (*observe)(void *state, const struct policy_item *i, uint32_t times, int64_t capacity);
    /* Changes when what observe() has learned makes other ranks than before. */
    uint32_t (*version)(const void *state);
    /* What it keeps over a restart; the number of bytes. */
    size_t (*save)(const void *state, uint8_t out[POLICY_SAVED_MAX]);
    double (*rank)(const void *state, const struct policy_item *i);
    /* The clock, once what had this rank has gone. */
    double (*advance)(double clock, double rank);
};

extern const struct policy POLICY_GDSF, POLICY_LRU;

#endif
