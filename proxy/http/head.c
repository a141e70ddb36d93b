/* The head of an answer. */
#include "proxy/http/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/visible.h"

#include <string.h>
#include <time.h>

static const char *date_line(struct http_server *s)
{
    time_t now = (time_t)(clock_now_ms() / 1000);
    struct tm tm;

    if (now != s->date_s) {
        s->date_s = now;
        gmtime_r(&now, &tm);
        strftime(s->date, sizeof(s->date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    }
    return s->date;
}

/* A value from upstream must not begin a line of its own. */
static void add_printable(struct buf *to, const char *text, size_t len)
{
    if (text_is_plain(text, len)) {
        buf_add(to, text, len);
        return;
    }
    char *at = buf_reserve(to, len);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= 0x20 && text[i] != 0x7f)
            *at++ = text[i];
    *at = '\0';
    to->len = (size_t)(at - to->data);
}

/* Nearly all headers are texts, for which vsnprintf(3) takes too long. False, with nothing added: there are others. */
static bool add_texts(struct buf *to, const char *fmt, va_list ap)
{
    for (const char *p = strchr(fmt, '%'); p; p = strchr(p + 1, '%'))
        if (p[1] != 's')
            return false;
    for (const char *p; (p = strchr(fmt, '%')); fmt = p + 2) {
        const char *text = va_arg(ap, const char *);
        add_printable(to, fmt, (size_t)(p - fmt));
        add_printable(to, text, strlen(text));
    }
    add_printable(to, fmt, strlen(fmt));
    return true;
}

static void add_formatted(struct buf *to, const char *fmt, va_list ap)
{
    _cleanup_buf_ struct buf text = {0};
    va_list again;

    IN_STATE(fmt); /* as gcc sees it under UBSan it may be NULL */
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    vsnprintf(buf_reserve(&text, (size_t)MAX(len, 0)), (size_t)MAX(len, 0) + 1, fmt, again);
    va_end(again);
    add_printable(to, text.data, (size_t)MAX(len, 0));
}

void http_reply_header(struct http_request *req, const char *name, const char *fmt, ...)
{
    va_list ap;

    ON_LOOP(req->conn->server->loop);
    buf_adds(&req->headers, name);
    buf_add(&req->headers, ": ", 2);
    va_start(ap, fmt);
    if (!add_texts(&req->headers, fmt, ap))
        add_formatted(&req->headers, fmt, ap);
    va_end(ap);
    buf_add(&req->headers, "\r\n", 2);
}

void http_interim(struct http_request *req, int status)
{
    struct http_conn *c = req->conn;

    ON_LOOP(c->server->loop);
    IN_STATE(c->state == CONN_HANDLING);
    if (!req->http10 && evbuffer_get_length(c->out.data) <= HTTP_INTERIM_MAX) {
        evbuffer_add_printf(c->out.data, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
        evbuffer_add(c->out.data, req->headers.data, req->headers.len);
        evbuffer_add(c->out.data, "\r\n", 2);
        c->armed = event_add(c->writable, NULL) == 0;
    }
    buf_clear(&req->headers);
}

void http_reply_reset(struct http_request *req)
{
    ON_LOOP(req->conn->server->loop);
    buf_clear(&req->headers);
}

static void head_number(struct buf *to, int64_t n)
{
    char digits[24];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    buf_add(to, digits + at, sizeof(digits) - at);
}

void http_head_compose(struct http_request *req, struct buf *out, int status, const char *type, int64_t len)
{
    struct http_conn *c = req->conn;

    ON_LOOP(c->server->loop);
    req->status = status;
    req->first_us = clock_mono_us() - req->begun_us;
    bool more = !c->eof || evbuffer_get_length(c->in) > 0;
    bool keep = req->keep_alive && !c->closing && more && !c->server->draining && !http_body_is_long(c);
    c->closing = !keep;
    buf_adds(out, "HTTP/1.1 ");
    head_number(out, status);
    buf_adds(out, " ");
    buf_adds(out, http_reason(status));
    buf_adds(out, req->bare ? "\r\n" : "\r\nServer: entrepot\r\n");
    if (!req->bare)
        buf_adds(out, date_line(c->server));
    if (req->headers.len > 0)
        buf_add(out, req->headers.data, req->headers.len);
    if (type) {
        buf_adds(out, "Content-Type: ");
        buf_adds(out, type);
        buf_adds(out, "\r\n");
    }
    if (len >= 0) {
        buf_adds(out, "Content-Length: ");
        head_number(out, len);
        buf_adds(out, "\r\n");
    }
    http_add_id(req, out);
    if (!keep)
        buf_adds(out, "Connection: close\r\n\r\n");
    else
        buf_adds(out, req->http10 ? "Connection: keep-alive\r\n\r\n" : "\r\n");
}

void http_reply_bare(struct http_request *req)
{
    ON_LOOP(req->conn->server->loop);
    req->bare = true;
}
