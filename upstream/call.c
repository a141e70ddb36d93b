/* One request to a registry, with whatever it takes to be let in. Whom a limit holds does not ask; of the cache's own
 * identities the one with most left asks, and the next one where it is refused or the limit says no:
 *
 *   choose an endpoint ─▶ identify ─▶ get a token ─▶ send ─┬─ unreachable, timed out, 5xx, 429 ─▶ choose the next one
 *                         (what it asked for last time;    ├─ 401: a challenge, answered once ─▶ identify
 *                          nothing, if it did not ask)     ├─ 401 again: a changed secret, or scope ─▶ identify
 *                                                          ├─ 404, 401, 403 of any but the last ─▶ choose the next one
 *                                                          ├─ the same of the last: those that were only guessed not to
 *                                                          │  have it are asked; if they do not, this is the answer
 *                                                          └─ any other answer is the caller's
 */
#include "upstream/call_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#include <string.h>
#include <strings.h>

enum {
    ATTEMPTS_MAX = 3 * ENDPOINTS_MAX,
    CROWDED_RETRY_S = 2,
    DROPPED_MAX = 64 << 10, /* bytes of an answer that is not passed on */
};

void call_free(struct upstream_call *c)
{
    struct upstream *u = c->u;

    ON_LOOP(c->loop);
    call_leave_queue(c);
    call_leave_room(c);
    free(c->repository);
    free(c->path);
    free(c->object);
    free(c->accept);
    secret_free(c->authorization);
    free(c->if_range);
    free(c->client_id);
    cred_identity_clear(&c->client);
    secret_free(c->token);
    call_story_clear(c);
    free(c->refusal_of_own);
    free(c->asked);
    free(c->kept);
    free(c);
    atomic_fetch_sub(&u->users, 1); /* the last look at it */
}

void call_end(struct upstream_call *c, const struct transfer_response *r, const struct err *err)
{
    struct call_denial all = {.response = *r};

    ON_LOOP(c->loop);
    if (err)
        all.err = *err;
    else if (r->status >= 400)
        call_read_refusal(c, &all.response);
    if (c->kept && !c->delivering) {
        all = *c->kept;
        if (all.err.code == ERR_OK && c->on_head)
            c->on_head(c->arg, &all.response);
    }
    /* containerd repeats a token that has ended, five times, unless it is told so. */
    if (all.response.status == 401 && c->authorization && strncasecmp(c->authorization, "Bearer ", 7) == 0)
        challenge_add_invalid_token(all.response.challenge, sizeof(all.response.challenge));
    call_tell(c, &all.response, &all.err);
    c->on_done(c->arg, &all.response, all.err.code != ERR_OK ? &all.err : NULL);
    call_free(c);
}

/* ---- counting ---- */

static void count_bytes(struct upstream_call *c)
{
    int64_t now = c->transfer ? transfer_received(c->transfer) : c->counted;

    atomic_fetch_add_explicit(&c->u->received, (uint64_t)(now - c->counted), memory_order_relaxed);
    c->counted = now;
}

void call_count_answer(struct upstream_call *c, const struct transfer_response *r, bool answered)
{
    int code = answered && r->status > 0 && r->status < UPSTREAM_CODES ? r->status : 0;
    char own[BUDGET_WHO_MAX + 1];

    if (code > 0)
        budget_note(c->u->budgets, c->endpoint, call_asker(c, own), c->kind, r);
    atomic_fetch_add_explicit(&c->u->codes[c->method][code], 1, memory_order_relaxed);
    atomic_store(&c->u->up, code > 0 && code < 500);
    if (r->ratelimit_remaining >= 0)
        atomic_store(&c->u->ratelimit_remaining, r->ratelimit_remaining);
}

/* ---- answers ---- */

/* Whether another one of our identities should. */
static bool worth_another_identity(const struct upstream_call *c, int status)
{
    int64_t held;

    return (status == 429 || ((status == 401 || status == 403) && c->identity > 0)) && call_is_own(c) &&
           identity_choose(c->u, c->endpoint, c->kind, c->owns | 1u << MAX(c->own, 0), &held) >= 0;
}

/* Another entrepot answers, and was not told which registry is meant: it is from now on. */
static bool has_to_say_ns(struct upstream_call *c, const struct transfer_response *r)
{
    atomic_int *ns = &c->u->endpoints[c->endpoint].ns;

    if (!r->is_entrepot || c->sent_ns || atomic_load(ns) == UPSTREAM_NS_OFF)
        return false;
    atomic_store(ns, UPSTREAM_NS_ON);
    return true;
}

/* Only what came before an answer's body says something about the endpoint. */
static void note_outcome(struct upstream_call *c, const struct transfer_response *r, bool no_answer, bool bad_answer)
{
    enum endpoint_outcome o = !no_answer && !bad_answer        ? ENDPOINT_WELL
                              : no_answer && !r->was_connected ? ENDPOINT_UNREACHABLE
                                                               : ENDPOINT_FAILED;

    endpoint_note(c->u, c->endpoint, c->object, o, no_answer ? clock_mono_ms() - c->sent_ms : 0);
}

