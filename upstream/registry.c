#include "upstream/registry.h"

#include "base/buf.h"
#include "base/log.h"
#include "upstream/challenge.h"
#include "upstream/token.h"
#include "upstream/url.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { ENDPOINTS_MAX = 8, ATTEMPTS_MAX = 2 * ENDPOINTS_MAX };

enum method { METHOD_GET, METHOD_HEAD, METHOD_COUNT };

struct endpoint {
    char *url;
    struct challenge challenge; /* the last one seen, under upstream->lock */
};

struct upstream {
    /* set once */
    char *name, *ca_file;
    char *basic; /* value of Authorization, or NULL */
    bool insecure;
    int64_t connect_timeout_ms, stall_timeout_ms;
    struct endpoint endpoints[ENDPOINTS_MAX];
    int endpoint_count;
    struct tokens *tokens;
    /* shared */
    pthread_mutex_t lock;
    atomic_bool up;
    atomic_int_fast64_t ratelimit_remaining;
    atomic_uint_fast64_t received, requests;
    atomic_uint_fast64_t codes[METHOD_COUNT][UPSTREAM_CODES];
};

struct upstream_call {
    struct upstream *u;
    struct transfer_engine *engine;
    struct loop *loop;
    enum method method;
    char *repository, *path, *accept, *authorization, *if_range;
    int64_t range_first, range_last;
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
    /* where we are */
    struct transfer *transfer;
    int endpoint; /* index */
    int endpoints_left;
    int attempts;
    bool challenged;         /* a 401 was answered at this endpoint already */
    bool delivering;         /* the head has been passed on */
    bool cancelled, waiting; /* for a token */
    char *token;             /* the one sent */
    struct challenge challenge;
    int64_t counted;
};

static const char *const METHODS[] = {"GET", "HEAD"};

struct upstream *upstream_new(const struct upstream_options *o)
{
    struct upstream *u = xcalloc(1, sizeof(*u));
    struct token_options t = {.username = o->username,
                              .password = o->password,
                              .ca_file = o->ca_file,
                              .insecure = o->insecure,
                              .connect_timeout_ms = o->connect_timeout_ms,
                              .stall_timeout_ms = o->stall_timeout_ms};

    u->name = xstrdup(o->name);
    u->ca_file = o->ca_file ? xstrdup(o->ca_file) : NULL;
    u->insecure = o->insecure;
    u->connect_timeout_ms = o->connect_timeout_ms;
    u->stall_timeout_ms = o->stall_timeout_ms;
    for (; o->endpoints[u->endpoint_count] && u->endpoint_count < ENDPOINTS_MAX; u->endpoint_count++) {
        char *url = u->endpoints[u->endpoint_count].url = xstrdup(o->endpoints[u->endpoint_count]);
        while (*url && url[strlen(url) - 1] == '/')
            url[strlen(url) - 1] = '\0';
    }
    if (o->username && o->password)
        u->basic = token_basic(o->username, o->password);
    u->tokens = tokens_new(&t);
    pthread_mutex_init(&u->lock, NULL);
    atomic_init(&u->up, true);
    atomic_init(&u->ratelimit_remaining, -1);
    return u;
}

