/* registry.h - requests to one registry, with whatever it takes to be let in.
 *
 * An upstream is a name ("docker.io") and its endpoints, tried in order: the next one when an endpoint cannot be
 * reached, times out, or answers 5xx or 429; one that has failed is passed over for a while (endpoint.c). The last one
 * speaks for the registry: others are mirrors, and what they do not have or refuse (404, 401, 403) the next may give;
 * what it refuses itself stands, also where mirrors that were only guessed not to have it are asked after it.
 *
 * Logins (the cache's identities, and what clients bring) are for the last one, other endpoints at the same scheme,
 * host and port, and those that `logins` names. Other mirrors are asked without any, and never for a client's request.
 *
 * A 401 is answered with a token or Basic credentials and the request repeated; the challenge is remembered, so that
 * the next request carries a token from the start. Where the identity comes from: cred.h. Callbacks see the final
 * answer alone (call.c); of one of 400 or more they get no body, but what it says (transfer_response.said), and where
 * several endpoints were asked, what each one answered (.tried).
 *
 * A struct upstream is shared by all fetch loops; a call belongs to its engine's loop.
 */
#ifndef ENTREPOT_UPSTREAM_REGISTRY_H
#define ENTREPOT_UPSTREAM_REGISTRY_H

#include "config/config.h"
#include "upstream/budget.h"
#include "upstream/cred/cred.h"
#include "upstream/transfer.h"
#include "upstream/trust.h"

#include <stdatomic.h>

struct upstream;
struct upstream_call;

enum { UPSTREAM_IDENTITIES_MAX = 8 };

/* How many requests may be under way, to all upstreams together; each takes a connection, and a blob's a file. */
struct upstream_room {
    atomic_int used, most;
};

struct upstream_options {
    const char *name;
    const char *const *endpoints;           /* "https://host[/prefix]", NULL-terminated, at least one */
    const enum upstream_ns *ns;             /* of each endpoint; NULL: auto */
    const bool *logins;                     /* whether it is given logins, of each; NULL: see above */
    const struct cred_options *credentials; /* the cache's identities: whoever has most left is the one that asks */
    int credentials_count;                  /* 0: nobody */
    int rate_reserve;             /* when less than this is left of the limit, what is not needed is put off */
    int waiting_max;              /* requests that wait for an answer; more are ERR_BUSY. 0: any number */
    struct upstream_room *room;   /* borrowed; NULL: none */
    struct cred_workers *workers; /* borrowed */
    const struct trust *trust;    /* NULL: as the system has it */
    const char *const *named;     /* hosts that may be at addresses that are not public, NULL-terminated; copied */
    /* patterns of hosts that belong to the registry as its endpoints do: client_cert is shown to them; NULL-terminated,
     * may be NULL; copied */
    const char *const *trusted_hosts;
    bool insecure;
    int64_t connect_timeout_ms, stall_timeout_ms;
    /* Whether a client's name and password may go to a URL: the realm of the registry's challenge, or (`mirror`) an
     * endpoint before the last, which is not the registry itself. Any thread; NULL: yes. */
    bool (*may_have_password)(void *arg, const char *url);
    void *arg;
};

/* Everything is copied. */
struct upstream *upstream_new(const struct upstream_options *o);
void upstream_free(struct upstream *u);
/* Whether nothing is under way: no call, cancelled ones included, no transfer and no question for an identity. While
 * nobody starts a call that does not change, and it may be freed. Any thread. */
bool upstream_is_idle(const struct upstream *u);
/* Whether it has ever answered as a registry does: with content, or by asking for a login. Any thread. */
bool upstream_is_registry(const struct upstream *u);

enum { UPSTREAM_CODES = 600 };

struct upstream_stats {
    bool up;                                      /* the last exchange brought an answer that was not 5xx */
    int64_t ratelimit_remaining, ratelimit_limit; /* of the identity that has most left; -1 not known */
    int64_t limited_ms;                           /* so long nothing that counts is asked for; 0: it is */
    uint64_t received_bytes, requests;
    uint64_t logins_refused; /* so often it refused the login of one of the cache's identities */
    uint64_t turned_away;    /* requests that were not made for want of room: ERR_BUSY */
    bool login_is_refused;   /* the last one that was tried */
};

/* Any thread. */
void upstream_get_stats(struct upstream *u, struct upstream_stats *out);
/* Visits how often each method was answered with each code; code 0: no answer. Any thread. */
void upstream_each_code(struct upstream *u, void (*fn)(void *arg, const char *method, int code, uint64_t count),
                        void *arg);

/* Visits what is known of its limits; `who` is a number for the cache's own identities, "client" for others. Any
 * thread.
 */
void upstream_each_budget(struct upstream *u, void (*fn)(void *arg, const struct budget_info *info), void *arg);

struct upstream_request {
    const char *method;        /* GET or HEAD */
    const char *repository;    /* "library/nginx" */
    const char *path;          /* after /v2/<repository>/: "manifests/latest", "blobs/sha256:…" */
    const char *accept;        /* or NULL */
    const char *authorization; /* a client's own, sent as it is; NULL: an identity's */
    /* a client's name and password in place of the cache's identity; `client_id` tells one client from another */
    const struct cred_identity *identity;
    const char *client_id;
    int64_t range_first, range_last;
    const char *if_range;
    bool decode;        /* as in transfer.h */
    bool bounded;       /* it is small: each answer has connect_timeout and twice stall_timeout to be whole */
    bool unshared;      /* as in transfer.h */
    bool optional;      /* an endpoint that failed a moment ago is not asked just to try */
    int64_t lack_ms;    /* so long an endpoint but the last is not asked again for what it does not have */
    int endpoint_first; /* where to begin in the list, modulo its length */
    /* as in transfer.h */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
};

enum upstream_health {
    UPSTREAM_WELL,
    UPSTREAM_SHORT,   /* little is left of the limit: what is not needed is to be put off */
    UPSTREAM_LIMITED, /* it said 429: manifests are not asked for */
    UPSTREAM_DOWN,    /* no endpoint has answered lately */
};
/* What a request for a manifest would find; only whose it is counts. Any thread. */
enum upstream_health upstream_health(struct upstream *u, const struct upstream_request *req);
/* While little is left, one question a minute tells whether that is still so: whether this is the one. Any thread. */
bool upstream_take_probe(struct upstream *u);

/* Callbacks come later, from the loop. Errors beside those of transfer.h: ERR_RATE_LIMIT, with retry_after, if it is
 * not to be asked yet; ERR_BUSY, likewise, if too many requests are waiting. */
struct upstream_call *upstream_start(struct upstream *u, struct transfer_engine *engine, struct loop *loop,
                                     const struct upstream_request *req);
/* No callback comes after this; not to be called once on_done was. */
void upstream_cancel(struct upstream_call *c);
/* It takes too long for its caller: until somebody answers, upstream_health() takes the endpoint for one that is down. */
void upstream_doubt(struct upstream_call *c);
/* Stops reading the answer's body, or goes on. */
void upstream_pause(struct upstream_call *c, bool pause);

#endif
