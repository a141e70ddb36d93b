/* What an answer of the registry means: whether it is the caller's, and if not, what is done next. */
#include "upstream/call_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#include <string.h>

enum { DROPPED_MAX = 64 << 10 /* bytes of an answer that is not passed on */ };

/* ---- counting ---- */

void call_count_bytes(struct upstream_call *c)
{
    int64_t now = c->transfer ? transfer_received(c->transfer) : c->counted;

    atomic_fetch_add_explicit(&c->u->received, (uint64_t)(now - c->counted), memory_order_relaxed);
    c->counted = now;
}

void call_count_answer(struct upstream_call *c, const struct transfer_response *r, bool answered)
{
    int code = answered && r->status > 0 && r->status < UPSTREAM_CODES ? r->status : 0;
    char own[BUDGET_WHO_MAX + 1];

    if (c->further && (code == 0 || code == 429 || code >= 500))
        return;
    if (code > 0)
        budget_note(c->u->budgets, c->endpoint, call_asker(c, own), c->kind, r);
    if (code > 0 && call_is_own(c) && !c->direct)
        share_note(c->u, c->endpoint, call_asker(c, own), c->sent && !c->anonymous, c->kind, r);
    atomic_fetch_add_explicit(&c->u->codes[c->method][code], 1, memory_order_relaxed);
    atomic_store(&c->u->up, code > 0 && code < 500);
    if (r->ratelimit_remaining >= 0)
        atomic_store(&c->u->ratelimit_remaining, r->ratelimit_remaining);
}

/* ---- answers ---- */

/* Whether to retry with another of our identities. */
static bool worth_another_identity(const struct upstream_call *c, int status)
{
    int64_t held;

    return (status == 429 || ((status == 401 || status == 403) && c->identity > 0)) && call_is_own(c) &&
           identity_choose(c->u, c->endpoint, c->kind, c->owns | 1u << MAX(c->own, 0), &held) >= 0;
}

/* Another entrepot answers, and the request did not name the registry: it does from now on. */
static bool has_to_say_ns(struct upstream_call *c, const struct transfer_response *r)
{
    atomic_int *ns = &c->u->endpoints[c->endpoint].ns;

    if (!r->is_entrepot || c->sent_ns || atomic_load(ns) == UPSTREAM_NS_OFF)
        return false;
    atomic_store(ns, UPSTREAM_NS_ON);
    return true;
}

/* Only the outcome before the body says something about the endpoint. */
static void note_outcome(struct upstream_call *c, const struct transfer_response *r, bool no_answer, bool bad_answer)
{
    if (c->direct)
        return;
    enum endpoint_outcome o = !no_answer && !bad_answer        ? ENDPOINT_OK
                              : no_answer && !r->was_connected ? ENDPOINT_UNREACHABLE
                                                               : ENDPOINT_FAILED;

    if (c->further && o != ENDPOINT_OK)
        endpoint_forget(c->u, c->endpoint);
    else
        endpoint_note(c->u, c->endpoint, c->object, o, no_answer ? clock_mono_ms() - c->sent_ms : 0);
}

/* Any web server answers with pages and refusals; content or a challenge shows a registry. */
static void look_for_registry(struct upstream *u, const struct transfer_response *r)
{
    bool content = r->status >= 200 && r->status < 300 && strcmp(r->content_type, "text/html") != 0;

    if (content || (r->status == 401 && r->challenge[0]))
        atomic_store_explicit(&u->is_registry, true, memory_order_relaxed);
}

/* What another request was redirected to has expired, or was for that one alone. Limits are kept. */
static bool is_good_directly(int status)
{
    return status == 200 || status == 206 || status == 416 || status == 429 || status >= 500;
}

