/* The login of a request: the challenge, remembered or just received; an identity; a token. */
#include "upstream/call_private.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/url.h"
#include "upstream/refusal.h"

#include <string.h>

const char *call_asker(const struct upstream_call *c, char own[BUDGET_WHO_MAX + 1])
{
    if (!call_is_own(c))
        return c->who;
    identity_name(c->anonymous ? (int)IDENTITY_ANONYMOUS : MAX(c->own, 0), own);
    return own;
}

static bool is_trusted(const struct upstream_call *c)
{
    return c->u->endpoints[c->endpoint].trusted;
}

/* A mirror may name the registry's realm: a token obtained there for the cache's identity must not be sent to the
 * mirror. */
static const char *token_owner(const struct upstream_call *c, char own[BUDGET_WHO_MAX + 1])
{
    if (!is_trusted(c))
        return "nobody";
    return call_is_clients(c) ? c->client_id : call_asker(c, own);
}

/* The scope of a pull from this repository, under its name at the endpoint: the default when a challenge has none. */
static void set_usual_scope(const struct upstream_call *c, struct challenge *ch)
{
    _cleanup_free_ char *usual = endpoint_scope(&c->u->endpoints[c->endpoint], c->repository);

    snprintf(ch->scope, sizeof(ch->scope), "%s", usual);
}

/* A client's password is for the registry (clients' requests skip mirrors) and its token service, not for another
 * registry that a challenge names. */
static bool is_kept_from(const struct upstream_call *c, const char *url)
{
    return call_is_clients(c) && c->client.secret && c->u->may_have_password &&
           !c->u->may_have_password(c->u->arg, url);
}

bool call_cannot_read_challenge(const struct upstream_call *c, const struct transfer_response *r)
{
    struct challenge ch = {0};

    if (r->status == 401 && !c->authorization)
        challenge_parse(&ch, r->challenge);
    return r->status == 401 && (r->challenge_too_long || ch.too_long);
}

void call_refuse_challenge(const struct upstream_call *c, struct err *err)
{
    err_set(err, ERR_UPSTREAM,
            "%s requires a login, but its WWW-Authenticate exceeds our limits (%d bytes; 1023 for realm and scope, 255 "
            "for service): no login is sent",
            c->u->name, (int)CHALLENGE_MAX - 1);
}

/* A first challenge is answered; another one only if the scope or the secret has changed. */
bool call_wants_login(struct upstream_call *c, const struct transfer_response *r)
{
    struct challenge ch;

    if (r->status != 401)
        return false;
    free(c->asked);
    c->asked = r->challenge[0] ? xstrdup(r->challenge) : NULL;
    if (c->authorization)
        return false;
    challenge_parse(&ch, r->challenge);
    if (ch.scheme == CHALLENGE_NONE && !c->challenged && !r->challenge[0])
        ch.scheme = CHALLENGE_BASIC; /* without a challenge, only a name and a password can be tried */
    if (ch.scheme == CHALLENGE_NONE || (ch.scheme == CHALLENGE_BASIC && !is_trusted(c)))
        return false;
    if (ch.scheme == CHALLENGE_BEARER && ch.scope[strspn(ch.scope, " ")] == '\0')
        set_usual_scope(c, &ch);
    if (!c->challenged) {
        c->challenge = ch;
        return c->challenged = true;
    }
    bool other = ch.scheme == CHALLENGE_BEARER && strcmp(ch.scope, c->challenge.scope) != 0;
    if (other && !c->rescoped) { /* it now states the scope it requires */
        c->challenge = ch;
        return c->rescoped = true;
    }
    if (c->renewed || c->identity == 0 || call_is_clients(c))
        return false;
    c->renewed = true;
    c->login_refused = c->challenge.scheme != CHALLENGE_BEARER || c->is_bearer;
    return cred_refused(identity_cred(c->u, c->endpoint, c->own), c->repository, c->identity, c->begun_ms);
}

static void drop_token(struct upstream_call *c)
{
    char own[BUDGET_WHO_MAX + 1];

    if (c->token)
        tokens_drop(c->u->tokens, &c->challenge, token_owner(c, own), c->token);
}

enum call_step call_login(struct upstream_call *c)
{
    struct endpoint *e = &c->u->endpoints[c->endpoint];
    _cleanup_free_ char *usual = endpoint_scope(e, c->repository);

    pthread_mutex_lock(&c->u->lock);
    e->challenge = c->challenge;
    e->usual_scope = c->challenge.scheme != CHALLENGE_BEARER || strcmp(c->challenge.scope, usual) == 0;
    pthread_mutex_unlock(&c->u->lock);
    drop_token(c);
    return CALL_ATTEMPT;
}

