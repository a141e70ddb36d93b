/* private.h - shared by the files of this folder. Everything in here belongs to one fetch loop.
 *
 *     common.c, want.c ◀ waiters.c ◀ run.c ◀ absent, offers, refused, leave, verify, prove, patience, lists ◀
 *     stale, room, resume, join ◀ manifest.c, blob.c, look.c, listing.c, access.c (one type of fetch each) ◀ fetch.c
 */
#ifndef ENTREPOT_PROXY_FETCH_PRIVATE_H
#define ENTREPOT_PROXY_FETCH_PRIVATE_H

#include "proxy/fetch/fetch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

/* A request, on its way between a serve loop and a fetch loop. */
struct fetch_waiter {
    STAILQ_ENTRY(fetch_waiter) entry;
    struct fetcher *fetcher;
    struct fetch *fetch; /* whose waiters it is among; NULL: none's */
    atomic_int refs;     /* the fetch loop's, which becomes that of `done`; and one of a word that the client is gone */
    struct loop *loop;
    void (*done)(void *arg, struct fetch_result *result);
    void *arg;
    char *key; /* of `want` */
    struct fetch_want want;
    bool joined; /* somebody else's fetch was under way */
    bool left;   /* its client is gone */
    bool proved; /* its repository has been shown to contain the blob */
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

/* One thing being fetched, for all who wait for it: what every kind of it has. Its type's struct begins with this one
 * (blob.h, manifest.h, look.c, access.c); a listing is this alone. */
struct fetch {
    LIST_ENTRY(fetch) entry;
    struct fetcher *fetcher;
    const struct fetch_type *type;
    char *key;
    struct fetch_waiters waiters;
    struct fetch_waiters later; /* they start again when this one has ended */
    bool errand;                /* nobody has to wait: the cache itself wants it */
    /* what for */
    struct fetch_want want; /* the first waiter's */
    struct digest digest;   /* what is known of it by now; DIGEST_NONE: nothing, of a tag */
    struct config_tags tags;
    bool optional;      /* there is something to serve meanwhile: no endpoint is tried that has just failed */
    int64_t started_ms; /* monotonic */
    /* where we are */
    enum step step;
    struct cache_hit hit;
    bool verified; /* the file was looked at by STEP_VERIFY, once is enough */
    struct upstream_call *call;
    struct transfer_response response;
    struct buf received;
    bool too_large; /* what is received: we cancelled it */
    struct fetch_result result;
    /* what time brings */
    struct event *again;     /* STEP_PROVE looks again */
    struct event *patience;  /* clients have waited for long enough */
    struct event *desertion; /* nobody has waited for long enough */
};

/* A kind of fetch: its steps, and what is special about its clients. NULL: nothing is. */
struct fetch_type {
    const char *name;
    size_t size; /* of its struct */
    enum step (*run[STEP_DONE])(struct fetch *f);
    void (*join)(struct fetch *f, struct fetch_waiter *w); /* one more comes; NULL: it waits for the result */
    void (*lose_patience)(struct fetch *f);                /* clients have waited for long enough; NULL: for nothing */
    bool (*is_wanted)(const struct fetch *f);              /* by others than its waiters */
    bool (*abandon)(struct fetch *f); /* it is not wanted; false: what is under way upstream is to be cancelled */
    bool (*stop)(struct fetch *f, const struct err *why); /* the loop is; true: the fetch will end by itself */
    bool (*stays)(struct fetch *f); /* after STEP_DONE; it calls fetch_run(f, STEP_DONE) when it need not any more */
    void (*clear)(struct fetch *f); /* frees what its struct holds */
};

struct absence {
    TAILQ_ENTRY(absence) entry;
    char *key;
    int64_t until_ms; /* monotonic */
    char *why;        /* ERR_NOT_FOUND */
    bool no_api;
};

enum { LISTING_BUCKETS = 1024 };

/* A page that a registry listed. */
struct listing_said {
    TAILQ_ENTRY(listing_said) entry;
    LIST_ENTRY(listing_said) same_hash;
    uint64_t walk; /* the last one along the pages of a list that came by */
    char *key;
    int64_t checked_ms, ttl_ms; /* wall time, like tags */
    struct fetch_result result;
};

/* Whether a repository, or the last one of a registry that was asked, has the referrers API. */
struct api_said {
    TAILQ_ENTRY(api_said) entry;
    LIST_ENTRY(api_said) same_hash;
    char *name;
    bool missing;
};

struct fetcher {
    struct fetchers *all;
    struct loop *loop;
    struct transfer_engine *engine;
    LIST_HEAD(, fetch) active;
    TAILQ_HEAD(absences, absence) absences; /* what upstream said it does not have, the latest first */
    int absence_count;
    TAILQ_HEAD(listings_said, listing_said) listings; /* the latest first */
    LIST_HEAD(, listing_said) listings_by_key[LISTING_BUCKETS];
    size_t listings_bytes;
    uint64_t listings_walk;
    bool stopping;
};

struct fetchers {
    void (*arrive)(void *waiter); /* the way in, on the waiter's fetch loop */
    struct cache *cache;
    const struct config *config;
    int count;
    atomic_uint_fast64_t mismatches, relays;
    atomic_bool stopping, offline;
    pthread_mutex_t apis_lock;
    TAILQ_HEAD(apis_said, api_said) apis; /* under apis_lock; the latest first */
    LIST_HEAD(, api_said) apis_by_name[LISTING_BUCKETS];
    int api_count;
    pthread_mutex_t offers_lock;
    TAILQ_HEAD(, fetch_offers) offers; /* under offers_lock: of repositories with private blobs on their way */
    struct fetcher list[16];
};

extern const struct fetch_type MANIFEST_FETCH, BLOB_FETCH, LOOK_FETCH, LISTING_FETCH, ACCESS_FETCH;

/* Goes on from `step` until a step waits or all is done; `f` may be gone afterwards. */
void fetch_run(struct fetch *f, enum step step);
/* What the cache knows; nothing, of a private repository, to who was let in before it was known to be one. */
void fetch_find(const struct fetch *f, const char *tag, const struct digest *digest, struct cache_hit *hit);
/* Under whose identity upstream is asked. */
void fetch_identify(const struct fetch *f, struct upstream_request *req);
/* Whether what the index has may be served under this fetch's repository; if not, its registry has to prove that it has
 * it, by its word, or (fetch_needs_bytes()) by sending it. */
bool fetch_needs_bytes(const struct fetch *f, const struct cache_hit *hit);
/* Starts an exchange for f->want.path; its callbacks are the caller's. */
void fetch_call(struct fetch *f, const char *method, const char *path, const char *accept,
                bool (*on_head)(void *arg, const struct transfer_response *r),
                bool (*on_data)(void *arg, const void *data, size_t len),
                void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err));
