/* plan.h - which range of a blob is requested next: a pure function of what is here, what is on its way, and what
 * clients wait for.
 *
 *     1. a client waits where no source arrives soon: a source begins there, in place of one that nobody waits for;
 *        where a client will wait soon, if there is place for one
 *     2. the first range that is missing and not on its way (of a blob that is wanted as a whole)
 *     3. nothing is left: the source that would take longest gives a part of its range to another connection
 *
 * While there is one connection, a range is everything up to what is here. With more of them ranges are a fraction of
 * what is missing, so that all end at about the same time and a connection that has brought its range is used for the
 * next one: an open range that is cut off costs what the registry has sent by then (containerd 2.1, five hundredths).
 */
#ifndef ENTREPOT_PROXY_FETCH_PLAN_H
#define ENTREPOT_PROXY_FETCH_PLAN_H

#include "cache/cache.h"

enum {
    PLAN_SOURCES_MAX = 64,      /* connections */
    PLAN_RANGES_MAX = 256,      /* of one connection */
    PLAN_WAITING_MAX = 1024,    /* ranges that clients wait for, which are looked at */
    PLAN_NEAR = 2 << 20,        /* bytes: a source that is not farther away arrives soon */
    PLAN_RANGE_MIN = 4 << 20,   /* bytes that are requested at a time beside others, at least */
    PLAN_RANGE_MAX = 64 << 20,  /* and at most */
    PLAN_WAITED_MIN = 16 << 20, /* where a client waits: it would wait for each request */
    PLAN_SPLIT_MIN = 2 << 20,   /* what has less than twice this left is not divided */
    PLAN_SPLIT_MIN_MS = 300,    /* nor what ends within this time */
    PLAN_GROW_MS = 400,         /* another connection is tried if the rest takes longer */
    PLAN_FAST_RATE = 400 << 20, /* bytes a second of each: another would cost more than it brings */
};

struct plan_source {
    int64_t at, end; /* the next byte that it brings; one past the last */
    int64_t rate;    /* bytes a second; 0: too early to tell */
    bool in_use;     /* a client has waited for what it brings a moment ago: it goes on */
};

struct plan_view {
    int64_t size, received;            /* of the blob; bytes */
    bool whole;                        /* everything is to be fetched; else what clients wait for */
    int most;                          /* connections at a time, at present */
    int limit;                         /* and with those that clients wait for; 1: there are no others */
    int connections;                   /* that there are */
    const struct plan_source *sources; /* a range each; one connection may bring several */
    size_t source_count;
    const struct ingest_span *waiting;
    size_t waiting_count;
    size_t reading_count; /* the last of them: these clients still read what is here, and wait soon */
    /* The first range that is missing at or behind `from`, as ingest_gap(). */
    bool (*gap)(void *arg, int64_t from, int64_t *first, int64_t *end);
    void *arg;
};

enum plan_what {
    PLAN_NOTHING,
    PLAN_BEGIN,   /* a source for [first, end) */
    PLAN_SHORTEN, /* sources[source] ends at `end`; at or before its position: it is cancelled */
};

struct plan {
    enum plan_what what;
    size_t source;
    size_t waiting;     /* PLAN_BEGIN: for which of them; `waiting_count`: for none */
    int64_t first, end; /* multiples of INGEST_SEGMENT, or where what is here begins or ends */
};

/* What to do next; to be called again after it was done, until it is PLAN_NOTHING. */
struct plan plan_next(const struct plan_view *v);
/* Whether it may pay to try one more connection than those that bring `rate` bytes a second together, for `left` bytes
 * that no client waits for in particular. A connection that is nearly as fast as hashing needs no help. */
bool plan_may_grow(int64_t rate, int connections, int64_t left);

#endif
