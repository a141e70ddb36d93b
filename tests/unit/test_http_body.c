/* Bodies that the handler takes piece by piece. */
#include "tests/unit/unit_http.h"

enum { LARGE = 8 << 20 };

/* What the handler does, and what it has had. */
struct take {
    struct fixture *f;
    struct http_request *req; /* the last one */
    bool pause_first, abort_first, answer_first, never_begin;
    atomic_int bytes, pieces, ends;
    uint32_t sum;
};

static void on_data(void *arg, const void *data, size_t len)
{
    struct take *t = arg;
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        t->sum = t->sum * 31 + p[i];
    if (t->pause_first && atomic_load(&t->pieces) == 0)
        http_body_pause(t->req, true);
    atomic_fetch_add(&t->bytes, (int)len);
    atomic_fetch_add(&t->pieces, 1);
    if (t->abort_first)
        http_abort(t->req);
    else if (t->answer_first)
        http_error(t->req, 413, "X", "too much");
}

static void on_end(void *arg)
{
    struct take *t = arg;

    atomic_fetch_add(&t->ends, 1);
    http_reply_header(t->req, "X-Sum", "%u", t->sum);
    http_reply(t->req, 201, "text/plain", "taken", 5);
}

static bool take_upload(struct fixture *f, struct http_request *req)
{
    struct take *t = f->own;
    const char *name, *value;

    if (strncmp(http_path(req), "/up", 3) != 0 && strcmp(http_path(req), "/whole") != 0)
        return false;
    t->req = req;
    http_on_gone(req, note_gone, f);
    if (strcmp(http_path(req), "/up-refused") == 0) {
        http_reply(req, 401, NULL, NULL, 0);
        return true;
    }
    http_reply_header(req, "X-Method", "%s", http_method_name(req));
    http_reply_header(req, "X-Length", "%lld", (long long)http_body_length(req));
    for (int i = 0; http_header_at(req, i, &name, &value); i++)
        http_reply_header(req, "X-Seen", "%s=%s", name, value);
    if (!t->never_begin)
        http_body_stream(req, on_data, on_end, t);
    return true;
}

static int setup_uploads(void **state)
{
    setup(state);
    struct fixture *f = *state;
    struct take *t = xcalloc(1, sizeof(*t));
    t->f = f;
    f->own = t;
    f->extra = take_upload;
    f->forward = true;
    return 0;
}

static int teardown_uploads(void **state)
{
    struct take *t = ((struct fixture *)*state)->own;
    int rc = teardown(state);

    free(t);
    return rc;
}

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

/* A body far beyond HTTP_BODY_MAX, with 1 MiB of framing in all; then another request, sent right behind it. */
static void a_large_chunked_upload(void **state)
{
    struct fixture *f = *state;
    struct take *t = f->own;
    char text[4096], data[128];
    uint32_t sum = 0;
    bool ended;
    int fd = client(f);

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)i;
    for (size_t i = 0; i < LARGE; i++)
        sum = sum * 31 + (uint32_t)(i % sizeof(data));
    say(fd, "PATCH /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-Odd: a\r\nX-Odd: b\r\n\r\n");
    for (int i = 0; i < LARGE / 128 / 64; i++) {
        char many[64 * 160], *to = many;
        for (int k = 0; k < 64; k++) {
            to += sprintf(to, "%x;ext=1\r\n", 128);
            memcpy(to, data, 128), to += 128;
            memcpy(to, "\r\n", 2), to += 2;
        }
        assert_int_equal(send(fd, many, (size_t)(to - many), MSG_NOSIGNAL), to - many);
    }
    say(fd, "0\r\nX-Trailer: y\r\n\r\n" GET("/who"));
    hear(fd, text, sizeof(text) - 1, 500, &ended);
    snprintf(data, sizeof(data), "X-Sum: %u\r\n", sum);
    assert_true(has(text, "HTTP/1.1 201 Created\r\n") && has(text, data) && has(text, "X-Method: PATCH\r\n"));
    assert_true(has(text, "X-Length: -1\r\n") && has(text, "X-Seen: x-odd=a\r\n") && has(text, "X-Seen: x-odd=b\r\n"));
    assert_true(has(text, "X-Who: nobody") && !ended);
    assert_int_equal(atomic_load(&t->bytes), LARGE);
    close(fd);
}

