#include "cluster/etcd_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/url.h"
#include "base/visible.h"
#include "cluster/etcd_json.h"

#include <event2/event.h>
#include <string.h>

enum { TOKEN_MAX_LEN = 16 << 10, REFUSAL_TEXT_MAX = 120 };

static void etcd_attempt(struct etcd_call *c);
static void etcd_log_in(struct etcd *e);

/* ---- the life of a call ---- */

static void etcd_call_free(struct etcd_call *c)
{
    LIST_REMOVE(c, entry);
    c->e->call_count--;
    if (c->transfer)
        transfer_cancel(c->transfer);
    event_free(c->timer);
    explicit_bzero(c->body, strlen(c->body));
    free(c->body);
    secret_clear_buf(&c->got);
    if (c->freed)
        *c->freed = true;
    free(c);
}

void etcd_cancel(struct etcd_call *c)
{
    if (!c)
        return;
    ON_LOOP(c->e->loop);
    etcd_call_free(c);
}

static void etcd_finish(struct etcd_call *c, const struct etcd_answer *a, const struct err *err)
{
    etcd_done *on_done = c->on_done;
    void *arg = c->arg;

    etcd_call_free(c);
    on_done(arg, a, err);
}

static void etcd_set_timer(struct etcd_call *c, int64_t ms)
{
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    event_add(c->timer, &tv);
}

/* What watches here has perhaps a connection that leads nowhere, too: it ends on the next turn of the loop. */
static void leave_endpoint(struct etcd *e, int at)
{
    struct etcd_call *c;

    if (e->at != at)
        return;
    e->at = (at + 1) % e->url_count;
    LIST_FOREACH(c, &e->calls, entry)
        if (c->begun && c->at == at && c->transfer && c->failure.code == ERR_OK) {
            err_set(&c->failure, ERR_UNREACHABLE, "%s has failed", e->urls[at]);
            etcd_set_timer(c, 0);
        }
}

static bool is_of_endpoint(const struct err *err)
{
    return err->code == ERR_UPSTREAM || err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT;
}

static void forget_token(struct etcd *e, int token_no)
{
    e->no_login = false;
    if (token_no != e->token_no)
        return; /* there is a newer one */
    secret_free(e->token);
    e->token = NULL;
}

/* An attempt has failed. `sent`: it may have been carried out. */
static void etcd_attempt_failed(struct etcd_call *c, const struct err *err, bool sent)
{
    struct etcd *e = c->e;
    bool more;

    event_del(c->timer);
    if (etcd_error_wants_login(err) && e->username && !c->way.logs_in && !c->renewed && !c->begun) {
        c->renewed = true;
        forget_token(e, c->token_no);
        etcd_attempt(c);
        return;
    }
    if (is_of_endpoint(err)) {
        leave_endpoint(e, c->at);
        more = !c->begun && ++c->tried < e->url_count && clock_mono_ms() < c->deadline_ms && !(c->way.once && sent);
        if (more) {
            etcd_attempt(c);
            return;
        }
    }
    etcd_finish(c, NULL, err);
}

static void on_call_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct etcd_call *c = arg;
    struct err err = c->failure;

    if (c->transfer)
        transfer_cancel(c->transfer);
    c->transfer = NULL;
    if (err.code == ERR_OK)
        err_set(&err, ERR_TIMEOUT, "%s%s did not answer in time", c->e->urls[c->at], c->way.path);
    if (c->state == ETCD_CALL_SENT)
        etcd_attempt_failed(c, &err, true);
    else
        etcd_finish(c, NULL, &err); /* no token has come */
}

/* ---- answers ---- */

static void name_endpoint(const struct etcd_call *c, struct err *err)
{
    _cleanup_buf_ struct buf url = {0};

    url_redact(&url, c->e->urls[c->at]);
    err_wrap(err, "%s%s", url.data, c->way.path);
}

