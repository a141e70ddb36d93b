/* The body of a request that the handler takes piece by piece.
 *
 *     read ─ parsed, a piece at a time ─▶ req->body ─ on_data ─▶ the handler      paused: nothing is read
 *      └─ came while it was paused ─▶ in ─▶ │
 *                                           └─ the answer is out ─▶ dropped, up to HTTP_DROP_MAX
 *
 * Nothing is called back inside the parser, nor inside a call of the handler's: what it asks for here begins on the
 * next turn of the loop. */
#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <poll.h>

static bool is_under_way(const struct http_conn *c)
{
    return c->state == CONN_HANDLING || c->state == CONN_SENDING;
}

static void on_next_turn(struct http_conn *c)
{
    c->body_ms = clock_mono_ms();
    if (is_under_way(c))
        event_add(c->turn, &(struct timeval){0});
}

void http_body_stream(struct http_request *req, void (*on_data)(void *arg, const void *data, size_t len),
                      void (*on_end)(void *arg), void *arg)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_conn *c = req->conn;

    ON_LOOP(c->server->loop);
    IN_STATE(!req->on_data && !req->ended);
    req->on_data = on_data;
    req->on_end = on_end;
    req->body_arg = arg;
    http_link_read_little(&c->link);
    if (req->expects && req->status == 0) {
        evbuffer_add(c->out.data, go_on, sizeof(go_on) - 1);
        c->armed = event_add(c->writable, NULL) == 0;
        req->expects = false;
    }
    on_next_turn(c);
}

void http_body_pause(struct http_request *req, bool pause)
{
    ON_LOOP(req->conn->server->loop);
    if (req->paused && !pause)
        on_next_turn(req->conn);
    req->paused = pause;
}

/* The piece outlives an answer that is given inside the callback. */
static void give_data(struct http_request *req)
{
    struct buf piece = req->body;

    req->body = (struct buf){0};
    req->piece = &piece;
    req->on_data(req->body_arg, piece.data, piece.len);
    req->piece = NULL;
    buf_clear(&piece);
    if (req->body.data || req->paused) /* who is paused may be so for long */
        buf_free(&piece);
    else
        req->body = piece;
}

void http_body_keep(struct http_request *req, struct buf *into)
{
    ON_LOOP(req->conn->server->loop);
    IN_STATE(req->piece);
    *into = *req->piece;
    *req->piece = (struct buf){0};
}

static bool drop_data(struct http_conn *c)
{
    c->req.dropped += (int64_t)c->req.body.len;
    buf_clear(&c->req.body);
    return !c->complete && c->req.dropped <= HTTP_DROP_MAX;
}

/* One piece, or the end. False: there is no more for now. */
static bool body_step(struct http_conn *c)
{
    struct http_request *req = &c->req;
    bool wanted = req->on_data && !req->paused && !req->ended && !req->end_given;

    if (!is_under_way(c) || !(req->dropping || wanted))
        return false;
    if (!c->complete && req->body.len == 0 && evbuffer_get_length(c->in) > 0)
        http_parse(c);
    if (c->refuse != 0)
        return false;
    if (req->dropping)
        return drop_data(c) && evbuffer_get_length(c->in) > 0;
    if (req->body.len > 0) {
        give_data(req);
        return true;
    }
    if (!c->complete)
        return evbuffer_get_length(c->in) > 0;
    req->end_given = true;
    req->on_end(req->body_arg);
    return false;
}

/* Its framing is broken, the client has ended its output before, or too much of it would have to be dropped. */
static bool has_failed(const struct http_conn *c)
{
    return http_body_is_open(c) &&
           (c->refuse != 0 || (c->eof && evbuffer_get_length(c->in) == 0) || c->req.dropped > HTTP_DROP_MAX);
}

void http_body_feed(struct http_conn *c)
{
    ON_LOOP(c->server->loop);
    if (c->dispatching || !is_under_way(c))
        return;
    c->dispatching = true;
    while (body_step(c))
        ;
    c->dispatching = false;
    if (!is_under_way(c))
        return;
    if (has_failed(c)) {
        if (!c->req.ended) {
            http_conn_close(c);
            return;
        }
        c->closing = true; /* behind the answer */
    } else if (http_body_is_open(c) && !http_body_waits(c) && evbuffer_get_length(c->in) < HTTP_BODY_WAIT_MAX) {
        http_conn_listen(c);
    }
    http_pump(c);
}

size_t http_body_take(struct http_conn *c, const char *data, size_t len)
{
    bool next = is_under_way(c) && http_body_is_open(c) && !http_body_waits(c) && c->refuse == 0 &&
                c->req.body.len == 0 && evbuffer_get_length(c->in) == 0;

    ON_LOOP(c->server->loop);
    return next ? http_parse_piece(c, data, MIN(len, (size_t)HTTP_BODY_PIECE)) : 0;
}

/* Of a client that is not read from, a reset can be seen. The end of its output, too, but it may be the end of the
 * body: then what there is is read, up to HTTP_BODY_WAIT_MAX. */
bool http_body_is_lost(struct http_conn *c, int64_t now)
{
    const struct http_request *req = &c->req;
    struct pollfd p = {.fd = c->link.fd, .events = POLLRDHUP};

    if (!http_body_is_open(c) || !is_under_way(c))
        return false;
    if (req->dropping || (!http_body_waits(c) && !req->ended))
        return now - c->body_ms > c->server->limits.write_timeout_ms;
    if (poll(&p, 1, 0) == 1 && p.revents == POLLRDHUP && evbuffer_get_length(c->in) < HTTP_BODY_WAIT_MAX)
        http_conn_listen(c);
    return p.revents & (POLLHUP | POLLERR);
}
