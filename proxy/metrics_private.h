/* metrics_private.h - what metrics.c counts into and metrics_print.c prints. */
#ifndef ENTREPOT_PROXY_METRICS_PRIVATE_H
#define ENTREPOT_PROXY_METRICS_PRIVATE_H

#include "proxy/private.h"

#include <stdatomic.h>

enum { BUCKETS = 18, METHOD_SLOTS = 3 };

/* Upper bounds, in microseconds: from a hit to a large image over a slow line. */
extern const int64_t METRICS_BOUNDS[BUCKETS];
extern const char *const METRICS_METHODS[METHOD_SLOTS];

struct histogram {
    atomic_uint_fast64_t buckets[BUCKETS + 1];
    atomic_uint_fast64_t micros;
};

struct cells {
    atomic_uint_fast64_t counts[METHOD_SLOTS][KIND_COUNT][RESULT_COUNT];
};

struct metrics {
    struct cells *_Atomic groups[GROUPS]; /* made on first use */
    atomic_uint_fast64_t sent[SOURCE_COUNT], waited_us /* for upstreams */;
    struct histogram whole[KIND_COUNT][RESULT_COUNT], first[KIND_COUNT][RESULT_COUNT];
};

/* Counts of a group's sites that were removed. One thread at a time adds, any reads. */
struct gone {
    atomic_uint_fast64_t received, turned_away, logins_refused;
    atomic_uint_fast64_t codes[METHOD_SLOTS][UPSTREAM_CODES];
};

struct metrics_gone {
    struct gone *_Atomic groups[GROUPS]; /* made on first use */
};

/* Sums over the loops; `gone` is NULL for a group that has lost none. Any thread. */
uint64_t metrics_cell(const struct proxy *p, int group, int method, int kind, int result);
uint64_t metrics_sent(const struct proxy *p, int source);
struct gone *metrics_gone_of(const struct proxy *p, int group);

#endif
