/* Requests of clients: head, body, trailers, several on one connection. The first byte of the input says in what pieces
 * the rest arrives, and whether the listener is a forward proxy's: there bodies for /up are taken as they come. */
#include "proxy/http/http.h"
#include "tests/fuzz/fuzz.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/socket.h>

static struct loop *loop;
static struct http_server *server;
static bool forward;      /* this connection is to a forward proxy */
static struct buf *heard; /* what the handler was given, in order */
static char *first_head;  /* that of the first request on this connection; NULL once it was looked at */

static void hear(struct http_request *req, const char *header)
{
    const char *value = http_header(req, header);

    if (!value)
        return;
    MUST(!strpbrk(value, "\r\n"));
    MUST(!first_head || strcasestr(first_head, header)); /* else it is a trailer */
    buf_addf(heard, "%s: %s\n", header, value);
}

static void check_query(struct http_request *req, const char *name)
{
    char value[64];

    if (!http_query_get(req, name, value, sizeof(value)))
        return;
    MUST(http_query_has(req, name) && strlen(value) < sizeof(value));
    for (const char *p = value; *p; p++)
        MUST((unsigned char)*p >= ' ' && *p != 0x7f);
}

/* The body of the request that is handled. */
static struct buf upload;

static bool wants_stream(void *arg UNUSED, struct http_request *req)
{
    return strncmp(http_path(req), "/up", 3) == 0;
}

static void take_piece(void *arg UNUSED, const void *data, size_t len)
{
    MUST(len > 0);
    buf_add(&upload, data, len);
}

static void take_end(void *arg)
{
    MUST(http_body_length(arg) < 0 || http_body_length(arg) == (int64_t)upload.len);
    buf_add(heard, upload.data, upload.len);
    buf_adds(heard, "\n");
    http_reply(arg, 201, "text/plain", "hello", 5);
}

/* Of a forward proxy. */
static void answer_forward(struct http_request *req)
{
    buf_clear(&upload);
    if (http_method(req) == HTTP_METHOD_CONNECT)
        http_error(req, 403, "DENIED", "no");
    else if (strcmp(http_path(req), "/up-refused") == 0)
        http_reply(req, 401, NULL, NULL, 0); /* what there is of the body is dropped */
    else
        http_body_stream(req, take_piece, take_end, req);
}

static void on_request(void *arg UNUSED, struct http_request *req)
{
    static const char *const headers[] = {"authorization", "range", "host", "expect", "content-length", "x-late", NULL};
    size_t len;
    const char *body = http_body(req, &len), *path = http_path(req);

    MUST((path[0] == '/' || (forward && http_authority(req))) &&
         strlen(path) + strlen(http_query(req)) <= HTTP_TARGET_MAX && len <= HTTP_BODY_MAX);
    buf_addf(heard, "%s %s ? %s @ %s\n", http_method_name(req), path, http_query(req), http_host(req));
    for (int i = 0; headers[i]; i++)
        hear(req, headers[i]);
    free(first_head);
    first_head = NULL;
    check_query(req, "n");
    check_query(req, "ns");
    http_is_known(req, "sha256:ab");
    http_header_has(req, "accept", headers);
    if (forward) {
        answer_forward(req);
        return;
    }
    buf_add(heard, body, len);
    buf_adds(heard, "\n");
    http_reply(req, 200, "text/plain", "hello", 5);
}

/* What the daemon's log says of every request, refused ones, too. */
static void on_complete(void *arg UNUSED, struct http_request *req)
{
    bool broken = forward && http_status(req) == 0; /* inside a body that was taken as it came */
    MUST(broken || (http_status(req) >= 200 && http_status(req) < 600 && http_sent(req) >= 0));
    MUST(http_method_name(req)[0] && strlen(http_path(req)) <= HTTP_TARGET_MAX);
}

static void settle(void)
{
    struct event_base *base = loop_base(loop);

    for (int quiet = 0; quiet < 3; quiet++) /* a turn of a connection takes another pass */
        do
            event_base_loop(base, EVLOOP_NONBLOCK);
        while (event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE) > 0);
}

/* Up to the first empty line that is not at the beginning. */
static char *read_head(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = xstrndup((const char *)data, size);
    char *head = text + strspn(text, "\r\n"), *end = strstr(head, "\r\n\r\n");

    return end ? xstrndup(head, (size_t)(end - head)) : NULL;
}

/* Whatever the socket does not take at once waits until the server has read some, or has gone. */
static void give(int fd, const uint8_t *data, size_t len, struct evbuffer *answers)
{
    while (len > 0 && http_server_connections(server) > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        data += MAX(n, (ssize_t)0);
        len -= (size_t)MAX(n, (ssize_t)0);
        settle();
        evbuffer_read(answers, fd, -1);
    }
}

/* One connection on which `data` arrives in pieces of `step` bytes; returns whether a request was refused. */
static bool converse(const uint8_t *data, size_t size, size_t step, struct buf *out)
{
    struct evbuffer *answers = evbuffer_new();
    int pair[2];

    heard = out;
    first_head = read_head(data, size);
    buf_adds(out, "");
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    http_server_accept(server, &(struct http_arrival){.fd = pair[1], .forward = forward});
    for (size_t at = 0; at < size && http_server_connections(server) > 0; at += step) {
        give(pair[0], data + at, MIN(step, size - at), answers);
        settle();
        evbuffer_read(answers, pair[0], -1);
    }
    shutdown(pair[0], SHUT_WR);
    settle();
    while (evbuffer_read(answers, pair[0], -1) > 0)
        settle();
    MUST(http_server_connections(server) == 0); /* whoever has said all is answered, and gone */
    bool refused = evbuffer_search(answers, "HTTP/1.1 4", 10, NULL).pos >= 0 ||
                   evbuffer_search(answers, "HTTP/1.1 5", 10, NULL).pos >= 0;
    evbuffer_free(answers);
    close(pair[0]);
    settle();
    free(first_head);
    first_head = NULL;
    return refused;
}

static void begin(void)
{
    const struct http_limits limits = HTTP_LIMITS_DEFAULT;

    signal(SIGPIPE, SIG_IGN);
    loop = loop_new("fuzz", NULL);
    server = http_server_new(loop, &limits, on_request, on_complete, NULL);
    http_server_set_streams(server, wants_stream);
}

/* What requests there are, and whether one is refused, does not depend on how their bytes arrive. What comes after a
 * body is no header. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf whole = {0}, pieces = {0};

    if (!loop)
        begin();
    if (size < 2)
        return 0;
    forward = data[0] >= 128;
    bool refused = converse(data + 1, size - 1, size, &whole);
    MUST(refused == converse(data + 1, size - 1, 1 + data[0] % 64, &pieces));
    MUST(whole.len == pieces.len && memcmp(whole.data, pieces.data, whole.len) == 0);
    return 0;
}
