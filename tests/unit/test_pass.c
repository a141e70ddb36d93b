/* Requests that are passed on to a registry: what it sees, what the client gets, and what happens when either of them
 * is slow, leaves or fails. */
#include "tests/unit/unit_pass.h"

/* ---- heads ---- */

static void end_to_end(void **state)
{
    struct passing_test *t = *state;

    ask(t,
        "PATCH /v2/a/blobs/uploads/1?_state=a%2Fb&x=/../y HTTP/1.1\r\nHost: reg.test:80\r\nContent-Type: a/b\r\n"
        "Authorization: Bearer abc\r\nCookie: c=1\r\nRange: bytes=2-5\r\nContent-Range: 0-4\r\nX-Empty:\r\n"
        "Proxy-Authorization: Basic eDp5\r\nTE: trailers\r\nKeep-Alive: 5\r\nX-Mine: no\r\n"
        "Connection: X-Mine, close\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        3000);
    assert_true(has("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "));
    assert_true(has("PATCH /v2/a/blobs/uploads/1?_state=a%2Fb&x=/../y HTTP/1.1\r\nHost: reg.test:80\r\n"));
    assert_true(has("\r\ncontent-type: a/b\r\n") && has("\r\nauthorization: Bearer abc\r\n"));
    assert_true(has("\r\ncookie: c=1\r\n") && has("\r\nrange: bytes=2-5\r\n") && has("\r\nx-empty:"));
    assert_true(has("\r\ncontent-range: 0-4\r\n") && has("\r\nContent-Length: 5\r\n") && has("sum=532\n"));
    static const char *const not_sent[] = {"roxy-", "te:", "eep-", "-mine", "ser-agent", "User-A", "ccept:"};
    for (size_t i = 0; i < ARRAY_LEN(not_sent); i++)
        if (strstr(answer, not_sent[i]))
            fail_msg("%s in %s", not_sent[i], answer);
    assert_true(has("\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nLocation: /v2/next?_state=x%2Fy\r\nServer: toy\r\n"));
    assert_null(strstr(answer, "X-Own"));
    assert_null(strstr(answer, "Date:"));
    assert_null(strstr(answer, "Server: entrepot"));
    assert_int_equal(passer_count(t->passer, sites_find(t->sites, "reg.test")->group, PASS_PATCH), 1);
}

/* Each is what the registry has answered, and nothing is added but X-Request-Id at its end. */
static void kinds_of_answers(void **state)
{
    struct passing_test *t = *state;
    static const struct {
        const char *request, *begins, *ends, *without;
    } cases[] = {
        {"GET /interim HTTP/1.1\r\n",
         "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n"
         "Trailer: X-Late\r\n",
         "\r\n5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n", "own"},
        {"GET /interim HTTP/1.0\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\nhello", "Early"},
        {"DELETE /204 HTTP/1.1\r\n", "HTTP/1.1 204 No Content\r\nX-Toy: b\r\n", "\r\n\r\n", "ength"},
        {"GET /304 HTTP/1.1\r\n", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n", "\r\n\r\n",
         "zzz"},
        {"HEAD /head HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 12345\r\n", "\r\n\r\n",
         "zzz"},
        {"GET /206 HTTP/1.1\r\n", "HTTP/1.1 206 ", "\r\n\r\nabcd", "zzz"},
        {"GET /206 HTTP/1.1\r\n",
         "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/10\r\nContent-Encoding: gzip\r\n", "abcd", "zzz"},
        {"POST /307 HTTP/1.1\r\nContent-Length: 0\r\n", "HTTP/1.1 307 ", "\r\n\r\n", "HTTP/1.1 502"},
        {"POST /v2/a HTTP/1.1\r\nContent-Length: 0\r\n", "HTTP/1.1 200 OK\r\n", "Content-Length: 0\r\n\r\nsum=0\n",
         "zzz"},
        {"OPTIONS /v2/a HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\nsum=0\n", "ontent-Length: 0"},
        {"GET /101 HTTP/1.1\r\n", "HTTP/1.1 502 ", "\n", "Upgrade"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *request = xasprintf("%sHost: reg.test\r\n" CLOSE, cases[i].request);
        ask(t, request, 3000);
        size_t len = strlen(answer), end = strlen(cases[i].ends);
        bool right = strncmp(answer, cases[i].begins, strlen(cases[i].begins)) == 0 && len >= end &&
                     strcmp(answer + len - end, cases[i].ends) == 0 && !strstr(answer, cases[i].without);
        if (!right)
            print_error("%s:\n%s\n", cases[i].request, answer);
        assert_true(right);
    }
}

/* ---- bodies ---- */

/* Sends a chunk, as much as is taken within `ms`. False: not all of it. */
static bool send_piece(int fd, const char *data, size_t len, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    while (len > 0 && poll(&p, 1, ms) > 0 && !(p.revents & (POLLERR | POLLHUP))) {
        ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return len == 0;
}

enum { PIECE_BYTES = 65536 };

/* How many of `pieces` chunks of 64 KiB are taken. */
static int send_chunks(int fd, int pieces, int ms)
{
    static char piece[PIECE_BYTES + 16];
    int n = 0, head = snprintf(piece, sizeof(piece), "10000\r\n");

    memset(piece + head, 1, PIECE_BYTES);
    memcpy(piece + head + PIECE_BYTES, "\r\n", 2);
    while (n < pieces && send_piece(fd, piece, (size_t)head + PIECE_BYTES + 2, ms))
        n++;
    return n;
}

static long resident_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");

    while (fgets(line, sizeof(line), f))
        sscanf(line, "VmHWM: %ld", &kib);
    fclose(f);
    return kib;
}

static void large_upload(void **state)
{
    struct passing_test *t = *state;
    int fd = client(&t->f), pieces = 1024; /* 64 MiB */
    long before = resident_kib();
    bool ended;

    say(fd, "PATCH /v2/a HTTP/1.1\r\nHost: reg.test\r\nTransfer-Encoding: chunked\r\n" CLOSE);
    assert_int_equal(send_chunks(fd, pieces, 5000), pieces);
    say(fd, "0\r\n\r\n");
    hear(fd, answer, sizeof(answer) - 1, 5000, &ended);
    close(fd);
    assert_true(has("\r\nTransfer-Encoding: chunked\r\n") && has("sum=67108864\n"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* these keep what was freed */
    assert_true(resident_kib() - before < 16 << 10);
#else
    (void)before;
#endif
}

/* A registry that stops reading: so does the client have to stop, and it gets the answer when that comes. */
static void backpressure(void **state)
{
    struct passing_test *t = *state;
    int fd = client(&t->f);
    bool ended;

    say(fd, "PATCH /stall HTTP/1.1\r\nHost: reg.test\r\nTransfer-Encoding: chunked\r\n" CLOSE);
    int taken = send_chunks(fd, 1024, 400);
    assert_in_range(taken, 1, 160); /* 10 MiB, the kernel's buffers for the most part */
    atomic_store(&t->toy.go_on, true);
    hear(fd, answer, sizeof(answer) - 1, 3000, &ended);
    close(fd);
    assert_true(has("HTTP/1.1 201 "));
}

/* The other way: what the client does not take is not read from the registry. */
static void slow_client(void **state)
{
    struct passing_test *t = *state;
    int fd = client(&t->f);
    bool ended;

    say(fd, "GET /big HTTP/1.1\r\nHost: reg.test\r\n" CLOSE);
    usleep(400000);
    assert_in_range(atomic_load(&t->toy.sent), 1, 10 << 20);
    assert_true(hear(fd, NULL, SIZE_MAX, 3000, &ended) > TOY_BIG && ended);
    close(fd);
}

/* The refusal arrives while the client is still sending, whether it sends fast or waits. */
static void early_answer(void **state)
{
    struct passing_test *t = *state;
    static const struct {
        const char *path;
        char ends[16]; /* a pointer may be NULL, as gcc sees it under UBSan */
        int pieces;
    } cases[] = {{"/early", "too large", 256}, {"/early", "too large", 2}, {"/early-empty", "\r\n\r\n", 2}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *request =
            xasprintf("PATCH %s HTTP/1.1\r\nHost: reg.test\r\nTransfer-Encoding: chunked\r\n\r\n", cases[i].path);
        int fd = client(&t->f);
        bool ended;
        say(fd, request);
        send_chunks(fd, cases[i].pieces, 1000);
        hear(fd, answer, sizeof(answer) - 1, 400, &ended);
        assert_true(none_under_way(t)); /* it waits for no more of the body */
        close(fd);
        assert_true(has("HTTP/1.1 413 ") && has(cases[i].ends));
    }
}

/* ---- failures ---- */

static void client_leaves(void **state)
{
    struct passing_test *t = *state;
    int fd = client(&t->f);

    say(fd, "PATCH /never HTTP/1.1\r\nHost: reg.test\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123");
    assert_true(wait_until(&t->toy.requests, 1));
    close(fd);
    assert_true(wait_until(&t->toy.closed, 1));
}

/* The client has gone, which is seen only when its answer is sent: the same moment ends the request to the registry. */
static void client_left(void **state)
{
    struct passing_test *t = *state;
    int fds[8];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = client(&t->f);
        say(fds[i], "PATCH /stall HTTP/1.1\r\nHost: reg.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        send_chunks(fds[i], 1024, 30); /* more than is taken: it is not read from any more */
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    atomic_store(&t->toy.go_on, true);
    assert_true(none_under_way(t));
    ask(t, "GET /v2/ HTTP/1.1\r\nHost: reg.test\r\n" CLOSE, 3000);
    assert_true(has("HTTP/1.1 200 "));
}

static void registry_fails(void **state)
{
    struct passing_test *t = *state;

    ask(t, "GET /dead HTTP/1.1\r\nHost: dead.test\r\n" CLOSE, 3000);
    assert_true(has("HTTP/1.1 502 ") && has("http://127.0.0.1:1"));
    ask(t, "GET /cut HTTP/1.1\r\nHost: reg.test\r\n\r\n", 3000);
    assert_true(has("HTTP/1.1 200 ") && has("Content-Length: 100\r\n") && has("half") && answer_ended);
    ask(t, "GET /never HTTP/1.1\r\nHost: reg.test\r\n\r\n", 8000);
    assert_true(has("HTTP/1.1 504 "));
}

/* A registry ends a kept connection instead of answering: what changes something is not sent twice. */
static void not_twice(void **state)
{
    struct passing_test *t = *state;

    for (int post = 0; post < 2; post++) {
        ask(t, "GET /v2/ HTTP/1.1\r\nHost: reg.test\r\n" CLOSE, 3000);
        int before = atomic_load(&t->toy.requests);
        ask(t,
            post ? "POST /drop HTTP/1.1\r\nHost: reg.test\r\nContent-Length: 0\r\n" CLOSE
                 : "GET /drop HTTP/1.1\r\nHost: reg.test\r\n" CLOSE,
            3000);
        assert_true(has("HTTP/1.1 502 "));
        assert_int_equal(atomic_load(&t->toy.requests) - before, post ? 1 : 2);
    }
}

/* Their number is bounded with that of all other requests to registries. */
static void too_many(void **state)
{
    struct passing_test *t = *state;
    int fd = client(&t->f);

    sites_set_slots(t->sites, 1);
    say(fd, "GET /never HTTP/1.1\r\nHost: reg.test\r\n\r\n");
    assert_true(wait_until(&t->toy.requests, 1));
    ask(t, "GET /v2/ HTTP/1.1\r\nHost: reg.test\r\n" CLOSE, 3000);
    assert_true(has("HTTP/1.1 503 ") && has("Retry-After: "));
    sites_set_slots(t->sites, 3); /* uploads that last get one of them: pulls always find one */
    ask(t, "GET /v2/ HTTP/1.1\r\nHost: reg.test\r\n" CLOSE, 3000);
    assert_true(has("HTTP/1.1 503 "));
    sites_set_slots(t->sites, 4);
    ask(t, "GET /v2/ HTTP/1.1\r\nHost: reg.test\r\n" CLOSE, 3000);
    assert_true(has("HTTP/1.1 200 "));
    close(fd);
    assert_true(wait_until(&t->toy.closed, 1));
    ask(t, "GET /v2/ HTTP/1.1\r\nHost: reg.test\r\n" CLOSE, 3000);
    assert_true(has("HTTP/1.1 200 "));
}

/* ---- what was pushed ---- */

static bool points_to(struct passing_test *t, const char *digest)
{
    struct cache_hit hit;
    char text[DIGEST_TEXT_MAX];

    cache_find(t->cache, APP, "v1", NULL, &hit);
    return digest ? hit.tag_known && strcmp(digest_format(&hit.tag.digest, text), digest) == 0 : !hit.tag_known;
}

static void set_old(struct passing_test *t, const char *text)
{
    struct digest d;

    assert_true(digest_parse(&d, text, strlen(text)));
    cache_put_tag(t->cache, APP, "v1", &d, clock_now_ms() - 1000, NULL, NULL, NULL);
    cache_wait_written(t->cache);
}

/* The tag is what was pushed, by the time the client has its answer. */
static void pushed_tag(void **state)
{
    struct passing_test *t = *state;

    set_old(t, "sha256:" HEX64);
    assert_true(points_to(t, "sha256:" HEX64));
    ask(t, "PUT /v2/org/app/manifests/v1 HTTP/1.1\r\nHost: reg.test\r\nContent-Length: 2\r\n" CLOSE "{}", 3000);
    assert_true(has("HTTP/1.1 201 "));
    assert_true(points_to(t, TOY_DIGEST));
    ask(t, "DELETE /v2/org/app/manifests/v1 HTTP/1.1\r\nHost: reg.test\r\n" CLOSE, 3000);
    assert_true(has("HTTP/1.1 202 "));
    assert_true(points_to(t, NULL));
    set_old(t, "sha256:" HEX64);
    ask(t, "DELETE /v2/org/app/manifests/" TOY_DIGEST " HTTP/1.1\r\nHost: reg.test\r\n" CLOSE, 3000);
    assert_true(points_to(t, "sha256:" HEX64));
    ask(t, "DELETE /v2/org/app/manifests/sha256:" HEX64 " HTTP/1.1\r\nHost: reg.test\r\n" CLOSE, 3000);
    assert_true(points_to(t, NULL));
    ask(t, "PUT /v2/org/app/manifests/v1 HTTP/1.1\r\nHost: reg.test\r\nContent-Length: 2\r\n" CLOSE "{}", 3000);
    assert_true(points_to(t, NULL)); /* a push does not tell whether the repository is public */
}

int main(void)
{
    const struct CMUnitTest tests[] = {

        PASS(end_to_end),     PASS(kinds_of_answers), PASS(large_upload),  PASS(backpressure),
        PASS(slow_client),    PASS(early_answer),     PASS(client_leaves), PASS(client_left),
        PASS(registry_fails), PASS(not_twice),        PASS(pushed_tag),    PASS(too_many),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
