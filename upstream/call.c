/* One request to a registry, with whatever it takes to be let in:
 *
 *   choose an endpoint ─▶ identify ─▶ get a token ─▶ send ─┬─ 401: a challenge, answered once ─────────────────▶
 * identify ▲    (what it asked for last time; nothing, if     ├─ 401 again: a changed secret, or another scope ───▶
 * identify │     it did not ask)                              ├─ unreachable, timed out, 5xx, 429: the next one ─┐
 *        └───────────────────────────────────────────────────────────────────────────────────────────────────┘
 *                                                           └─ any other answer is the caller's
 */
#include "upstream/registry_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#include <string.h>

enum { ATTEMPTS_MAX = 3 * ENDPOINTS_MAX, DROPPED_MAX = 64 << 10 /* bytes of an answer that is not passed on */ };

struct upstream_call {
    struct upstream *u;
    struct transfer_engine *engine;
    struct loop *loop;
    enum method method;
    char *repository, *path, *accept, *authorization, *if_range, *whose;
    struct cred_identity client; /* of `whose`, in place of the cache's own */
    int64_t range_first, range_last;
    bool decode;
    bool (*on_head)(void *arg, const struct transfer_response *r);
    bool (*on_data)(void *arg, const void *data, size_t len);
    void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err);
    void *arg;
    /* where we are */
    struct transfer *transfer;
    int endpoint;   /* index; -1: none could be chosen */
    unsigned tried; /* bits */
    int attempts;
    int64_t sent_ms;         /* monotonic */
    bool challenged;         /* a 401 was answered at this endpoint already */
    bool renewed;            /* and once more, with another identity */
    bool rescoped;           /* ... or another scope */
    bool delivering;         /* the head has been passed on */
    bool answering;          /* the 401 that is coming in is to be answered */
    bool cancelled, waiting; /* for an identity or a token */
    char *token;             /* the one sent */
    uint64_t identity;       /* its number; 0: nobody's */
    struct challenge challenge;
    int64_t counted;
};

static void call_free(struct upstream_call *c)
{
    free(c->repository);
    free(c->path);
    free(c->accept);
    secret_free(c->authorization);
    free(c->if_range);
    free(c->whose);
    cred_identity_clear(&c->client);
    secret_free(c->token);
    free(c);
}

static void attempt(struct upstream_call *c);

static void end(struct upstream_call *c, const struct transfer_response *r, const struct err *err)
{
    c->on_done(c->arg, r, err);
    call_free(c);
}

static bool is_clients(const struct upstream_call *c)
{
    return c->whose[0] != '\0';
}

/* ---- counting ---- */

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

/* ---- answers ---- */

static bool has_more_endpoints(const struct upstream_call *c)
{
    return (c->tried | 1u << c->endpoint) != (1u << c->u->endpoint_count) - 1;
}

/* Whether the next endpoint should be asked instead of passing this answer on. */
static bool worth_another(const struct upstream_call *c, int status)
{
    return (status >= 500 || status == 429) && has_more_endpoints(c);
}

/* Whether what this 401 asks for can be given, and was not yet. */
static bool wants_login(struct upstream_call *c, const struct transfer_response *r)
{
    struct challenge ch;

    if (r->status != 401 || c->authorization)
        return false;
    challenge_parse(&ch, r->challenge);
    if (ch.scheme == CHALLENGE_NONE && !c->challenged)
        ch.scheme = CHALLENGE_BASIC; /* it does not say what it wants; a name and a password is all we could have */
    if (ch.scheme == CHALLENGE_NONE)
        return false;
    if (!c->challenged) {
        c->challenge = ch;
        return c->challenged = true;
    }
    bool other = ch.scheme == CHALLENGE_BEARER && strcmp(ch.scope, c->challenge.scope) != 0;
    if (other && !c->rescoped) { /* insufficient_scope (RFC 6750 §3.1): it says now what it wants */
        c->challenge = ch;
        return c->rescoped = true;
    }
    if (c->renewed || c->identity == 0 || is_clients(c))
        return false;
    c->renewed = true;
    return cred_refused(c->u->cred, c->repository, c->identity);
}

static bool take_head(void *arg, const struct transfer_response *r)
{
    struct upstream_call *c = arg;

    c->answering = wants_login(c, r);
    if (c->answering || worth_another(c, r->status))
        return true; /* its body is dropped, take_end() goes on */
    c->delivering = true;
    return !c->on_head || c->on_head(c->arg, r);
}

static bool take_data(void *arg, const void *data, size_t len)
{
    struct upstream_call *c = arg;

    count_bytes(c);
    if (!c->delivering)
        return transfer_received(c->transfer) <= DROPPED_MAX;
    return !c->on_data || c->on_data(c->arg, data, len);
}

