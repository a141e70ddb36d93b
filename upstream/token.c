#include "upstream/token.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/url.h"
#include "upstream/refusal.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

enum {
    TOKENS_MAX = 4096,
    ANSWER_MAX = 64 << 10,
    LIFE_DEFAULT_S = 60, /* token specification: "defaults to 60" */
    LIFE_MAX_S = 24 * 3600,
};

struct token_waiter {
    STAILQ_ENTRY(token_waiter) entry;
    struct tokens *all;
    struct loop *loop;
    void (*done)(void *arg, const char *token, const struct err *err);
    void *arg;
    struct transfer_engine *engine; /* of its loop */
    struct challenge challenge;
    struct cred_identity id;
    char *client_id;
    char *token; /* the answer */
    struct err err;
};

STAILQ_HEAD(token_waiters, token_waiter);

struct token {
    TAILQ_ENTRY(token) entry; /* most recently used first */
    char *key;
    char *value;               /* NULL: none yet */
    int64_t begun_ms, ends_ms; /* monotonic */
    bool fetching;
    struct token_waiters waiters;
};

struct tokens {
    /* set once */
    const struct trust *trust;
    const char *const *shown_to;
    const char *const *named;
    bool insecure;
    atomic_int *users;
    int64_t connect_timeout_ms, stall_timeout_ms;
    /* shared, under lock */
    pthread_mutex_t lock;
    TAILQ_HEAD(token_list, token) list;
    size_t count;
};

/* A request for a token, on one fetch loop. Those who come meanwhile wait for it, whatever their identity: it is the
 * same owner's. If it is refused, those with another identity (the secret was changed) request one of their own. */
struct token_errand {
    struct tokens *all;
    struct transfer_engine *engine;
    struct challenge challenge;
    struct cred_identity id;
    char *client_id;
    bool posting, too_large;
    int64_t sent_ms; /* monotonic */
    struct buf answer;
};

struct tokens *tokens_new(const struct token_options *o)
{
    struct tokens *all = xcalloc(1, sizeof(*all));

    all->trust = o->trust;
    all->shown_to = o->shown_to;
    all->insecure = o->insecure;
    all->users = o->users;
    all->named = o->named;
    all->connect_timeout_ms = o->connect_timeout_ms;
    all->stall_timeout_ms = o->stall_timeout_ms;
    pthread_mutex_init(&all->lock, NULL);
    TAILQ_INIT(&all->list);
    return all;
}

static void token_waiter_free(struct token_waiter *w)
{
    cred_identity_clear(&w->id);
    free(w->client_id);
    secret_free(w->token);
    free(w);
}

static void token_forget(struct tokens *all, struct token *t)
{
    TAILQ_REMOVE(&all->list, t, entry);
    all->count--;
    while (!STAILQ_EMPTY(&t->waiters)) { /* only when the program ends */
        struct token_waiter *w = STAILQ_FIRST(&t->waiters);
        STAILQ_REMOVE_HEAD(&t->waiters, entry);
        token_waiter_free(w);
    }
    secret_free(t->value);
    free(t->key);
    free(t);
}

