/* pull_private.h - shared by the files that recognise pulls. Each calls those to its left only:
 *
 *     pull_print.c ◀ pull_table.c ◀ pull_end.c ◀ pulls.c
 *     words, JSON    pulls, blobs   results,     requests,
 *                                   the ring     readers
 *
 * The main loop alone writes, with the lock held; it reads without. Others read with it.
 */
#ifndef ENTREPOT_PROXY_SEEN_PULL_PRIVATE_H
#define ENTREPOT_PROXY_SEEN_PULL_PRIVATE_H

#include "proxy/seen/pulls.h"

#include <event2/event.h>
#include <pthread.h>
#include <sys/queue.h>

enum { PULL_BUCKETS = 1024, PULL_LINES_MAX = 50 /* of the log, a second */, PULL_CHILDREN_MAX = 256 };

/* A config or a layer. */
struct pull_layer {
    struct digest digest;
    int64_t size; /* bytes; -1: not known */
    int64_t sent;
    bool here;    /* it was when the pull began */
    bool known;   /* the manifest names it */
    bool fetched; /* its bytes count as fetched */
    bool done;
    bool cut; /* a client left in the middle */
    int under_way;
    char *failure;
};

struct pull_child {
    struct digest digest;
    char platform[PULL_PLATFORM_MAX + 1];
};

/* One in flight. */
struct pull_going {
    TAILQ_ENTRY(pull_going) entry; /* the latest request first */
    LIST_ENTRY(pull_going) same_hash;
    uint64_t hash; /* of client, agent and name */
    struct pull_seen seen;
    char *failure;               /* of its manifests; NULL: there is none */
    bool got;                    /* a GET of a manifest, or a blob: else it is only a look */
    bool unread;                 /* what `reads` consists of is not known yet */
    struct digest reads;         /* the manifest whose parts are wanted */
    struct pull_child *children; /* of the index */
    int child_count;
    struct digest images[4]; /* manifests whose blobs are in the list */
    int image_count;
    struct pull_layer *layers;
    int layer_count, layer_cap;
    int under_way;   /* requests */
    int64_t last_ms; /* monotonic */
};

struct pull_over {
    struct pull_seen seen;
};

struct pulls {
    struct pulls_options o;
    struct loop *loop;
    struct event *clock;
    pthread_mutex_t lock;
    TAILQ_HEAD(pulls_going, pull_going) going;
    LIST_HEAD(, pull_going) buckets[PULL_BUCKETS];
    int count;
    struct pull_over *ring[PULLS_KEPT];
    uint64_t numbers; /* so many are over: the last one's number */
    atomic_uint_fast64_t counts[PULLED_RESULTS];
    /* the loop's */
    struct {
        void (*fn)(void *arg, enum pull_event event, const struct pull_seen *pull);
        void *arg;
    } subscribers[PULLS_SUBSCRIBERS];
    int subscriber_count;
    int64_t line_s;           /* the second whose lines are counted */
    int lines, lines_dropped; /* of the log */
};

/* ---- pull_table.c ---- */

/* The pull that a request belongs to; NULL: to none. */
struct pull_going *going_find(struct pulls *p, const struct pull_request *r);
struct pull_going *going_begin(struct pulls *p, const struct pull_request *r);
void going_free(struct pulls *p, struct pull_going *g);
/* The blob's place; of one that is not known a new one. NULL: there are too many. */
struct pull_layer *going_layer(struct pull_going *g, const struct digest *d);
struct pull_layer *going_layer_find(const struct pull_going *g, const struct digest *d);
/* Adds what a manifest consists of. */
void going_add_parts(struct pull_going *g, const struct digest *manifest, const struct pull_parts *parts);
/* A request of it: it is the latest now. */
void going_touch(struct pulls *p, struct pull_going *g, int64_t now_ms);
/* Whether another pull in flight has this blob's bytes counted as fetched. */
bool going_is_counted(const struct pulls *p, const struct pull_going *but, const struct digest *d);
/* Whether all that its image consists of was sent. */
bool going_is_done(const struct pull_going *g);

/* ---- pull_end.c ---- */

/* It is over: its result, its place in the ring, its line in the log. Frees it. */
void going_end(struct pulls *p, struct pull_going *g);
void going_publish(const struct pulls *p, enum pull_event event, const struct pull_seen *seen);

#endif
