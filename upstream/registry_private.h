/* registry_private.h - shared by registry.c, call*.c and endpoint*.c only. */
#ifndef ENTREPOT_UPSTREAM_REGISTRY_PRIVATE_H
#define ENTREPOT_UPSTREAM_REGISTRY_PRIVATE_H

#include "upstream/budget.h"
#include "upstream/challenge.h"
#include "upstream/lacks.h"
#include "upstream/registry.h"
#include "upstream/token.h"

#include <pthread.h>
#include <stdatomic.h>

enum { ENDPOINTS_MAX = 8, NAMED_MAX = 48, ENDPOINT_WHY_MAX = 119, FAILING_PATHS_MAX = 32 };

enum method { METHOD_GET, METHOD_HEAD, METHOD_COUNT };

extern const char *const METHODS[METHOD_COUNT];

/* A path that failed at an endpoint recently: "library/nginx manifests/latest". */
struct failing_path {
    char *path; /* NULL: none */
    int failures;
    bool slow;                      /* the last one took its time */
    bool in_row;                    /* no request has succeeded at this endpoint since */
    int64_t last_ms, open_until_ms; /* monotonic */
};

struct endpoint {
    /* set once */
    char *url;           /* as configured, for messages */
    bool trusted;        /* receives logins: the last one, those on its host, and those configured so */
    char *base, *prefix; /* what comes before /v2/; what comes between that and a repository's name: "" or "hub/" */
    /* shared */
    atomic_int ns; /* enum upstream_ns */
    /* shared, under upstream->lock */
    struct challenge challenge;     /* the last one seen */
    bool usual_scope;               /* whose scope was repository:<name>:pull */
    int failures;                   /* in a row */
    int64_t failing_ms;             /* monotonic: when the first of these was; 0: there is none */
    bool slow;                      /* the last one took its time */
    bool doubtful;                  /* a request has been waiting for too long */
    bool probing;                   /* a request probes it */
    bool down;                      /* the endpoint fails, not just a path or two */
    int64_t open_until_ms;          /* monotonic; skipped until then */
    char why[ENDPOINT_WHY_MAX + 1]; /* what is wrong with it, for all clients to read; "" nothing */
    struct failing_path failing[FAILING_PATHS_MAX];
    unsigned failing_next; /* the next to be replaced */
};

struct upstream {
    /* set once */
    char *name;
    struct trust trust;
    char *named[NAMED_MAX + 1];                    /* NULL-terminated */
    char *shown_to[ENDPOINTS_MAX + NAMED_MAX + 1]; /* who may see trust.client_cert, as in transfer.h */
    struct cred *creds[UPSTREAM_IDENTITIES_MAX];   /* the cache's own identities; anonymous is one, too */
    struct cred *nobody;                           /* anonymous, for mirrors that receive no logins */
    int cred_count, rate_reserve;
    atomic_int waiting_max;
    struct upstream_slots *slots;                          /* NULL: none */
    bool (*may_have_password)(void *arg, const char *url); /* as in struct upstream_options */
    void *arg;
    bool insecure;
    int64_t connect_timeout_ms, stall_timeout_ms;
    struct endpoint endpoints[ENDPOINTS_MAX];
    int endpoint_count;
    struct tokens *tokens;
    struct budgets *budgets;
    struct ledger *ledger; /* NULL: none */
    struct lacks *lacks;
    /* shared */
    pthread_mutex_t lock;
    char *accounts[UPSTREAM_IDENTITIES_MAX]; /* names, under `lock`; NULL: none, or not known yet */
    atomic_int users;                        /* calls and transfers that exist */
    atomic_bool is_registry;
    atomic_bool up;
    atomic_int_fast64_t ratelimit_remaining; /* the last value received, for any identity */
    /* monotonic; not used at that endpoint until then, if there are others */
    atomic_int_fast64_t refused_ms[ENDPOINTS_MAX][UPSTREAM_IDENTITIES_MAX];
    atomic_uint_fast64_t refused_number[ENDPOINTS_MAX][UPSTREAM_IDENTITIES_MAX];
    atomic_uint_fast64_t logins_refused;
    atomic_bool login_is_refused;         /* the last login that was tried */
    atomic_int_fast64_t login_refused_ms; /* monotonic: since when */
    atomic_int connections;
    atomic_int_fast64_t probe_ms;      /* of the last upstream_take_probe() that returned true */
    atomic_int_fast64_t one_range_ms;  /* monotonic: until then one range in each request */
    atomic_int_fast64_t one_stream_ms; /* monotonic: until then one connection for each blob */
    atomic_int_fast64_t no_ranges_ms;  /* and no range is asked for first */
    atomic_int waiting;                /* calls without an answer so far */
    atomic_uint_fast64_t received, requests, turned_away;
    atomic_uint_fast64_t codes[METHOD_COUNT][UPSTREAM_CODES];
};

