/* A connection between two requests, and its end. */
#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { QUEUE_SHORT = 128 << 10 /* bytes */ };

/* Marks it as idle, between two requests; and as idle no longer. */
void http_conn_rest(struct http_conn *c)
{
    ON_LOOP(c->server->loop);
    c->is_idle = true;
    TAILQ_INSERT_TAIL(&c->server->idle, c, idle_entry);
    atomic_fetch_add_explicit(&c->server->idle_count, 1, memory_order_relaxed);
}

void http_conn_wake(struct http_conn *c)
{
    ON_LOOP(c->server->loop);
    if (!c->is_idle)
        return;
    c->is_idle = false;
    TAILQ_REMOVE(&c->server->idle, c, idle_entry);
    atomic_fetch_sub_explicit(&c->server->idle_count, 1, memory_order_relaxed);
}

void http_conn_next_greeting(struct http_server *s)
{
    struct http_conn *next = TAILQ_FIRST(&s->queued);

    ON_LOOP(s->loop);
    if (!next)
        return;
    TAILQ_REMOVE(&s->queued, next, greet_entry);
    next->greet = GREET_NONE;
    event_add(next->readable, NULL); /* its first bytes are there */
    if (evbuffer_get_length(next->in) > 0)
        event_active(next->readable, EV_READ, 0);
}

void http_conn_greeted(struct http_conn *c)
{
    struct http_server *s = c->server;

    ON_LOOP(s->loop);
    if (c->greet == GREET_QUEUED)
        TAILQ_REMOVE(&s->queued, c, greet_entry);
    if (c->greet == GREET_PLACED) {
        TAILQ_REMOVE(&s->greeting, c, greet_entry);
        s->greeting_count--;
        http_conn_next_greeting(s);
    }
    c->greet = GREET_NONE;
}

static void conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;

    ON_LOOP(s->loop);
    TAILQ_REMOVE(&s->conns, c, entry);
    atomic_fetch_sub(&s->count, 1);
    free(c->subject);
    free(c->opened_host);
    free(c->next_host);
    buf_free(&c->arena);
    buf_free(&c->req.body);
    buf_free(&c->req.trailers);
    buf_free(&c->req.headers);
    free(c);
    if (s->draining && s->drained && TAILQ_EMPTY(&s->conns)) {
        void (*drained)(void *) = s->drained;
        s->drained = NULL;
        drained(s->drained_arg);
    }
}

static void free_later(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    conn_free(arg);
}

static void life_free_event(struct event **e)
{
    if (*e)
        event_free(*e);
    *e = NULL;
}

static void drop_opening(struct http_conn *c)
{
    if (c->opens == OPENS_TUNNEL)
        close(c->next_fd);
    c->opens = OPENS_NOTHING;
    SSL_CTX_free(c->next_tls);
    c->next_tls = NULL;
}

/* Nothing is read or written any more. */
static void leave_client(struct http_conn *c, bool whole)
{
    life_free_event(&c->seat_retry);
    life_free_event(&c->readable);
    life_free_event(&c->writable);
    life_free_event(&c->turn);
    drop_opening(c);
    if (c->tunnel)
        http_tunnel_end(c);
    c->link.kind->close(&c->link, whole);
    evbuffer_free(c->in);
    evbuffer_free(c->out.data);
    c->in = c->out.data = NULL;
}

/* Ends the request without an answer that is whole. Descriptors are given back only when nothing of them waits any
 * more. */
void http_conn_close(struct http_conn *c)
{
    struct http_request *req = &c->req;
    bool handling = c->state == CONN_HANDLING || c->state == CONN_SENDING;
    bool tunnel = c->opens == OPENS_TUNNEL || c->state == CONN_TUNNEL;

    ON_LOOP(c->server->loop);
    if (c->state == CONN_CLOSED)
        return;
    c->state = CONN_CLOSED;
    http_conn_wake(c);
    http_conn_greeted(c);
    http_seat_leave(&c->seat);
    leave_client(c, !handling);
    http_read_end(req);
    if (handling) {
        void (*gone)(void *) = req->on_gone;
        void (*done)(void *) = req->done;
        req->on_gone = NULL;
        req->done = NULL;
        if (gone)
            gone(req->gone_arg);
        if (done)
            done(req->done_arg);
    }
    req->ended_us = clock_mono_us();
    if ((handling || tunnel) && c->server->on_complete)
        c->server->on_complete(c->server->arg, req);
    /* A caller up the stack may still use the connection. */
    event_base_once(loop_base(c->server->loop), -1, EV_TIMEOUT, free_later, c, &(struct timeval){0});
}

/* A close with unread input becomes a reset, which may overtake the refusal: close one direction, and read and drop the
 * rest. */
void http_conn_linger(struct http_conn *c)
{
    ON_LOOP(c->server->loop);
    c->state = CONN_LINGERING;
    c->since_ms = clock_mono_ms();
    evbuffer_drain(c->in, SIZE_MAX);
    c->link.kind->end_output(&c->link);
    event_add(c->readable, NULL); /* it may have been paused, with too many later requests waiting */
}

/* The limit does not count what is sent and not yet acknowledged: a distant fast client is as fast as before. */
void http_shorten_queue(struct http_conn *c, bool shorten)
{
    unsigned bytes = shorten ? QUEUE_SHORT : 0; /* 0: the system's */

    if (c->short_queue != shorten) /* fails on a unix socket, harmlessly */
        setsockopt(c->link.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
    c->short_queue = shorten;
}

void http_conn_listen(struct http_conn *c)
{
    ON_LOOP(c->server->loop);
    if (c->eof || event_pending(c->readable, EV_READ, NULL))
        return;
    event_add(c->readable, NULL);
    if (c->link.kind->has_input(&c->link))
        event_active(c->readable, EV_READ, 0);
}

void http_conn_finish(struct http_conn *c)
{
    struct http_request *req = &c->req;
    void (*done)(void *) = req->done;

    ON_LOOP(c->server->loop);
    IN_STATE(c->state == CONN_SENDING);
    req->done = NULL;
    req->on_gone = NULL;
    c->state = CONN_READING;
    http_shorten_queue(c, false);
    http_read_end(req);
    if (done)
        done(req->done_arg);
    req->whole = !c->cut;
    req->ended_us = clock_mono_us();
    if (c->server->on_complete && c->opens != OPENS_TUNNEL) /* a tunnel's ends with it */
        c->server->on_complete(c->server->arg, req);
    if (c->opens != OPENS_NOTHING && !c->server->draining) {
        c->state = CONN_OPENING;
        event_del(c->readable);
        event_add(c->turn, &(struct timeval){0});
        return;
    }
    bool more = evbuffer_get_length(c->in) > 0;
    if ((c->refuse != 0 || c->cut || http_body_is_open(c) || (c->closing && more)) && !c->eof) {
        http_conn_linger(c);
        return;
    }
    if (c->closing || (c->eof && !more) || c->server->draining) {
        http_conn_close(c);
        return;
    }
    http_conn_listen(c);
    c->since_ms = req->ended_us / 1000;
    c->served = true;
    http_conn_rest(c);
    http_parse_reset(c);
    if (more && !c->reading) /* a later request has been waiting */
        event_add(c->turn, &(struct timeval){0});
}
