/* registry.h - requests to one registry, with the logins they need.
 *
 * An upstream is a name ("docker.io") and its endpoints, tried in order: the next one when an endpoint cannot be
 * reached, times out, or answers 5xx or 429; one that has failed is skipped for a while (endpoint.c). The last one
 * speaks for the registry; the others are mirrors. What a mirror lacks or refuses (404, 401, 403) is requested from the
 * next endpoint. The refusal of the last one is final, once the mirrors that were skipped by a guess have been tried,
 * too.
 *
 * Logins (the cache's identities and clients' own) are sent to the last endpoint, to others at the same scheme, host
 * and port, and to those that `logins` names. Other mirrors are used without any, and never for a client's request.
 *
 * A 401 is answered with a token or Basic credentials and the request repeated; the challenge is remembered, so that
 * the next request carries a token from the start. Where identities come from: cred.h. Callbacks see the final answer
 * only (call.c). For a status of 400 or more they receive no body, but the registry's message
 * (transfer_response.message) and, with several endpoints, what each one answered (.tried).
 *
 * A struct upstream is shared by all fetch loops; a call belongs to its engine's loop.
 */
#ifndef ENTREPOT_UPSTREAM_REGISTRY_H
#define ENTREPOT_UPSTREAM_REGISTRY_H

#include "config/config.h"
#include "upstream/budget.h"
#include "upstream/cred/cred.h"
#include "upstream/ledger.h"
#include "upstream/transfer.h"
#include "upstream/trust.h"

#include <stdatomic.h>

struct upstream;
struct upstream_call;

enum { UPSTREAM_IDENTITIES_MAX = 8 };

/* How many requests may be under way to all upstreams together; each takes a connection, and a blob's a file. */
struct upstream_slots {
    atomic_int used, most;
    atomic_int passing; /* of `used`: clients' own requests (upstream_pass_begin()); at most half of all */
};

struct upstream_options {
    const char *name;
    const char *const *endpoints;           /* "https://host[/prefix]", NULL-terminated, at least one */
    const enum upstream_ns *ns;             /* of each endpoint; NULL: auto */
    const bool *logins;                     /* per endpoint, whether logins are sent to it; NULL: see above */
    const struct cred_options *credentials; /* the cache's identities; the one with the most quota left is used */
    int credentials_count;                  /* 0: anonymous */
    int rate_reserve;                       /* below this many requests left, optional revalidations are postponed */
    int waiting_max;                        /* requests that wait for an answer; beyond it: ERR_BUSY. 0: any number */
    struct upstream_slots *slots;           /* borrowed; NULL: none */
    struct ledger *ledger;                  /* borrowed; NULL: limits are not shared with other nodes */
    struct cred_workers *workers;           /* borrowed */
    const struct trust *trust;              /* NULL: as the system has it */
    const char *const *named; /* hosts that may be at addresses that are not public, NULL-terminated; copied */
    /* patterns of hosts that belong to the registry as its endpoints do: client_cert is shown to them; NULL-terminated,
     * may be NULL; copied */
    const char *const *trusted_hosts;
    bool insecure;
    int64_t connect_timeout_ms, stall_timeout_ms;
    /* Whether a client's name and password may be sent to a URL, the realm of the registry's challenge. Any thread;
     * NULL: yes. */
    bool (*may_have_password)(void *arg, const char *url);
    void *arg;
};

/* Everything is copied. */
struct upstream *upstream_new(const struct upstream_options *o);
void upstream_free(struct upstream *u);
/* Changes upstream_options.waiting_max. Any thread. */
void upstream_set_waiting_max(struct upstream *u, int waiting_max);
/* Whether nothing is under way: no call, cancelled ones included, no transfer, no job of a credential worker. It stays
 * so while no call is started, and the upstream may be freed. Any thread. */
bool upstream_is_idle(const struct upstream *u);
/* Whether it has ever answered as a registry does: with content or a challenge. Any thread. */
bool upstream_is_registry(const struct upstream *u);

enum { UPSTREAM_CODES = 600 };

struct upstream_stats {
    bool up;                                      /* the last exchange brought an answer that was not 5xx */
    int64_t ratelimit_remaining, ratelimit_limit; /* of the identity with the most left; -1 unknown */
    int64_t limited_ms;                           /* requests that count are held for so long; 0: they are not */
    uint64_t received_bytes, requests;
    uint64_t logins_refused; /* refused logins of the cache's identities */
    uint64_t turned_away;    /* requests that were not sent: ERR_BUSY */
    bool login_is_refused;   /* the last login that was tried */
    int connections;         /* requests under way, each of which has one, or a stream of one that HTTP/2 shares */
};

/* Any thread. */
void upstream_get_stats(struct upstream *u, struct upstream_stats *out);
/* Visits the number of answers by method and status; code 0: no answer. Any thread. */
void upstream_each_code(struct upstream *u, void (*fn)(void *arg, const char *method, int code, uint64_t count),
                        void *arg);