/* ---- endpoint_url.c ---- */

void endpoint_set_url(struct endpoint *e, const char *url, enum upstream_ns ns);
void endpoint_clear_url(struct endpoint *e);
/* The URL of "manifests/latest" of a repository (with ns=, if that is not NULL), and the scope of a token to pull it.
 * The caller frees. */
char *endpoint_url(const struct endpoint *e, const char *repository, const char *path, const char *ns);
char *endpoint_scope(const struct endpoint *e, const char *repository);

/* ---- endpoint.c: a circuit breaker for each endpoint, and for each path that fails there ---- */

enum endpoint_outcome {
    ENDPOINT_OK,
    ENDPOINT_UNREACHABLE, /* there was no connection to send the request on */
    ENDPOINT_FAILED,      /* the request had no answer, or one of 5xx */
};

/* The endpoint to use, beginning at `first`, among those whose bit in `tried` is not set: a healthy one, else one that
 * is due for a probe, else one that is not down, or, unless `optional`, one that fails fast (trying it costs nothing).
 * -1: none; *wait_ms is the time until there may be one. `path` includes the repository. */
int endpoint_choose(struct upstream *u, int first, unsigned tried, const char *path, bool optional, int64_t *wait_ms);
/* Whether one of them is healthy. */
bool endpoint_any_healthy(struct upstream *u);
/* The outcome of a request, after `took_ms`. */
void endpoint_note(struct upstream *u, int n, const char *path, enum endpoint_outcome outcome, int64_t took_ms);
/* A request takes long. */
void endpoint_doubt(struct upstream *u, int n);
/* The request was cancelled before its outcome was known. */
void endpoint_forget(struct upstream *u, int n);
void endpoint_clear_failing(struct endpoint *e);
/* Whether it is given up for a while, or has just failed, and what is known of that. False: it is used. */
bool endpoint_trouble(struct upstream *u, int n, struct upstream_trouble *out);

/* ---- identity.c: the cache's own identities ---- */

/* Anonymous, in place of an identity that was refused. */
enum { IDENTITY_ANONYMOUS = UPSTREAM_IDENTITIES_MAX };
/* An identity's name among budgets and tokens. */
void identity_name(int n, char who[BUDGET_WHO_MAX + 1]);
/* The number of such a name; -1: a client's. */
int identity_number(const char *who);
/* How many there are at this endpoint. */
int identity_count(const struct upstream *u, int endpoint);
/* The identity at this endpoint: anonymous, if that receives no logins. */
struct cred *identity_cred(struct upstream *u, int endpoint, int n);
/* This endpoint refused the login with this number (cred.h; 0: none): for a while it is not used there if there are
 * others. */
void identity_refused(struct upstream *u, int endpoint, int n, uint64_t number);
/* The number of the login that was refused recently; 0: it was not. */
uint64_t identity_suspect(struct upstream *u, int endpoint, int n);
/* Its login is good. */
void identity_accepted(struct upstream *u, int endpoint, int n);

/* ---- share.c: the limits of these identities, with what other nodes know of them ---- */

/* The name of an identity's account. Names that are no account's are passed over. NULL: there is none. */
void share_know_account(struct upstream *u, int n, const char *username);
/* budget_note() has been called for an answer to `who`: other nodes are told. `logged_in`: it was sent with a login. */
void share_note(struct upstream *u, int endpoint, const char *who, bool logged_in, enum budget_kind kind,
                const struct transfer_response *r);
/* As budget_held_ms() and budget_left(), of this node and the others. */
void share_look(struct upstream *u, int endpoint, int n, enum budget_kind kind, int64_t *held_ms, int64_t *left);
/* As budgets_each(), likewise. */
void share_each(struct upstream *u, void (*fn)(void *arg, const struct budget_info *info), void *arg);

/* ---- registry.c: which of them is used ---- */

/* The identity with the most left at this endpoint, among those that are not held and whose bit in `tried` is not set.
 * -1: all are held; *held_ms says for how long. */
int identity_choose(struct upstream *u, int endpoint, enum budget_kind kind, unsigned tried, int64_t *held_ms);

#endif