/* Web servers have pages for everything, and refusals. */
static void look_for_registry(struct upstream *u, const struct transfer_response *r)
{
    bool content = r->status >= 200 && r->status < 300 && strcmp(r->content_type, "text/html") != 0;

    if (content || (r->status == 401 && r->challenge[0]))
        atomic_store_explicit(&u->is_registry, true, memory_order_relaxed);
}

static bool take_head(void *arg, const struct transfer_response *r)
{
    struct upstream_call *c = arg;

    c->status = r->status;
    look_for_registry(c->u, r);
    if (r->status >= 400)
        call_begin_refusal(c, r);
    c->again = has_to_say_ns(c, r);
    c->unreadable = call_cannot_read_challenge(c, r);
    if (c->again || c->unreadable)
        return true;
    c->answering = call_wants_login(c, r);
    c->undecided = call_may_be_expired(c, r);
    if (c->answering || c->undecided || worth_another_identity(c, r->status) ||
        call_may_change_identity(c, r->status) || call_worth_another(c, r->status))
        return true; /* its body is dropped, call_take_end() goes on */
    if (call_is_own(c) && c->identity > 0 && r->status < 400)
        identity_accepted(c->u, c->endpoint, c->own);
    if (c->kept && r->status >= 400)
        return true; /* call_end() has a better one */
    c->delivering = true;
    call_leave_queue(c);
    if (r->status < 500) /* now: a body may take minutes, and others would not be let through meanwhile */
        note_outcome(c, r, false, false);
    call_guess_blobs(c, r->status);
    return !c->on_head || c->on_head(c->arg, r);
}

static bool take_data(void *arg, const void *data, size_t len)
{
    struct upstream_call *c = arg;

    count_bytes(c);
    if (c->status >= 400)
        return call_take_refusal(c, data, len);
    if (!c->delivering || (c->status != 200 && c->status != 206)) /* an answer that nobody reads */
        return transfer_received(c->transfer) <= DROPPED_MAX;
    return !c->on_data || c->on_data(c->arg, data, len);
}

static void begin_anew(struct upstream_call *c)
{
    c->challenged = c->renewed = c->rescoped = false;
    c->anonymous = c->been_anonymous = c->login_refused = c->refreshed = false;
    c->suspect = 0;
    memset(&c->challenge, 0, sizeof(c->challenge));
    c->own = -1;
    call_attempt(c);
}

static int choose(struct upstream_call *c, int first)
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

void call_next_endpoint(struct upstream_call *c)
{
    c->tried |= 1u << c->endpoint;
    c->owns = 0;
    free(c->asked);
    free(c->refusal_of_own);
    free(c->said_to_own);
    c->asked = NULL;
    c->said_to_own = NULL;
    c->refusal_of_own = NULL;
    c->endpoint = choose(c, c->endpoint + 1);
    begin_anew(c);
}

void call_next_identity(struct upstream_call *c)
{
    c->owns |= 1u << c->own;
    begin_anew(c);
}

static bool is_passing(const struct err *err)
{
    return err && (err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_UPSTREAM);
}

/* The answer is the caller's, who hears of some refusals only now. */
static void end_with(struct upstream_call *c, const struct transfer_response *r, const struct err *err)
{
    struct transfer_response last = *r;

    if (!err && call_is_denial(r->status) && r->status != 404)
        call_pass_challenge(c, &last);
    if (!err && c->undecided && c->on_head && !c->kept)
        c->on_head(c->arg, &last);
    call_end(c, &last, !err && last.status == 401 && c->refusal_of_own ? c->refusal_of_own : err);
}

void call_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct upstream_call *c = arg;
    bool before_body = !c->delivering;
    struct err unreadable;

    count_bytes(c);
    call_end_refusal(c);
    c->transfer = NULL;
    if (err && (c->again || (c->status != 0 && c->status != 200 && c->status != 206)))
        err = NULL; /* it has answered: that its text was too long, or broke off, changes nothing */
    if (c->unreadable && !c->again) {
        call_refuse_challenge(c, &unreadable);
        err = &unreadable;
    }
    call_count_answer(c, r, !err || c->delivering || c->unreadable);
    note_outcome(c, r, before_body && is_passing(err) && !c->unreadable, !err && r->status >= 500);
    if (c->again) {
        c->again = false;
        call_attempt(c);
        return;
    }
    call_note_answer(c, r, err);
    if (c->answering) {
        c->answering = false;
        call_login(c);
        return;
    }
    if (c->undecided && call_refresh(c))
        return;
    if (before_body && !err && worth_another_identity(c, r->status)) {
        call_next_identity(c);
        return;
    }
    if (before_body && !err && call_may_change_identity(c, r->status)) {
        call_keep_refusal_of_own(c);
        call_change_identity(c, NULL);
        return;
    }
    if (before_body &&
        ((is_passing(err) && call_has_more_endpoints(c)) || (!err && call_worth_another(c, r->status)))) {
        log_debug("%s: %s: %s, trying the next endpoint", c->u->name, c->u->endpoints[c->endpoint].url,
                  err ? err->msg : "not available");
        if (!err && call_is_denial(r->status))
            call_go_elsewhere(c, r, NULL);
        else
            call_next_endpoint(c);
        return;
    }
    if (c->kept && !err && call_is_denial(r->status))
        call_note_lack(c);
    end_with(c, r, err);
}

