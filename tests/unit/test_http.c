#include "tests/unit/unit.h"

#include "base/pool.h"
#include "proxy/http.h"

#include <errno.h>
#include <fcntl.h>
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
    struct pool *readers;
    sem_t disk; /* a_slow_disk() */
    atomic_int requests, gone, complete;
    atomic_bool drained;
    int file;
};

enum { FILE_BYTES = 8 << 20 };

static void note_gone(void *arg)
{
    atomic_fetch_add(&((struct fixture *)arg)->gone, 1);
}

static void file_done(void *arg UNUSED)
{
}

/* An answer that comes in pieces, one each time there is room. */
struct stream {
    struct fixture *f;
    struct http_request *req;
    int left;
};

static void stream_gone(void *arg)
{
    struct stream *s = arg;

    note_gone(s->f);
    free(s);
}

static void more(void *arg)
{
    struct stream *s = arg;

    while (s->left > 0 && http_stream_has_room(s->req)) {
        s->left--;
        http_stream_file(s->req, s->f->file, 0, 65536);
    }
    if (s->left == 0)
        http_stream_end(s->req, free, s);
}

static void on_request(void *arg, struct http_request *req)
{
    struct fixture *f = arg;
    const char *path = http_path(req);
    size_t len;

    atomic_fetch_add(&f->requests, 1);
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

static void on_complete(void *arg, struct http_request *req UNUSED)
{
    atomic_fetch_add(&((struct fixture *)arg)->complete, 1);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    const struct http_limits limits = {
        .head_timeout_ms = 300, .idle_timeout_ms = 900, .write_timeout_ms = 1200, .gone_ms = 300};
    char name[] = "/tmp/entrepot-http.XXXXXX";

    f->file = mkstemp(name);
    unlink(name);
    assert_int_equal(ftruncate(f->file, FILE_BYTES), 0);
    f->loop = loop_new("test", NULL);
    f->server = http_server_new(f->loop, &limits, on_request, on_complete, f);
    f->readers = pool_new("read", 1, NULL);
    http_server_set_readers(f->server, f->readers);
    sem_init(&f->disk, 0, 0);
    assert_true(loop_start(f->loop, NULL));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    loop_stop(f->loop);
    loop_join(f->loop);
    http_server_free(f->server);
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

static void arrive(void *arg)
{
    struct arrival *a = arg;

    http_server_accept(a->f->server, a->fd, NULL);
    free(a);
}

static int client(struct fixture *f)
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

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads until the end, `max` bytes, or `ms` without any; returns how many, *ended says whether the other side closed.
 */
static size_t hear(int fd, char *out, size_t max, int ms, bool *ended)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char sink[65536];
    size_t total = 0;

    *ended = false;
    while (total < max && poll(&p, 1, ms) > 0) {
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

static bool wait_until(atomic_int *counter, int value)
{
    for (int i = 0; i < 400 && atomic_load(counter) < value; i++)
        usleep(10000);
    return atomic_load(counter) >= value;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void pipelined(void **state)
{
    struct fixture *f = *state;
    int fd = client(f), answers = 0;
    char text[65536];
    bool ended;

    for (int i = 0; i < 50; i++)
        say(fd, GET("/"));
    hear(fd, text, sizeof(text) - 1, 300, &ended);
    for (const char *p = strstr(text, "HTTP/1.1 200"); p; p = strstr(p + 1, "HTTP/1.1 200"))
        answers++;
    assert_int_equal(answers, 50);
    assert_false(ended);
    close(fd);
}

static void half_closed(void **state)
{
    int fd = client(*state), answers = 0;
    char text[65536];
    bool ended;

    say(fd, GET("/") GET("/"));
    shutdown(fd, SHUT_WR); /* the client has no more to say, and still wants both answers */
    hear(fd, text, sizeof(text) - 1, 1000, &ended);
    for (const char *p = strstr(text, "HTTP/1.1 200"); p; p = strstr(p + 1, "HTTP/1.1 200"))
        answers++;
    assert_int_equal(answers, 2);
    assert_true(ended);
    close(fd);
}

/* A client that closes while its request waits: noticed, though nothing is written to it. */
static void closed_while_waiting(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);

    say(fd, GET("/never"));
    close(fd);
    for (int i = 0; i < 100 && atomic_load(&f->gone) == 0; i++)
        usleep(20000);
    assert_int_equal(atomic_load(&f->gone), 1);
}

static void hang(void *disk)
{
    sem_wait(disk);
}
/* A file that is not in memory, and a disk that does not answer: others are served, clients may leave, and who
 * stays gets all of it when the disk comes back; also when it comes in pieces. */
static void a_slow_disk(void **state)
{
    static const char *const paths[] = {GET("/file"), GET("/stream")};
    struct fixture *f = *state;
    char text[4096];
    bool ended;

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        int before = f->complete, stays = client(f), leaves = client(f), other = client(f);
        posix_fadvise(f->file, 0, 0, POSIX_FADV_DONTNEED); /* all holes: nothing is dirty */
        pool_run(f->readers, hang, &f->disk);
        say(stays, paths[i]);
        say(leaves, paths[i]);
        hear(stays, text, sizeof(text) - 1, 100, &ended);
        assert_ptr_equal(strstr(text, "\r\n\r\n") + 4, text + strlen(text)); /* the head, no more */
        say(other, GET("/"));
        assert_int_equal(hear(other, text, 5, 1000, &ended), 5);
        close(leaves);
        assert_true(wait_until(&f->complete, before + 2)); /* the other's and the one that nobody waits for */
        sem_post(&f->disk);
        assert_int_equal(hear(stays, NULL, FILE_BYTES, 1000, &ended), FILE_BYTES);
        close(stays), close(other);
    }
}

/* Clients leave at any time of it. */
static void gone_from_a_cold_file(void **state)
{
    struct fixture *f = *state;
    bool ended;

    for (int i = 0, fd; i < 60; i++) {
        fd = client(f);
        posix_fadvise(f->file, 0, 0, POSIX_FADV_DONTNEED);
        say(fd, i % 2 ? GET("/file") : GET("/stream"));
        hear(fd, NULL, (size_t)i * 40000, 1000, &ended);
        close(fd);
    }
    assert_true(wait_until(&f->complete, 60));
}

static void bodies(void **state)
{
    int fd = client(*state);
    char text[4096];
    bool ended;

    say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    hear(fd, text, sizeof(text) - 1, 200, &ended);
    assert_non_null(strstr(text, "100 Continue"));
    say(fd, "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    hear(fd, text, sizeof(text) - 1, 200, &ended);
    assert_non_null(strstr(text, "\r\n\r\nabcdefg"));
    assert_null(strstr(text, "\nX-Evil")); /* a value cannot begin a header of its own */
    close(fd);
}

#define CHUNKED(path) "POST " path " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

/* What comes behind a body is no header: not a login, not a host, not the end of the connection. */
static void trailers_are_dropped(void **state)
{
    int fd = client(*state);
    char text[4096];
    bool ended;

    for (int i = 0; i < 2; i++) {
        say(fd, CHUNKED("/who") "1\r\nx\r\n0\r\nAuthorization: Basic eDp5\r\nHost: evil\r\nConnection: close\r\n\r\n");
        hear(fd, text, sizeof(text) - 1, 200, &ended);
        assert_non_null(strstr(text, "X-Who: nobody"));
        assert_non_null(strstr(text, "X-Host: x\r\n"));
        assert_false(ended);
    }
    close(fd);
}

/* Whatever is around a body has an end: trailers, large or many, blanks, extensions of chunks, chunks of a byte. */
static void framing_is_bounded(void **state)
{
    static const struct {
        const char *begins, *goes_on;
    } cases[] = {
        {"0\r\nx: ",
         "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"},
        {"0\r\n", "x: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\nx: y\r\n"},
        {"0\r\nx:", "                                                                                                "},
        {"1;x=", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"},
        {"1\r\nx\r\n", "1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n"},
    };
    char text[4096];
    bool ended;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = client(*state);
        size_t sent = 0, len = strlen(cases[i].goes_on);
        say(fd, CHUNKED("/who"));
        say(fd, cases[i].begins);
        while (sent < 4 * HTTP_FRAMING_MAX && send(fd, cases[i].goes_on, len, MSG_NOSIGNAL) == (ssize_t)len)
            sent += len;
        hear(fd, text, sizeof(text) - 1, 1000, &ended);
        if (!strstr(text, " 431 "))
            fail_msg("%s: %s", cases[i].begins, text);
        close(fd);
    }
}

/* RFC 9110 §13.1.2, of a page whose entity tag is "sha256:ab". */
static void entity_tags(void **state)
{
    static const struct {
        const char *header;
        int status;
    } cases[] = {
        {"X: y", 200},
        {"If-None-Match: \"sha256:ab\"", 304},
        {"If-None-Match: W/\"sha256:ab\"", 304},
        {"If-None-Match: sha256:ab", 304},
        {"If-None-Match: *", 304},
        {"If-None-Match:  \"a,b\" ,W/\"c\",, \"sha256:ab\"", 304},
        {"If-None-Match: \"a\"\r\nIf-None-Match: \"sha256:ab\"", 304},
        {"If-None-Match: \"*\"", 200},
        {"If-None-Match: \"sha256:abc\"", 200},
        {"If-None-Match: \"xsha256:ab\"", 200},
        {"If-None-Match: \"\", \"sha256:", 200},
        {"If-None-Match: ,", 200},
        {"If-None-Match: W/", 200},
        {"If-Match: \"sha256:ab\"", 200},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *want = xasprintf("HTTP/1.1 %d ", cases[i].status);
        _cleanup_free_ char *request =
            xasprintf("GET /tagged HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n", cases[i].header);
        int fd = client(*state);
        char text[4096];
        bool ended;

        say(fd, request);
        hear(fd, text, sizeof(text) - 1, 1000, &ended);
        if (strncmp(text, want, strlen(want)) != 0)
            fail_msg("%s: %.40s", cases[i].header, text);
        close(fd);
    }
}

static void large_answers(void **state)
{
    struct fixture *f = *state;
    static const char *const requests[] = {GET("/file"), GET("/stream")};
    bool ended;

    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        int fd = client(f);
        say(fd, requests[i]);
        size_t n = hear(fd, NULL, SIZE_MAX, 400, &ended);
        assert_true(n > FILE_BYTES && n < FILE_BYTES + 1000);
        close(fd);
    }
}

static void head_has_no_body(void **state)
{
    int fd = client(*state);
    char text[4096];
    bool ended;

    say(fd, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    hear(fd, text, sizeof(text) - 1, 200, &ended);
    assert_non_null(strstr(text, "Content-Length: 5\r\n"));
    assert_null(strstr(text, "hello"));
    close(fd);
}

static void short_answer_is_cut(void **state)
{
    int fd = client(*state);
    bool ended;

    say(fd, GET("/cut"));
    size_t n = hear(fd, NULL, SIZE_MAX, 1000, &ended);
    assert_true(ended); /* and not kept alive, where the next answer would pass for the rest */
    assert_true(n < 300);
    close(fd);
}

static void slow_head(void **state)
{
    int fd = client(*state);
    char text[4096];
    bool ended;
    struct timespec pause = {.tv_nsec = 60 * 1000000};

    /* A byte now and then: it is the whole head that has a limit, not the time between bytes. */
    for (int i = 0; i < 12; i++) {
        if (send(fd, i ? "x" : "GET /", i ? 1 : 5, MSG_NOSIGNAL) < 0)
            break;
        nanosleep(&pause, NULL);
    }
    hear(fd, text, sizeof(text) - 1, 2500, &ended);
    assert_non_null(strstr(text, "408 Request Timeout"));
    assert_true(ended);
    close(fd);
}

static void idle(void **state)
{
    int fd = client(*state);
    char text[4096];
    bool ended;

    say(fd, GET("/"));
    hear(fd, text, sizeof(text) - 1, 3000, &ended);
    assert_non_null(strstr(text, "200 OK"));
    assert_null(strstr(text, "408")); /* an idle connection ends without a word */
    assert_true(ended);
    close(fd);
}

static void slow_reader(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);

    say(fd, GET("/stream"));
    assert_true(wait_until(&f->gone, 1)); /* takes nothing: is cut, and whoever fed the answer hears of it */
    close(fd);
}

static void client_gone(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);

    say(fd, GET("/stream"));
    assert_true(wait_until(&f->requests, 1));
    close(fd);
    assert_true(wait_until(&f->gone, 1));
    assert_true(wait_until(&f->complete, 1));
}

static void drained(void *arg)
{
    atomic_store(&((struct fixture *)arg)->drained, true);
}

static void drain(void *arg)
{
    struct fixture *f = arg;

    http_server_drain(f->server, drained, f);
}

static void draining(void **state)
{
    struct fixture *f = *state;
    int busy = client(f), quiet = client(f);
    bool ended;

    say(busy, GET("/stream"));
    assert_true(wait_until(&f->requests, 1));
    loop_post(f->loop, drain, f);
    assert_int_equal(hear(quiet, NULL, 100, 1000, &ended), 0);
    assert_true(ended); /* idle: closed at once */
    assert_false(atomic_load(&f->drained));
    size_t n = hear(busy, NULL, SIZE_MAX, 1000, &ended);
    assert_true(n > FILE_BYTES); /* busy: gets all of its answer, then is closed */
    assert_true(ended);
    for (int i = 0; i < 200 && !atomic_load(&f->drained); i++)
        usleep(10000);
    assert_true(atomic_load(&f->drained));
    close(busy);
    close(quiet);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(pipelined),
        CASE(half_closed),
        CASE(closed_while_waiting),
        CASE(a_slow_disk),
        CASE(gone_from_a_cold_file),
        CASE(bodies),
        CASE(trailers_are_dropped),
        CASE(framing_is_bounded),
        CASE(entity_tags),
        CASE(large_answers),
        CASE(head_has_no_body),
        CASE(short_answer_is_cut),
        CASE(slow_head),
        CASE(idle),
        CASE(slow_reader),
        CASE(client_gone),
        CASE(draining),
    };

    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
