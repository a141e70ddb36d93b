#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LOW_WATER = 256 << 10,
    HIGH_WATER = 1 << 20,
    PIECE = 1 << 20, /* of a file at a time: one sendfile(2) of more keeps the loop from its other clients */
};

static struct evbuffer *output(const struct http_request *req)
{
    return req->conn->out.data;
}

static void answer_begin(struct http_request *req, int64_t promised)
{
    ON_LOOP(req->conn->server->loop);
    IN_STATE(req->conn->state == CONN_HANDLING); /* one answer a request */
    req->conn->state = CONN_SENDING;
    req->read_failed = req->chunked = false;
    req->promised = req->method == HTTP_METHOD_HEAD ? 0 : promised;
    req->on_gone = NULL;
}

static bool has_file(const struct http_request *req)
{
    return req->file_fd >= 0 && req->file_at < req->file_end;
}

/* Whether the connection ends with what is to go out. */
static bool is_the_last(const struct http_conn *c)
{
    return c->closing && c->req.ended && !has_file(&c->req) && !http_body_is_open(c);
}

/* The socket is tried without waiting until the loop reports it writable: it nearly always is. A head and a piece of a
 * file take a call each. */
void http_write(struct http_conn *c)
{
    ssize_t n = 1;

    c->link.more = is_the_last(c);
    for (int calls = 0; calls < 3 && n > 0 && !c->blocked && http_out_len(&c->out) > 0; calls++) {
        n = c->link.kind->write(&c->link, &c->out, PIECE);
        c->taken += MAX(n, (ssize_t)0);
    }
    c->blocked = c->blocked || (n < 0 && errno == EAGAIN);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        c->lost = true;
        c->req.read_failed = errno == EIO; /* sockets have other errors */
    }
    bool arm = (http_out_len(&c->out) > 0 || c->link.wants_write) && !c->lost;
    if (arm && !c->armed)
        event_add(c->writable, NULL);
    else if (!arm && c->armed)
        event_del(c->writable);
    c->armed = arm;
}

static void add_piece(struct http_out *out, int fd, int64_t at, int64_t to)
{
    if (out->at == out->end) {
        out->fd = fd;
        out->at = at;
    }
    out->end = to;
}

/* The next piece of the file, if it is in memory. */
static void feed_file(struct http_request *req)
{
    int64_t to = MIN(req->file_end, req->file_at + (int64_t)PIECE);

    if (!http_read_is_here(req, req->file_fd, req->file_at, to, req->file_end))
        return; /* it calls http_pump() */
    add_piece(&req->conn->out, req->file_fd, req->file_at, to);
    req->sent += to - req->file_at;
    req->file_at = to;
}

/* One piece of the file, or one call for more: each answer gets one piece a turn. */
static void feed(struct http_request *req)
{
    struct http_conn *c = req->conn;

    if (!has_file(req) && c->out.at == c->out.end && req->more && !req->ended)
        req->more(req->more_arg);
    if (!c->lost && c->state == CONN_SENDING && has_file(req))
        feed_file(req);
}

/* All of the answer is out. What is left of the body has to be read before the next request. */
static void end_answer(struct http_conn *c)
{
    struct http_request *req = &c->req;

    if (!http_body_is_open(c) || c->closing) {
        http_conn_finish(c);
    } else if (!req->dropping) {
        req->dropping = true;
        c->body_ms = clock_mono_ms();
        event_add(c->turn, &(struct timeval){0});
    }
}

void http_pump(struct http_conn *c)
{
    struct http_request *req = &c->req;

    ON_LOOP(c->server->loop);
    if (c->state != CONN_SENDING || c->dispatching)
        return;
    int64_t before = req->sent + c->taken;
    c->dispatching = true;
    if ((!req->ended || has_file(req)) && http_out_len(&c->out) <= LOW_WATER)
        feed(req);
    if (!c->lost && c->state == CONN_SENDING)
        http_write(c);
    c->dispatching = false;
    if (c->state != CONN_SENDING)
        return;
    if (c->lost)
        http_conn_close(c);
    else if (http_out_len(&c->out) > 0)
        return; /* on_writable() comes */
    else if (req->ended && !has_file(req))
        end_answer(c);
    else if (req->sent + c->taken != before)
        event_add(c->turn, &(struct timeval){0}); /* the next piece on the next turn */
}

