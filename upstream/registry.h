/* registry.h - requests to one registry, with whatever it takes to be let in.
 *
 * An upstream is a name ("docker.io") and its endpoints, tried in order: the next one when an endpoint cannot be
 * reached, times out, or answers 5xx or 429; one that has failed is passed over for a while (endpoint.c). A 401 is
 * answered with a token or Basic credentials and the request repeated; the challenge is remembered, so that the next
 * request carries a token from the start. Where the identity comes from: cred.h. Callbacks see the final answer alone
 * (call.c).
 *
 * A struct upstream is shared by all fetch loops and lives as long as the server; a call belongs to its engine's loop.
 */
#ifndef ENTREPOT_UPSTREAM_REGISTRY_H
#define ENTREPOT_UPSTREAM_REGISTRY_H

#include "upstream/cred.h"
#include "upstream/transfer.h"

struct upstream;
struct upstream_call;

struct upstream_options {
    const char *name;
    const char *const *endpoints;           /* "https://host[/prefix]", NULL-terminated, at least one */
    const struct cred_options *credentials; /* or NULL: nobody */
    struct cred_workers *workers;           /* borrowed */
    const char *ca_file;
    const char *const *named; /* hosts that may be at addresses that are not public, NULL-terminated; copied */
    bool insecure;
    int64_t connect_timeout_ms, stall_timeout_ms;
};

/* Everything is copied. */
struct upstream *upstream_new(const struct upstream_options *o);
void upstream_free(struct upstream *u);
const char *upstream_name(const struct upstream *u);

enum { UPSTREAM_CODES = 600 };

struct upstream_stats {
    bool up;                     /* the last exchange brought an answer that was not 5xx */
    int64_t ratelimit_remaining; /* -1 not known */
    uint64_t received_bytes, requests;
};

/* Any thread. */
void upstream_get_stats(struct upstream *u, struct upstream_stats *out);
/* Visits how often each method was answered with each code; code 0: no answer. Any thread. */
void upstream_each_code(struct upstream *u, void (*fn)(void *arg, const char *method, int code, uint64_t count),
                        void *arg);

struct upstream_request {
    const char *method;        /* GET or HEAD */
    const char *repository;    /* "library/nginx" */
    const char *path;          /* after /v2/<repository>/: "manifests/latest", "blobs/sha256:…" */
    const char *accept;        /* or NULL */
    const char *authorization; /* a client's own, sent as it is; NULL: an identity's */
    /* a client's name and password in place of the cache's identity; `whose` tells one client from another */
    const struct cred_identity *identity;
    const char *whose;
    int64_t range_first, range_last;
    const char *if_range;
    bool decode;        /* as in transfer.h */
    int endpoint_first; /* where to begin in the list, modulo its length */
    /* as in transfer.h */
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
};

/* Callbacks come later, from the loop. */
struct upstream_call *upstream_start(struct upstream *u, struct transfer_engine *engine, struct loop *loop,
                                     const struct upstream_request *req);
/* No callback comes after this; not to be called once on_done was. */
void upstream_cancel(struct upstream_call *c);
/* Stops reading the answer's body, or goes on. */
void upstream_pause(struct upstream_call *c, bool pause);

#endif
