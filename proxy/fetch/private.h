/* private.h - shared by the files of this folder. Unless something else is stated, each function runs on the fetch loop
 * of its fetch, and each struct belongs to one fetch loop.
 *
 *     common.c, want.c ◀ waiters.c ◀ run.c ◀ absent, offers, refused, leave, verify, prove, patience, listing_cache ◀
 *     stale, room, plan, wanted ◀ source ◀ striped ◀ sources ◀ nodes, partial ◀ resume, join ◀
 *     manifest.c, blob.c, blob_head.c, listing.c, admit.c (one type of fetch each) ◀ fetch.c, print.c
 */
#ifndef ENTREPOT_PROXY_FETCH_PRIVATE_H
#define ENTREPOT_PROXY_FETCH_PRIVATE_H

#include "proxy/fetch/fetch.h"
#include "proxy/fetch/supply.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

/* A request, on its way between a serve loop and a fetch loop. */
struct fetch_waiter {
    STAILQ_ENTRY(fetch_waiter) entry;
    struct fetcher *fetcher;
    struct fetch *fetch; /* the fetch it waits for; NULL: none at present */
    atomic_int refs;     /* the fetch loop's, which passes to `done`; and fetch_leave()'s while it is on its way */
    struct loop *loop;
    void (*done)(void *arg, struct fetch_result *result);
    void *arg;
    char *key; /* of `want` */
    struct fetch_want want;
    bool joined; /* a fetch that was under way */
    bool left;   /* its client has gone */
    bool proved; /* its registry has answered that its repository contains the blob */
    struct fetch_result result;
};

STAILQ_HEAD(fetch_waiters, fetch_waiter);

enum step {
    STEP_LOOKUP,
    STEP_VERIFY,
    STEP_PROVE,
    STEP_REVALIDATE,
    STEP_ASK,
    STEP_RECEIVE,
    STEP_STORE,
    STEP_DELIVER,
    STEP_FAIL,
    STEP_DONE,
    STEP_WAIT, /* a callback will name the next one */
};

/* One thing being fetched, for all requests that wait for it: the part common to all types. The struct of a type begins
 * with this one (blob.h, manifest.h, blob_head.c, admit.c); a listing has no more than this. */
struct fetch {
    LIST_ENTRY(fetch) entry;
    struct fetcher *fetcher;
    const struct fetch_type *type;
    char *key;
    struct fetch_waiters waiters;
    struct fetch_waiters later; /* they start again when this one has ended */
    bool for_cache;             /* it goes on without waiters: the cache itself wants it */
    /* what for */
    struct fetch_want want; /* the first waiter's */
    struct digest digest;   /* what is known of it by now; DIGEST_NONE: nothing, of a tag */
    struct config_tags tags;
    bool optional;      /* an older copy can be served: an endpoint that has just failed is not tried */
    int64_t started_ms; /* monotonic */
    /* where we are */
    enum step step;
    struct cache_hit hit;
    bool verified; /* STEP_VERIFY has hashed the file: once is enough */
    struct upstream_call *call;
    struct home_call *home; /* of manifests, if there are other nodes: home.c */
    bool no_nodes;          /* the registry alone is asked */
    bool by_node;           /* the last answer was another node's */
    int64_t age_s;          /* ... which has known it for so long */
    struct transfer_response response;
    struct buf received;
    bool too_large; /* `received` would be: the transfer was cancelled */
    struct fetch_result result;
    /* timers */
    struct event *again;     /* STEP_PROVE looks into the index again */
    struct event *patience;  /* clients have waited for long enough */
    struct event *desertion; /* there have been no waiters for long enough */
};

