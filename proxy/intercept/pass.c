#include "proxy/intercept/pass.h"

#include "base/assert.h"
#include "base/log.h"
#include "proxy/intercept/fields.h"
#include "proxy/intercept/hop.h"
#include "proxy/intercept/path.h"
#include "proxy/intercept/ping.h"
#include "proxy/intercept/pushed.h"

#include <event2/event.h>
#include <string.h>
#include <strings.h>

enum { PASS_BUSY_RETRY_S = 2 };

struct passer {
    /* set once */
    struct passer_options o;
    struct transfer_engine *engine;
    /* shared */
    atomic_int under_way;
    atomic_uint_fast64_t passed[GROUPS][PASS_METHODS], intercepted[GROUPS];
};

/* A request that is passed on. It is freed once the client has its answer or is gone, and neither the transfer nor the
 * cache has anything to tell it. */
struct passing {
    struct passer *passer;
    struct http_request *req; /* NULL: it was answered, or the client is gone */
    const struct site *site;
    struct transfer *transfer; /* NULL: it has ended */
    int64_t received;
    struct event *idle;
    bool ending;
    /* the request's body */
    bool has_body, streamed, body_ended;
    struct buf piece; /* the registry has not taken it whole */
    size_t piece_at;
    bool body_paused;
    char **their_trailers, **trailers; /* of the request, and of an answer that waits; NULL: none */
    /* the answer */
    int status;                 /* 0: none yet */
    int64_t length, given;      /* of its body; -1: not known */
    bool streaming, held, over; /* its head is out; the transfer is paused; it is complete */
    /* what was pushed */
    struct path path;
    struct pushed *pushed; /* the answer waits for it */
};

/* ---- its end ---- */

static void passing_free(void *arg)
{
    struct passing *g = arg;

    event_free(g->idle);
    buf_free(&g->piece);
    if (g->trailers)
        hop_free_lines(g->trailers);
    if (g->their_trailers)
        hop_free_lines(g->their_trailers);
    upstream_pass_end(g->site->upstream, g->received);
    site_unref(g->site);
    atomic_fetch_sub(&g->passer->under_way, 1);
    free(g);
}

/* Its client has all it gets: nothing calls back any more. Callbacks may be running: it is freed later. */
static void passing_end(struct passing *g)
{
    if (g->ending)
        return;
    g->ending = true;
    g->req = NULL;
    if (g->transfer) {
        g->received = transfer_received(g->transfer);
        transfer_cancel(g->transfer);
    }
    if (g->pushed)
        pushed_leave(g->pushed);
    event_del(g->idle);
    loop_post(g->passer->o.loop, passing_free, g);
}

static void on_client_gone(void *arg)
{
    passing_end(arg);
}

/* No answer, or not the whole of it. */
static void passing_fail(struct passing *g, const struct err *err)
{
    struct http_request *req = g->req;

    passing_end(g);
    if (!req)
        return;
    http_on_gone(req, NULL, NULL);
    log_debug("%s %s: %s", http_method_name(req), http_path(req), err->msg);
    if (g->streaming) {
        http_abort(req);
        return;
    }
    http_reply_reset(req);
    int status = err->code == ERR_TIMEOUT ? 504 : err->code == ERR_CANCELLED ? 503 : 502;
    if (ping_is(req))
        ping_answer(req);
    else
        http_error(req, status, "UNAVAILABLE", "%s", err->msg);
}

static void note_activity(struct passing *g)
{
    int64_t ms = g->pushed ? PASS_NOTE_MS : g->passer->o.idle_ms;

    event_add(g->idle, &(struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000});
}

/* ---- the body of the request ---- */

/* Bytes of a body that are held, and sent at a time: as much as is worth it while there are few, for it may be that no
 * registry takes any of them. */