/* A message of a watch. False: it is the last one, c->failure says why. */
static bool take_message(struct etcd_call *c, const char *text, size_t len)
{
    json_t *doc = json_loadb(text, len, 0, NULL), *result = json_object_get(doc, "result");
    const char *reason = json_string_value(json_object_get(result, "cancel_reason"));
    struct etcd_answer answer = {0};
    bool freed = false;

    if (!json_is_object(doc)) {
        err_set(&c->failure, ERR_UPSTREAM, "what it sent is not JSON");
    } else if (etcd_json_error(doc, 200, &c->failure)) {
        ;
    } else if (json_is_true(json_object_get(result, "canceled"))) {
        bool compacted = json_object_get(result, "compact_revision") != NULL;
        bool denied = reason && strstr(reason, "permission denied");
        err_set(&c->failure,
                compacted ? ERR_OUTDATED
                : denied  ? ERR_DENIED
                          : ERR_UPSTREAM,
                "the watch was canceled%s%s", reason ? ": " : "", reason ? reason : "");
    } else {
        c->begun = true;
        event_del(c->timer);
        etcd_json_answer(result, &answer);
        c->freed = &freed;
        c->on_events(c->arg, &answer);
        if (!freed)
            c->freed = NULL;
        etcd_answer_clear(&answer);
    }
    json_decref(doc);
    return !freed && c->failure.code == ERR_OK;
}

static bool take_lines(struct etcd_call *c, size_t looked_at)
{
    char *begin = c->got.data, *end;

    while ((end = memchr(c->got.data + looked_at, '\n', c->got.len - looked_at))) {
        size_t len = (size_t)(end - begin);
        if (len > 0 && !take_message(c, begin, len))
            return false;
        begin = end + 1;
        looked_at = (size_t)(begin - c->got.data);
    }
    c->got.len -= (size_t)(begin - c->got.data);
    memmove(c->got.data, begin, c->got.len);
    return true;
}

static bool etcd_take_data(void *arg, const void *data, size_t len)
{
    struct etcd_call *c = arg;
    size_t before = c->got.len;

    if (c->got.len + len > ETCD_ANSWER_MAX)
        return err_set(&c->failure, ERR_TOO_LARGE, "the answer has more than %d bytes", (int)ETCD_ANSWER_MAX);
    buf_add(&c->got, data, len);
    return !c->way.lasts || take_lines(c, before);
}

static bool take_token(struct etcd *e, const json_t *doc, struct err *err)
{
    const char *token = json_string_value(json_object_get(doc, "token"));

    if (!token || !*token || strlen(token) > TOKEN_MAX_LEN || strpbrk(token, "\r\n"))
        return err_set(err, ERR_UPSTREAM, "its answer has no token");
    secret_free(e->token);
    e->token = xstrdup(token);
    e->token_no++;
    return true;
}

/* A refusal by what is before etcd, or by its gateway: text. */
static void etcd_add_text(const struct etcd_call *c, struct err *err)
{
    _cleanup_free_ char *text = xstrndup(c->got.data ? c->got.data : "", MIN(c->got.len, (size_t)REFUSAL_TEXT_MAX));
    _cleanup_free_ char *shown = visible_line(text);

    if (*shown)
        err_append(err, ": %s", shown);
}

