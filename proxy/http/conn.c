#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum {
    INPUT_MAX = HTTP_HEAD_MAX, /* bytes of later requests that may wait */
    TICK_MS = 1000,
    LINGER_MS = 2000,
};

/* ---- a connection's life ---- */

static void conn_refuse(struct http_conn *c)
{
    static const struct {
        int status;
        const char *code;
    } codes[] = {{405, "UNSUPPORTED"}, {501, "UNSUPPORTED"}, {413, "SIZE_INVALID"}, {503, "UNAVAILABLE"}};
    const char *code = "UNKNOWN";
    struct http_request *req = &c->req;

    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i].status == c->refuse)
            code = codes[i].code;
    c->closing = true;
    req->keep_alive = false;
    req->begun_us = clock_mono_us();
    req->ended_us = 0;
    c->state = CONN_HANDLING;
    http_client(req);
    if (!c->head_done)
        req->method = HTTP_METHOD_GET; /* not known: an answer with a body */
    if (c->seat.over != HTTP_SEATED) {
        http_seat_refuse(&c->seat);
        http_reply_header(req, "Retry-After", "%d", (int)HTTP_RETRY_AFTER_S);
    }
    http_error(req, c->refuse, code, "%s", c->refuse_why);
}

static void dispatch(struct http_conn *c)
{
    IN_STATE(c->state == CONN_READING);
    c->state = CONN_HANDLING;
    c->req.begun_us = clock_mono_us();
    c->req.ended_us = 0;
    c->dispatching = true;
    c->server->on_request(c->server->arg, &c->req);
    c->dispatching = false;
    http_pump(c);
}

/* Takes requests out of the input until one is not answered at once. */
static void read_requests(struct http_conn *c)
{
    if (c->reading || c->state != CONN_READING)
        return;
    c->reading = true;
    do {
        size_t before = c->head_len;
        http_parse(c);
        if (before == 0 && c->head_len > 0)
            c->since_ms = clock_mono_ms();
        if (c->head_len > 0 || c->refuse != 0)
            http_conn_wake(c);
        bool ready = c->complete || (c->head_done && c->req.streamed);
        if (c->seat.over != HTTP_SEATED && ready && c->refuse == 0) {
            c->refuse = 503;
            c->refuse_why = "there are too many connections: try again in a moment";
        } else if (c->plain_on_tls && ready && c->refuse == 0) {
            c->refuse = 400;
            c->refuse_why = "this address speaks TLS: use https://";
        }
        if (c->refuse != 0)
            conn_refuse(c);
        else if (ready)
            dispatch(c);
        else if (c->eof)
            http_conn_close(c);
        /* An answer that went out whole has made the connection READING again: look for the next request. */
    } while (c->state == CONN_READING && evbuffer_get_length(c->in) > 0);
    c->reading = false;
}

/* ---- events ---- */

/* The client sends no more. It may still read its answers (RFC 9112 §9.6); but few clients half-close, and one that has
 * closed altogether looks the same: is_gone() waits a moment before it decides. */
static void end_of_input(struct http_conn *c)
{
    c->eof = true;
    c->eof_ms = clock_mono_ms();
    read_requests(c);
    http_body_feed(c);
    if (c->state == CONN_READING || c->state == CONN_LINGERING)
        http_conn_close(c);
}

static void take_input(struct http_conn *c, const char *data, size_t len)
{
    if (c->state == CONN_LINGERING)
        return;
    bool open = http_body_is_open(c);
    size_t taken = http_body_take(c, data, len);
    evbuffer_add(c->in, data + taken, len - taken);
    read_requests(c);
    if (open || http_body_is_open(c)) {
        c->body_ms = clock_mono_ms();
        http_body_feed(c);
    }
    if (c->state == CONN_CLOSED)
        return;
    size_t most = http_body_is_open(c) ? (size_t)HTTP_BODY_WAIT_MAX : (size_t)INPUT_MAX;
    if (evbuffer_get_length(c->in) >= most || http_body_waits(c))
        event_del(c->readable);
}