static size_t body_share(const struct passer *p)
{
    size_t share = PASS_BODIES_MAX / (size_t)MAX(atomic_load(&p->under_way), 1);

    return MAX(MIN(share, (size_t)PASS_BODY_MAX), (size_t)PASS_BODY_LEAST);
}

static void body_data(void *arg, const void *data, size_t len)
{
    struct passing *g = arg;

    if (g->ending || !g->transfer)
        return;
    note_activity(g);
    if (g->piece.len == 0) {
        http_body_keep(g->req, &g->piece);
        g->piece_at = 0;
    } else {
        memmove(g->piece.data, g->piece.data + g->piece_at, g->piece.len -= g->piece_at);
        g->piece_at = 0;
        buf_add(&g->piece, data, len);
    }
    if (!g->body_paused && g->piece.len - g->piece_at + PASS_BODY_LEAST > body_share(g->passer)) {
        http_body_pause(g->req, true);
        g->body_paused = true;
    }
    transfer_send_more(g->transfer);
}

static void body_end(void *arg)
{
    struct passing *g = arg;

    g->body_ended = true;
    if (!g->ending && g->transfer)
        transfer_send_more(g->transfer);
}

/* Not before the registry takes some: one that cannot be reached costs the client no upload. */
static void passing_begin_body(struct passing *g)
{
    if (g->has_body && !g->streamed)
        http_body_stream(g->req, body_data, body_end, g);
    g->streamed = true;
}

/* ---- the answer ---- */

/* http calls it whenever the client can take more. */
static void answer_more(void *arg)
{
    struct passing *g = arg;

    if (!g->held || g->pushed || !g->transfer || http_stream_waiting(g->req) > PASS_OUT_MAX / 2)
        return;
    g->held = false;
    note_activity(g);
    transfer_pause(g->transfer, false);
}

/* Whether a body follows the head (RFC 9110 §6.4.1). */
static bool answer_has_body(const struct passing *g)
{
    return http_method(g->req) != HTTP_METHOD_HEAD && g->status != 204 && g->status != 304;
}

/* The head, and all there is if the transfer is over. May end the request. */
static void give_answer(struct passing *g)
{
    struct http_request *req = g->req;

    http_reply_bare(req);
    if (!answer_has_body(g)) {
        http_on_gone(req, NULL, NULL);
        g->req = NULL;
        http_reply_head(req, g->status, NULL, g->status == 204 ? -1 : g->length);
        if (!g->transfer)
            passing_end(g);
        return;
    }
    g->streaming = true;
    http_stream(req, g->status, NULL, g->over && g->length < 0 && !g->trailers ? 0 : g->length, answer_more, g);
    if (!g->req) /* the client has gone meanwhile */
        return;
    if (g->over) {
        g->req = NULL;
        fields_reply_trailers(req, (const char *const *)g->trailers);
        passing_end(g);
        http_stream_end(req, NULL, NULL);
    } else {
        answer_more(g);
    }
}

static void on_noted(void *arg)
{
    struct passing *g = arg;

    g->pushed = NULL;
    note_activity(g);
    give_answer(g);
}

/* Whether the answer says that something in a repository has changed. */
static bool has_changed_repository(const struct passing *g)
{
    const char *method = http_method_name(g->req);
    bool writes = strcmp(method, "PUT") == 0 || strcmp(method, "DELETE") == 0 || g->status == 201;

    return g->passer->o.fetchers && g->path.kind != PATH_OTHER && g->status / 100 == 2 && writes &&
           http_method(g->req) != HTTP_METHOD_GET && http_method(g->req) != HTTP_METHOD_HEAD;
}

static void passing_take_interim(void *arg, int status, const char *const *lines)
{
    struct passing *g = arg;

    if (!g->req || g->status != 0)
        return;
    note_activity(g);
    if (status == 100) { /* the client gets it if it waits for it */
        passing_begin_body(g);
        return;
    }
    fields_reply(g->req, lines, false);
    http_interim(g->req, status);
}

