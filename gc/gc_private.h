/* gc_private.h - shared by limits.c, learn.c, kept.c ◀ collect.c ◀ room.c ◀ gc.c. */
#ifndef ENTREPOT_GC_GC_PRIVATE_H
#define ENTREPOT_GC_GC_PRIVATE_H

#include "gc/gc.h"
#include "gc/sweep.h"

#include <pthread.h>
#include <sys/queue.h>

enum { FRUITLESS_MS = 1000 /* after a collection that freed nothing, before the next one for room */ };

/* A pending request for room. */
struct room_request {
    STAILQ_ENTRY(room_request) entry;
    int64_t bytes;
    int64_t awaited; /* counted in gc->awaited */
    enum room_from from;
    void (*done)(void *arg, bool given);
    void *arg;
    struct loop *loop;
    bool given;
};

STAILQ_HEAD(room_requests, room_request);

struct gc {
    /* set once */
    struct cache *cache;
    const struct policy *policy;
    struct gc_space space;
    /* shared, under `settings_lock`; read by gc_settings() */
    pthread_mutex_t settings_lock;
    struct gc_options o;
    int64_t most; /* bytes that the cache may have, for min_free to hold, by what there was at the start */
    /* set once */
    pthread_t thread, reconciler;
    bool started, reconciling;
    atomic_bool ending, reconciled;
    pthread_mutex_t scrubbing; /* one at a time */
    /* the collector's thread alone */
    int64_t layout_ms; /* monotonic: when index.json may be written again */
    /* one collection at a time: under collecting */
    pthread_mutex_t collecting;
    uint64_t tag_repo; /* the third pass resumes here */
    char tag[REF_TAG_MAX + 1];
    void *learned;           /* the policy's state */
    uint32_t version, saved; /* of it: what the ranks are being made with; what is in the index */
    bool ranking;            /* images are being listed again since, as far as `ranked` */
    struct sweep_place ranked;
    /* shared, under lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, hurry;
    struct room_requests requests;
    int64_t awaited;      /* bytes of all pending requests, also of the one that room is being made for */
    int64_t promised;     /* bytes that were given, and are neither in the index yet nor booked */
    int64_t fruitless_ms; /* monotonic: no collection for room before; the last one freed nothing */
    struct gc_stats stats;
};

/* The marks in bytes, as the file system is now. */
struct limits {
    int64_t max, high, low;
    int64_t available, min_free; /* on the file system */
    int64_t missing;             /* there, to have min_free; not negative */
};
struct limits gc_limits(struct gc *gc);
/* The options as they are now. Any thread. */
struct gc_options gc_settings(struct gc *gc);
/* Sets gc->most. */
void gc_set_most(struct gc *gc);
/* An amount of the configuration in bytes: `bytes`, or if that is -1 so many percent of `total`. */
int64_t gc_share(int64_t bytes, double percent, int64_t total);
/* Where a collection without a target of its own ends, in bytes: INT64_MAX if there is no need for one. Of this and
 * other targets: negative, if that is more than all that is stored: parts may give the rest. */
int64_t gc_marks_target(struct gc *gc);

/* A collection, to the target, or (NULL) as the marks say; with gc->collecting held. */
bool gc_sweep(struct gc *gc, bool dry_run, const int64_t *target, struct gc_report *report, struct err *err);

/* What is requested, for the policy; with gc->collecting held, apart from the first. */
void learn_open(struct gc *gc);
void learn_from_requests(struct gc *gc);
/* After a lesson, a part at a time: lists images that are ranked lower now. */
bool learn_rank_again(struct gc *gc, struct err *err);
bool learn_save(struct gc *gc, struct err *err);

/* The collector's thread: answers all pending requests. */
void room_answer_all(struct gc *gc);
void room_deny_all(struct gc *gc);
void room_attach(struct gc *gc);

/* Adds every image that stays to the report. */
void report_kept(struct gc *gc, struct gc_report *report);

#endif
