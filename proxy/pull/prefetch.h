/* prefetch.h - bringing something into the cache without a client that waits for its bytes.
 *
 * prefetch_begin() may be called on any thread; `done` runs on `loop`, once, when the index has the thing, or with why
 * not.
 */
#ifndef ENTREPOT_PROXY_PULL_PREFETCH_H
#define ENTREPOT_PROXY_PULL_PREFETCH_H

#include "cache/cache.h"
#include "proxy/fetch/fetch.h"
#include "proxy/fetch/sites.h"

struct gc;

/* What of the daemon brings things in. Set by the room above before anything is brought in; everything is borrowed. */
struct puller {
    struct cache *cache;
    struct sites *sites;
    struct fetchers *fetchers;
    struct gc *gc;
    const atomic_bool *serving; /* false: the daemon stops, and so does what waits */
};

struct prefetch_wish {
    const struct site *site;
    const char *path, *name;     /* as in struct fetch_want */
    const char *tag;             /* "" if by digest */
    const struct digest *digest; /* NULL if by tag */
    bool manifest;
    const char *listing; /* NULL, or what to list in place of fetching: "referrers/sha256:…?…" */
    bool force;          /* a tag is checked with upstream although it is fresh */
};

struct prefetch;

struct prefetch_result {
    const struct err *err;      /* NULL: it is here */
    const struct body *listing; /* NULL: none was asked for */
    const struct body *next;    /* the query of its next page, as text; NULL: there is none */
    int64_t had;                /* bytes of a blob that were here before */
    int64_t got;                /* bytes of one that failed which came meanwhile, and stay */
    const char *unchecked;      /* of a tag that upstream did not confirm: why not; the copy that is here stands */
};

/* Everything in `wish` is copied; what `done` gets is borrowed. */
void prefetch_begin(struct puller *p, struct loop *loop, const struct prefetch_wish *wish,
                    void (*done)(void *arg, const struct prefetch_result *r), void *arg);
/* The same, on `loop` itself; what it returns is good until `done`. */
struct prefetch *prefetch_begin_here(struct puller *p, struct loop *loop, const struct prefetch_wish *wish,
                                     void (*done)(void *arg, const struct prefetch_result *r), void *arg);
/* Nobody wants it any more: `done` comes with ERR_CANCELLED, now or as soon as it is known what would be waited for. On
 * the loop. */
void prefetch_drop(struct prefetch *p);
/* The same, waiting; not on a loop. */
bool prefetch_wait(struct puller *p, struct loop *loop, const struct prefetch_wish *wish, struct err *err);
/* The site (the caller gives it back) and path of a full repository name. False if no upstream is configured for it. */
bool prefetch_site(struct puller *p, const char *name, const struct site **site, const char **path);

#endif
