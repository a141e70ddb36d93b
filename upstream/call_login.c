/* What a request brings along to be let in: the challenge remembered or just received, an identity, a token. */
#include "upstream/call_private.h"

#include "base/secret.h"
#include "upstream/response.h"

#include <string.h>

const char *call_asker(const struct upstream_call *c, char own[BUDGET_WHO_MAX + 1])
{
    if (!call_is_own(c))
        return c->who;
    identity_name(MAX(c->own, 0), own);
    return own;
}

static bool is_trusted(const struct upstream_call *c)
{
    return c->u->endpoints[c->endpoint].trusted;
}

/* A mirror may name the registry's realm: what was got there for the cache's identity is no token for the mirror. */
static const char *token_owner(const struct upstream_call *c, char own[BUDGET_WHO_MAX + 1])
{
    if (!is_trusted(c))
        return "nobody";
    return call_is_clients(c) ? c->whose : call_asker(c, own);
}

/* A pull of this repository, as its endpoint calls it: what clients ask for when a challenge does not say. */
static void set_usual_scope(const struct upstream_call *c, struct challenge *ch)
{
    _cleanup_free_ char *usual = endpoint_scope(&c->u->endpoints[c->endpoint], c->repository);

    snprintf(ch->scope, sizeof(ch->scope), "%s", usual);
}

/* Whether what this 401 asks for can be given, and was not yet. */
bool call_wants_login(struct upstream_call *c, const struct transfer_response *r)
{
    struct challenge ch;

    if (r->status != 401 || c->authorization)
        return false;
    challenge_parse(&ch, r->challenge);
    if (ch.scheme == CHALLENGE_NONE && !c->challenged)
        ch.scheme = CHALLENGE_BASIC; /* it does not say what it wants; a name and a password is all we could have */
    if (ch.scheme == CHALLENGE_NONE || (ch.scheme == CHALLENGE_BASIC && !is_trusted(c)))
        return false;
    if (ch.scheme == CHALLENGE_BEARER && ch.scope[strspn(ch.scope, " ")] == '\0')
        set_usual_scope(c, &ch);
    if (!c->challenged) {
        c->challenge = ch;
        return c->challenged = true;
    }
    bool other = ch.scheme == CHALLENGE_BEARER && strcmp(ch.scope, c->challenge.scope) != 0;
    if (other && !c->rescoped) { /* insufficient_scope (RFC 6750 §3.1): it says now what it wants */
        c->challenge = ch;
        return c->rescoped = true;
    }
    if (c->renewed || c->identity == 0 || call_is_clients(c))
        return false;
    c->renewed = true;
    return cred_refused(identity_cred(c->u, c->endpoint, c->own), c->repository, c->identity);
}

void call_login(struct upstream_call *c)
{
    struct endpoint *e = &c->u->endpoints[c->endpoint];
    _cleanup_free_ char *usual = endpoint_scope(e, c->repository);

    pthread_mutex_lock(&c->u->lock);
    e->challenge = c->challenge;
    e->usual_scope = c->challenge.scheme != CHALLENGE_BEARER || strcmp(c->challenge.scope, usual) == 0;
    pthread_mutex_unlock(&c->u->lock);
    char own[BUDGET_WHO_MAX + 1];
    if (c->token)
        tokens_drop(c->u->tokens, &c->challenge, token_owner(c, own), c->token);
    call_attempt(c);
}

static void send_bearer(struct upstream_call *c, const char *token)
{
    _cleanup_secret_ char *value = xasprintf("Bearer %s", token);

    secret_free(c->token);
    c->token = xstrdup(token);
    call_send(c, value);
}

/* Neither identity nor token could be had. */
static void fail_login(struct upstream_call *c, const struct err *err)
{
    struct transfer_response none;

    response_reset(&none);
    none.status = err->status;
    call_count_answer(c, &none, err->code == ERR_DENIED);
    endpoint_forget(c->u, c->endpoint);
    call_note(c, err->msg);
    if (call_is_own(c) && err->code == ERR_DENIED)
        identity_refused(c->u, c->endpoint, c->own);
    int64_t held_ms;
    if (call_is_own(c) && identity_choose(c->u, c->endpoint, c->kind, c->owns | 1u << c->own, &held_ms) >= 0)
        call_next_identity(c);
    else if (err->code == ERR_DENIED && call_may_be_elsewhere(c))
        call_go_elsewhere(c, &none, err);
    else if (err->code != ERR_DENIED && call_has_more_endpoints(c))
        call_next_endpoint(c);
    else
        call_end(c, &none, err);
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
    /* What was asked for last time may not be what is asked for here, nor where tokens come from. */
    bool other_way = err->code == ERR_DENIED || err->code == ERR_UNREACHABLE || err->code == ERR_UPSTREAM;
    if (other_way && !c->challenged) {
        memset(&c->challenge, 0, sizeof(c->challenge));
        call_send(c, NULL);
        return;
    }
    /* The token service refuses us: has the secret been changed? */
    if (err->code == ERR_DENIED && c->identity > 0 && !c->renewed && !call_is_clients(c) &&
        cred_refused(identity_cred(c->u, c->endpoint, c->own), c->repository, c->identity)) {
        c->renewed = true;
        call_attempt(c);
        return;
    }
    fail_login(c, err);
}

void call_use_identity(struct upstream_call *c, const struct cred_identity *id)
{
    char own[BUDGET_WHO_MAX + 1];

    if (id->bearer) {
        send_bearer(c, id->bearer);
    } else if (c->challenge.scheme == CHALLENGE_BEARER) {
        c->waiting = true;
        tokens_get(c->u->tokens, c->engine, c->loop, &c->challenge, id, token_owner(c, own), take_token, c);
    } else {
        _cleanup_secret_ char *basic =
            id->username && !id->is_identity_token ? token_basic(id->username, id->secret) : NULL;
        call_send(c, basic);
    }
}

void call_take_identity(void *arg, const struct cred_identity *id, uint64_t number, const struct err *err)
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
    call_use_identity(c, id);
}

/* What the endpoint asked for last time, for this repository now. */
void call_recall_challenge(struct upstream_call *c)
{
    const struct endpoint *e = &c->u->endpoints[c->endpoint];
    struct challenge *ch = &c->challenge;

    memset(ch, 0, sizeof(*ch));
    pthread_mutex_lock(&c->u->lock);
    if (e->usual_scope)
        *ch = e->challenge;
    pthread_mutex_unlock(&c->u->lock);
    if (ch->scheme == CHALLENGE_BEARER)
        set_usual_scope(c, ch);
}
