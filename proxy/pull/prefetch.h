/* prefetch.h - fetching something into the cache without a client that reads its bytes.
 *
 * `done` runs on `loop`, once, when the index has the thing, or with the reason why not.
 */
#ifndef ENTREPOT_PROXY_PULL_PREFETCH_H
#define ENTREPOT_PROXY_PULL_PREFETCH_H

#include "cache/cache.h"
#include "proxy/fetch/fetch.h"
#include "proxy/fetch/sites.h"

struct gc;

/* The parts of the daemon that a prefetch uses. Set once, before the first; everything is borrowed. */
struct puller {
    struct cache *cache;
    struct sites *sites;
    struct fetchers *fetchers;
    struct gc *gc;
    const atomic_bool *serving; /* false: the daemon is stopping, and waiting ends */
};

struct prefetch;

struct prefetch_result {
    const struct err *err;      /* NULL: it is here */
    const struct body *listing; /* NULL: none was asked for */
    const struct body *next;    /* the query of its next page, as text; NULL: there is none */
    int64_t had;                /* bytes of a blob that were here before */
    int64_t got;                /* bytes of one that failed which came with this prefetch, and stay */
    const char *unchecked;      /* why upstream did not confirm the tag, whose cached copy stays; NULL: it did */
};

/* Brings `want` in: a manifest, a blob, or a list (which the result has). It is copied; what `done` gets is borrowed.
 * On `loop`; what is returned is good until `done`, which comes later. */
struct prefetch *prefetch_begin(struct puller *p, struct loop *loop, const struct fetch_want *want,
                                void (*done)(void *arg, const struct prefetch_result *r), void *arg);
/* It is not wanted any more: `done` comes with ERR_CANCELLED, now, or when the fetch's answer comes. On the loop. */
void prefetch_drop(struct prefetch *p);
/* The same as prefetch_begin(), waiting; not on a loop. */
bool prefetch_wait(struct puller *p, struct loop *loop, const struct fetch_want *want, struct err *err);
/* The site (the caller releases it) and path of a full repository name. False: no upstream is configured for it. */
bool prefetch_site(struct puller *p, const char *name, const struct site **site, const char **path);

#endif