static void expectations(void **state)
{
    struct fixture *f = *state;
    char text[4096];
    bool ended;
    int fd = client(f), refused = client(f);

    say(fd, "PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    hear(fd, text, 25, 1000, &ended);
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "body");
    hear(fd, text, sizeof(text) - 1, 200, &ended);
    assert_true(has(text, "HTTP/1.1 201") && has(text, "X-Length: 4\r\n") && !ended);
    /* Whether the body comes after a refusal cannot be known: the connection ends (RFC 9110 §10.1.1). */
    say(refused, "PUT /up-refused HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    hear(refused, text, sizeof(text) - 1, 1000, &ended);
    assert_true(has(text, "HTTP/1.1 401") && has(text, "Connection: close\r\n") && !has(text, "100 Continue") && ended);
    close(fd), close(refused);
}

static void resume(void *arg)
{
    http_body_pause(((struct take *)arg)->req, false);
}

/* While a body is paused the client can send no more than the sockets and 80 KiB hold. */
static void backpressure(void **state)
{
    struct fixture *f = *state;
    struct take *t = f->own;
    static char data[65536];
    char text[4096];
    bool ended;
    int fd = client(f);
    size_t sent;

    t->pause_first = true;
    say(fd, "PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n");
    sent = fill(fd, LARGE);
    assert_true(sent < 1 << 20);
    assert_true(wait_until(&t->pieces, 1));
    usleep(20000);
    sent += fill(fd, LARGE);
    assert_int_equal(atomic_load(&t->pieces), 1);
    assert_true(sent < 1 << 20);
    fcntl(fd, F_SETFL, 0);
    loop_post(f->loop, resume, t);
    while (sent < LARGE)
        sent += (size_t)MAX(send(fd, data, MIN(sizeof(data), LARGE - sent), MSG_NOSIGNAL), (ssize_t)0);
    hear(fd, text, sizeof(text) - 1, 300, &ended);
    assert_true(has(text, "HTTP/1.1 201"));
    assert_int_equal(atomic_load(&t->bytes), LARGE);
    assert_int_equal(atomic_load(&f->gone), 0);
    close(fd);
}

static void pause_at_once(void *arg, const void *data UNUSED, size_t len UNUSED)
{
    http_body_pause(arg, true);
}

static bool take_and_pause(struct fixture *f, struct http_request *req)
{
    http_on_gone(req, note_gone, f);
    http_body_stream(req, pause_at_once, file_done, req);
    return true;
}

/* Many uploads that wait. */
static void many_paused(void **state)
{
    enum { MANY = 200 };
    struct fixture *f = *state;
    int fds[MANY];
    size_t before = heap_in_use();

    f->extra = take_and_pause;
    for (int i = 0; i < MANY; i++) {
        fds[i] = client(f);
        say(fds[i], "PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n");
        assert_true(fill(fds[i], 1 << 20) < 1 << 20);
    }
    assert_true(wait_until(&f->requests, MANY));
    size_t after = heap_in_use();
    if (after > before && after - before > MANY * 96 * 1024)
        fail_msg("%zu KiB each", (after - before) / MANY / 1024);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    assert_true(wait_until(&f->gone, MANY));
}

/* What is left of a body behind an answer: a little is read and dropped, also when it was paused; of much, and of
 * chunks without end, the connection is closed. */
static void early_answers(void **state)
{
    static const struct {
        const char *head;
        bool pause, answer;
        size_t sends;
        bool closes;
    } cases[] = {
        {"PUT /up-refused HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", false, false, 100000, false},
        {"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n", true, true, 200000, false},
        {"PUT /up-refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n", false, false, 3000000, true},
        {"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n", true, true, 3000000, true},
        {"PUT /up-refused HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", false, false, 3000000,
         true},
    };
    struct fixture *f = *state;
    struct take *t = f->own;
    static char data[65536];
    char text[4096];
    bool ended;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = client(f), completed = atomic_load(&f->complete);
        *t = (struct take){.f = f, .pause_first = cases[i].pause, .answer_first = cases[i].answer};
        say(fd, cases[i].head);
        for (size_t sent = 0; sent < cases[i].sends;) {
            ssize_t n = send(fd, data, MIN(sizeof(data), cases[i].sends - sent), MSG_NOSIGNAL);
            if (n < 0)
                break;
            sent += (size_t)n;
        }
        if (!cases[i].closes)
            say(fd, GET("/who"));
        hear(fd, text, sizeof(text) - 1, cases[i].closes ? 3000 : 200, &ended);
        assert_true(has(text, cases[i].answer ? "HTTP/1.1 413" : "HTTP/1.1 401"));
        assert_int_equal(ended, cases[i].closes);
        assert_int_equal(has(text, "X-Who"), !cases[i].closes);
        assert_true(wait_until(&f->complete, completed + (cases[i].closes ? 1 : 2)));
        assert_true(atomic_load(&t->pieces) <= 1 && atomic_load(&t->ends) == 0);
        close(fd);
    }
}