static bool passing_take_head(void *arg, const struct transfer_response *r)
{
    struct passing *g = arg;

    if (!g->req || r->status < 200 || (ping_is(g->req) && ping_is_lost(r->status)))
        return false;
    g->status = r->status;
    g->length = r->content_length;
    fields_reply(g->req, r->lines, g->length < 0 && answer_has_body(g));
    note_activity(g);
    if (has_changed_repository(g)) {
        bool deleted = strcmp(http_method_name(g->req), "DELETE") == 0;
        g->pushed = pushed_begin(g->passer->o.cache, g->passer->o.fetchers, g->site, &g->path,
                                 deleted ? NULL : &r->digest, on_noted, g, g->passer->o.loop);
        note_activity(g);
        g->held = true;
        transfer_pause(g->transfer, true);
    } else {
        give_answer(g);
    }
    return true;
}

static bool passing_take_data(void *arg, const void *data, size_t len)
{
    struct passing *g = arg;

    if (!g->req)
        return false;
    note_activity(g);
    if (g->length >= 0 && g->length - g->given < (int64_t)len) /* to the client it would be another answer */
        return false;
    g->given += (int64_t)len;
    http_stream_data(g->req, data, len);
    if (g->req && http_stream_waiting(g->req) > PASS_OUT_MAX) {
        g->held = true;
        transfer_pause(g->transfer, true);
    }
    return g->req != NULL;
}

static void passing_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct passing *g = arg;
    struct http_request *req = g->req;
    struct err why = {0};

    g->received = transfer_received(g->transfer);
    g->transfer = NULL;
    if (!err && g->status == 0)
        err_set(&why, ERR_UPSTREAM, "%s: its answer cannot be passed on", g->site->host);
    if (!req) { /* it was an answer without a body */
        passing_end(g);
    } else if (err || why.code != ERR_OK) {
        passing_fail(g, err ? err : &why);
    } else if (g->pushed) {
        g->over = true; /* on_noted() goes on */
        g->trailers = fields_copy(r->trailers);
    } else {
        fields_reply_trailers(req, r->trailers);
        passing_end(g);
        http_stream_end(req, NULL, NULL);
    }
}

/* Neither side has moved a byte for too long, or the cache takes its time. */
static void on_idle(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct passing *g = arg;
    struct err err = {0};

    if (g->pushed) {
        pushed_leave(g->pushed);
        on_noted(g);
        return;
    }
    err_set(&err, ERR_TIMEOUT, "%s: it has taken and sent nothing for %lld s", g->site->host,
            (long long)(g->passer->o.idle_ms / 1000));
    passing_fail(g, &err);
}

/* ---- the request ---- */

/* The registry is connected, and takes some. */
static long passing_send(void *arg, char *out, size_t cap)
{
    struct passing *g = arg;
    if (g->ending || !g->req)
        return TRANSFER_WAIT;
    passing_begin_body(g);
    size_t n = MIN(g->piece.len - g->piece_at, cap);
    if (n == 0)
        return g->body_ended ? 0 : TRANSFER_WAIT;
    note_activity(g);
    memcpy(out, g->piece.data + g->piece_at, n);
    g->piece_at += n;
    if (g->piece_at == g->piece.len) {
        buf_free(&g->piece);
        g->piece_at = 0;
        if (g->body_paused)
            http_body_pause(g->req, false);
        g->body_paused = false;
    }
    return (long)n;
}

/* The registry has the whole body. */
static const char *const *passing_send_trailers(void *arg)
{
    struct passing *g = arg;

    if (!g->ending && g->req && g->body_ended && !g->their_trailers)
        g->their_trailers = fields_of_trailers(g->req);
    return (const char *const *)g->their_trailers;
}

static bool loses_tls(const struct passing *g, const char *host)
{
    _cleanup_free_ char *origin = upstream_pass_origin(g->site->upstream, host);

    return http_is_tls(g->req) && strncmp(origin, "http://", 7) == 0;
}

