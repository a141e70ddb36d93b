/* registry_private.h - shared by registry.c, call.c and endpoint.c only. */
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

/* What could not be had of an endpoint a while ago: "library/nginx manifests/latest". */
struct failing_path {
    char *path; /* NULL: none */
    int failures;
    bool slow;                      /* the last one took its time */
    bool in_row;                    /* nothing has gone well at this endpoint since */
    int64_t last_ms, open_until_ms; /* monotonic */
};

struct endpoint {
    /* set once */
    char *url;    /* as configured, for messages */
    bool trusted; /* with logins: the last one, those on its host, and those of which the configuration says so */
    char *base, *prefix; /* what comes before /v2/; what comes between that and a repository's name: "" or "hub/" */
    /* shared */
    atomic_int ns; /* enum upstream_ns */
    /* shared, under upstream->lock */
    struct challenge challenge;     /* the last one seen */
    bool usual_scope;               /* whose scope was repository:<name>:pull */
    int failures;                   /* in a row */
    bool slow;                      /* the last one took its time */
    bool doubtful;                  /* a request waits for it for too long */
    bool probing;                   /* one request finds out whether it is well again */
    bool down;                      /* it is the endpoint that fails, not an object or two */
    int64_t open_until_ms;          /* monotonic; until then it is passed over */
    char why[ENDPOINT_WHY_MAX + 1]; /* what is wrong with it, fit for everybody; "" nothing */
    struct failing_path failing[FAILING_PATHS_MAX];
    unsigned failing_next; /* the next to be replaced */
};

struct upstream {
    /* set once */
    char *name;
    struct trust trust;
    char *named[NAMED_MAX + 1];                    /* NULL-terminated */
    char *shown_to[ENDPOINTS_MAX + NAMED_MAX + 1]; /* who may see trust.client_cert, as in transfer.h */
    struct cred *creds[UPSTREAM_IDENTITIES_MAX];   /* the cache's own identities; nobody is one, too */
    struct cred *nobody;                           /* asks where logins do not go */
    int cred_count, rate_reserve, waiting_max;
    struct upstream_room *room;                            /* NULL: none */
    bool (*may_have_password)(void *arg, const char *url); /* as in struct upstream_options */
    void *arg;
    bool insecure;
    int64_t connect_timeout_ms, stall_timeout_ms;
    struct endpoint endpoints[ENDPOINTS_MAX];
    int endpoint_count;
    struct tokens *tokens;
    struct budgets *budgets;
    struct lacks *lacks;
    /* shared */
    pthread_mutex_t lock;
    atomic_int users; /* calls and transfers there are */
    atomic_bool is_registry;
    atomic_bool up;
    atomic_int_fast64_t ratelimit_remaining; /* the last that was said, to whomever */
    /* monotonic: until then it is not tried there if there are others */
    atomic_int_fast64_t refused_ms[ENDPOINTS_MAX][UPSTREAM_IDENTITIES_MAX];
    atomic_uint_fast64_t refused_number[ENDPOINTS_MAX][UPSTREAM_IDENTITIES_MAX];
    atomic_uint_fast64_t logins_refused;
    atomic_bool login_is_refused; /* the last that was tried */
    atomic_int_fast64_t probe_ms; /* monotonic: when upstream_take_probe() said yes */
    atomic_int waiting;           /* calls without an answer so far */
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

/* ---- endpoint.c: a circuit breaker for each, and for each path that fails there ---- */

enum endpoint_outcome {
    ENDPOINT_WELL,
    ENDPOINT_UNREACHABLE, /* there was no connection to send the request on */
    ENDPOINT_FAILED,      /* the request had no answer, or one of 5xx */
};

/* The endpoint to ask, beginning at `first`, among those whose bit in `tried` is not set: one that is well, else one
 * whose time for a probe has come, else one that is not down, or, for what is not optional, fails fast (asking it costs
 * nothing). -1: there is none; *wait_ms says when there may be. `path` is what is asked for, repository included. */
int endpoint_choose(struct upstream *u, int first, unsigned tried, const char *path, bool optional, int64_t *wait_ms);
/* Whether one of them is well. */
bool endpoint_any_well(struct upstream *u);
/* How it went, after `took_ms`. */
void endpoint_note(struct upstream *u, int n, const char *path, enum endpoint_outcome outcome, int64_t took_ms);
/* It takes long. */
void endpoint_doubt(struct upstream *u, int n);
/* The request was given up before anybody knew. */
void endpoint_forget(struct upstream *u, int n);
void endpoint_clear_failing(struct endpoint *e);

/* ---- registry.c: which of the cache's own identities asks ---- */

/* Nobody, in place of one of ours that was refused. */
enum { IDENTITY_ANONYMOUS = UPSTREAM_IDENTITIES_MAX };
/* What an identity is called in budgets and among tokens. */
void identity_name(int n, char who[BUDGET_WHO_MAX + 1]);
/* Who it is, at this endpoint: nobody, if that is not trusted. */
struct cred *identity_cred(struct upstream *u, int endpoint, int n);
/* The login of the one with this number (cred.h; 0: nobody) was refused by this endpoint: for a while it is not tried
 * there if there are others. */
void identity_refused(struct upstream *u, int endpoint, int n, uint64_t number);
/* The number of the one that was refused a while ago; 0: it was not. */
uint64_t identity_suspect(struct upstream *u, int endpoint, int n);
/* Its login is good. */
void identity_accepted(struct upstream *u, int endpoint, int n);
/* The one with most left at this endpoint, among those that are not held and whose bit in `tried` is not set. -1: all
 * are held; *held_ms says for how long. */
int identity_choose(struct upstream *u, int endpoint, enum budget_kind kind, unsigned tried, int64_t *held_ms);

#endif
