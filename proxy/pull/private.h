/* private.h - between items.c (what there is to bring in), tree.c (what an image consists of), errand.c (one thing on
 * its way) and pull.c (all of them). */
#ifndef ENTREPOT_PROXY_PULL_PRIVATE_H
#define ENTREPOT_PROXY_PULL_PRIVATE_H

#include "base/key_map.h"
#include "proxy/pull/prefetch.h"
#include "proxy/pull/pull.h"

#include <pthread.h>
#include <sys/queue.h>

enum {
    PULL_ITEMS_MAX = 1 << 20, /* of all images of one pull */
    PULL_PAGES_MAX = 10000,   /* of referrers of one image */
    PULL_DEPTH_MAX = 4,       /* a signature of an SBOM of an image in an index */
};

struct pulled_image {
    struct ref ref;
    char text[REF_TEXT_MAX], name[REF_TEXT_MAX];
    const struct site *site; /* held; NULL: there is none */
    const char *path;
    struct digest digest;
    int open; /* items that are not finished */
    bool failed, begun;
    char error[ERR_MSG_MAX];
    char unchecked[ERR_MSG_MAX]; /* why its tag was not confirmed by upstream; empty: it was */
    int64_t size, fetched;
    struct digest config; /* of an image without an index */
};

/* One thing to fetch. */
struct pull_item {
    STAILQ_ENTRY(pull_item) entry;
    struct pulled_image *image;
    enum pull_kind kind;
    char tag[REF_TAG_MAX + 1]; /* a manifest by tag */
    struct digest digest;
    int64_t size;
    char platform[PLATFORM_MAX + 1];
    int depth;            /* 0: the image itself; a referrer is one deeper than its subject */
    bool whole;           /* all platforms of an index */
    bool optional;        /* it need not exist */
    bool listed;          /* by its registry, among the referrers */
    bool about;           /* its referrers are looked for, too */
    struct digest before; /* what the tag pointed to in the cache */
    char *query;          /* of the page of a listing; NULL: the first */
    int page;
    int attempts;
    int64_t not_before_ms; /* monotonic */
    /* the loop's */
    struct prefetch *prefetch;
    /* under shared->lock while an attempt is under way */
    bool ended, ok;
    struct err *err; /* of the last attempt; NULL: none */
    int64_t had;     /* bytes that were here before */
    int64_t got;     /* bytes that came with attempts that failed */
    struct body *listing, *next;
    char *unchecked; /* why its tag was not checked; NULL: it was */
};

STAILQ_HEAD(pull_items, pull_item);

/* Shared by the loop and the pulling thread. A prefetch's callback does not come once the loops have ended, so the last
 * reference frees it. */
struct pull_shared {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int refs;
    bool news;
    struct pull_item *items[PULL_PARALLEL]; /* that run */
};

struct pull {
    struct puller *puller;
    struct loop *loop;
    const struct pull_wish *wish;
    struct pull_sum *sum;
    struct pull_shared *shared;
    struct pulled_image *images;
    struct pull_items waiting, running;
    size_t item_count;
    int running_count;
    struct key_map seen; /* what has been added, of each image */
};

/* ---- items.c ---- */

/* Adds an item, unless this image has it already. Everything is copied. */
struct pull_item *pull_add(struct pull *p, struct pulled_image *image, enum pull_kind kind, const struct digest *digest,
                           const char *tag, int depth);
/* Reports a blob to the caller of pull_run(). */
void pull_say_blob(struct pull *p, const struct pull_item *it, enum pull_status status, int64_t received,
                   const char *error);
void pull_item_free(struct pull_item *it);
void pull_fail(struct pulled_image *image, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- errand.c ---- */

struct pull_shared *pull_shared_new(void);
void pull_shared_unref(struct pull_shared *s);
/* Starts to fetch it; it is in `running` from now on. */
void pull_start(struct pull *p, struct pull_item *it);
/* On the loop, with a reference, which it releases: drops all prefetches; blobs that no other request waits for are
 * paused. */
void pull_drop_all(void *shared);

/* ---- tree.c ---- */

/* A manifest has come: adds what it references, and, if wanted, its possible referrers. */
void pull_take_manifest(struct pull *p, struct pull_item *it);
/* The platform of an image without an index, if it is none of the wanted ones. */
void pull_other_platform(struct pull *p, const struct pulled_image *image, char out[PLATFORM_MAX + 1]);
/* A page of referrers has come: adds those, and the next page. */
void pull_take_listing(struct pull *p, struct pull_item *it);
/* It has not: adds the tag that takes its place if the registry has no such list; else the image has failed. */
void pull_miss_listing(struct pull *p, struct pull_item *it);

#endif