/* Some registries have no HEAD, or a wrong one, or send it to a URL that is signed for GET: what it denies is asked for
 * before it is believed. */
static inline bool fetch_proves_nothing(const struct transfer_response *r)
{
    return r->status == 404 || r->status == 405 || r->status == 501 || r->status == 400 || r->status == 403;
}
/* A web page with status 200: what login pages, captive portals and servers with one page for everything answer. It is
 * no answer about what was asked for, unless the digest beside it says that it is. refused.c */
bool fetch_is_page(const struct fetch *f, const struct transfer_response *r);
/* refused.c: turns an answer that is not 200 (or none) into f->result.err. */
void fetch_refused(struct fetch *f, const struct transfer_response *r, const struct err *err);
/* waiters.c. Sends the result, and the ingest to follow (or NULL), to everybody who waits. */
void fetch_answer(struct fetch *f, struct ingest *ingest);
void fetch_answer_one(struct fetch_waiter *w, const struct fetch_result *r, struct ingest *ingest);
void fetch_waiter_unref(struct fetch_waiter *w);
/* It waits for this fetch from now on, or does not any more. */
void fetch_wait(struct fetch *f, struct fetch_waiter *w);
struct fetch_waiter *fetch_first_waiter(struct fetch *f); /* not any more; NULL: there is none */
/* leave.c: somebody went. If he was the last, the fetch is given up after a while. */
void fetch_note_desertion(struct fetch *f);
/* Lets a request come in anew, on this loop. */
void fetch_again(struct fetch_waiter *w);
/* Takes those out of the fetch for which `is` holds, and gives each to one of the next three, or to something like
 * them; the others stay, in their order. */