/* Bytes to read at once: of a body a piece, and no more of one that waits than it may hold. */
static size_t conn_read_size(const struct http_conn *c)
{
    size_t held = evbuffer_get_length(c->in);

    if (http_body_waits(c))
        return (size_t)HTTP_BODY_WAIT_MAX - MIN(held, (size_t)HTTP_BODY_WAIT_MAX - 1);
    return http_body_is_open(c) ? (size_t)HTTP_BODY_PIECE : (size_t)HTTP_READ_MAX;
}

static bool wants_input(const struct http_conn *c)
{
    return c->state != CONN_CLOSED && event_pending(c->readable, EV_READ, NULL);
}

static void on_tunnel(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct http_conn *c = arg;

    if (c->state == CONN_TUNNEL && !http_tunnel_pass(c))
        http_conn_close(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct http_conn *c = arg;
    char *scratch = c->server->scratch;
    ssize_t n;

    loop_beat(c->server->loop);
    if (c->state == CONN_TUNNEL) {
        on_tunnel(fd, what, c);
        return;
    }
    if (c->state == CONN_GREETING && !http_greet(c))
        return;
    if (evbuffer_get_length(c->in) > 0) /* of a client that speaks no TLS behind CONNECT */
        read_requests(c);
    if (c->state == CONN_CLOSED)
        return;
    do {
        n = c->link.kind->read(&c->link, scratch, conn_read_size(c));
        if (n > 0) {
            take_input(c, scratch, (size_t)n);
        } else if (n == 0) {
            event_del(c->readable);
            end_of_input(c);
        } else if (errno != EAGAIN && errno != EINTR) {
            http_conn_close(c);
        }
    } while (n > 0 && wants_input(c) && c->link.kind->has_input(&c->link));
    if (c->state != CONN_CLOSED && c->link.wants_write && !c->armed)
        c->armed = event_add(c->writable, NULL) == 0;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct http_conn *c = arg;

    loop_beat(c->server->loop);
    if (c->state == CONN_TUNNEL) {
        on_tunnel(fd, what, c);
        return;
    }
    c->blocked = false;
    if (c->state == CONN_GREETING || c->link.wants_write) {
        c->link.wants_write = false;
        on_readable(fd, what, c);
    }
    if (c->state == CONN_GREETING || c->state == CONN_CLOSED)
        return;
    if (c->state == CONN_SENDING) {
        http_pump(c);
        return;
    }
    http_write(c); /* the answer to an expectation */
    if (c->lost)
        http_conn_close(c);
}

/* CONNECT is answered. */
static void open_up(struct http_conn *c)
{
    if (c->opens == OPENS_TUNNEL) {
        c->state = CONN_TUNNEL;
        c->opens = OPENS_NOTHING;
        http_tunnel_begin(c, on_tunnel);
        on_tunnel(-1, 0, c);
        return;
    }
    c->opens = OPENS_NOTHING;
    c->opened_host = c->next_host;
    c->next_host = NULL;
    c->state = CONN_READING;
    http_parse_reset(c);
    http_conn_rest(c);
    http_greet_begin(c, NULL);
    http_conn_listen(c);
    if (evbuffer_get_length(c->in) > 0)
        event_active(c->readable, EV_READ, 0);
}

static void conn_on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct http_conn *c = arg;

    loop_beat(c->server->loop);
    if (c->state == CONN_OPENING)
        open_up(c);
    else if (c->state == CONN_TUNNEL)
        on_tunnel(fd, what, c);
    else if (c->state == CONN_READING)
        read_requests(c);
    else
        http_body_feed(c);
}

static struct http_conn *attach(struct http_server *s, const struct http_arrival *arrival)
{
    const int fd = arrival->fd;
    struct http_conn *c = xcalloc(1, sizeof(*c));
    struct event_base *base = loop_base(s->loop);