bool call_take_head(void *arg, const struct transfer_response *r)
{
    struct upstream_call *c = arg;

    if (c->direct && !is_good_directly(r->status)) {
        c->again = true;
        return true; /* its body is dropped; call_answered() asks the registry */
    }
    c->status = r->status;
    look_for_registry(c->u, r);
    if (r->status >= 400)
        call_begin_refusal(c, r);
    if (c->direct) {
        c->delivering = true;
        call_leave_queue(c);
        return !c->on_head || c->on_head(c->arg, r);
    }
    c->again = has_to_say_ns(c, r);
    c->unreadable = call_cannot_read_challenge(c, r);
    if (c->again || c->unreadable)
        return true;
    c->answering = call_wants_login(c, r);
    c->undecided = call_may_be_expired(c, r);
    if (c->answering || c->undecided || worth_another_identity(c, r->status) ||
        call_may_change_identity(c, r->status) || call_worth_another(c, r->status))
        return true; /* its body is dropped; call_answered() continues */
    if (call_is_own(c) && c->identity > 0 && r->status < 400)
        identity_accepted(c->u, c->endpoint, c->own);
    if (c->kept && r->status >= 400)
        return true; /* the kept one is passed on instead */
    c->delivering = true;
    call_leave_queue(c);
    if (r->status < 500) /* now: a body may take minutes, and would keep a half-open endpoint closed to others */
        note_outcome(c, r, false, false);
    call_guess_blobs(c, r->status);
    return !c->on_head || c->on_head(c->arg, r);
}

bool call_take_data(void *arg, const void *data, size_t len)
{
    struct upstream_call *c = arg;

    call_count_bytes(c);
    if (c->status >= 400)
        return call_take_refusal(c, data, len);
    if (!c->delivering || (c->status != 200 && c->status != 206)) /* an answer that is dropped */
        return transfer_received(c->transfer) <= DROPPED_MAX;
    return !c->on_data || c->on_data(c->arg, data, len);
}

static bool is_passing(const struct err *err)
{
    return err && (err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_UPSTREAM);
}

enum call_step call_end_with(struct upstream_call *c, const struct transfer_response *r, const struct err *err)
{
    IN_STATE(!c->outcome);
    c->outcome = xcalloc(1, sizeof(*c->outcome));
    c->outcome->response = *r;
    if (err)
        c->outcome->err = *err;
    return CALL_END;
}

/* The answer is final. The heads of some refusals are passed on only now. */
static enum call_step call_pass_answer(struct upstream_call *c, const struct transfer_response *r,
                                       const struct err *err)
{
    struct transfer_response last = *r;

    if (!err && call_is_denial(r->status) && r->status != 404)
        call_pass_challenge(c, &last);
    if (!err && c->undecided && c->on_head && !c->kept)
        c->on_head(c->arg, &last);
    return call_end_with(c, &last, !err && last.status == 401 && c->refusal_of_own ? c->refusal_of_own : err);
}

enum call_step call_answered(struct upstream_call *c, const struct transfer_response *r, const struct err *err)
{
    bool before_body = !c->delivering;
    struct err unreadable;

    ON_LOOP(c->loop);
    call_count_bytes(c);
    call_end_refusal(c);
    if (c->transfer)
        atomic_fetch_sub(&c->u->connections, 1);
    c->transfer = NULL;
    if (err && (c->again || (c->status != 0 && c->status != 200 && c->status != 206)))
        err = NULL; /* it has answered: a text that is too long or cut short does not matter */
    if (c->unreadable && !c->again) {
        call_refuse_challenge(c, &unreadable);
        err = &unreadable;
    }
    if (c->direct && before_body && (c->again || is_passing(err))) {
        secret_free(c->direct);
        c->direct = NULL;
        c->again = false;
        return CALL_ATTEMPT;
    }
    call_count_answer(c, r, !err || c->delivering || c->unreadable);
    note_outcome(c, r, before_body && is_passing(err) && !c->unreadable, !err && r->status >= 500);
    if (c->again) {
        c->again = false;
        return CALL_ATTEMPT;
    }
    call_note_answer(c, r, err);
    if (c->answering) {
        c->answering = false;
        return call_login(c);
    }
    if (c->undecided && call_refresh(c))
        return CALL_ATTEMPT;
    if (before_body && !err && worth_another_identity(c, r->status))
        return CALL_NEXT_IDENTITY;
    if (before_body && !err && call_may_change_identity(c, r->status)) {
        call_keep_refusal_of_own(c);
        return call_change_identity(c, NULL);
    }
    if (before_body &&
        ((is_passing(err) && call_has_more_endpoints(c)) || (!err && call_worth_another(c, r->status)))) {
        log_debug("%s: %s: %s, trying the next endpoint", c->u->name, c->u->endpoints[c->endpoint].url,
                  err ? err->msg : "not available");
        return !err && call_is_denial(r->status) ? call_go_elsewhere(c, r, NULL) : CALL_NEXT_ENDPOINT;
    }
    if (c->kept && !err && call_is_denial(r->status))
        call_note_lack(c);
    return call_pass_answer(c, r, err);
}