/* What keeps requests from it, or from one of its endpoints. */
enum upstream_trouble_kind { UPSTREAM_NO_ANSWER, UPSTREAM_HELD, UPSTREAM_LOGIN_REFUSED };
struct upstream_trouble {
    enum upstream_trouble_kind kind;
    const char *endpoint; /* its URL, if there are several; "": all of it; borrowed */
    int64_t since_ms;     /* monotonic; 0: not known */
    int64_t next_ms;      /* until it is asked again; 0: the next request does */
    char why[120];        /* for all to read */
};
/* Any thread; no lock is held while `fn` runs. */
void upstream_each_trouble(struct upstream *u, void (*fn)(void *arg, const struct upstream_trouble *t), void *arg);

/* Visits the known rate limits; `who` is a number for the cache's own identities, "client" for others. Any thread. */
void upstream_each_budget(struct upstream *u, void (*fn)(void *arg, const struct budget_info *info), void *arg);

struct upstream_request {
    const char *method;        /* GET or HEAD */
    const char *repository;    /* "library/nginx" */
    const char *path;          /* after /v2/<repository>/: "manifests/latest", "blobs/sha256:…" */
    const char *accept;        /* or NULL */
    const char *authorization; /* a client's own, sent as it is; NULL: an identity is used */
    /* a client's name and password in place of the cache's identity; `client_id` tells clients apart */
    const struct cred_identity *identity;
    const char *client_id;
    int64_t range_first, range_last, range_suffix; /* as in transfer.h */
    const char *ranges;
    const char *if_range;
    const char
        *direct;     /* transfer_response.moved_to of an earlier answer: asked first, without an identity; NULL: none */
    bool decode;     /* as in transfer.h */
    bool further;    /* beside one that works: what it meets says nothing about the registry */
    bool bounded;    /* small: an answer is complete within connect_timeout and twice stall_timeout, or fails */
    bool unshared;   /* as in transfer.h */
    bool bulk;       /* as in transfer.h */
    bool optional;   /* do not send it just to probe an endpoint that failed */
    int64_t lack_ms; /* a mirror that lacks it is not tried again for so long */
    int endpoint_first; /* where to begin in the list, modulo its length */
    /* as in transfer.h */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
};

enum upstream_health {
    UPSTREAM_HEALTHY,
    UPSTREAM_SHORT,   /* little is left of the rate limit: optional requests are to be postponed */
    UPSTREAM_LIMITED, /* 429: manifest requests are held */
    UPSTREAM_DOWN,    /* no endpoint has answered recently */
};
/* What a request for a manifest would meet; of `req` only the identity counts. Any thread. */
enum upstream_health upstream_health(struct upstream *u, const struct upstream_request *req);
/* While little is left, one request a minute probes whether that is still so: whether this is the one. Any thread. */
bool upstream_take_probe(struct upstream *u);

/* Callbacks come later, from the loop. Errors beside those of transfer.h: ERR_RATE_LIMIT, with retry_after, while
 * requests are held; ERR_BUSY, likewise, if too many requests are waiting. */
struct upstream_call *upstream_start(struct upstream *u, struct transfer_engine *engine, struct loop *loop,
                                     const struct upstream_request *req);
/* No callback comes after this; not to be called once on_done was. */
void upstream_cancel(struct upstream_call *c);
/* A registry that does not serve ranges, or refuses a second connection, gets one at a time for an hour; the latter may
 * still be asked for a range. Any thread. */
void upstream_note_one_stream(struct upstream *u, bool no_ranges);
bool upstream_is_one_stream(const struct upstream *u);
/* The same for one that does not answer a request for several ranges with these. */
void upstream_note_one_range(struct upstream *u);
bool upstream_is_one_range(const struct upstream *u);
bool upstream_has_no_ranges(const struct upstream *u);
/* It takes too long for its caller: until an answer arrives, upstream_health() counts the endpoint as down. */
void upstream_doubt(struct upstream_call *c);
/* Pauses reading the answer's body, or resumes. */
void upstream_pause(struct upstream_call *c, bool pause);

/* ---- clients' own requests (pass_on.c) ---- */

/* A request to `host`, which is the registry's name, one of its endpoints' hosts, or one of its other hosts, that is
 * passed on as it is (struct transfer_verbatim): with the client's headers and login, and none of the cache's. The
 * client certificate is not shown: it would speak for every client. */
struct upstream_pass {
    const char *host;   /* lower case, without port */
    const char *method; /* any */
    const char *target; /* "/v2/?a=b" */
    const char *const *headers;
    struct transfer_verbatim body;
    bool isolated; /* as in transfer.h */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
};
/* Takes a place among the requests of all upstreams, until upstream_pass_end(). False: there is none. */
bool upstream_pass_begin(struct upstream *u);
struct transfer *upstream_pass_start(struct upstream *u, struct transfer_engine *engine,
                                     const struct upstream_pass *pass);
/* `received` bytes of the answer's body. The transfer has ended or was cancelled. */
void upstream_pass_end(struct upstream *u, int64_t received);
/* Where it is sent: "https://registry-1.docker.io". The caller frees. */
char *upstream_pass_origin(const struct upstream *u, const char *host);

#endif
