/* One request to a registry, with the logins it needs. A request whose identity is rate limited is not sent. Of the
 * cache's own identities the one with the most quota left is used, and another one where it is refused or limited:
 *
 *     choose an endpoint ─▶ identify ─▶ get a token ─▶ send ─┬─ unreachable, timed out, 5xx, 429 ─▶ choose the next one
 *                           (by the challenge remembered;    ├─ 401: a challenge, answered once ─▶ identify
 *                            none: send without)             ├─ 401 again: a changed secret, or scope ─▶ identify
 *                                                            ├─ 404, 401, 403, not of the last ─▶ choose the next one
 *                                                            ├─ the same of the last: endpoints that were skipped by a
 *                                                            │  guess are tried; if they fail too, this is the answer
 *                                                            └─ any other answer is the caller's
 *
 * Each box is a step (enum call_step, STEPS below).
 */
#include "upstream/call_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/secret.h"
#include "upstream/response.h"

#include <string.h>
#include <strings.h>

enum {
    ATTEMPTS_MAX = 3 * ENDPOINTS_MAX,
    CROWDED_RETRY_S = 2,
};

static void call_free(struct upstream_call *c)
{
    struct upstream *u = c->u;

    call_leave_queue(c);
    call_leave_slot(c);
    free(c->repository);
    free(c->path);
    free(c->object);
    free(c->accept);
    secret_free(c->authorization);
    free(c->if_range);
    free(c->ranges);
    secret_free(c->direct);
    free(c->client_id);
    cred_identity_clear(&c->client);
    secret_free(c->token);
    call_story_clear(c);
    free(c->refusal_of_own);
    free(c->asked);
    free(c->kept);
    free(c->outcome);
    free(c->failure);
    free(c);
    atomic_fetch_sub(&u->users, 1); /* the last look at it */
}

/* Tells the caller how it ended, and frees the call. */
static enum call_step call_end(struct upstream_call *c)
{
    struct call_outcome *o = c->outcome;

    IN_STATE(c->outcome);
    if (c->kept && !c->delivering) {
        o = c->kept;
        if (o->err.code == ERR_OK && c->on_head)
            c->on_head(c->arg, &o->response);
    } else if (o->err.code == ERR_OK && o->response.status >= 400) {
        call_read_refusal(c, &o->response);
    }
    /* containerd repeats a request whose token has expired five times, unless the challenge says that it has. */
    if (o->response.status == 401 && c->authorization && strncasecmp(c->authorization, "Bearer ", 7) == 0)
        challenge_add_invalid_token(o->response.challenge, sizeof(o->response.challenge));
    call_tell(c, &o->response, &o->err);
    c->on_done(c->arg, &o->response, o->err.code != ERR_OK ? &o->err : NULL);
    call_free(c);
    return CALL_WAIT;
}

static enum call_step call_cancelled(struct upstream_call *c)
{
    call_free(c);
    return CALL_WAIT;
}

/* ---- steps ---- */

static enum call_step call_begin(struct upstream_call *c)
{
    c->challenged = c->renewed = c->rescoped = false;
    c->anonymous = c->been_anonymous = c->login_refused = c->refreshed = false;
    c->suspect = 0;
    memset(&c->challenge, 0, sizeof(c->challenge));
    c->own = -1;
    return CALL_ATTEMPT;
}

static int call_choose_endpoint(struct upstream_call *c, int first)
{
    int64_t wait_ms;
    int n = endpoint_choose(c->u, first, c->tried, c->object, c->optional, &wait_ms);

    if (n < 0 && c->guessed) { /* it was a guess */
        c->tried &= ~c->guessed;
        c->guessed = 0;
        n = endpoint_choose(c->u, 0, c->tried, c->object, c->optional, &wait_ms);
    }
    return n;
}

static enum call_step call_next_endpoint(struct upstream_call *c)
{
    c->tried |= 1u << c->endpoint;
    c->owns = 0;
    free(c->asked);
    free(c->refusal_of_own);
    free(c->message_to_own);
    c->asked = NULL;
    c->message_to_own = NULL;
    c->refusal_of_own = NULL;
    c->endpoint = call_choose_endpoint(c, c->endpoint + 1);
    return call_begin(c);
}

static enum call_step call_next_identity(struct upstream_call *c)
{
    c->owns |= 1u << c->own;
    return call_begin(c);
}

static void call_run(struct upstream_call *c, enum call_step step);

static void call_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    call_run(arg, call_answered(arg, r, err));
}

/* The text of a refusal takes too long: its head is the answer. */
static enum call_step call_enough(struct upstream_call *c)
{
    const struct transfer_response head = *c->refused;

    IN_STATE(c->transfer);
    transfer_cancel(c->transfer);
    return call_answered(c, &head, NULL);
}