/* ---- requests ---- */

void call_send(struct upstream_call *c, const char *authorization)
{
    ON_LOOP(c->loop);
    IN_STATE(!c->transfer);
    struct upstream *u = c->u;
    struct endpoint *e = &u->endpoints[c->endpoint];
    c->sent_ns = atomic_load(&e->ns) == UPSTREAM_NS_ON;
    _cleanup_free_ char *url = endpoint_url(e, c->repository, c->path, c->sent_ns ? u->name : NULL);
    _cleanup_free_ char *accept = c->accept ? xasprintf("Accept: %s", c->accept) : NULL;
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
        .unshared = c->unshared,
        .trust = &u->trust,
        .shown_to = (const char *const *)u->shown_to,
        .insecure = u->insecure,
        .named = (const char *const *)u->named,
        .users = &u->users,
        .connect_timeout_ms = u->connect_timeout_ms,
        .stall_timeout_ms = u->stall_timeout_ms,
        .total_timeout_ms = c->bounded ? u->connect_timeout_ms + 2 * u->stall_timeout_ms : 0,
        .on_head = take_head,
        .on_data = take_data,
        .on_done = call_take_end,
        .arg = c,
    };

    atomic_fetch_add_explicit(&u->requests, 1, memory_order_relaxed);
    c->counted = 0;
    c->unreadable = false;
    c->sent_ms = clock_mono_ms();
    call_remember_sent(c, authorization);
    c->transfer = transfer_start(c->engine, &req);
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

void call_attempt(struct upstream_call *c)
{
    struct err err = {0};
    int64_t held_ms;

    ON_LOOP(c->loop);
    IN_STATE(!c->cancelled);
    if (c->crowded) {
        err_set(&err, ERR_BUSY, "too many requests wait for %s (limits.misses): try again in a moment", c->u->name);
        err.retry_after = CROWDED_RETRY_S;
        err.status = 503;
    } else if (c->endpoint >= 0 && is_held(c, &held_ms)) {
        endpoint_forget(c->u, c->endpoint);
        call_note(c, "its rate limit is used up");
        if (call_has_more_endpoints(c)) {
            call_next_endpoint(c);
            return;
        }
        int wait_s = (int)((held_ms + 999) / 1000);
        err_set(&err, ERR_RATE_LIMIT, "%s's rate limit is used up: it is asked again in %d s", c->u->name, wait_s);
        err.retry_after = wait_s;
        err.status = 429;
    } else if (c->endpoint < 0)
        err_set(&err, ERR_UNREACHABLE, "%s did not answer%s a moment ago: it is asked again in a while", c->u->name,
                endpoint_any_well(c->u) ? " the same request" : "");
    else if (++c->attempts > ATTEMPTS_MAX) {
        endpoint_forget(c->u, c->endpoint);
        err_set(&err, ERR_UPSTREAM, "%s: no end of challenges", c->u->name);
    }
    if (err.code != ERR_OK) {
        call_end(c, &(struct transfer_response){0}, &err);
        return;
    }
    if (c->authorization) {
        call_send(c, c->authorization);
        return;
    }
    if (!c->challenged)
        call_recall_challenge(c);
    call_suspect_identity(c);
    if (c->challenge.scheme == CHALLENGE_NONE) {
        call_send(c, NULL);
    } else if (c->anonymous) {
        call_use_identity(c, &(struct cred_identity){0});
    } else if (call_is_clients(c)) {
        call_use_identity(c, &c->client);
    } else {
        c->waiting = true;
        cred_get(identity_cred(c->u, c->endpoint, c->own), c->loop, c->repository, call_take_identity, c);
    }
}

static void begin(void *arg)
{
    struct upstream_call *c = arg;

    c->waiting = false;
    if (c->cancelled)
        call_free(c);
    else
        call_attempt(c);
}

/* A client that brings a token of his own is known by it. */
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
    c->decode = req->decode;
    c->optional = req->optional;
    c->bounded = req->bounded;
    c->unshared = req->unshared;
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
    call_take_place(c);
    c->endpoint = c->crowded ? -1 : choose(c, req->endpoint_first);
    /* From the loop, so that no callback comes before the caller has what we return. */
    c->waiting = true;
    loop_post(loop, begin, c);
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
        count_bytes(c);
        transfer_cancel(c->transfer);
    }
    if (c->waiting)
        c->cancelled = true; /* the answer finds nobody */
    else
        call_free(c);
}