/* ---- whole answers ---- */

static void answer_head(struct http_request *req, int status, const char *type, int64_t len)
{
    struct buf *head = &req->conn->server->head;

    buf_clear(head);
    http_head_compose(req, head, status, type, len);
    evbuffer_add(output(req), head->data, head->len);
}

/* Head and body in one write, without libevent's buffers if the kernel takes them. */
static void send_small(struct http_request *req, int status, const char *type, const void *body, size_t len)
{
    struct http_conn *c = req->conn;
    struct buf *head = &c->server->head;
    ssize_t n = 0;

    buf_clear(head);
    http_head_compose(req, head, status, type, (int64_t)len);
    if (req->method != HTTP_METHOD_HEAD) {
        buf_add(head, body, len);
        req->sent = (int64_t)len;
    }
    req->ended = true;
    c->link.more = is_the_last(c);
    if (http_out_len(&c->out) == 0)
        n = c->link.kind->send(&c->link, head->data, head->len);
    c->taken += MAX(n, (ssize_t)0);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        c->lost = true;
    else if ((size_t)MAX(n, (ssize_t)0) < head->len)
        evbuffer_add(output(req), head->data + MAX(n, (ssize_t)0), head->len - (size_t)MAX(n, (ssize_t)0));
}

void http_reply(struct http_request *req, int status, const char *type, const void *body, size_t len)
{
    answer_begin(req, (int64_t)len);
    if (len <= HTTP_COPY_MAX) {
        send_small(req, status, type, body, len);
    } else {
        answer_head(req, status, type, (int64_t)len);
        if (req->method != HTTP_METHOD_HEAD) {
            evbuffer_add(output(req), body, len);
            req->sent = (int64_t)len;
        }
    }
    req->ended = true;
    http_pump(req->conn);
}

void http_reply_ref(struct http_request *req, int status, const char *type, const void *body, size_t len,
                    void (*release)(const void *body, size_t len, void *arg), void *arg)
{
    if (len <= HTTP_COPY_MAX || req->method == HTTP_METHOD_HEAD) {
        http_reply(req, status, type, body, len);
        release(body, len, arg);
        return;
    }
    answer_begin(req, (int64_t)len);
    answer_head(req, status, type, (int64_t)len);
    if (evbuffer_add_reference(output(req), body, len, release, arg) != 0) {
        release(body, len, arg);
        req->conn->lost = true;
    }
    req->sent = (int64_t)len;
    req->ended = true;
    http_pump(req->conn);
}

void http_reply_head(struct http_request *req, int status, const char *type, int64_t len)
{
    answer_begin(req, 0);
    answer_head(req, status, type, len);
    req->ended = true;
    http_pump(req->conn);
}

void http_reply_file(struct http_request *req, int status, const char *type, int fd, int64_t offset, int64_t len,
                     void (*done)(void *arg), void *arg)
{
    char small[HTTP_COPY_MAX];

    answer_begin(req, len);
    req->done = done;
    req->done_arg = arg;
    req->ended = true;
    if (len <= HTTP_COPY_MAX && http_read_now(fd, small, (size_t)len, offset)) {
        send_small(req, status, type, small, (size_t)len);
    } else {
        answer_head(req, status, type, len);
        req->file_fd = fd;
        req->file_at = offset;
        req->file_end = req->method == HTTP_METHOD_HEAD ? offset : offset + len;
    }
    http_pump(req->conn);
}

/* ---- answers that come piece by piece ---- */

void http_stream(struct http_request *req, int status, const char *type, int64_t len, void (*more)(void *arg),
                 void *arg)
{
    void (*gone)(void *) = req->on_gone;

    answer_begin(req, len);
    req->on_gone = gone; /* the source of the stream needs it until the end */
    if (len < 0 && req->http10) {
        req->conn->closing = true; /* the end of the connection is the end of the body */
    } else if (len < 0) {
        req->chunked = true;
        http_reply_header(req, "Transfer-Encoding", "chunked");
    }
    answer_head(req, status, type, len);
    req->trailers_at = req->headers.len;
    req->more = more;
    req->more_arg = arg;
    http_pump(req->conn);
}