/* With c->sent as its Authorization. */
static enum call_step call_send(struct upstream_call *c)
{
    IN_STATE(!c->transfer);
    struct upstream *u = c->u;
    struct endpoint *e = &u->endpoints[c->endpoint];
    c->sent_ns = atomic_load(&e->ns) == UPSTREAM_NS_ON;
    _cleanup_free_ char *url =
        c->direct ? xstrdup(c->direct) : endpoint_url(e, c->repository, c->path, c->sent_ns ? u->name : NULL);
    _cleanup_free_ char *accept = c->accept ? xasprintf("Accept: %s", c->accept) : NULL;
    const char *const headers[] = {accept, NULL};
    struct transfer_request req = {
        .method = METHODS[c->method],
        .url = url,
        .headers = headers,
        .authorization = c->sent,
        .range_first = c->range_first,
        .range_last = c->range_last,
        .range_suffix = c->range_suffix,
        .ranges = c->ranges,
        .if_range = c->if_range,
        .decode = c->decode,
        .unshared = c->unshared,
        .bulk = c->bulk,
        .trust = &u->trust,
        .shown_to = (const char *const *)u->shown_to,
        .insecure = u->insecure,
        .named = (const char *const *)u->named,
        .users = &u->users,
        .connect_timeout_ms = u->connect_timeout_ms,
        .stall_timeout_ms = u->stall_timeout_ms,
        .total_timeout_ms = c->bounded ? u->connect_timeout_ms + 2 * u->stall_timeout_ms : 0,
        .on_head = call_take_head,
        .on_data = call_take_data,
        .on_done = call_take_end,
        .arg = c,
    };

    atomic_fetch_add_explicit(&u->requests, 1, memory_order_relaxed);
    c->counted = 0;
    c->unreadable = false;
    c->sent_ms = clock_mono_ms();
    c->transfer = transfer_start(c->engine, &req);
    atomic_fetch_add(&u->connections, 1);
    return CALL_WAIT;
}

/* Whether a limit holds us; which of our identities it does not hold is chosen on the way. */
static bool is_held(struct upstream_call *c, int64_t *held_ms)
{
    *held_ms = 0;
    if (!call_is_own(c))
        *held_ms = budget_held_ms(c->u->budgets, c->endpoint, c->who, c->kind);
    else if (c->own < 0)
        c->own = identity_choose(c->u, c->endpoint, c->kind, c->owns, held_ms);
    return call_is_own(c) ? c->own < 0 : *held_ms > 0;
}

static enum call_step call_attempt(struct upstream_call *c)
{
    struct err err = {0};
    int64_t held_ms;

    IN_STATE(!c->cancelled);
    if (c->crowded) {
        err_set(&err, ERR_BUSY, "too many requests are waiting for %s (limits.misses): retry in a moment", c->u->name);
        err.retry_after = CROWDED_RETRY_S;
        err.status = 503;
    } else if (c->endpoint >= 0 && is_held(c, &held_ms)) {
        endpoint_forget(c->u, c->endpoint);
        call_note(c, "rate limit reached");
        if (call_has_more_endpoints(c))
            return CALL_NEXT_ENDPOINT;
        int wait_s = (int)((held_ms + 999) / 1000);
        err_set(&err, ERR_RATE_LIMIT, "%s: rate limit reached; retrying in %d s", c->u->name, wait_s);
        err.retry_after = wait_s;
        err.status = 429;
    } else if (c->endpoint < 0)
        err_set(&err, ERR_UNREACHABLE, "%s did not answer%s a moment ago; it is retried in a while", c->u->name,
                endpoint_any_healthy(c->u) ? " the same request" : "");
    else if (++c->attempts > ATTEMPTS_MAX) {
        endpoint_forget(c->u, c->endpoint);
        err_set(&err, ERR_UPSTREAM, "%s repeats its challenge without end", c->u->name);
    }
    if (err.code != ERR_OK)
        return call_end_with(c, &(struct transfer_response){0}, &err);
    if (c->direct)
        return CALL_SEND;
    if (c->authorization)
        return call_send_with(c, c->authorization);
    if (!c->challenged)
        call_recall_challenge(c);
    call_suspect_identity(c);
    if (c->challenge.scheme == CHALLENGE_NONE)
        return call_send_with(c, NULL);
    if (c->anonymous)
        return call_use_identity(c, &(struct cred_identity){0});
    if (call_is_clients(c))
        return call_use_identity(c, &c->client);
    return call_get_identity(c);
}

/* Neither identity nor token could be had. */
static enum call_step call_login_failed(struct upstream_call *c)
{
    _cleanup_free_ struct err *failure = c->failure;
    const struct err *err = failure;
    bool denied = err->code == ERR_DENIED;
    struct transfer_response none;
    int64_t held_ms;

