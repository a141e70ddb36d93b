/* fetch.h - fetching content that is not cached, or not known to be fresh.
 *
 * A serve loop hands a request to the fetch loop that its key belongs to. If a fetch with this key is under way, the
 * request joins it; otherwise a fetch begins, which goes through named steps (manifest.c, blob.c, blob_head.c,
 * listing.c, admit.c) and sends each waiter its result. The key of a blob is its digest alone, that of a manifest its
 * repository and reference. A key always belongs to the same loop, so that each thing is fetched once without a lock.
 *
 * fetch_begin() may be called on any loop; `done` runs on `loop`, exactly once, also if the client has gone.
 */
#ifndef ENTREPOT_PROXY_FETCH_FETCH_H
#define ENTREPOT_PROXY_FETCH_FETCH_H

#include "cache/cache.h"
#include "proxy/fetch/client.h"
#include "proxy/fetch/sites.h"

struct cluster;
struct fetchers;
struct fetch_waiter; /* a request that was handed over; good until its `done` runs */

enum fetch_kind {
    FETCH_MANIFEST,      /* body wanted */
    FETCH_MANIFEST_HEAD, /* digest, size and type wanted */
    FETCH_BLOB,
    FETCH_BLOB_HEAD,
    FETCH_BLOB_RELAY, /* for this one client, without caching: an ingest in memory */
    FETCH_LISTING,    /* a page of tags/list or referrers */
    FETCH_ADMIT,      /* whether the client may read what `listing` names */
};

/* The first range that a request for a blob asks for, before the blob's size is known. */
struct fetch_piece {
    bool given;          /* else the whole is wanted */
    int64_t first, last; /* bytes, of an open range INT64_MAX - 1; first -1: the last `last` bytes */
};

/* What is wanted, and for which client: of a request, of each waiter, and of the fetch that serves them. */
struct fetch_want {
    enum fetch_kind kind;
    const struct site *site;
    const char *path;         /* "library/nginx" */
    const char *name;         /* "docker.io/library/nginx" */
    const char *tag;          /* "" or NULL: by digest */
    struct digest digest;     /* DIGEST_NONE: by tag */
    const char *listing;      /* FETCH_LISTING: "tags/list?n=10"; FETCH_ADMIT: "manifests/latest" */
    struct client *client;    /* its identity is sent upstream if `is_private`; NULL: the cache's own is */
    bool is_private;          /* the client has a grant (access.h); what comes is kept as private */
    struct sent_before sent;  /* FETCH_BLOB_RELAY; the descriptor is the caller's until `done` */
    struct fetch_piece piece; /* FETCH_BLOB; FETCH_BLOB_RELAY, of at most what it may hold in memory */
    bool force;               /* a tag is checked with upstream although it is fresh */
    bool refresh;             /* ... before it is not any more; its home may do that for all nodes */
    bool keep;                /* FETCH_BLOB: it has to be stored here; another registry's fetch of it is waited for */
    int hops;     /* another node of the cluster asks: how far the question has come (cluster/ask.h); 0: none */
    bool have;    /* ... for what is here alone */
    bool named;   /* ... or on its way here */
    int64_t size; /* FETCH_BLOB: bytes, as that node says; 0: not known */
    bool ahead;   /* FETCH_BLOB: no client waits for it yet (registry/readahead.h) */
};

/* A copy that owns its texts and references. fetch_want_clear() frees them. */
void fetch_want_copy(struct fetch_want *to, const struct fetch_want *from);
void fetch_want_clear(struct fetch_want *want);

/* How the answer came about; becomes Cache-Status and the `result` of metrics. */
enum fetch_how {
    HOW_HIT,         /* it was in the cache after all */
    HOW_PARTIAL,     /* a piece that is here, of a blob that is not whole */
    HOW_MISS,        /* fetched and stored */
    HOW_PEER,        /* the same, from another node of the cluster */
    HOW_SHARED,      /* the same, from the bucket */
    HOW_COLLAPSED,   /* joined a fetch under way */
    HOW_REVALIDATED, /* upstream confirmed what was here */
    HOW_STALE,       /* cached, past fresh; upstream could not be asked */
    HOW_BYPASS,      /* passed on, not stored */
    HOW_DENIED,
    HOW_ERROR,
};