void upstream_free(struct upstream *u)
{
    if (!u)
        return;
    tokens_free(u->tokens);
    for (int i = 0; i < u->endpoint_count; i++)
        free(u->endpoints[i].url);
    if (u->basic)
        explicit_bzero(u->basic, strlen(u->basic));
    free(u->basic);
    free(u->ca_file);
    free(u->name);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

const char *upstream_name(const struct upstream *u)
{
    return u->name;
}

void upstream_get_stats(struct upstream *u, struct upstream_stats *out)
{
    out->up = atomic_load(&u->up);
    out->ratelimit_remaining = atomic_load(&u->ratelimit_remaining);
    out->received_bytes = atomic_load(&u->received);
    out->requests = atomic_load(&u->requests);
}

void upstream_each_code(struct upstream *u, void (*fn)(void *arg, const char *method, int code, uint64_t count),
                        void *arg)
{
    for (int m = 0; m < METHOD_COUNT; m++)
        for (int code = 0; code < UPSTREAM_CODES; code++) {
            uint64_t n = atomic_load_explicit(&u->codes[m][code], memory_order_relaxed);
            if (n > 0)
                fn(arg, METHODS[m], code, n);
        }
}

/* ---- one call ---- */

static void call_free(struct upstream_call *c)
{
    free(c->repository);
    free(c->path);
    free(c->accept);
    if (c->authorization)
        explicit_bzero(c->authorization, strlen(c->authorization));
    free(c->authorization);
    free(c->if_range);
    if (c->token)
        explicit_bzero(c->token, strlen(c->token));
    free(c->token);
    free(c);
}

static void attempt(struct upstream_call *c);

static void count_bytes(struct upstream_call *c)
{
    int64_t now = c->transfer ? transfer_received(c->transfer) : c->counted;

    atomic_fetch_add_explicit(&c->u->received, (uint64_t)(now - c->counted), memory_order_relaxed);
    c->counted = now;
}

static void count_answer(struct upstream_call *c, const struct transfer_response *r, bool answered)
{
    int code = answered && r->status > 0 && r->status < UPSTREAM_CODES ? r->status : 0;

    atomic_fetch_add_explicit(&c->u->codes[c->method][code], 1, memory_order_relaxed);
    atomic_store(&c->u->up, code > 0 && code < 500);
    if (r->ratelimit_remaining >= 0)
        atomic_store(&c->u->ratelimit_remaining, r->ratelimit_remaining);
}

/* Whether the next endpoint should be asked instead of passing this answer on. */
static bool worth_another(const struct upstream_call *c, int status)
{
    return c->endpoints_left > 1 && (status >= 500 || status == 429);
}

static bool wants_login(struct upstream_call *c, const struct transfer_response *r)
{
    if (r->status != 401 || c->challenged || c->authorization)
        return false;
    challenge_parse(&c->challenge, r->challenge);
    return c->challenge.scheme == CHALLENGE_BEARER || (c->challenge.scheme == CHALLENGE_BASIC && c->u->basic);
}

static bool take_head(void *arg, const struct transfer_response *r)
{
    struct upstream_call *c = arg;

    if (wants_login(c, r) || worth_another(c, r->status))
        return true; /* its body is dropped, take_end() goes on */
    c->delivering = true;
    return !c->on_head || c->on_head(c->arg, r);
}

static bool take_data(void *arg, const void *data, size_t len)
{
    struct upstream_call *c = arg;

    count_bytes(c);
    if (!c->delivering)
        return transfer_received(c->transfer) <= 64 << 10;
    return !c->on_data || c->on_data(c->arg, data, len);
}

static void next_endpoint(struct upstream_call *c)
{
    c->endpoint = (c->endpoint + 1) % c->u->endpoint_count;
    c->endpoints_left--;
    c->challenged = false;
    memset(&c->challenge, 0, sizeof(c->challenge));
    attempt(c);
}

static void login(struct upstream_call *c)
{
    struct endpoint *e = &c->u->endpoints[c->endpoint];

    c->challenged = true;
    pthread_mutex_lock(&c->u->lock);
    e->challenge = c->challenge;
    pthread_mutex_unlock(&c->u->lock);
    if (c->token)
        tokens_drop(c->u->tokens, &c->challenge, c->token);
    attempt(c);
}

static void take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct upstream_call *c = arg;

    count_bytes(c);
    c->transfer = NULL;
    count_answer(c, r, !err || c->delivering);
    if (!c->delivering && c->challenge.scheme != CHALLENGE_NONE && r->status == 401 && !c->challenged) {
        login(c);
        return;
    }
    bool passing = err && (err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_UPSTREAM);
    if (!c->delivering && c->endpoints_left > 1 && (passing || worth_another(c, r->status))) {
        log_debug("%s: %s: %s, trying the next endpoint", c->u->name, c->u->endpoints[c->endpoint].url,
                  err ? err->msg : "not available");
        next_endpoint(c);
        return;
    }
    c->on_done(c->arg, r, err);
    call_free(c);
}