/* A type of fetch: its steps, and how it differs when clients come and go. NULL: it does not. */
struct fetch_type {
    const char *name;
    size_t size; /* of its struct */
    enum step (*run[STEP_DONE])(struct fetch *f);
    void (*join)(struct fetch *f, struct fetch_waiter *w); /* one more waiter; NULL: it gets the result */
    void (*lose_patience)(struct fetch *f);                /* clients have waited for long enough */
    bool (*is_wanted)(const struct fetch *f);              /* by more than its waiters */
    bool (*abandon)(struct fetch *f); /* it is not wanted; false: the upstream call is to be cancelled */
    bool (*stop)(struct fetch *f, const struct err *why); /* the daemon stops; true: the fetch will end by itself */
    bool (*stays)(struct fetch *f); /* after STEP_DONE; true: it calls fetch_run(f, STEP_DONE) once more, later */
    void (*clear)(struct fetch *f); /* frees what its struct holds */
};

struct absence {
    TAILQ_ENTRY(absence) entry;
    char *key;
    int64_t until_ms; /* monotonic */
    char *why;        /* ERR_NOT_FOUND */
    bool no_api;
};

enum {
    LISTING_BUCKETS = 1024,
    FETCH_SPARES = 4,
    DISTRUSTED_MAX = 64,
};

/* A page of a list, as a registry sent it. */
struct kept_listing {
    TAILQ_ENTRY(kept_listing) entry;
    LIST_ENTRY(kept_listing) same_hash;
    uint64_t walk; /* number of the last walk along a list that visited it */
    char *key;
    int64_t checked_ms, ttl_ms; /* wall time, like tags */
    struct fetch_result result;
};

/* Whether a repository has the referrers API; under a registry's name: the last of its repositories that was asked. */
struct known_api {
    TAILQ_ENTRY(known_api) entry;
    LIST_ENTRY(known_api) same_hash;
    char *name;
    bool missing;
};

struct sources_view;

struct fetcher {
    struct fetchers *all;
    struct loop *loop;
    struct transfer_engine *engine;
    LIST_HEAD(, fetch) active;
    TAILQ_HEAD(absences, absence) absences; /* upstream answered 404; the latest first */
    int absence_count;
    TAILQ_HEAD(kept_listings, kept_listing) listings; /* the latest first */
    LIST_HEAD(, kept_listing) listings_by_key[LISTING_BUCKETS];
    size_t listings_bytes;
    uint64_t listings_walk;
    struct buf spare[FETCH_SPARES]; /* of sources that have nothing to write at present */
    int spare_count;
    struct sources_view *view; /* of sources.c; NULL: no blob has been fetched */
    bool stopping;
};

struct fetchers {
    void (*arrive)(void *waiter); /* takes a waiter in, on its fetch loop */
    struct cache *cache;
    struct cluster *cluster; /* NULL: none */
    int count;
    pthread_mutex_t distrust_lock;
    struct distrusted {
        struct digest digest;
        int64_t until_ms;         /* monotonic */
    } distrusted[DISTRUSTED_MAX]; /* under distrust_lock */
    unsigned distrusted_next;
    atomic_uint_fast64_t mismatches, relays;
    atomic_bool stopping, offline;
    pthread_mutex_t apis_lock;
    TAILQ_HEAD(known_apis, known_api) apis; /* under apis_lock; the latest first */
    LIST_HEAD(, known_api) apis_by_name[LISTING_BUCKETS];
    int api_count;
    pthread_mutex_t offers_lock;
    TAILQ_HEAD(, fetch_offers) offers; /* under offers_lock: of repositories with private blobs under way */
    struct fetcher list[16];
};

extern const struct fetch_type MANIFEST_FETCH, BLOB_FETCH, BLOB_HEAD_FETCH, LISTING_FETCH, ADMIT_FETCH;

/* Goes on from `step` until a step waits, or the fetch is done; `f` may be freed then. */
void fetch_run(struct fetch *f, enum step step);
const char *fetch_step_name(enum step step); /* any but STEP_WAIT */
/* What the cache has. A request that is not private finds nothing in a private repository: it was admitted before the
 * repository was known to be private. */
void fetch_find(const struct fetch *f, const char *tag, const struct digest *digest, struct cache_hit *hit);
/* Sets the identity that upstream sees. */
void fetch_identify(const struct fetch *f, struct upstream_request *req);
/* Whether the registry has to prove by sending the bytes that this fetch's repository contains the cached content; that
 * it answers a HEAD with 200 is not enough for private content of another repository. verify.c */