struct fetch_result {
    enum fetch_how how;
    enum fetch_how joined; /* HOW_COLLAPSED: how that came about */
    struct err err;        /* ERR_OK: there is an answer */
    int upstream_status;   /* of the last exchange; 0: there was none */
    int64_t ttl_s;         /* HOW_STALE: seconds past fresh */
    struct digest digest;
    int64_t size; /* bytes; -1 not known */
    char media_type[MEDIA_TYPE_MAX + 1];
    struct body *body;             /* manifests and listings; a reference of the waiter's */
    struct ingest *ingest;         /* blobs: follow this; held for the waiter until the result is cleared */
    char challenge[CHALLENGE_MAX]; /* WWW-Authenticate of upstream's refusal */
    char filters[128];             /* listings: OCI-Filters-Applied */
    struct body *next; /* listings: the query of the next page, as text; a reference of the waiter's; NULL: none */
    int64_t age_s;     /* manifests by tag, for another node: since its registry was asked */
    bool no_api;       /* referrers, ERR_NOT_FOUND: the registry does not have this page */
};

/* `loops` fetch loops, started; `cluster` is borrowed, NULL: there are no other nodes. Errors: ERR_IO. */
struct fetchers *fetchers_new(struct cache *cache, const struct config *config, struct cluster *cluster, int loops,
                              struct err *err);
/* Stops the loops. Blobs under way stay as parts, which can be resumed. */
void fetchers_stop(struct fetchers *all);
/* After that: runs what was posted to them since, as loop_settle(). */
bool fetchers_settle(struct fetchers *all);
void fetchers_free(struct fetchers *all);
/* Calls fn(arg, loop) for each loop, on the caller's thread. */
void fetchers_each_loop(const struct fetchers *all, void (*fn)(void *arg, struct loop *loop), void *arg);
/* Adds lines of text: what is being fetched on this one of its loops, what it waits for, and for how many. On it. */
void fetchers_print(const struct fetchers *all, const struct loop *loop, struct buf *out);

/* Answers whose bytes did not match their digest, so far. Any thread. */
uint64_t fetchers_mismatches(const struct fetchers *all);

/* Bytes of this blob from other nodes or the bucket were wrong a while ago: its registry alone is asked. Any thread. */
bool fetchers_distrust(struct fetchers *all, const struct digest *d);

/* `want` is copied. */
struct fetch_waiter *fetch_begin(struct fetchers *all, struct loop *loop, const struct fetch_want *want,
                                 void (*done)(void *arg, struct fetch_result *result), void *arg);
/* The client has gone. `done` still runs, soon. A fetch without waiters is given up after some seconds. On the loop
 * that began it, before `done` runs. */
void fetch_leave(struct fetch_waiter *w);
/* Revalidates a cached tag, and fetches the manifest that it points to now. No client waits for that. */
void fetch_refresh(struct fetchers *all, struct loop *loop, const struct fetch_want *want);
/* The client may read this repository: blobs of it that are under way may be resumed with its identity. Any thread. */
void fetch_offer(struct fetchers *all, const char *name, struct client *c);
/* Offline: no new request is sent to any registry; those under way go on. Any thread. */
void fetchers_set_offline(struct fetchers *all, bool offline);
bool fetchers_is_offline(const struct fetchers *all);
/* Whether no request may be sent to the registry of this site: the cache is offline, or the registry is not one of its
 * upstreams (the local site). Only cached content can be served then. Any thread. */
bool fetchers_is_cut_off(const struct fetchers *all, const struct site *site);
/* "referrers/sha256:…", a listing; the caller frees. */
char *fetch_referrers_path(const struct digest *subject);
/* The part behind "referrers/": a digest, and a query if there is one. NULL: another kind of path. Borrowed. */
const char *fetch_referrers_subject(const char *path);
/* What the configuration says of a tag. */
struct config_tags fetch_tags_for(const struct site *site, const char *name, const char *tag);
/* Something was pushed to this repository, or deleted there: what is remembered of it as absent, and its lists, are
 * requested again by requests that begin after this. Any thread. */
void fetch_forget_repository(struct fetchers *all, const char *name);
/* Releases what a result refers to. */
void fetch_result_clear(struct fetch_result *r);

#endif
