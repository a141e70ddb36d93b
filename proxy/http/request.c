#include "proxy/http/private.h"

#include "base/url.h"
#include "base/assert.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {102, "Processing"},
        {103, "Early Hints"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Answer";
}

enum http_method http_method(const struct http_request *req)
{
    return req->method;
}

const char *http_method_name(const struct http_request *req)
{
    return req->conn->head_done ? llhttp_method_name(req->method_code) : "-";
}

const char *http_path(const struct http_request *req)
{
    return req->conn->head_done && req->conn->arena.len > 0 ? req->conn->arena.data + req->path : "-";
}

const char *http_query(const struct http_request *req)
{
    return req->conn->arena.data + req->query;
}

const char *http_header(const struct http_request *req, const char *name)
{
    const char *text = req->conn->arena.data;

    for (int i = 0; i < req->field_count; i++)
        if (strcmp(text + req->fields[i].name, name) == 0)
            return text + req->fields[i].value;
    return NULL;
}

bool http_header_at(const struct http_request *req, int i, const char **name, const char **value)
{
    if (i < 0 || i >= req->field_count)
        return false;
    *name = req->conn->arena.data + req->fields[i].name;
    *value = req->conn->arena.data + req->fields[i].value;
    return true;
}

bool http_header_has(const struct http_request *req, const char *name, const char *const *texts)
{
    const char *arena = req->conn->arena.data;

    for (int i = 0; i < req->field_count; i++)
        for (int k = 0; texts[k] && strcmp(arena + req->fields[i].name, name) == 0; k++)
            if (strcasestr(arena + req->fields[i].value, texts[k]))
                return true;
    return false;
}

const char *http_host(const struct http_request *req)
{
    return req->conn->arena.data + req->host;
}

const char *http_body(const struct http_request *req, size_t *len)
{
    *len = req->body.len;
    return req->body.data ? req->body.data : "";
}

int64_t http_body_length(const struct http_request *req)
{
    return req->body_len;
}

bool http_body_is_expected(const struct http_request *req)
{
    return req->expects;
}

bool http_trailer_at(const struct http_request *req, int i, const char **name, const char **value)
{
    const char *at = req->trailers.data, *end = at + req->trailers.len;

    for (; at && at < end; at = *value + strlen(*value) + 1, i--) {
        *name = at;
        *value = at + strlen(at) + 1;
        if (*value >= end) /* it was broken off */
            return false;
        if (i == 0)
            return true;
    }
    return false;
}

bool http_body_is_open(const struct http_conn *c)
{
    return c->req.streamed && !c->complete;
}

bool http_body_waits(const struct http_conn *c)
{
    return http_body_is_open(c) && !c->req.dropping && (!c->req.on_data || c->req.paused);
}

bool http_body_is_long(const struct http_conn *c)
{
    return http_body_is_open(c) &&
           (c->req.expects || (c->req.body_len >= 0 && c->parser.content_length > HTTP_DROP_MAX));
}

const char *http_authority(const struct http_request *req)
{
    return req->method == HTTP_METHOD_CONNECT ? http_path(req) : NULL;
}

bool http_is_absolute(const struct http_request *req)
{
    return req->absolute;
}

const char *http_opened_host(const struct http_request *req)
{
    return req->conn->opened_host;
}

const void *http_listener(const struct http_request *req)
{
    return req->conn->listener;
}

bool http_addresses(const struct http_request *req, struct sockaddr_storage *peer, struct sockaddr_storage *own)
{
    socklen_t peer_len = sizeof(*peer), own_len = sizeof(*own);
    int fd = req->conn->link.fd;

    return getpeername(fd, (struct sockaddr *)peer, &peer_len) == 0 &&
           getsockname(fd, (struct sockaddr *)own, &own_len) == 0;
}

const char *http_client(struct http_request *req)
{
    struct sockaddr_storage peer = {0};
    struct http_conn *c = req->conn;
    socklen_t len = sizeof(peer);

    if (c->client[0])
        return c->client;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&peer;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&peer;
    const char *text = "-";
    if (c->state != CONN_CLOSED && getpeername(c->link.fd, (struct sockaddr *)&peer, &len) == 0)
        text = peer.ss_family == AF_UNIX ? "unix" : "-";
    if (peer.ss_family == AF_INET)
        text = inet_ntop(AF_INET, &v4->sin_addr, c->client, sizeof(c->client));
    else if (peer.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        text = inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], c->client, sizeof(c->client));
    else if (peer.ss_family == AF_INET6)
        text = inet_ntop(AF_INET6, &v6->sin6_addr, c->client, sizeof(c->client));
    if (text && text != c->client)
        snprintf(c->client, sizeof(c->client), "%s", text);
    return c->client;
}

bool http_was_refused(const struct http_request *req)
{
    return req->conn->refuse != 0;
}

bool http_is_whole(const struct http_request *req)
{
    return req->whole;
}