bool fetch_needs_bytes(const struct fetch *f, const struct cache_hit *hit);
/* home.c: starts an exchange for f->want.path with the caller's callbacks; of a manifest, another node may be asked
 * first. */
void fetch_call(struct fetch *f, const char *method, const char *path, const char *accept,
                bool (*on_head)(void *arg, const struct transfer_response *r),
                bool (*on_data)(void *arg, const void *data, size_t len),
                void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err));
/* Some registries have no HEAD, or a wrong one, or redirect it to a URL that is signed for GET: before such a refusal
 * is believed, GET is tried. */
static inline bool fetch_proves_nothing(const struct transfer_response *r)
{
    return r->status == 404 || r->status == 405 || r->status == 501 || r->status == 400 || r->status == 403;
}
/* A web page with status 200, from login pages, captive portals, and servers with one page for every path. It is no
 * answer to the request, unless it comes with the right digest. refused.c */
bool fetch_is_page(const struct fetch *f, const struct transfer_response *r);
/* partial.c: bytes of a blob that arrives, or of which pieces are cached, and this client may have; -1: not known. */
int64_t fetch_partial_size(const struct fetch *f);
/* refused.c: turns an answer that is not 200 (or none) into f->result.err. */
void fetch_refused(struct fetch *f, const struct transfer_response *r, const struct err *err);
/* waiters.c. Sends the result, and the ingest to follow (or NULL), to all waiters. */
void fetch_answer(struct fetch *f, struct ingest *ingest);
void fetch_answer_one(struct fetch_waiter *w, const struct fetch_result *r, struct ingest *ingest);
void fetch_waiter_unref(struct fetch_waiter *w);
/* Adds a waiter to this fetch; removes the first one. */
void fetch_wait(struct fetch *f, struct fetch_waiter *w);
struct fetch_waiter *fetch_first_waiter(struct fetch *f); /* NULL: there is none */
/* leave.c: a waiter or follower has gone. If it was the last, the fetch is given up after a while. */
void fetch_note_desertion(struct fetch *f);
/* Takes a request in again, from the mailbox of its loop. */
void fetch_again(struct fetch_waiter *w);
/* Removes the waiters for which `is` holds, and passes each to `give`: one of the next two, or a function like them.
 * The others stay, in their order. */
void fetch_part_with(struct fetch *f, bool (*is)(const struct fetch *f, const struct fetch_waiter *w),
                     void (*give)(struct fetch *f, struct fetch_waiter *w));
void fetch_begin_again(struct fetch *f, struct fetch_waiter *w);
void fetch_answer_own(struct fetch *f, struct fetch_waiter *w); /* with the fetch's result */
/* Whether an older copy will do: it does not insist on upstream's present answer. */
bool fetch_takes_old(const struct fetch *f, const struct fetch_waiter *w);
/* verify.c: whether the file of this digest has to be hashed before it is served, and the step that does it;
 * STEP_LOOKUP follows. */
bool fetch_must_verify(const struct fetch *f, const struct digest *d);
enum step fetch_verify(struct fetch *f);
/* prove.c: STEP_PROVE. */
enum step fetch_prove(struct fetch *f);
/* The same, of the registry alone. */
void fetch_call_registry(struct fetch *f, const char *method, const char *path, const char *accept,
                         bool (*on_head)(void *arg, const struct transfer_response *r),
                         bool (*on_data)(void *arg, const void *data, size_t len),
                         void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err));
/* home.c. Another node asks for what this one asks a third for, which may wait for that one: what is on its level is
 * left, and the next is asked instead. False: nothing is. */