static void send_on(struct passing *g, const char *host)
{
    const char *query = http_query(g->req);
    _cleanup_free_ char *target = xasprintf("%s%s%s", http_path(g->req), *query ? "?" : "", query);
    char **headers = fields_of_request(g->req, loses_tls(g, host));
    const struct upstream_pass pass = {
        .host = host,
        .method = http_method_name(g->req),
        .target = target,
        .headers = (const char *const *)headers,
        .body = {.has_body = g->has_body,
                 .expects = http_body_is_expected(g->req),
                 .size = http_body_length(g->req),
                 .buffer = body_share(g->passer),
                 .on_send = passing_send,
                 .on_trailers = passing_send_trailers,
                 .on_interim = passing_take_interim},
        .isolated = hop_is_login(http_header(g->req, "authorization")),
        .on_head = passing_take_head,
        .on_data = passing_take_data,
        .on_done = passing_take_end,
        .arg = g,
    };

    g->transfer = upstream_pass_start(g->site->upstream, g->passer->engine, &pass);
    hop_free_lines(headers);
}

void pass_through(struct passer *p, struct http_request *req, const char *host, const struct site *site)
{
    ON_LOOP(p->o.loop);
    if (ping_is(req) && p->o.fetchers && fetchers_is_offline(p->o.fetchers)) {
        ping_answer(req);
        return;
    }
    atomic_fetch_add_explicit(&p->passed[site->group][pass_method_of(req)], 1, memory_order_relaxed);
    if (!site->upstream || http_path(req)[0] != '/' || strchr(http_path(req), '#') || strchr(http_query(req), '#')) {
        http_error(req, 400, "UNSUPPORTED", "such a request cannot be passed on");
        return;
    }
    if (!upstream_pass_begin(site->upstream)) {
        http_reply_header(req, "Retry-After", "%d", PASS_BUSY_RETRY_S);
        http_error(req, 503, "TOOMANYREQUESTS", "too many requests to registries are under way: try again in a moment");
        return;
    }
    struct passing *g = xcalloc(1, sizeof(*g));
    atomic_fetch_add(&p->under_way, 1);
    g->passer = p;
    g->req = req;
    g->site = site_ref(site);
    g->idle = event_new(loop_base(p->o.loop), -1, 0, on_idle, g);
    g->has_body = http_body_length(req) != 0 || http_header(req, "content-length");
    path_parse(&g->path, http_path(req));
    http_on_gone(req, on_client_gone, g);
    send_on(g, host);
    note_activity(g);
}

/* ---- figures ---- */

int passer_under_way(const struct passer *p)
{
    return atomic_load(&p->under_way);
}

uint64_t passer_count(const struct passer *p, int group, enum pass_method m)
{
    return atomic_load_explicit(&p->passed[group][m], memory_order_relaxed);
}

void passer_note_intercepted(struct passer *p, const struct site *site)
{
    atomic_fetch_add_explicit(&p->intercepted[site->group], 1, memory_order_relaxed);
}

uint64_t passer_intercepted(const struct passer *p, int group)
{
    return atomic_load_explicit(&p->intercepted[group], memory_order_relaxed);
}

/* ---- its life ---- */

struct passer *passer_new(const struct passer_options *o, struct err *err)
{
    struct passer *p = xcalloc(1, sizeof(*p));

    p->o = *o;
    if (p->o.idle_ms <= 0)
        p->o.idle_ms = PASS_IDLE_MS;
    p->engine = transfer_engine_new(o->loop, err);
    if (!p->engine) {
        free(p);
        return NULL;
    }
    return p;
}

void passer_end(struct passer *p)
{
    if (p)
        transfer_engine_end(p->engine);
}

void passer_free(struct passer *p)
{
    if (!p)
        return;
    transfer_engine_free(p->engine);
    free(p);
}
