/* unit_http.h - a server on a loop of its own, and raw clients of it, for the tests of http. */
#ifndef ENTREPOT_TESTS_UNIT_HTTP_H
#define ENTREPOT_TESTS_UNIT_HTTP_H

#include "tests/unit/unit.h"

#include "base/pool.h"
#include "proxy/http/http.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

/* A server on a loop of its own, with a toy handler and little patience; clients are raw sockets. */
struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_tls *tls;                                       /* of clients to come; NULL: plain */
    bool forward;                                               /* theirs, too */
    bool (*extra)(struct fixture *f, struct http_request *req); /* NULL, or a test's own: false if it is not for it */
    void *own;                                                  /* the test's */
    struct pool *readers;
    sem_t disk; /* a_slow_disk() */
    atomic_int requests, gone, complete;
    atomic_bool drained;
    int file;
};

enum { FILE_BYTES = 8 << 20, FIRST_MS = 3000 /* within tunnel_idle_ms, which would end what is to end at once */ };

static inline void note_gone(void *arg)
{
    atomic_fetch_add(&((struct fixture *)arg)->gone, 1);
}

static inline void file_done(void *arg UNUSED)
{
}

/* An answer that comes in pieces, one each time the connection can take one. */
struct stream {
    struct fixture *f;
    struct http_request *req;
    int left;
};

static inline void stream_gone(void *arg)
{
    struct stream *s = arg;

    note_gone(s->f);
    free(s);
}

static inline void more(void *arg)
{
    struct stream *s = arg;

    while (s->left > 0 && http_stream_can_take(s->req)) {
        s->left--;
        http_stream_file(s->req, s->f->file, 0, 65536);
    }
    if (s->left == 0)
        http_stream_end(s->req, free, s);
}

static inline void on_request(void *arg, struct http_request *req)
{
    struct fixture *f = arg;
    const char *path = http_path(req);
    size_t len;

    atomic_fetch_add(&f->requests, 1);
    if (f->extra && f->extra(f, req))
        return;
    if (strcmp(path, "/file") == 0) {
        http_reply_file(req, 200, "x/y", f->file, 0, FILE_BYTES, file_done, f);
    } else if (strcmp(path, "/stream") == 0) {
        struct stream *s = xcalloc(1, sizeof(*s));
        *s = (struct stream){f, req, 128};
        http_on_gone(req, stream_gone, s);
        http_stream(req, 200, "x/y", 128 * 65536, more, s);
    } else if (strcmp(path, "/tagged") == 0) {
        http_reply_head(req, http_is_known(req, "sha256:ab") ? 304 : 200, NULL, -1);
    } else if (strcmp(path, "/never") == 0) {
        http_on_gone(req, note_gone, f);
    } else if (strcmp(path, "/cut") == 0) {
        http_stream(req, 200, "x/y", 100, NULL, NULL);
        http_stream_data(req, "half", 4);
        http_stream_end(req, file_done, NULL); /* 96 bytes short */
    } else if (strcmp(path, "/who") == 0) {
        const char *who = http_header(req, "authorization");
        http_reply_header(req, "X-Who", "%s", who ? who : "nobody");
        http_reply_header(req, "X-Host", "%s", http_host(req));
        http_reply(req, 200, NULL, NULL, 0);
    } else if (strcmp(path, "/echo") == 0) {
        const char *body = http_body(req, &len);
        http_reply_header(req, "X-Injected", "a\r\nX-Evil: b");
        http_reply(req, 200, "text/plain", body, len);
    } else {
        http_reply(req, 200, "text/plain", "hello", 5);
    }
}

static inline void on_complete(void *arg, struct http_request *req UNUSED)
{
    atomic_fetch_add(&((struct fixture *)arg)->complete, 1);
}

static inline bool wants_stream(void *arg UNUSED, struct http_request *req)
{
    return strncmp(http_path(req), "/up", 3) == 0;
}

static inline int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    const struct http_limits limits = {.head_timeout_ms = 700,
                                       .idle_timeout_ms = 900,
                                       .write_timeout_ms = 1200,
                                       .handshake_timeout_ms = 600,
                                       .tunnel_idle_ms = 4000,
                                       .tunnel_half_ms = 1400,
                                       .gone_ms = 300};
    char name[] = "/tmp/entrepot-http.XXXXXX";

    f->file = mkstemp(name);
    unlink(name);
    assert_int_equal(ftruncate(f->file, FILE_BYTES), 0);
    f->loop = loop_new("test", NULL);
    f->server = http_server_new(f->loop, &limits, on_request, on_complete, f);
    f->readers = pool_new("read", 1, NULL);
    http_server_set_readers(f->server, f->readers);
    http_server_set_streams(f->server, wants_stream);
    sem_init(&f->disk, 0, 0);
    assert_true(loop_start(f->loop, NULL));
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    loop_stop(f->loop);
    loop_join(f->loop);
    http_server_free(f->server);
    sem_post(&f->disk); /* a test that failed may have left a reader there */
    pool_free(f->readers);
    loop_join(f->loop); /* reads that landed since */
    loop_free(f->loop);
    close(f->file);
    free(f);
    return 0;
}

struct arrival {
    struct fixture *f;
    int fd;
};

static inline void arrive(void *arg)
{
    struct arrival *a = arg;

    http_server_accept(a->f->server, &(struct http_arrival){.fd = a->fd, .tls = a->f->tls, .forward = a->f->forward});
    free(a);
}

static inline int client(struct fixture *f)
{
    struct arrival *a = xcalloc(1, sizeof(*a));
    int pair[2], small = 16384;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    *a = (struct arrival){f, pair[1]};
    loop_post(f->loop, arrive, a);
    return pair[0];
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads until the end, `max` bytes, or `ms` without any; returns how many, *ended says whether the other side closed.
 * Something comes: for that it waits longer, the machine may be busy. */
static inline size_t hear(int fd, char *out, size_t max, int ms, bool *ended)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char sink[65536];
    size_t total = 0;

    *ended = false;
    while (total < max && poll(&p, 1, total == 0 ? MAX(ms, FIRST_MS) : ms) > 0) {
        ssize_t n = recv(fd, sink, MIN(sizeof(sink), max - total), 0);
        if (n <= 0) {
            *ended = true;
            break;
        }
        if (out)
            memcpy(out + total, sink, (size_t)n);
        total += (size_t)n;
    }
    if (out)
        out[total] = '\0';
    return total;
}

/* Sends until the other side takes no more for a while; the descriptor does not block from now on. */
static inline size_t fill(int fd, size_t most)
{
    static const char data[65536];
    size_t sent = 0;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int stuck = 0; stuck < 5 && sent < most;) {
        ssize_t n = send(fd, data, MIN(sizeof(data), most - sent), MSG_NOSIGNAL);
        sent += (size_t)MAX(n, (ssize_t)0);
        stuck = n > 0 ? 0 : stuck + 1;
        if (n <= 0)
            usleep(1000);
    }
    return sent;
}

/* Bytes of the heap; 0 under a sanitizer. */
static inline size_t heap_in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

static inline bool wait_until(atomic_int *counter, int value)
{
    for (int i = 0; i < 400 && atomic_load(counter) < value; i++)
        usleep(10000);
    return atomic_load(counter) >= value;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

#define CHUNKED(path) "POST " path " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