void tokens_free(struct tokens *all)
{
    if (!all)
        return;
    while (!TAILQ_EMPTY(&all->list))
        token_forget(all, TAILQ_FIRST(&all->list));
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static struct token *token_find(struct tokens *all, const struct challenge *c, const char *client_id, bool create)
{
    _cleanup_free_ char *key = xasprintf("%s\n%s\n%s\n%s", client_id, c->realm, c->service, c->scope);
    struct token *t;

    HOLDS(&all->lock);
    TAILQ_FOREACH(t, &all->list, entry)
        if (strcmp(t->key, key) == 0)
            break;
    if (t) {
        TAILQ_REMOVE(&all->list, t, entry);
        TAILQ_INSERT_HEAD(&all->list, t, entry);
    }
    if (t || !create)
        return t;
    struct token *old = TAILQ_LAST(&all->list, token_list);
    if (all->count >= TOKENS_MAX && !old->fetching)
        token_forget(all, old);
    t = xcalloc(1, sizeof(*t));
    t->key = xstrdup(key);
    STAILQ_INIT(&t->waiters);
    TAILQ_INSERT_HEAD(&all->list, t, entry);
    all->count++;
    return t;
}

/* ---- the errand ---- */

static void token_done(struct token_errand *q, const char *value, int64_t life_s, const struct err *err);

static bool token_read_answer(struct token_errand *q, char **value, int64_t *life_s, struct err *err)
{
    json_t *doc = json_loadb(q->answer.data ? q->answer.data : "", q->answer.len, 0, NULL);
    const char *text = json_string_value(json_object_get(doc, "token"));
    const json_t *life = json_object_get(doc, "expires_in");

    if (!text)
        text = json_string_value(json_object_get(doc, "access_token"));
    bool ok = text && *text && strlen(text) <= TOKEN_MAX && !strpbrk(text, "\r\n");
    if (ok)
        *value = xstrdup(text);
    else
        err_set(err, ERR_UPSTREAM, "the token service's answer contains no token");
    *life_s = json_is_integer(life) && json_integer_value(life) > 0 ? json_integer_value(life) : LIFE_DEFAULT_S;
    *life_s = MIN(*life_s, (int64_t)LIFE_MAX_S);
    json_decref(doc);
    return ok;
}

static void token_read_refusal(const struct token_errand *q, int status, struct err *err)
{
    _cleanup_secret_ char *basic = q->id.username && q->id.secret ? secret_basic(q->id.username, q->id.secret) : NULL;
    char reason[REFUSAL_MAX + 1];

    refusal_text(reason, q->answer.data ? q->answer.data : "", q->answer.len, basic, q->id.secret);
    err_set(err,
            status == 429                    ? ERR_RATE_LIMIT
            : status == 408 || status == 504 ? ERR_TIMEOUT /* of it or its gateway: not a refusal */
            : status >= 500                  ? ERR_UPSTREAM
                                             : ERR_DENIED,
            "the token service answered %d%s%s", status, reason[0] ? ": " : "", reason);
}

static bool token_take_data(void *arg, const void *data, size_t len)
{
    struct token_errand *q = arg;

    q->too_large = q->answer.len + len > ANSWER_MAX;
    if (q->too_large)
        return false;
    buf_add(&q->answer, data, len);
    return true;
}

static void token_send(struct token_errand *q);

static void token_take_done(void *arg, const struct transfer_response *r, const struct err *failure)
{
    struct token_errand *q = arg;
    struct err err = {0};
    char *value = NULL;
    int64_t life = 0;

    if (failure && !(q->too_large && r->status != 200)) { /* the status of a refusal is enough */
        err = *failure;
        if (q->too_large)
            err_set(&err, ERR_UPSTREAM, "the answer has more than %d bytes", (int)ANSWER_MAX);
        err_wrap(&err, "asking for a token");
    } else if ((r->status == 404 || r->status == 405) && !q->posting && q->id.username) {
        q->posting = true; /* a realm that supports OAuth 2 only */
        q->too_large = false;
        buf_clear(&q->answer);
        token_send(q);
        return;
    } else if (r->status != 200) {
        token_read_refusal(q, r->status, &err);
        err.status = r->status;
        err.retry_after = r->retry_after;
    } else {
        token_read_answer(q, &value, &life, &err);
    }
    token_done(q, value, life, err.code == ERR_OK ? NULL : &err);
    secret_free(value);
}

/* As clients do: an empty value is not sent, and the query of the realm itself is kept. */
static void token_add_param(struct buf *b, const char *name, const char *value, const char *glue)
{
    if (!*value)
        return;
    buf_adds(b, glue);
    buf_adds(b, name);
    url_encode(b, value);
}

static const char *glue_for(bool posting, const struct buf *url)
{
    return posting || strchr(url->data, '?') ? "&" : "?";
}

static void token_send(struct token_errand *q)
{
    static const char *const form[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
    struct tokens *all = q->all;
    _cleanup_buf_ struct buf url = {0};
    struct buf body = {0};
    struct transfer_request req = {.method = "GET", .range_first = -1, .trust = all->trust, .shown_to = all->shown_to};

    buf_adds(&url, q->challenge.realm);
    q->posting = q->posting || q->id.is_identity_token;
    if (q->posting)
        buf_adds(&body, "client_id=entrepot");
    struct buf *to = q->posting ? &body : &url;
    token_add_param(to, "service=", q->challenge.service, glue_for(q->posting, &url));
    token_add_param(to, "scope=", q->challenge.scope, glue_for(q->posting, &url));
    if (q->posting) {
        buf_adds(&body, "&grant_type=");
        buf_adds(&body, q->id.is_identity_token ? "refresh_token" : "password");
        if (!q->id.is_identity_token)
            token_add_param(&body, "username=", q->id.username, "&");
        token_add_param(&body, q->id.is_identity_token ? "refresh_token=" : "password=", q->id.secret, "&");
        req.method = "POST";
        req.headers = form;
        req.body = body.data;
        req.body_len = body.len;
    }
    char *authorization = q->id.username && !q->posting ? secret_basic(q->id.username, q->id.secret) : NULL;
    req.authorization = authorization;
    req.url = url.data;
    req.insecure = all->insecure;
    req.named = all->named;
    req.users = all->users;
    req.connect_timeout_ms = all->connect_timeout_ms;
    req.stall_timeout_ms = all->stall_timeout_ms;
    req.total_timeout_ms = all->connect_timeout_ms + all->stall_timeout_ms;
    req.on_data = token_take_data;
    req.on_done = token_take_done;
    req.arg = q;
    transfer_start(q->engine, &req);
    secret_free(authorization);
    secret_clear_buf(&body);
}

static void token_answer_waiter(void *arg)
{
    struct token_waiter *w = arg;

    w->done(w->arg, w->token, w->token ? NULL : &w->err);
    token_waiter_free(w);
}

/* Another identity was refused. */
static void token_ask_again(void *arg)
{
    struct token_waiter *w = arg;

    tokens_get(w->all, w->engine, w->loop, &w->challenge, &w->id, w->client_id, w->done, w->arg);
    token_waiter_free(w);
}

static void token_done(struct token_errand *q, const char *value, int64_t life_s, const struct err *err)
{
    struct tokens *all = q->all;
    struct token_waiters waiters = STAILQ_HEAD_INITIALIZER(waiters);

    pthread_mutex_lock(&all->lock);
    struct token *t = token_find(all, &q->challenge, q->client_id, true);
    t->fetching = false;
    STAILQ_CONCAT(&waiters, &t->waiters);
    if (value) {
        secret_free(t->value);
        t->value = xstrdup(value);
        t->begun_ms = q->sent_ms; /* its life began when the service issued it, not when a slow answer arrived */
        t->ends_ms = t->begun_ms + life_s * 1000;
    }
    pthread_mutex_unlock(&all->lock);
    if (err && err->code != ERR_CANCELLED && STAILQ_EMPTY(&waiters))
        log_limited(LOG_LEVEL_WARN, "token renewal", "renewing a token early: %s", err->msg);
    while (!STAILQ_EMPTY(&waiters)) {
        struct token_waiter *w = STAILQ_FIRST(&waiters);
        STAILQ_REMOVE_HEAD(&waiters, entry);
        bool is_another = err && err->code == ERR_DENIED && !cred_identity_eq(&w->id, &q->id);
        w->token = value ? xstrdup(value) : NULL;
        if (err)
            w->err = *err;
        loop_post(w->loop, is_another ? token_ask_again : token_answer_waiter, w);
    }
    secret_clear_buf(&q->answer);
    cred_identity_clear(&q->id);
    free(q->client_id);
    free(q);
}

static void token_request(struct tokens *all, struct transfer_engine *engine, const struct challenge *c,
                          const struct cred_identity *id, const char *client_id)
{
    struct token_errand *q = xcalloc(1, sizeof(*q));

    q->all = all;
    q->sent_ms = clock_mono_ms();
    q->engine = engine;
    q->challenge = *c;
    q->client_id = xstrdup(client_id);
    if (id)
        cred_identity_copy(&q->id, id);
    token_send(q);
}

void tokens_get(struct tokens *all, struct transfer_engine *engine, struct loop *loop, const struct challenge *c,
                const struct cred_identity *id, const char *client_id,
                void (*done)(void *arg, const char *token, const struct err *err), void *arg)
{
    _cleanup_free_ char *value = NULL;
    bool start = false;
    int64_t now = clock_mono_ms();

    ON_LOOP(loop);
    if (!all->insecure && !url_is_https(c->realm)) {
        struct token_waiter *w = xcalloc(1, sizeof(*w));
        *w = (struct token_waiter){.loop = loop, .done = done, .arg = arg};
        err_set(&w->err, ERR_DENIED, "the registry's token service is plain http: refused");
        loop_post(loop, token_answer_waiter, w);
        return;
    }
    pthread_mutex_lock(&all->lock);
    struct token *t = token_find(all, c, client_id, true);
    if (t->value && now < t->ends_ms - (t->ends_ms - t->begun_ms) / 20) {
        value = xstrdup(t->value);
        start = !t->fetching && t->ends_ms - now < (t->ends_ms - t->begun_ms) / 5;
    } else {
        struct token_waiter *w = xcalloc(1, sizeof(*w));
        *w = (struct token_waiter){.all = all, .loop = loop, .done = done, .arg = arg, .engine = engine};
        w->challenge = *c;
        w->client_id = xstrdup(client_id);
        if (id)
            cred_identity_copy(&w->id, id);
        STAILQ_INSERT_TAIL(&t->waiters, w, entry);
        start = !t->fetching;
    }
    t->fetching = t->fetching || start;
    pthread_mutex_unlock(&all->lock);
    if (start)
        token_request(all, engine, c, id, client_id);
    if (value) {
        done(arg, value, NULL);
        explicit_bzero(value, strlen(value));
    }
}

void tokens_drop(struct tokens *all, const struct challenge *c, const char *client_id, const char *token)
{
    pthread_mutex_lock(&all->lock);
    struct token *t = token_find(all, c, client_id, false);
    if (t && t->value && strcmp(t->value, token) == 0) {
        secret_free(t->value);
        t->value = NULL;
    }
    pthread_mutex_unlock(&all->lock);
}
