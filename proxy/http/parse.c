#include "proxy/http/private.h"

#include "base/assert.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static struct http_conn *conn_of(llhttp_t *p)
{
    return p->data;
}

static int parse_refuse(struct http_conn *c, int status, const char *why)
{
    if (c->refuse == 0) {
        c->refuse = status;
        c->refuse_why = why;
    }
    return -1;
}

static const char *parse_text(const struct http_request *req, uint32_t at)
{
    return req->conn->arena.data + at;
}

/* ---- llhttp's callbacks ---- */

static int add_url(llhttp_t *p, const char *at, size_t len)
{
    struct http_conn *c = conn_of(p);

    if (c->arena.len + len > HTTP_TARGET_MAX)
        return parse_refuse(c, 414, "the request target is too long");
    buf_add(&c->arena, at, len);
    return 0;
}

static int end_text(llhttp_t *p)
{
    buf_add(&conn_of(p)->arena, "", 1);
    return 0;
}

/* Of a request whose body is taken piece by piece: names and values in turn, each with a NUL. */
static int add_trailer(struct http_conn *c, const char *at, size_t len)
{
    if (c->req.streamed)
        buf_add(&c->req.trailers, at, len);
    return 0;
}

static int end_trailer(struct http_conn *c)
{
    struct buf *t = &c->req.trailers;

    while (t->len > 0 && (t->data[t->len - 1] == ' ' || t->data[t->len - 1] == '\t'))
        t->len--;
    if (++c->req.trailer_texts > 2 * HTTP_HEADERS_MAX)
        return parse_refuse(c, 431, "too many trailers");
    return add_trailer(c, "", 1);
}

static int add_field(llhttp_t *p, const char *at, size_t len)
{
    struct http_conn *c = conn_of(p);
    struct http_request *req = &c->req;

    if (c->head_done)
        return add_trailer(c, at, len);
    if (c->in_value || req->field_count == 0) {
        if (req->field_count == HTTP_HEADERS_MAX)
            return parse_refuse(c, 431, "too many headers");
        req->fields[req->field_count++] = (struct http_field){.name = (uint32_t)c->arena.len};
        c->in_value = false;
    }
    buf_add(&c->arena, at, len);
    return 0;
}

static int end_field(llhttp_t *p)
{
    struct http_conn *c = conn_of(p);
    struct http_field *f = &c->req.fields[c->req.field_count - 1];

    if (c->head_done)
        return end_trailer(c);
    end_text(p);
    for (char *s = c->arena.data + f->name; *s; s++)
        *s = (char)tolower((unsigned char)*s);
    f->value = (uint32_t)c->arena.len;
    c->in_value = true;
    return 0;
}

static int add_value(llhttp_t *p, const char *at, size_t len)
{
    struct http_conn *c = conn_of(p);

    if (c->head_done)
        return add_trailer(c, at, len);
    buf_add(&c->arena, at, len);
    return 0;
}

/* Values keep no blanks at their end (RFC 9112 §5). */
static int end_value(llhttp_t *p)
{
    struct http_conn *c = conn_of(p);
    struct http_field *f = &c->req.fields[c->req.field_count - 1];

    if (c->head_done)
        return end_trailer(c);
    while (c->arena.len > f->value &&
           (c->arena.data[c->arena.len - 1] == ' ' || c->arena.data[c->arena.len - 1] == '\t'))
        c->arena.len--;
    return end_text(p);
}

/* Splits "path?query"; an absolute form (RFC 9112 §3.2.2) gives its host precedence over Host. */
static int split_target(struct http_conn *c)
{
    struct http_request *req = &c->req;
    char *target = c->arena.data;
    uint32_t path = 0;

    if (strncasecmp(target, "http://", 7) == 0 || strncasecmp(target, "https://", 8) == 0) {
        char *host = strstr(target, "://") + 3;
        char *slash = host + strcspn(host, "/?");
        size_t len = (size_t)(slash - host);
        path = (uint32_t)(slash - target);
        req->absolute = true;
        if (len == 0) /* RFC 9110, 4.2.1 */
            return parse_refuse(c, 400, "the request target names no host");
        if (*slash != '/')
            return parse_refuse(c, 400, "the request target has no path");
        req->host = (uint32_t)c->arena.len;
        buf_reserve(&c->arena, len + 1);
        target = c->arena.data;
        buf_add(&c->arena, target + path - len, len);
        buf_add(&c->arena, "", 1);
        target = c->arena.data;
    } else if (target[0] != '/') {
        return parse_refuse(c, 400, "the request target must begin with /");
    }
    char *question = strchr(target + path, '?');
    req->path = path;
    req->query = question ? (uint32_t)(question - target) + 1 : (uint32_t)strlen(target);
    if (question)
        *question = '\0';
    return 0;
}