static void next_endpoint(struct upstream_call *c)
{
    c->tried |= 1u << c->endpoint;
    c->challenged = c->renewed = c->rescoped = false;
    memset(&c->challenge, 0, sizeof(c->challenge));
    int64_t wait_ms;
    c->endpoint = endpoint_choose(c->u, c->endpoint + 1, c->tried, &wait_ms);
    attempt(c);
}

static void login(struct upstream_call *c)
{
    struct endpoint *e = &c->u->endpoints[c->endpoint];
    _cleanup_free_
    char *usual = xasprintf("repository:%s:pull", c->repository);

    pthread_mutex_lock(&c->u->lock);
    e->challenge = c->challenge;
    e->usual_scope = c->challenge.scheme != CHALLENGE_BEARER || strcmp(c->challenge.scope, usual) == 0;
    pthread_mutex_unlock(&c->u->lock);
    if (c->token)
        tokens_drop(c->u->tokens, &c->challenge, c->whose, c->token);
    attempt(c);
}

static bool is_passing(const struct err *err)
{
    return err && (err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_UPSTREAM);
}

static void take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct upstream_call *c = arg;
    bool before_body = !c->delivering;

    count_bytes(c);
    c->transfer = NULL;
    count_answer(c, r, !err || c->delivering);
    bool unreachable = before_body && is_passing(err);
    endpoint_note(c->u, c->endpoint, unreachable || (!err && r->status >= 500),
                  unreachable ? clock_mono_ms() - c->sent_ms : 0);
    if (c->answering) {
        c->answering = false;
        login(c);
        return;
    }
    if (before_body && ((is_passing(err) && has_more_endpoints(c)) || (!err && worth_another(c, r->status)))) {
        log_debug("%s: %s: %s, trying the next endpoint", c->u->name, c->u->endpoints[c->endpoint].url,
                  err ? err->msg : "not available");
        next_endpoint(c);
        return;
    }
    end(c, r, err);
}

/* ---- requests ---- */

static void send_it(struct upstream_call *c, const char *authorization)
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
        .decode = c->decode,
        .ca_file = u->ca_file,
        .insecure = u->insecure,
        .named = (const char *const *)u->named,
        .connect_timeout_ms = u->connect_timeout_ms,
        .stall_timeout_ms = u->stall_timeout_ms,
        .on_head = take_head,
        .on_data = take_data,
        .on_done = take_end,
        .arg = c,
    };

    atomic_fetch_add_explicit(&u->requests, 1, memory_order_relaxed);
    c->counted = 0;
    c->sent_ms = clock_mono_ms();
    c->transfer = transfer_start(c->engine, &req);
}

static void send_bearer(struct upstream_call *c, const char *token)
{
    _cleanup_secret_ char *value = xasprintf("Bearer %s", token);

    secret_free(c->token);
    c->token = xstrdup(token);
    send_it(c, value);
}

/* Neither identity nor token could be had. */
static void fail_login(struct upstream_call *c, const struct err *err)
{
    struct transfer_response none = {.status = err->status};

    count_answer(c, &none, err->code == ERR_DENIED);
    endpoint_forget(c->u, c->endpoint);
    if (has_more_endpoints(c))
        next_endpoint(c);
    else
        end(c, &none, err);
}

static void take_token(void *arg, const char *token, const struct err *err)
{
    struct upstream_call *c = arg;

    c->waiting = false;
    if (c->cancelled) {
        call_free(c);
        return;
    }
    if (!err) {
        send_bearer(c, token);
        return;
    }
    if (err->code == ERR_DENIED &&
        !c->challenged) { /* what was asked for last time may not be what is asked for here */
        memset(&c->challenge, 0, sizeof(c->challenge));
        send_it(c, NULL);
        return;
    }
    /* The token service refuses us: has the secret been changed? */
    if (err->code == ERR_DENIED && c->identity > 0 && !c->renewed && !is_clients(c) &&
        cred_refused(c->u->cred, c->repository, c->identity)) {
        c->renewed = true;
        attempt(c);
        return;
    }
    fail_login(c, err);
}

static void use_identity(struct upstream_call *c, const struct cred_identity *id)
{
    if (id->bearer) {
        send_bearer(c, id->bearer);
    } else if (c->challenge.scheme == CHALLENGE_BEARER) {
        c->waiting = true;
        tokens_get(c->u->tokens, c->engine, c->loop, &c->challenge, id, c->whose, take_token, c);
    } else {
        _cleanup_secret_ char *basic =
            id->username && !id->is_identity_token ? token_basic(id->username, id->secret) : NULL;
        send_it(c, basic);
    }
}