static bool is_sane_id(const char *text, size_t len)
{
    static const char sane[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    return len > 0 && len <= HTTP_ID_MAX && strspn(text, sane) >= len;
}

/* splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators), from a seed of the kernel's: ids
 * have to differ, not to be secret. */
static uint64_t next_id(struct http_server *s)
{
    if (s->ids == 0 && getrandom(&s->ids, sizeof(s->ids), GRND_NONBLOCK) != sizeof(s->ids))
        s->ids = (uint64_t)clock_mono_us() ^ (uint64_t)getpid() << 40;
    uint64_t z = s->ids += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

const char *http_id(struct http_request *req)
{
    const struct http_conn *c = req->conn;
    const char *own = c->head_done ? http_header(req, "x-request-id") : NULL;

    if (req->id[0])
        return req->id;
    if (own && is_sane_id(own, strlen(own))) {
        strcpy(req->id, own);
        return req->id;
    }
    uint64_t n = next_id(c->server);
    for (int i = 0; i < 16; i++)
        req->id[i] = "0123456789abcdef"[n >> (4 * i) & 15];
    req->id[16] = '\0';
    return req->id;
}

const char *http_given_header(const struct http_request *req, const char *name, size_t *len)
{
    const char *end = req->headers.data + req->headers.len;
    size_t name_len = strlen(name);

    for (const char *p = req->headers.data; p && p < end;) {
        const char *line_end = memchr(p, '\r', (size_t)(end - p));
        if (!line_end)
            return NULL;
        if ((size_t)(line_end - p) > name_len + 1 && p[name_len] == ':' && strncasecmp(p, name, name_len) == 0) {
            *len = (size_t)(line_end - p) - name_len - 2;
            return p + name_len + 2;
        }
        p = line_end + 2;
    }
    return NULL;
}

void http_add_id(struct http_request *req, struct buf *head)
{
    size_t len;
    const char *given = req->bare ? http_given_header(req, "X-Request-Id", &len) : NULL;

    if (given && is_sane_id(given, len)) {
        memcpy(req->id, given, len);
        req->id[len] = '\0';
    }
    if (given)
        return;
    buf_add(head, "X-Request-Id: ", 14);
    buf_adds(head, http_id(req));
    buf_add(head, "\r\n", 2);
}

bool http_is_forward(const struct http_request *req)
{
    return req->conn->forward;
}

bool http_is_tls(const struct http_request *req)
{
    return http_link_is_tls(&req->conn->link);
}

const char *http_client_subject(const struct http_request *req)
{
    return req->conn->subject;
}

struct loop *http_loop(const struct http_request *req)
{
    return req->conn->server->loop;
}

void *http_user(struct http_request *req)
{
    return req->user;
}

bool http_read_failed(const struct http_request *req)
{
    return req->read_failed;
}

int http_status(const struct http_request *req)
{
    return req->status;
}

int64_t http_sent(const struct http_request *req)
{
    return req->sent;
}

int64_t http_micros(const struct http_request *req)
{
    return http_now_us(req) - req->begun_us;
}

int64_t http_now_us(const struct http_request *req)
{
    return req->ended_us > 0 ? req->ended_us : clock_mono_us();
}

int64_t http_first_micros(const struct http_request *req)
{
    return req->first_us;
}

void http_on_gone(struct http_request *req, void (*fn)(void *arg), void *arg)
{
    ON_LOOP(req->conn->server->loop);
    req->on_gone = fn;
    req->gone_arg = arg;
}

/* The next entity tag of a list (RFC 9110 §8.8.3), weak or not, in quotes or (as some clients have it) without. */
static const char *next_tag(const char *p, size_t *len)
{
    p += strspn(p, " \t,");
    if (strncmp(p, "W/", 2) == 0)
        p += 2;
    bool quoted = *p == '"';
    p += quoted;
    *len = strcspn(p, quoted ? "\"" : " \t,");
    return p;
}

bool http_is_known(const struct http_request *req, const char *etag)
{
    const char *text = req->conn->arena.data;
    size_t len;

    for (int i = 0; i < req->field_count; i++) {
        if (strcmp(text + req->fields[i].name, "if-none-match") != 0)
            continue;
        for (const char *p = next_tag(text + req->fields[i].value, &len); *p;
             p = next_tag(p + len + (p[len] == '"'), &len))
            if ((len == 1 && *p == '*' && p[-1] != '"') || (len == strlen(etag) && memcmp(p, etag, len) == 0))
                return true;
    }
    return false;
}

bool http_query_has(const struct http_request *req, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = http_query(req); *p; p += strcspn(p, "&"), p += *p == '&')
        if (strncmp(p, name, len) == 0 && p[len] == '=')
            return true;
    return false;
}

bool http_query_get(const struct http_request *req, const char *name, char *out, size_t cap)
{
    const char *p = http_query(req);
    size_t name_len = strlen(name);

    while (*p) {
        size_t len = strcspn(p, "&");
        if (len > name_len && p[name_len] == '=' && memcmp(p, name, name_len) == 0)
            return url_decode(p + name_len + 1, len - name_len - 1, true, out, cap);
        p += len + (p[len] == '&');
    }
    return false;
}