/* "host:port" of CONNECT (RFC 9110 §9.3.6). */
static bool is_authority(const char *text)
{
    static const char host[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    bool v6 = text[0] == '[';
    size_t len = v6 ? 1 + strspn(text + 1, "0123456789abcdefABCDEF:.") : strspn(text, host);
    const char *port = text + len + v6;
    size_t digits = *port == ':' ? strspn(port + 1, "0123456789") : 0;

    if (len == v6 || len > 255 || (v6 && text[len] != ']') || digits == 0 || digits > 5 || port[1 + digits] != '\0')
        return false;
    long number = strtol(port + 1, NULL, 10);
    return number > 0 && number <= UINT16_MAX;
}

static int take_connect_target(struct http_conn *c, const llhttp_t *p)
{
    struct http_request *req = &c->req;
    size_t len = strlen(c->arena.data);

    if (!c->forward || c->opened_host)
        return parse_refuse(c, 405, "CONNECT is not offered here");
    if (p->content_length > 0 || p->flags & F_CHUNKED)
        return parse_refuse(c, 400, "CONNECT has no body");
    if (!is_authority(c->arena.data))
        return parse_refuse(c, 400, "the target of CONNECT must be HOST:PORT");
    for (char *s = c->arena.data; *s; s++)
        *s = (char)tolower((unsigned char)*s);
    req->query = (uint32_t)len;
    req->host = (uint32_t)c->arena.len;
    buf_reserve(&c->arena, len + 2);
    buf_add(&c->arena, c->arena.data, len + 1);
    return 0;
}

static int take_host(struct http_conn *c, bool http11)
{
    struct http_request *req = &c->req;
    int hosts = 0;

    for (int i = 0; i < req->field_count; i++) {
        if (strcmp(parse_text(req, req->fields[i].name), "host") != 0)
            continue;
        hosts++;
        if (req->host == 0)
            req->host = req->fields[i].value;
    }
    if (hosts > 1 || (hosts == 0 && http11))
        return parse_refuse(c, 400, hosts > 1 ? "more than one Host header" : "no Host header");
    if (req->host == 0) {
        req->host = (uint32_t)c->arena.len;
        buf_add(&c->arena, "", 1);
    }
    for (char *s = c->arena.data + req->host; *s; s++)
        *s = (char)tolower((unsigned char)*s);
    return 0;
}

/* Whether the handler takes the body piece by piece. */
static bool wants_stream(struct http_conn *c)
{
    const struct http_server *s = c->server;

    return (c->forward || c->opened_host) && c->req.body_len != 0 && s->wants_stream &&
           s->wants_stream(s->arg, &c->req);
}

static int take_expectation(struct http_conn *c)
{
    const char *expect = http_header(&c->req, "expect");

    if (!expect)
        return 0;
    if (strcasecmp(expect, "100-continue") != 0)
        return parse_refuse(c, 417, "the only expectation that is met is 100-continue");
    if (c->req.http10 || c->req.body_len == 0)
        return 0;
    if (c->req.streamed) {
        c->req.expects = true;
    } else {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        evbuffer_add(c->out.data, go_on, sizeof(go_on) - 1);
        c->armed = event_add(c->writable, NULL) == 0;
    }
    return 0;
}

static int end_head(llhttp_t *p)
{
    struct http_conn *c = conn_of(p);
    struct http_request *req = &c->req;

    c->head_done = true;
    req->keep_alive = llhttp_should_keep_alive(p) != 0; /* before a trailer can change it */
    req->method_code = p->method;
    req->method = p->method == HTTP_GET       ? HTTP_METHOD_GET
                  : p->method == HTTP_HEAD    ? HTTP_METHOD_HEAD
                  : p->method == HTTP_POST    ? HTTP_METHOD_POST
                  : p->method == HTTP_CONNECT ? HTTP_METHOD_CONNECT
                                              : HTTP_METHOD_OTHER;
    req->http10 = p->http_major == 1 && p->http_minor == 0;
    if (p->http_major != 1)
        return parse_refuse(c, 505, "HTTP/1.1 is spoken here");
    p->upgrade = 0; /* no other protocol is offered; the request is answered as it is */
    if ((p->method == HTTP_CONNECT ? take_connect_target(c, p) : split_target(c)) != 0 ||
        take_host(c, !req->http10) != 0)
        return -1;
    req->body_len = p->flags & F_CHUNKED ? -1 : (int64_t)MIN(p->content_length, (uint64_t)INT64_MAX);
    req->streamed = wants_stream(c);
    if (!req->streamed && req->body_len > HTTP_BODY_MAX)
        return parse_refuse(c, 413, "the request body is too large");
    return take_expectation(c);
}

static int add_body(llhttp_t *p, const char *at, size_t len)
{
    struct http_conn *c = conn_of(p);

    c->body_seen += len;
    if (!c->req.streamed && c->req.body.len + len > HTTP_BODY_MAX)
        return parse_refuse(c, 413, "the request body is too large");
    buf_add(&c->req.body, at, len);
    return 0;
}

static int end_message(llhttp_t *p)
{
    struct http_conn *c = conn_of(p);

    c->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t SETTINGS = {
    .on_url = add_url,
    .on_url_complete = end_text,
    .on_header_field = add_field,
    .on_header_field_complete = end_field,
    .on_header_value = add_value,
    .on_header_value_complete = end_value,
    .on_headers_complete = end_head,
    .on_body = add_body,
    .on_message_complete = end_message,
};

void http_parse_reset(struct http_conn *c)
{
    struct http_request *req = &c->req;
    struct buf body = req->body, headers = req->headers;

    llhttp_init(&c->parser, HTTP_REQUEST, &SETTINGS);
    c->parser.data = c;
    buf_clear(&c->arena);
    buf_clear(&headers);
    buf_free(&body);
    buf_free(&req->trailers);
    if (c->arena.cap > 4096)
        buf_free(&c->arena);
    /* The fields need no clearing: field_count says how many there are. */
    memset(req, 0, offsetof(struct http_request, fields));
    memset((char *)req + offsetof(struct http_request, body), 0, sizeof(*req) - offsetof(struct http_request, body));
    req->headers = headers;
    req->conn = c;
    req->file_fd = -1;
    req->first_us = -1;
    c->in_value = c->head_done = c->complete = c->saw_cr = c->fold_possible = c->any_line = false;
    c->line_len = c->head_len = c->framing_len = 0;
    c->refuse = 0;
}

/* ---- what llhttp lets pass and we do not ---- */

/* Looks at the lines of a head: each ends in CRLF (a bare LF is read differently by different parsers, RFC 9112 §2.2)
 * and none begins with a blank (folding, §5.2); none holds NUL. Returns the bytes that may be parsed: all, or up to the
 * end of the head. */
static size_t check_head(struct http_conn *c, const char *data, size_t len)
{
    for (size_t i = 0; i < len && !c->head_done; i++) {
        char ch = data[i];
        if (c->fold_possible && (ch == ' ' || ch == '\t')) {
            parse_refuse(c, 400, "a folded header line");
            return i;
        }
        c->fold_possible = false;
        if (ch == '\0' || (ch == '\n' && !c->saw_cr) || (ch != '\n' && c->saw_cr)) {
            parse_refuse(c, 400, ch == '\0' ? "a NUL in the head" : "a line that does not end in CR LF");
            return i;
        }
        c->saw_cr = ch == '\r';
        c->head_len++;
        if (ch != '\n') {
            c->line_len++;
            continue;
        }
        bool empty = c->line_len <= 1;
        c->line_len = 0;
        if (empty && c->any_line)
            return i + 1; /* the end of the head */
        c->any_line = c->any_line || !empty;
        c->fold_possible = c->any_line;
    }
    return len;
}

static void translate(struct http_conn *c, llhttp_errno_t code)
{
    switch (code) {
    case HPE_INVALID_VERSION:
        parse_refuse(c, 505, "HTTP/1.1 is spoken here");
        break;
    case HPE_INVALID_METHOD:
        parse_refuse(c, 400, "not an HTTP method");
        break;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        parse_refuse(c, 400, "more than one length for one body");
        break;
    case HPE_INVALID_TRANSFER_ENCODING:
        parse_refuse(c, 400, "a Transfer-Encoding that cannot be relied on");
        break;
    default:
        parse_refuse(c, 400, "not an HTTP/1.1 request");
    }
}

/* Gives llhttp `len` bytes; returns how many of them it has used. */
static size_t execute(struct http_conn *c, const char *data, size_t len)
{
    bool in_head = !c->head_done;

    c->body_seen = 0;
    llhttp_errno_t code = llhttp_execute(&c->parser, data, len);
    if (code == HPE_PAUSED) {
        len = (size_t)(llhttp_get_error_pos(&c->parser) - data);
        llhttp_resume(&c->parser);
    } else if (code != HPE_OK) {
        translate(c, code);
    }
    if (!in_head)
        c->framing_len = (c->req.streamed && c->body_seen > 0 ? 0 : c->framing_len) + len - c->body_seen;
    if (c->framing_len > HTTP_FRAMING_MAX)
        parse_refuse(c, 431, "what is around the body of the request (sizes of chunks, trailers) is too large");
    return len;
}

size_t http_parse_piece(struct http_conn *c, const char *data, size_t len)
{
    IN_STATE(c->req.streamed && c->head_done && !c->complete && c->refuse == 0);
    buf_reserve(&c->req.body, len); /* at once: growing, it would be twice as large */
    return execute(c, data, len);
}

void http_parse(struct http_conn *c)
{
    struct evbuffer *in = c->in;

    IN_STATE(c->state == CONN_READING || c->req.streamed);
    while (!c->complete && c->refuse == 0) {
        size_t len = evbuffer_get_contiguous_space(in);
        if (len == 0)
            return;
        const char *data = (const char *)evbuffer_pullup(in, (ssize_t)len);
        if (c->req.streamed)
            len = MIN(len, (size_t)HTTP_BODY_PIECE);
        size_t usable = c->head_done ? len : check_head(c, data, len);
        if (c->head_len > HTTP_HEAD_MAX)
            parse_refuse(c, 431, "the head of the request is too large");
        if (c->refuse != 0)
            return;
        usable = execute(c, data, usable);
        evbuffer_drain(in, usable);
        if (c->req.streamed)
            return;
    }
}