    c->server = s;
    http_link_open(&c->link, fd, s->scratch);
    c->in = evbuffer_new();
    c->out.data = evbuffer_new();
    c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    c->turn = event_new(base, -1, 0, conn_on_turn, c);
    if (!c->in || !c->out.data || !c->readable || !c->writable || !c->turn)
        abort(); /* as without memory anywhere */
    c->listener = arrival->listener;
    c->forward = arrival->forward;
    c->state = CONN_READING;
    c->since_ms = clock_mono_ms();
    TAILQ_INSERT_TAIL(&s->conns, c, entry);
    atomic_fetch_add(&s->count, 1);
    http_parse_reset(c);
    http_conn_rest(c);
    if (arrival->tls)
        http_greet_begin(c, arrival->tls);
    return c;
}

/* An idle connection may have been closed meanwhile to free a seat. */
static void conn_retry_seat(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct http_conn *c = arg;

    http_seat_retry(&c->seat);
    event_add(c->readable, NULL);
}

void http_conn_seat(struct http_server *s, const struct http_arrival *arrival, const struct http_seat *seat,
                    int wait_ms)
{
    int one = 1;

    ON_LOOP(s->loop);
    /* fails on a unix socket, harmlessly */
    setsockopt(arrival->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct http_conn *c = attach(s, arrival);
    c->seat = *seat;
    if (wait_ms == 0) {
        event_add(c->readable, NULL);
        return;
    }
    c->seat_retry = event_new(loop_base(s->loop), -1, 0, conn_retry_seat, c);
    event_add(c->seat_retry, &(struct timeval){.tv_usec = wait_ms * 1000});
}

void http_server_accept(struct http_server *s, const struct http_arrival *arrival)
{
    http_conn_seat(s, arrival, &(struct http_seat){0}, 0);
}

/* ---- patience ---- */

/* Whether the client has gone, as far as can be known while nothing is written to it: it closed its side a while ago
 * and still waits for the answer. nginx takes the end of input for the end of the client at once. */
static bool is_gone(const struct http_conn *c, int64_t now)
{
    bool waits = c->state == CONN_HANDLING || (c->state == CONN_SENDING && !c->req.ended && http_out_len(&c->out) == 0);

    return c->eof && waits && now - c->eof_ms > c->server->limits.gone_ms &&
           now * 1000 - c->req.begun_us > c->server->limits.gone_ms * 1000;
}

static void conn_look_at(struct http_conn *c, int64_t now)
{
    const struct http_limits *l = &c->server->limits;
    int64_t waited = now - c->since_ms;

    if (is_gone(c, now) || http_body_is_lost(c, now)) {
        http_conn_close(c);
    } else if (c->state == CONN_TUNNEL) {
        if (http_tunnel_is_idle(c, now))
            http_conn_close(c);
    } else if (c->state == CONN_GREETING) {
        if (waited > l->handshake_timeout_ms)
            http_conn_close(c);
    } else if (c->state == CONN_READING && c->head_len == 0) {
        if (waited > (c->seat.over == HTTP_SEATED ? l->idle_timeout_ms : LINGER_MS))
            http_conn_close(c);
    } else if (c->state == CONN_READING) {
        if (waited <= l->head_timeout_ms)
            return;
        c->refuse = 408;
        c->refuse_why = "the request took too long to arrive";
        conn_refuse(c);
    } else if (c->state == CONN_LINGERING) {
        if (waited > LINGER_MS)
            http_conn_close(c);
    } else if (c->state == CONN_SENDING) {
        if (http_out_len(&c->out) == 0 || c->taken != c->taken_seen)
            c->since_ms = now;
        else if (waited > l->write_timeout_ms)
            http_conn_close(c);
        c->taken_seen = c->taken;
    }
}

static void on_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct http_server *s = arg;
    struct http_conn *c, *next;
    int64_t now = clock_mono_ms();

    for (c = TAILQ_FIRST(&s->conns); c; c = next) {
        next = TAILQ_NEXT(c, entry); /* closing frees later, never here */
        conn_look_at(c, now);
    }
    http_greet_tick(s);
}

/* ---- the server ---- */

/* The pages of a file are in memory; `ok` false: they cannot be read. */
static void on_landed(struct http_conn *c, bool ok)
{
    c->req.read_failed = !ok;
    if (ok)
        http_pump(c);
    else
        http_conn_close(c);
}