/* Bodies that do not come to their end: the handler is told that the client is gone, once. */
static void broken_uploads(void **state)
{
    static const struct {
        const char *text;
        bool closes, pause, never_begin;
    } cases[] = {
        {"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", true, false, false},
        {"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", true, true, false},
        {"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", true, false, true},
        {"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", false, false, false}, /* and no more */
        {"PUT /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n", false, false, false},
        {"PUT /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n", false, false, false},
    };
    struct fixture *f = *state;
    struct take *t = f->own;
    char text[4096];
    bool ended;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = client(f), gone = atomic_load(&f->gone), completed = atomic_load(&f->complete);
        *t = (struct take){.f = f, .pause_first = cases[i].pause, .never_begin = cases[i].never_begin};
        say(fd, cases[i].text);
        if (cases[i].closes)
            close(fd);
        assert_true(wait_until(&f->complete, completed + 1));
        assert_int_equal(atomic_load(&f->gone), gone + 1);
        assert_int_equal(atomic_load(&t->ends), 0);
        if (!cases[i].closes) {
            hear(fd, text, sizeof(text) - 1, 1000, &ended);
            assert_true(ended && text[0] == '\0');
            close(fd);
        }
    }
}

/* Of a client that has reset its connection, while it is not read from. */
static void gone_while_paused(void **state)
{
    struct fixture *f = *state;
    struct take *t = f->own;
    int fd = client(f);

    t->pause_first = true;
    say(fd, "PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 8388608\r\n\r\n");
    fill(fd, LARGE);
    assert_int_equal(atomic_load(&f->gone), 0);
    close(fd);
    assert_true(wait_until(&f->gone, 1));
}

static void aborted_inside(void **state)
{
    struct fixture *f = *state;
    struct take *t = f->own;
    char text[4096];
    bool ended;
    int fd = client(f);

    t->abort_first = true;
    say(fd, "PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(hear(fd, text, sizeof(text) - 1, 1000, &ended), 0);
    assert_true(ended);
    assert_int_equal(atomic_load(&t->ends), 0);
    close(fd);
}

/* A request that was complete, or has no body, can be taken in the same way. */
static void whole_bodies(void **state)
{
    static const struct {
        const char *text;
        int bytes, pieces;
    } cases[] = {
        {"DELETE /whole HTTP/1.1\r\nHost: x\r\n\r\n", 0, 0},
        {"POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde", 5, 1},
        {"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 0, 0},
    };
    struct fixture *f = *state;
    struct take *t = f->own;
    char text[4096];
    bool ended;
    int fd = client(f);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        *t = (struct take){.f = f};
        say(fd, cases[i].text);
        hear(fd, text, sizeof(text) - 1, 100, &ended);
        assert_true(has(text, "HTTP/1.1 201") && !ended);
        assert_int_equal(atomic_load(&t->bytes), cases[i].bytes);
        assert_int_equal(atomic_load(&t->pieces), cases[i].pieces);
        assert_int_equal(atomic_load(&t->ends), 1);
    }
    close(fd);
}

/* On an ordinary listener nothing is streamed, and bodies are as small as ever. */
static void ordinary_listeners(void **state)
{
    struct fixture *f = *state;
    char text[4096];
    bool ended;
    int fd;

    f->forward = false;
    fd = client(f);
    say(fd, "PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n");
    hear(fd, text, sizeof(text) - 1, 1000, &ended);
    assert_true(has(text, "HTTP/1.1 413"));
    assert_int_equal(atomic_load(&f->requests), 0);
    close(fd);
}

#define UPLOAD(name) cmocka_unit_test_setup_teardown(name, setup_uploads, teardown_uploads)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UPLOAD(a_large_chunked_upload), UPLOAD(expectations),       UPLOAD(backpressure),      UPLOAD(many_paused),
        UPLOAD(early_answers),          UPLOAD(broken_uploads),     UPLOAD(gone_while_paused), UPLOAD(aborted_inside),
        UPLOAD(whole_bodies),           UPLOAD(ordinary_listeners),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