bool fetch_leave_home(struct fetch *f, int hops);
/* Whether there are other nodes that may be asked. */
bool fetch_has_home(const struct fetch *f);
void fetch_home_free(struct fetch *f);
/* Whether an exchange is under way that fetch_call() has begun; ends it. */
bool fetch_is_calling(const struct fetch *f);
void fetch_cancel_call(struct fetch *f);
/* "manifests/v1" or "manifests/sha256:…" */
char *fetch_reference_path(const struct fetch *f, const char *kind, bool by_digest);
/* A stored blob that is a manifest. */
static inline bool fetch_is_manifest(const struct cache_hit *hit)
{
    return hit->stored && hit->blob.flags & BLOB_MANIFEST;
}
/* Fills a result from the cache; false if the file turns out to be missing. */
bool fetch_from_cache(struct fetch *f, const struct cache_hit *hit, bool body, struct fetch_result *r);
/* patience.c: clients wait two seconds from now for upstream, then type->lose_patience() gives them an older copy. */
void fetch_be_patient(struct fetch *f);
/* absent.c: upstream has answered 404 to this key: within negative_ttl, or (for when upstream cannot be asked) at any
 * time before. */
struct absence *fetch_find_absence(struct fetcher *fr, const char *key);
struct absence *fetch_find_old_absence(struct fetcher *fr, const char *key);
/* That answer, as an error. */
void fetch_recall_absence(const struct absence *a, struct err *err);
void fetch_note_absence(struct fetch *f);
void fetch_forget_absences(struct fetcher *fr);
/* Those of a repository, and those of blobs, which belong to none. */
void fetch_forget_absences_of(struct fetcher *fr, const char *name);
/* listing.c. Whether a body is a list: an answer with 200 need not be (a proxy's or a web interface's page). */
bool fetch_is_listing(const void *data, size_t len, bool referrers, bool *empty);
/* The query of the next page, without `ns`; NULL if the target of the Link header has none. */
struct body *fetch_next_query(const char *target);

/* listing_cache.c: cached pages of lists. Sets the result to a fresh page, or, for when upstream cannot be asked, to an
 * older one of which all following pages are cached; false if there is none. */
bool fetch_use_listing(struct fetch *f);
bool fetch_use_old_listing(struct fetch *f);
/* The latter, to the waiters that an older copy will do for; the fetch goes on. */
void fetch_answer_old_listing(struct fetch *f);
/* Whether there is one, of any age. */
bool fetch_has_listing(const struct fetch *f);
/* Caches the result; `nothing`: an empty list. */
void fetch_note_listing(struct fetch *f, bool nothing);
void fetch_forget_listing(struct fetch *f);
void fetch_forget_listings(struct fetcher *fr);
void fetch_forget_listings_of(struct fetcher *fr, const char *name);
void fetch_forget_view(struct fetcher *fr); /* sources.c */
/* For when upstream cannot be asked: whether the repository, or else the last one asked of its registry, was without
 * the referrers API when it was asked last. Any loop. */
bool fetch_api_is_missing(const struct fetch *f);
/* Whether this repository had the API when it was asked last. */
bool fetch_api_is_known(const struct fetch *f);
void fetch_note_api(struct fetch *f, bool missing);
void fetch_apis_init(struct fetchers *all);
void fetch_apis_clear(struct fetchers *all);
/* offers.c: see blob.h. Any thread. */
void fetch_offers_init(struct fetchers *all);
void fetch_offers_clear(struct fetchers *all);
static inline struct cache *fetch_cache(const struct fetch *f)
{
    return f->fetcher->all->cache;
}
static inline bool fetch_is_offline(const struct fetch *f)
{
    return fetchers_is_cut_off(f->fetcher->all, f->want.site);
}
static inline const char *fetch_why_offline(const struct fetch *f)
{
    return f->want.site->upstream ? "the cache is offline" : "its registry is not one of the upstreams of this cache";
}
/* want.c: requests of the same key are one fetch. The caller frees. */
char *fetch_key(struct fetchers *all, const struct fetch_want *want);
/* Whether the key is of something in this repository. */
bool fetch_key_is_of(const char *key, const char *name);
/* Which of `count` fetch loops a key belongs to: that of a list's first page, for each of its pages. */
int fetch_key_loop(const char *key, int count);

#endif