/* Used until http_server_set_errors(). */
static const char *format_text(struct buf *out, const char *code UNUSED, const char *message, const char *id UNUSED)
{
    buf_addf(out, "%s\n", message);
    return "text/plain; charset=utf-8";
}

struct http_server *http_server_new(struct loop *loop, const struct http_limits *limits,
                                    void (*on_request)(void *arg, struct http_request *req),
                                    void (*on_complete)(void *arg, struct http_request *req), void *arg)
{
    struct http_server *s = xcalloc(1, sizeof(*s));
    int64_t tick = MIN(TICK_MS, MAX(limits->head_timeout_ms / 4, (int64_t)10));

    s->loop = loop;
    s->limits = *limits;
    s->on_request = on_request;
    s->on_complete = on_complete;
    s->arg = arg;
    s->format_error = format_text;
    s->landed = on_landed;
    TAILQ_INIT(&s->conns);
    TAILQ_INIT(&s->idle);
    TAILQ_INIT(&s->greeting);
    TAILQ_INIT(&s->queued);
    s->scratch = xmalloc(HTTP_SCRATCH);
    s->tick = event_new(loop_base(loop), -1, EV_PERSIST, on_tick, s);
    event_add(s->tick, &(struct timeval){.tv_sec = tick / 1000, .tv_usec = tick % 1000 * 1000});
    return s;
}

void http_server_set_errors(struct http_server *s, const char *(*format)(struct buf *out, const char *code,
                                                                         const char *message, const char *id))
{
    ON_LOOP(s->loop); /* before it starts */
    s->format_error = format;
}

void http_server_set_streams(struct http_server *s, bool (*wants)(void *arg, struct http_request *req))
{
    ON_LOOP(s->loop); /* before it starts */
    s->wants_stream = wants;
}

void http_server_drain(struct http_server *s, void (*done)(void *arg), void *arg)
{
    struct http_conn *c, *next;

    ON_LOOP(s->loop);
    s->draining = true;
    if (TAILQ_EMPTY(&s->conns)) {
        done(arg);
        return;
    }
    s->drained = done;
    s->drained_arg = arg;
    for (c = TAILQ_FIRST(&s->conns); c; c = next) {
        next = TAILQ_NEXT(c, entry);
        if (c->state == CONN_GREETING || c->state == CONN_OPENING || c->state == CONN_TUNNEL ||
            (c->state == CONN_READING && c->head_len == 0))
            http_conn_close(c);
    }
}

bool http_server_part(struct http_server *s, const void *listener, bool idle)
{
    struct http_conn *c, *next;
    bool any = false;

    ON_LOOP(s->loop);
    for (c = TAILQ_FIRST(&s->conns); c; c = next) {
        next = TAILQ_NEXT(c, entry);
        if (c->listener != listener)
            continue;
        any = true;
        c->closing = true;
        if (idle && c->state == CONN_READING && c->head_len == 0)
            http_conn_close(c);
    }
    return any;
}

void http_server_cut(struct http_server *s)
{
    ON_LOOP(s->loop);
    s->draining = true;
    s->drained = NULL;
    for (struct http_conn *c = TAILQ_FIRST(&s->conns), *next; c; c = next) {
        next = TAILQ_NEXT(c, entry);
        http_conn_close(c);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_cut(s);
    event_base_loop(loop_base(s->loop), EVLOOP_NONBLOCK); /* frees closed connections: free_later() */
    event_free(s->tick);
    free(s->scratch);
    buf_free(&s->head);
    free(s);
}

int http_server_connections(const struct http_server *s)
{
    return atomic_load(&s->count);
}

void http_abort(struct http_request *req)
{
    struct http_conn *c = req->conn;
    struct linger cut = {.l_onoff = 1};

    ON_LOOP(req->conn->server->loop);
    req->on_gone = NULL;
    /* A reset, so that no client takes what it has received for the whole answer. */
    if (c->state != CONN_CLOSED)
        setsockopt(c->link.fd, SOL_SOCKET, SO_LINGER, &cut, sizeof(cut));
    http_conn_close(c);
}