bool http_stream_can_take(const struct http_request *req)
{
    const struct http_out *out = &req->conn->out;

    return !has_file(req) && out->at == out->end && evbuffer_get_length(out->data) < HIGH_WATER;
}

void http_stream_file(struct http_request *req, int fd, int64_t offset, int64_t len)
{
    ON_LOOP(req->conn->server->loop);
    req->file_fd = fd;
    req->file_at = offset;
    req->file_end = offset + len;
    http_pump(req->conn);
}

bool http_stream_small(struct http_request *req, int fd, int64_t offset, int64_t len)
{
    struct evbuffer_iovec to;

    ON_LOOP(req->conn->server->loop);
    if (len > HTTP_COPY_MAX || evbuffer_reserve_space(output(req), (ev_ssize_t)len, &to, 1) != 1 ||
        !http_read_now(fd, to.iov_base, (size_t)len, offset))
        return false;
    to.iov_len = (size_t)len;
    if (evbuffer_commit_space(output(req), &to, 1) != 0)
        return false;
    req->sent += len;
    http_pump(req->conn);
    return true;
}

void http_stream_data(struct http_request *req, const void *data, size_t len)
{
    ON_LOOP(req->conn->server->loop);
    if (req->chunked && len > 0)
        evbuffer_add_printf(output(req), "%zx\r\n", len);
    evbuffer_add(output(req), data, len);
    if (req->chunked && len > 0)
        evbuffer_add(output(req), "\r\n", 2);
    req->sent += (int64_t)len;
    http_pump(req->conn);
}

size_t http_stream_waiting(const struct http_request *req)
{
    return http_out_len(&req->conn->out);
}

void http_stream_copy(struct http_request *req, int fd, int64_t offset, size_t len)
{
    struct evbuffer_iovec to;
    size_t n = 0;

    ON_LOOP(req->conn->server->loop);
    http_shorten_queue(req->conn, true);
    if (req->chunked)
        evbuffer_add_printf(output(req), "%zx\r\n", len);
    bool reserved = evbuffer_reserve_space(output(req), (ev_ssize_t)len, &to, 1) == 1;
    while (reserved && n < len) {
        ssize_t got = pread(fd, (char *)to.iov_base + n, len - n, offset + (int64_t)n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    to.iov_len = n;
    if (!reserved || n < len || evbuffer_commit_space(output(req), &to, 1) != 0)
        req->conn->lost = true;
    if (req->chunked)
        evbuffer_add(output(req), "\r\n", 2);
    req->sent += (int64_t)n;
    http_pump(req->conn);
}

void http_stream_more(struct http_request *req)
{
    ON_LOOP(req->conn->server->loop);
    http_pump(req->conn);
}

void http_stream_end(struct http_request *req, void (*done)(void *arg), void *arg)
{
    ON_LOOP(req->conn->server->loop);
    IN_STATE(!req->ended);
    req->ended = true;
    req->more = NULL;
    req->on_gone = NULL; /* `done` is called in either case */
    req->done = done;
    req->done_arg = arg;
    if (req->chunked && req->method != HTTP_METHOD_HEAD)
        evbuffer_add_printf(output(req), "0\r\n%s\r\n",
                            req->headers.len > req->trailers_at ? req->headers.data + req->trailers_at : "");
    else if (req->method != HTTP_METHOD_HEAD && req->promised >= 0 &&
             req->sent + req->file_end - req->file_at != req->promised)
        req->conn->lost = true; /* the client must not take it for whole */
    http_pump(req->conn);
}

void http_stream_cut(struct http_request *req, void (*done)(void *arg), void *arg)
{
    ON_LOOP(req->conn->server->loop);
    IN_STATE(!req->ended);
    req->ended = true;
    req->more = NULL;
    req->on_gone = NULL;
    req->done = done;
    req->done_arg = arg;
    if (req->chunked || req->promised < 0)
        req->conn->lost = true; /* its end would be taken for that of the body */
    req->conn->closing = req->conn->cut = true;
    http_pump(req->conn);
}

void http_error(struct http_request *req, int status, const char *code, const char *fmt, ...)
{
    _cleanup_buf_ struct buf body = {0};
    char message[3072];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    const char *type = req->conn->server->format_error(&body, code, message, http_id(req));
    http_reply(req, status, type, body.data, body.len);
}
