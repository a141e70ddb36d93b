/* policy.h - in which order images are evicted when room is short.
 *
 * A policy turns what is known of an image into a rank; the image with the lowest rank goes first. Ranks are not
 * negative, and not below the item's clock. A policy may keep a clock, one number for the whole cache that only grows:
 * an image's rank is made with the clock as it was when the image was last used, and the clock moves when an image
 * goes. A policy is one struct of functions in a file of its own. Pure functions: any thread,
 * no state.
 *
 * A use counts only if the clock has moved by the image's `spacing` since the one before, so that a burst of pulls (a
 * release that goes out to every node) is one use, and what is requested again and again over time has many.
 */
#ifndef ENTREPOT_GC_POLICY_H
#define ENTREPOT_GC_POLICY_H

#include <stdint.h>

/* An image, or what else is evicted as one. */
struct policy_item {
    double clock;   /* the policy's clock at its last use */
    int64_t used;   /* its last use, seconds since 1970 */
    uint32_t uses;  /* that count; 1 when it came in */
    int64_t bytes;  /* that its eviction would really free; more than 0 */
    double cost_ms; /* of fetching those again */
};

struct policy {
    const char *name;
    double (*rank)(const struct policy_item *i);
    /* The clock, once what had this rank has gone. */
    double (*advance)(double clock, double rank);
    /* In the unit of the clock; not negative. */
    double (*spacing)(const struct policy_item *i);
};

extern const struct policy POLICY_GDSF, POLICY_LRU;

#endif