/* ---- refusals for an expired token ---- */

bool call_may_be_expired(const struct upstream_call *c, const struct transfer_response *r)
{
    return (r->status == 400 || r->status == 403) && c->sent && !c->authorization && !c->refreshed;
}

/* Amazon's registry says so in the body of a 403, its storage in that of a 403 or 400 ("Your authorization token has
 * expired. Reauthenticate and try again.", <Code>ExpiredToken</Code>, "Request has expired"). */
bool call_refresh(struct upstream_call *c)
{
    bool by_token = c->challenge.scheme == CHALLENGE_BEARER && !c->is_bearer;

    if (!refusal_says_expired(c->refusal.data ? c->refusal.data : "", c->refusal.len))
        return false;
    c->refreshed = true;
    drop_token(c);
    if (!by_token && call_is_own(c) && c->identity > 0 && !c->renewed) {
        c->renewed = c->login_refused = true;
        if (!cred_refused(identity_cred(c->u, c->endpoint, c->own), c->repository, c->identity, c->begun_ms))
            return false;
    }
    return true;
}

/* ---- when our identity is refused: anonymous access ---- */

bool call_may_change_identity(const struct upstream_call *c, int status)
{
    /* a HEAD of a URL signed for GET is always forbidden: GET will tell */
    bool refused = status == 401 || (status == 403 && c->method == METHOD_GET);

    return refused && call_is_own(c) && (c->anonymous ? c->suspect > 0 : c->identity > 0 && !c->been_anonymous);
}

static void go_anonymous(struct upstream_call *c)
{
    c->anonymous = c->been_anonymous = true;
    c->identity = 0;
    c->renewed = false;
}

/* Our identity again, which may have been changed since it was refused. */
static void go_known(struct upstream_call *c)
{
    cred_refused(identity_cred(c->u, c->endpoint, c->own), c->repository, c->suspect, c->begun_ms);
    c->anonymous = c->renewed = false;
    c->suspect = 0;
}

static void note_login_refused(struct upstream_call *c)
{
    identity_refused(c->u, c->endpoint, c->own, c->identity);
    log_limited_about(LOG_LEVEL_WARN, "credentials refused", c->u->name,
                      "%s refuses the configured credentials; public content is fetched without them", c->u->name);
}

enum call_step call_change_identity(struct upstream_call *c, const struct err *why)
{
    if (c->anonymous) {
        go_known(c);
    } else {
        if (c->login_refused)
            note_login_refused(c);
        if (why && !c->refusal_of_own) {
            c->refusal_of_own = xmalloc(sizeof(*why));
            *c->refusal_of_own = *why;
        }
        go_anonymous(c);
    }
    return CALL_ATTEMPT;
}

/* An identity that was refused recently is not tried first: registries lock accounts after many failures. */
void call_suspect_identity(struct upstream_call *c)
{
    if (!call_is_own(c) || c->own < 0 || c->been_anonymous)
        return;
    c->suspect = identity_suspect(c->u, c->endpoint, c->own);
    if (c->suspect > 0)
        go_anonymous(c);
}

void call_pass_challenge(const struct upstream_call *c, struct transfer_response *r)
{
    _cleanup_buf_ struct buf made = {0};

    if (r->challenge[0])
        return;
    if (!c->asked)
        challenge_format(&c->challenge, &made);
    snprintf(r->challenge, sizeof(r->challenge), "%s", c->asked ? c->asked : made.data ? made.data : "");
}

enum call_step call_send_with(struct upstream_call *c, const char *authorization)
{
    call_remember_sent(c, authorization);
    return CALL_SEND;
}

static enum call_step send_bearer(struct upstream_call *c, const char *token)
{
    _cleanup_secret_ char *value = xasprintf("Bearer %s", token);

    secret_free(c->token);
    c->token = xstrdup(token);
    return call_send_with(c, value);
}

static enum call_step fail_login(struct upstream_call *c, const struct err *err)
{
    IN_STATE(!c->failure);
    c->failure = xmalloc(sizeof(*err));
    *c->failure = *err;
    return CALL_LOGIN_FAILED;
}

static void forget_challenge(struct upstream_call *c)
{
    pthread_mutex_lock(&c->u->lock);
    c->u->endpoints[c->endpoint].usual_scope = false;
    pthread_mutex_unlock(&c->u->lock);
}