/* Reads a whole answer. */
static bool read_answer(struct etcd_call *c, int status, struct etcd_answer *out, struct err *err)
{
    json_t *doc = json_loadb(c->got.data ? c->got.data : "", c->got.len, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *from = c->way.streams ? json_object_get(doc, "result") : doc;
    bool ok = false;

    if (etcd_json_error(doc, status, err) && !doc)
        etcd_add_text(c, err);
    else if (err->code != ERR_OK)
        ;
    else if (c->way.lasts)
        err_set(err, ERR_UPSTREAM, "the watch has ended");
    else if (!json_is_object(from))
        err_set(err, ERR_UPSTREAM, "its answer is not one of etcd");
    else if (c->way.logs_in)
        ok = take_token(c->e, doc, err);
    else
        ok = true;
    if (ok)
        etcd_json_answer(from, out);
    if (ok && c->way.renews && out->ttl_s <= 0)
        ok = err_set(err, ERR_NOT_FOUND, "the lease has ended");
    json_decref(doc);
    return ok;
}

static void etcd_take_end(void *arg, const struct transfer_response *r, const struct err *failure)
{
    struct etcd_call *c = arg;
    struct etcd_answer answer = {0};
    struct err err = c->failure;

    c->transfer = NULL;
    if (err.code == ERR_OK && failure)
        err = *failure;
    else if (err.code != ERR_OK)
        name_endpoint(c, &err);
    else if (!read_answer(c, r->status, &answer, &err))
        name_endpoint(c, &err);
    if (err.code == ERR_OK)
        etcd_finish(c, &answer, NULL);
    else
        etcd_attempt_failed(c, &err, r->was_connected);
    etcd_answer_clear(&answer);
}

/* ---- attempts ---- */

static void etcd_attempt(struct etcd_call *c)
{
    static const char *const type[] = {"Content-Type: application/json", NULL};
    struct etcd *e = c->e;
    bool needs = e->username && !e->no_login && !c->way.logs_in;
    int64_t left = MAX(c->deadline_ms - clock_mono_ms(), (int64_t)1);

    if (needs && !e->token) {
        c->state = ETCD_CALL_WAITS;
        etcd_set_timer(c, left);
        etcd_log_in(e);
        return;
    }
    c->state = ETCD_CALL_SENT;
    c->at = e->at;
    c->token_no = e->token_no;
    c->failure = (struct err){0};
    secret_clear_buf(&c->got);
    _cleanup_free_ char *url = xasprintf("%s%s", e->urls[c->at], c->way.path);
    c->transfer =
        transfer_start(e->engine, &(struct transfer_request){.method = "POST",
                                                             .url = url,
                                                             .headers = type,
                                                             .authorization = needs ? e->token : NULL,
                                                             .body = c->body,
                                                             .body_len = strlen(c->body),
                                                             .range_first = -1,
                                                             .unshared = true,
                                                             .internal = true,
                                                             .trust = e->trust,
                                                             .shown_to = (const char *const *)e->urls,
                                                             .named = (const char *const *)e->hosts,
                                                             .connect_timeout_ms = MIN(left, (int64_t)ETCD_CONNECT_MS),
                                                             .on_data = etcd_take_data,
                                                             .on_done = etcd_take_end,
                                                             .arg = c});
    etcd_set_timer(c, MIN(left, (int64_t)ETCD_ANSWER_MS));
}

struct etcd_call *etcd_begin(struct etcd *e, const struct etcd_way *way, json_t *body, etcd_done *on_done, void *arg)
{
    struct etcd_call *c = NULL;

    ON_LOOP(e->loop);
    if (!e->ended && (e->call_count < ETCD_CALLS_MAX || way->logs_in)) {
        c = xcalloc(1, sizeof(*c));
        c->e = e;
        c->way = *way;
        c->body = json_dumps(body, JSON_COMPACT);
        c->timer = event_new(loop_base(e->loop), -1, 0, on_call_timer, c);
        c->deadline_ms = clock_mono_ms() + ETCD_CALL_MS;
        c->on_done = on_done;
        c->arg = arg;
        if (!c->body || !c->timer)
            abort(); /* as without memory anywhere */
        LIST_INSERT_HEAD(&e->calls, c, entry);
        e->call_count++;
        etcd_attempt(c);
    }
    json_decref(body);
    return c;
}

/* ---- login ---- */

/* Those that wait go on, or fail with it. What they begin meanwhile waits for the next login. */
static void resume_waiting(struct etcd *e, const struct err *err)
{
    struct etcd_call *c;

    LIST_FOREACH(c, &e->calls, entry)
        if (c->state == ETCD_CALL_WAITS)
            c->state = ETCD_CALL_RESUMES;
    do {
        LIST_FOREACH(c, &e->calls, entry)
            if (c->state == ETCD_CALL_RESUMES)
                break;
        if (c && err)
            etcd_finish(c, NULL, err);
        else if (c)
            etcd_attempt(c);
    } while (c);
}

static void on_login(void *arg, const struct etcd_answer *a UNUSED, const struct err *err)
{
    struct etcd *e = arg;
    struct err failure;

    e->logging_in = false;
    if (err && strstr(err->msg, "authentication is not enabled")) {
        log_limited(LOG_LEVEL_WARN, "etcd without users", "etcd knows no users: cluster.peers.username is not used");
        e->no_login = true;
        err = NULL;
    }
    if (err) {
        failure = *err;
        err_wrap(&failure, "logging in as %s", e->username);
    }
    resume_waiting(e, err ? &failure : NULL);
}

static void on_no_password(void *arg)
{
    struct etcd *e = arg;
    struct err err = {0};
    char *password = secret_read(e->password_file, &err);

    e->logging_in = false;
    if (password)
        err_set(&err, ERR_INVALID, "%s is not UTF-8", e->password_file);
    secret_free(password);
    resume_waiting(e, &err);
}

static void etcd_log_in(struct etcd *e)
{
    static const struct etcd_way way = {.path = "/v3/auth/authenticate", .logs_in = true};
    _cleanup_secret_ char *password = e->logging_in ? NULL : secret_read(e->password_file, NULL);
    json_t *body = password ? json_pack("{s:s, s:s}", "name", e->username, "password", password) : NULL;

    if (e->logging_in)
        return;
    e->logging_in = true;
    if (body)
        etcd_begin(e, &way, body, on_login, e);
    else
        loop_post(e->loop, on_no_password, e);
}

/* ---- its own life ---- */

static void add_endpoint(struct etcd *e, const char *url)
{
    char host[256];
    size_t len = strlen(url);

    while (len > 0 && url[len - 1] == '/')
        len--;
    e->urls[e->url_count] = xstrndup(url, len);
    e->hosts[e->url_count] = xstrdup(url_host(url, host, sizeof(host)) ? host : "");
    e->url_count++;
}

struct etcd *etcd_new(const struct etcd_options *o, struct err *err)
{
    _cleanup_secret_ char *password = o->username && o->password_file ? secret_read(o->password_file, err) : NULL;
    size_t count = 0;

    while (o->endpoints[count])
        count++;
    if (count == 0 || (o->username && !o->password_file)) {
        err_set(err, ERR_INVALID, count == 0 ? "etcd has no endpoint" : "etcd's user has no password_file");
        return NULL;
    }
    if (o->username && !password)
        return NULL;
    struct etcd *e = xcalloc(1, sizeof(*e));
    e->loop = o->loop;
    e->engine = o->engine;
    e->trust = o->trust;
    e->urls = xcalloc(count + 1, sizeof(*e->urls));
    e->hosts = xcalloc(count + 1, sizeof(*e->hosts));
    for (size_t i = 0; i < count; i++)
        add_endpoint(e, o->endpoints[i]);
    e->at = (int)(o->first % count);
    e->username = o->username ? xstrdup(o->username) : NULL;
    e->password_file = o->password_file ? xstrdup(o->password_file) : NULL;
    LIST_INIT(&e->calls);
    return e;
}

void etcd_end(struct etcd *e)
{
    ON_LOOP(e->loop);
    e->ended = true;
    while (!LIST_EMPTY(&e->calls))
        etcd_call_free(LIST_FIRST(&e->calls));
}

void etcd_free(struct etcd *e)
{
    if (!e)
        return;
    IN_STATE(e->ended);
    for (int i = 0; i < e->url_count; i++) {
        free(e->urls[i]);
        free(e->hosts[i]);
    }
    free(e->urls);
    free(e->hosts);
    free(e->username);
    free(e->password_file);
    secret_free(e->token);
    free(e);
}