static void send(struct upstream_call *c, const char *authorization)
{
    struct upstream *u = c->u;
    _cleanup_free_
    char *url = xasprintf("%s/v2/%s/%s", u->endpoints[c->endpoint].url, c->repository, c->path);
    _cleanup_free_
    char *accept = c->accept ? xasprintf("Accept: %s", c->accept) : NULL;
    const char *const headers[] = {accept, NULL};
    struct transfer_request req = {
        .method = METHODS[c->method],
        .url = url,
        .headers = headers,
        .authorization = authorization,
        .range_first = c->range_first,
        .range_last = c->range_last,
        .if_range = c->if_range,
        .ca_file = u->ca_file,
        .insecure = u->insecure,
        .connect_timeout_ms = u->connect_timeout_ms,
        .stall_timeout_ms = u->stall_timeout_ms,
        .on_head = take_head,
        .on_data = take_data,
        .on_done = take_end,
        .arg = c,
    };

    atomic_fetch_add_explicit(&u->requests, 1, memory_order_relaxed);
    c->counted = 0;
    c->transfer = transfer_start(c->engine, &req);
}

static void take_token(void *arg, const char *token, const struct err *err)
{
    struct upstream_call *c = arg;

    c->waiting = false;
    if (c->cancelled) {
        call_free(c);
        return;
    }
    if (err) {
        struct transfer_response none = {.status = err->status};
        count_answer(c, &none, err->code == ERR_DENIED);
        if (c->endpoints_left > 1) {
            next_endpoint(c);
            return;
        }
        c->on_done(c->arg, &none, err);
        call_free(c);
        return;
    }
    free(c->token);
    c->token = xstrdup(token);
    char *value = xasprintf("Bearer %s", token);
    send(c, value);
    explicit_bzero(value, strlen(value));
    free(value);
}

/* What the endpoint asked for last time, for this repository now. */
static void recall_challenge(struct upstream_call *c)
{
    struct challenge *ch = &c->challenge;

    pthread_mutex_lock(&c->u->lock);
    *ch = c->u->endpoints[c->endpoint].challenge;
    pthread_mutex_unlock(&c->u->lock);
    if (ch->scheme == CHALLENGE_BEARER)
        snprintf(ch->scope, sizeof(ch->scope), "repository:%s:pull", c->repository);
}

static void attempt(struct upstream_call *c)
{
    if (++c->attempts > ATTEMPTS_MAX) {
        struct err err;
        err_set(&err, ERR_UPSTREAM, "%s: no end of challenges", c->u->name);
        c->on_done(c->arg, &(struct transfer_response){0}, &err);
        call_free(c);
        return;
    }
    if (c->authorization) {
        send(c, c->authorization);
        return;
    }
    if (!c->challenged)
        recall_challenge(c);
    if (c->challenge.scheme == CHALLENGE_BEARER) {
        c->waiting = true;
        tokens_get(c->u->tokens, c->engine, c->loop, &c->challenge, take_token, c);
        return;
    }
    send(c, c->challenge.scheme == CHALLENGE_BASIC ? c->u->basic : NULL);
}

struct upstream_call *upstream_start(struct upstream *u, struct transfer_engine *engine, struct loop *loop,
                                     const struct upstream_request *req)
{
    struct upstream_call *c = xcalloc(1, sizeof(*c));

    c->u = u;
    c->engine = engine;
    c->loop = loop;
    c->method = strcmp(req->method, "HEAD") == 0 ? METHOD_HEAD : METHOD_GET;
    c->repository = xstrdup(req->repository);
    c->path = xstrdup(req->path);
    c->accept = req->accept ? xstrdup(req->accept) : NULL;
    c->authorization = req->authorization ? xstrdup(req->authorization) : NULL;
    c->if_range = req->if_range ? xstrdup(req->if_range) : NULL;
    c->range_first = req->range_first;
    c->range_last = req->range_last;
    c->on_head = req->on_head;
    c->on_data = req->on_data;
    c->on_done = req->on_done;
    c->arg = req->arg;
    c->endpoint = req->endpoint_first % u->endpoint_count;
    c->endpoints_left = u->endpoint_count;
    attempt(c);
    return c;
}

void upstream_pause(struct upstream_call *c, bool pause)
{
    if (c->transfer)
        transfer_pause(c->transfer, pause);
}

void upstream_cancel(struct upstream_call *c)
{
    if (c->transfer) {
        count_bytes(c);
        transfer_cancel(c->transfer);
    }
    if (c->waiting)
        c->cancelled = true; /* the token's answer finds nobody */
    else
        call_free(c);
}