    IN_STATE(failure);
    c->failure = NULL;
    response_reset(&none);
    none.status = err->status;
    call_count_answer(c, &none, denied);
    endpoint_forget(c->u, c->endpoint);
    call_note(c, err->msg);
    bool more = call_is_own(c) && identity_choose(c->u, c->endpoint, c->kind, c->owns | 1u << c->own, &held_ms) >= 0;
    if (call_is_own(c) && denied && !c->anonymous && (more || c->identity == 0))
        identity_refused(c->u, c->endpoint, c->own, c->login_refused ? c->identity : 0);
    if (denied && (c->anonymous || !more) && call_may_change_identity(c, 401))
        return call_change_identity(c, err);
    if (denied && c->refusal_of_own)
        err = c->refusal_of_own;
    if (denied)
        call_pass_challenge(c, &none);
    if (more)
        return CALL_NEXT_IDENTITY;
    if (err->code == ERR_DENIED && call_may_be_elsewhere(c))
        return call_go_elsewhere(c, &none, err);
    if (err->code != ERR_DENIED && call_has_more_endpoints(c))
        return CALL_NEXT_ENDPOINT;
    return call_end_with(c, &none, err);
}

static enum call_step (*const STEPS[])(struct upstream_call *c) = {
    [CALL_ATTEMPT] = call_attempt,
    [CALL_SEND] = call_send,
    [CALL_ENOUGH] = call_enough,
    [CALL_LOGIN_FAILED] = call_login_failed,
    [CALL_NEXT_IDENTITY] = call_next_identity,
    [CALL_NEXT_ENDPOINT] = call_next_endpoint,
    [CALL_END] = call_end,
    [CALL_CANCELLED] = call_cancelled,
};

static void call_run(struct upstream_call *c, enum call_step step)
{
    ON_LOOP(c->loop);
    while (step != CALL_WAIT)
        step = STEPS[step](c);
}

/* ---- from outside ---- */

static void call_started(void *arg)
{
    struct upstream_call *c = arg;

    c->waiting = false;
    call_run(c, c->cancelled ? CALL_CANCELLED : CALL_ATTEMPT);
}

/* A client with a token of its own is identified by a hash of it. */
static void name_asker(struct upstream_call *c)
{
    if (c->authorization)
        snprintf(c->who, sizeof(c->who), "token %08x", text_hash(c->authorization));
    else
        snprintf(c->who, sizeof(c->who), "%s", c->client_id);
}

struct upstream_call *upstream_start(struct upstream *u, struct transfer_engine *engine, struct loop *loop,
                                     const struct upstream_request *req)
{
    struct upstream_call *c = xcalloc(1, sizeof(*c));

    ON_LOOP(loop);
    c->u = u;
    atomic_fetch_add(&u->users, 1);
    c->engine = engine;
    c->loop = loop;
    c->resume = call_run;
    c->method = strcmp(req->method, "HEAD") == 0 ? METHOD_HEAD : METHOD_GET;
    c->repository = xstrdup(req->repository);
    c->path = xstrdup(req->path);
    c->object = xasprintf("%s %.*s", req->repository, (int)strcspn(req->path, "?"), req->path);
    c->accept = req->accept ? xstrdup(req->accept) : NULL;
    c->authorization = req->authorization ? xstrdup(req->authorization) : NULL;
    c->if_range = req->if_range ? xstrdup(req->if_range) : NULL;
    c->client_id = xstrdup(req->client_id ? req->client_id : "");
    if (req->identity)
        cred_identity_copy(&c->client, req->identity);
    c->range_first = req->range_first;
    c->range_last = req->range_last;
    c->range_suffix = req->range_suffix;
    c->ranges = req->ranges ? xstrdup(req->ranges) : NULL;
    c->direct = req->direct ? xstrdup(req->direct) : NULL;
    c->further = req->further;
    c->decode = req->decode;
    c->optional = req->optional;
    c->bounded = req->bounded;
    c->unshared = req->unshared;
    c->bulk = req->bulk;
    c->own = -1;
    c->begun_ms = clock_mono_ms();
    c->kind = strncmp(req->path, "blobs/", 6) == 0 ? BUDGET_BLOBS : BUDGET_MANIFESTS;
    name_asker(c);
    c->on_head = req->on_head;
    c->on_data = req->on_data;
    c->on_done = req->on_done;
    c->arg = req->arg;
    c->lack_ms = req->lack_ms;
    call_recall_lacks(c);
    call_take_slot(c);
    c->endpoint = c->crowded ? -1 : call_choose_endpoint(c, req->endpoint_first);
    /* From the loop, so that no callback comes before the caller has the return value. */
    c->waiting = true;
    loop_post(loop, call_started, c);
    return c;
}

void upstream_pause(struct upstream_call *c, bool pause)
{
    ON_LOOP(c->loop);
    if (c->transfer)
        transfer_pause(c->transfer, pause);
}

void upstream_doubt(struct upstream_call *c)
{
    ON_LOOP(c->loop);
    if (c->endpoint >= 0 && c->transfer && !c->delivering)
        endpoint_doubt(c->u, c->endpoint);
}

void upstream_cancel(struct upstream_call *c)
{
    ON_LOOP(c->loop);
    IN_STATE(!c->cancelled);
    if (c->endpoint >= 0)
        endpoint_forget(c->u, c->endpoint);
    if (c->transfer) {
        call_count_bytes(c);
        transfer_cancel(c->transfer);
        atomic_fetch_sub(&c->u->connections, 1);
    }
    if (c->waiting)
        c->cancelled = true; /* freed when the callback comes */
    else
        call_free(c);
}