void fetch_part_with(struct fetch *f, bool (*is)(const struct fetch *f, const struct fetch_waiter *w),
                     void (*give)(struct fetch *f, struct fetch_waiter *w));
void fetch_begin_again(struct fetch *f, struct fetch_waiter *w);
void fetch_answer_own(struct fetch *f, struct fetch_waiter *w); /* with the result */
/* Whether it does not insist on what upstream says now. */
bool fetch_takes_old(const struct fetch *f, const struct fetch_waiter *w);
/* verify.c: whether there is a file of this digest that has to be verified before the index is believed, and the
 * step that does it; STEP_LOOKUP comes after that. */
bool fetch_must_verify(const struct fetch *f, const struct digest *d);
enum step fetch_verify(struct fetch *f);
/* prove.c: STEP_PROVE. */
enum step fetch_prove(struct fetch *f);
/* "manifests/v1" or "manifests/sha256:…" */
char *fetch_reference_path(const struct fetch *f, const char *kind, bool by_digest);
/* A stored blob that is a manifest; others with this digest are none of a manifest's business. */
static inline bool fetch_is_manifest(const struct cache_hit *hit)
{
    return hit->stored && hit->blob.flags & BLOB_MANIFEST;
}
/* Fills a result from what is in the cache; false if its file turns out to be gone. */
bool fetch_from_cache(struct fetch *f, const struct cache_hit *hit, bool body, struct fetch_result *r);
/* From now on, clients wait that long for upstream, and no longer, if there is something older. */
void fetch_be_patient(struct fetch *f);
/* absent.c: what upstream said a while ago that it does not have. The first is for as long as that is good, the
 * second for when upstream cannot be asked again. */
struct absence *fetch_find_absence(struct fetcher *fr, const char *key);
struct absence *fetch_find_old_absence(struct fetcher *fr, const char *key);
/* What upstream said then, as an error. */
void fetch_recall_absence(const struct absence *a, struct err *err);
void fetch_note_absence(struct fetch *f);
void fetch_forget_absences(struct fetcher *fr);
/* listing.c. Whether it is what it should be: a page with 200 need not be (a proxy's, a web interface's). */
bool fetch_is_listing(const void *data, size_t len, bool referrers, bool *empty);
/* The query of the next page, as a client will ask for it through us; NULL if the link has none. */
struct body *fetch_next_query(const char *link);

/* lists.c: what upstream listed. The result is the page as it is fresh, or, for when upstream cannot be asked,
 * older but with all that follow; false if there is none. */
bool fetch_use_listing(struct fetch *f);
bool fetch_use_old_listing(struct fetch *f);
/* The same, to those who do not want to know how it is now; the fetch goes on. */
void fetch_answer_old_listing(struct fetch *f);
/* Whether there is one, of any age. */
bool fetch_has_listing(const struct fetch *f);
/* Keeps the result; `nothing`: nothing was listed. */
void fetch_note_listing(struct fetch *f, bool nothing);
void fetch_forget_listing(struct fetch *f);
void fetch_forget_listings(struct fetcher *fr);
/* For when upstream cannot be asked: whether the repository, or the last one of its registry, was without the referrers
 * API when it was asked last. Any loop. */
bool fetch_api_is_missing(const struct fetch *f);
/* Whether this repository had the API when it was asked last. */
bool fetch_api_is_known(const struct fetch *f);
void fetch_note_api(struct fetch *f, bool missing);
void fetch_apis_init(struct fetchers *all);
void fetch_apis_clear(struct fetchers *all);
/* offers.c, for all loops. */
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
/* Which of `count` fetch loops a key belongs to: that of a list's first page, for each of its pages. */
int fetch_key_place(const char *key, int count);

#endif