static void take_identity(void *arg, const struct cred_identity *id, uint64_t number, const struct err *err)
{
    struct upstream_call *c = arg;
    bool same = number == c->identity;

    c->waiting = false;
    if (c->cancelled) {
        call_free(c);
        return;
    }
    if (err) {
        struct err ours = *err;
        /* Our own provider's refusal is not upstream's word about this client. */
        ours.code = err->code == ERR_CANCELLED || err->code == ERR_TIMEOUT ? err->code : ERR_UPSTREAM;
        ours.status = 0;
        fail_login(c, &ours);
        return;
    }
    if (c->renewed && same) { /* no other has turned up: the refusal stands */
        struct err refused = {0};
        err_set(&refused, ERR_DENIED, "%s refuses the configured credentials", c->u->name);
        refused.status = 401;
        fail_login(c, &refused);
        return;
    }
    c->identity = id->username || id->bearer || id->secret ? number : 0;
    use_identity(c, id);
}

/* What the endpoint asked for last time, for this repository now. */
static void recall_challenge(struct upstream_call *c)
{
    const struct endpoint *e = &c->u->endpoints[c->endpoint];
    struct challenge *ch = &c->challenge;

    memset(ch, 0, sizeof(*ch));
    pthread_mutex_lock(&c->u->lock);
    if (e->usual_scope)
        *ch = e->challenge;
    pthread_mutex_unlock(&c->u->lock);
    if (ch->scheme == CHALLENGE_BEARER)
        snprintf(ch->scope, sizeof(ch->scope), "repository:%s:pull", c->repository);
}

static void attempt(struct upstream_call *c)
{
    struct err err = {0};

    if (c->endpoint < 0)
        err_set(&err, ERR_UNREACHABLE, "%s did not answer a moment ago: it is asked again in a while", c->u->name);
    else if (++c->attempts > ATTEMPTS_MAX)
        err_set(&err, ERR_UPSTREAM, "%s: no end of challenges", c->u->name);
    if (err.code != ERR_OK) {
        end(c, &(struct transfer_response){0}, &err);
        return;
    }
    if (c->authorization) {
        send_it(c, c->authorization);
        return;
    }
    if (!c->challenged)
        recall_challenge(c);
    if (c->challenge.scheme == CHALLENGE_NONE) {
        send_it(c, NULL);
    } else if (is_clients(c)) {
        use_identity(c, &c->client);
    } else {
        c->waiting = true;
        cred_get(c->u->cred, c->loop, c->repository, take_identity, c);
    }
}

static void begin(void *arg)
{
    struct upstream_call *c = arg;

    c->waiting = false;
    if (c->cancelled)
        call_free(c);
    else
        attempt(c);
}

struct upstream_call *upstream_start(struct upstream *u, struct transfer_engine *engine, struct loop *loop,
                                     const struct upstream_request *req)
{
    struct upstream_call *c = xcalloc(1, sizeof(*c));
    int64_t wait_ms;

    c->u = u;
    c->engine = engine;
    c->loop = loop;
    c->method = strcmp(req->method, "HEAD") == 0 ? METHOD_HEAD : METHOD_GET;
    c->repository = xstrdup(req->repository);
    c->path = xstrdup(req->path);
    c->accept = req->accept ? xstrdup(req->accept) : NULL;
    c->authorization = req->authorization ? xstrdup(req->authorization) : NULL;
    c->if_range = req->if_range ? xstrdup(req->if_range) : NULL;
    c->whose = xstrdup(req->whose ? req->whose : "");
    if (req->identity)
        cred_identity_copy(&c->client, req->identity);
    c->range_first = req->range_first;
    c->range_last = req->range_last;
    c->decode = req->decode;
    c->on_head = req->on_head;
    c->on_data = req->on_data;
    c->on_done = req->on_done;
    c->arg = req->arg;
    c->endpoint = endpoint_choose(u, req->endpoint_first, 0, &wait_ms);
    /* From the loop, so that no callback comes before the caller has what we return. */
    c->waiting = true;
    loop_post(loop, begin, c);
    return c;
}

void upstream_pause(struct upstream_call *c, bool pause)
{
    if (c->transfer)
        transfer_pause(c->transfer, pause);
}

void upstream_cancel(struct upstream_call *c)
{
    if (c->endpoint >= 0)
        endpoint_forget(c->u, c->endpoint);
    if (c->transfer) {
        count_bytes(c);
        transfer_cancel(c->transfer);
    }
    if (c->waiting)
        c->cancelled = true; /* the answer finds nobody */
    else
        call_free(c);
}