static enum call_step use_token(struct upstream_call *c, const char *token, const struct err *err)
{
    if (!err)
        return send_bearer(c, token);
    /* The remembered challenge may be wrong for this repository, or the token service may have moved. */
    bool other_way = err->code == ERR_DENIED || err->code == ERR_UNREACHABLE || err->code == ERR_UPSTREAM;
    if (other_way && !c->challenged) {
        memset(&c->challenge, 0, sizeof(c->challenge));
        return call_send_with(c, NULL);
    }
    /* Trying the registry now would exceed the client's patience; the next request starts without the remembered
     * challenge. */
    if (err->code == ERR_TIMEOUT)
        forget_challenge(c);
    /* The token service refuses the identity: has the secret been changed? */
    if (err->code == ERR_DENIED && c->identity > 0 && !c->renewed && !call_is_clients(c) &&
        cred_refused(identity_cred(c->u, c->endpoint, c->own), c->repository, c->identity, c->begun_ms)) {
        c->renewed = c->login_refused = true;
        return CALL_ATTEMPT;
    }
    c->login_refused = c->login_refused || (err->code == ERR_DENIED && c->identity > 0);
    return fail_login(c, err);
}

static void call_take_token(void *arg, const char *token, const struct err *err)
{
    struct upstream_call *c = arg;

    c->waiting = false;
    c->resume(c, c->cancelled ? CALL_CANCELLED : use_token(c, token, err));
}

static enum call_step refuse_realm(struct upstream_call *c)
{
    _cleanup_buf_ struct buf realm = {0};
    struct err err = {0};

    url_redact(&realm, c->challenge.realm);
    err_set(&err, ERR_DENIED,
            "%s wants the client's password sent to %s, which is another registry here: refused (trusted_hosts of %s "
            "allows it)",
            c->u->name, realm.data, c->u->name);
    err.status = 403;
    log_limited_about(LOG_LEVEL_WARN, "realm refused", c->u->name, "%s", err.msg);
    /* Clients with a login for this address would follow that challenge and send it there. */
    free(c->asked);
    c->asked = NULL;
    memset(&c->challenge, 0, sizeof(c->challenge));
    return fail_login(c, &err);
}

enum call_step call_use_identity(struct upstream_call *c, const struct cred_identity *id)
{
    char own[BUDGET_WHO_MAX + 1];

    c->is_bearer = id->bearer != NULL;
    if (id->bearer)
        return send_bearer(c, id->bearer);
    if (c->challenge.scheme == CHALLENGE_BEARER && is_kept_from(c, c->challenge.realm))
        return refuse_realm(c);
    if (c->challenge.scheme == CHALLENGE_BEARER) {
        c->waiting = true;
        tokens_get(c->u->tokens, c->engine, c->loop, &c->challenge, id, token_owner(c, own), call_take_token, c);
        return CALL_WAIT; /* the token may have come already, and `c` be gone */
    }
    _cleanup_secret_ char *basic =
        id->username && !id->is_identity_token ? secret_basic(id->username, id->secret) : NULL;
    return call_send_with(c, basic);
}

static enum call_step check_identity(struct upstream_call *c, const struct cred_identity *id, uint64_t number,
                                     const struct err *err)
{
    bool same = number == c->identity;

    if (err) {
        struct err ours = *err;
        /* The provider refused this node; that says nothing about the client's access upstream. */
        ours.code = err->code == ERR_CANCELLED || err->code == ERR_TIMEOUT ? err->code : ERR_UPSTREAM;
        ours.status = 0;
        return fail_login(c, &ours);
    }
    if (c->renewed && same) { /* there is no other: the refusal stands */
        struct err refused = {0};
        err_set(&refused, ERR_DENIED,
                c->login_refused ? "%s refuses the configured credentials"
                                 : "%s refuses access to the configured credentials",
                c->u->name);
        refused.status = 401;
        return fail_login(c, &refused);
    }
    c->identity = id->username || id->bearer || id->secret ? number : 0;
    if (is_trusted(c))
        share_know_account(c->u, c->own, id->is_identity_token ? NULL : id->username);
    return call_use_identity(c, id);
}

static void call_take_identity(void *arg, const struct cred_identity *id, uint64_t number, const struct err *err)
{
    struct upstream_call *c = arg;

    c->waiting = false;
    c->resume(c, c->cancelled ? CALL_CANCELLED : check_identity(c, id, number, err));
}

enum call_step call_get_identity(struct upstream_call *c)
{
    c->waiting = true;
    cred_get(identity_cred(c->u, c->endpoint, c->own), c->loop, c->repository, call_take_identity, c);
    return CALL_WAIT; /* the identity may have come already, and `c` be gone */
}

/* The challenge of the last request to this endpoint, with the scope of this repository. */
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
