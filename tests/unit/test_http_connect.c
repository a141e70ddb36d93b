/* What comes behind CONNECT: TLS, or a tunnel. */
#include "tests/unit/unit_http.h"
#include "tests/unit/unit_tls.h"

enum { LARGE = 4 << 20 };

#define CONNECT(target) "CONNECT " target " HTTP/1.1\r\nHost: " target "\r\nX-Request-Id: me\r\n\r\n"

static const char DONE[] = "HTTP/1.1 200 Connection established\r\nX-Request-Id: me\r\n\r\n";

struct opened {
    SSL_CTX *server, *client;
    int far;          /* the other end of the next tunnel */
    atomic_int bytes; /* of uploads */
    struct http_request *upload;
};

static void count_data(void *arg, const void *data UNUSED, size_t len)
{
    atomic_fetch_add(&((struct opened *)arg)->bytes, (int)len);
}

static void count_end(void *arg)
{
    http_reply(((struct opened *)arg)->upload, 201, NULL, "ok", 2);
}

static void give_tunnel(struct opened *o, struct http_request *req)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    o->far = pair[0];
    http_connect_tunnel(req, pair[1]);
}

static bool open_hosts(struct fixture *f, struct http_request *req)
{
    struct opened *o = f->own;
    const char *authority = http_authority(req), *host = http_opened_host(req);

    if (authority && strcmp(authority, "tls.example:443") == 0) {
        http_connect_tls(req, (SSL_CTX_up_ref(o->server), o->server), "TLS.example");
    } else if (authority && strcmp(authority, "far.example:22") == 0) {
        give_tunnel(o, req);
    } else if (authority) {
        http_error(req, 403, "DENIED", "%s %s", authority, http_host(req));
    } else if (strcmp(http_path(req), "/up") == 0) {
        o->upload = req;
        http_body_stream(req, count_data, count_end, o);
    } else {
        http_reply_header(req, "X-Opened", "%s %d %d %s", host ? host : "-", http_is_tls(req), http_is_absolute(req),
                          http_host(req));
        http_reply(req, 200, NULL, "hello", 5);
    }
    return true;
}

static int setup_opened(void **state)
{
    setup(state);
    struct fixture *f = *state;
    struct opened *o = xcalloc(1, sizeof(*o));
    o->server = tls_unit_context("tls.example");
    o->client = SSL_CTX_new(TLS_client_method());
    o->far = -1;
    f->own = o;
    f->extra = open_hosts;
    f->forward = true;
    return 0;
}

static int teardown_opened(void **state)
{
    struct opened *o = ((struct fixture *)*state)->own;
    int rc = teardown(state);

    SSL_CTX_free(o->server);
    SSL_CTX_free(o->client);
    if (o->far >= 0)
        close(o->far);
    free(o);
    return rc;
}

static void expect(int fd, const char *text)
{
    char heard[4096];
    bool ended;

    hear(fd, heard, strlen(text), 1000, &ended);
    assert_string_equal(heard, text);
}

/* One answer inside TLS. */
static void ask(SSL *ssl, const char *request, const char *wanted)
{
    char text[4096] = "";
    size_t len = 0;

    assert_int_equal(SSL_write(ssl, request, (int)strlen(request)), (int)strlen(request));
    while (!strstr(text, wanted)) {
        int n = SSL_read(ssl, text + len, (int)(sizeof(text) - 1 - len));
        if (n <= 0)
            fail_msg("no %s in: %s", wanted, text);
        len += (size_t)n;
        text[len] = '\0';
    }
}

/* Requests inside are as others, know what the connection was opened for, and may be uploads. */
static void tls_inside(void **state)
{
    struct fixture *f = *state;
    struct opened *o = f->own;
    static char data[65536];
    int fd = client(f);

    say(fd, CONNECT("tls.example:443"));
    expect(fd, DONE);
    SSL *ssl = SSL_new(o->client);
    SSL_set_fd(ssl, fd);
    assert_int_equal(SSL_connect(ssl), 1);
    ask(ssl, GET("/") GET("/?2"), "X-Opened: tls.example 1 0 x\r\n");
    ask(ssl, "PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 4194304\r\nExpect: 100-continue\r\n\r\n", "100 Continue");
    for (size_t sent = 0; sent < LARGE; sent += sizeof(data))
        assert_int_equal(SSL_write(ssl, data, sizeof(data)), (int)sizeof(data));
    ask(ssl, CONNECT("tls.example:443"), "405 Method"); /* behind "201" */
    assert_int_equal(atomic_load(&o->bytes), LARGE);
    SSL_free(ssl);
    close(fd);
}

/* A client need not wait for the answer to CONNECT: whatever of its handshake comes with it is not lost. */
static void a_hello_that_comes_early(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const size_t pieces[] = {1, 5, 100, SIZE_MAX};
    struct fixture *f = *state;
    struct opened *o = f->own;

    for (size_t i = 0; i < ARRAY_LEN(versions) * ARRAY_LEN(pieces); i++) {
        int fd = client(f);
        char text[4096] = CONNECT("tls.example:443");
        size_t head = strlen(text);
        SSL *ssl = SSL_new(o->client);
        BIO *hello = BIO_new(BIO_s_mem());
        SSL_set_max_proto_version(ssl, versions[i % 2]);
        SSL_set_bio(ssl, BIO_new(BIO_s_mem()), hello);
        assert_int_equal(SSL_connect(ssl), -1);
        int len = BIO_read(hello, text + head, (int)(sizeof(text) - head));
        assert_true(len > 100);
        size_t first = MIN(head + (size_t)len, pieces[i / 2] == SIZE_MAX ? SIZE_MAX : head + pieces[i / 2]);
        assert_int_equal(send(fd, text, first, MSG_NOSIGNAL), (ssize_t)first);
        expect(fd, DONE);
        send(fd, text + first, head + (size_t)len - first, MSG_NOSIGNAL);
        SSL_set_fd(ssl, fd);
        assert_int_equal(SSL_connect(ssl), 1);
        ask(ssl, GET("/"), "X-Opened: tls.example 1 0 x\r\n");
        SSL_free(ssl);
        close(fd);
    }
}

/* Clients that do not go on with TLS. */
static void no_tls_inside(void **state)
{
    struct fixture *f = *state;
    char text[4096];
    bool ended;
    int plain = client(f), early = client(f), silent = client(f);

    say(early, CONNECT("tls.example:443") GET("/"));
    expect(early, DONE);
    hear(early, text, sizeof(text) - 1, 1000, &ended);
    assert_non_null(strstr(text, "this address speaks TLS"));
    assert_true(ended);
    say(silent, CONNECT("tls.example:443"));
    say(plain, CONNECT("tls.example:443"));
    expect(plain, DONE);
    say(plain, GET("/"));
    hear(plain, text, sizeof(text) - 1, 1000, &ended);
    assert_non_null(strstr(text, "this address speaks TLS"));
    expect(silent, DONE);
    assert_int_equal(hear(silent, text, sizeof(text) - 1, 1500, &ended), 0); /* handshake_timeout_ms */
    assert_true(ended);
    close(plain), close(early), close(silent);
}

static void refused_targets(void **state)
{
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {CONNECT("Evil.EXAMPLE:443"), "evil.example:443 evil.example:443"},
        {CONNECT("[2001:DB8::1]:443"), "[2001:db8::1]:443 [2001:db8::1]:443"},
        {"CONNECT a.example:443 HTTP/1.1\r\nHost: other\r\n\r\n", "a.example:443 a.example:443"},
        {"CONNECT a.example HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
        {"CONNECT a.example:0 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
        {"CONNECT a.example:65536 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
        {"CONNECT :443 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
        {"CONNECT [::1:443 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
        {"CONNECT u@a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
        {"CONNECT *.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
        {"CONNECT /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400"},
        {"CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 400"},
        {"CONNECT a.example:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
        {"GET http://Plain.example/v2/ HTTP/1.1\r\nHost: y\r\n\r\n", "X-Opened: - 0 1 plain.example"},
        {GET("/"), "X-Opened: - 0 0 x"},
    };
    struct fixture *f = *state;
    char text[4096];
    bool ended;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = client(f);
        say(fd, cases[i].request);
        hear(fd, text, sizeof(text) - 1, 100, &ended);
        if (!strstr(text, cases[i].answer))
            fail_msg("%s answered: %s", cases[i].request, text);
        close(fd);
    }
    f->forward = false;
    int fd = client(f);
    say(fd, CONNECT("tls.example:443"));
    expect(fd, "HTTP/1.1 405 ");
    close(fd);
}

static int open_tunnel(struct fixture *f, const char *behind)
{
    struct opened *o = f->own;
    int fd = client(f);

    o->far = -1;
    say(fd, CONNECT("far.example:22"));
    if (behind[0])
        say(fd, behind);
    expect(fd, DONE);
    return fd;
}

/* Much both ways at once, though neither side reads before it has sent; then the ends, one by one. */
static void a_tunnel(void **state)
{
    struct fixture *f = *state;
    struct opened *o = f->own;
    static char data[65536], text[65536];
    bool ended;
    int fd = open_tunnel(f, "");
    size_t sent[2] = {0}, got[2] = {0};
    int ends[2] = {fd, o->far};

    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    for (int turns = 0; turns < 20000 && got[0] + got[1] < 2 * LARGE; turns++) {
        for (int i = 0; i < 2; i++) {
            ssize_t n = send(ends[i], data, MIN(sizeof(data), LARGE - sent[i]), MSG_NOSIGNAL);
            sent[i] += (size_t)MAX(n, (ssize_t)0);
            n = turns % 3 ? recv(ends[i], text, sizeof(text), 0) : 0;
            got[i] += (size_t)MAX(n, (ssize_t)0);
        }
        if (turns % 10 == 0)
            usleep(1000);
    }
    assert_true(got[0] == LARGE && got[1] == LARGE);
    assert_int_equal(http_tunnels(), 1);
    say(fd, "last");
    shutdown(fd, SHUT_WR);
    hear(o->far, text, sizeof(text) - 1, 300, &ended);
    assert_string_equal(text, "last");
    assert_true(ended);
    say(o->far, "answer");
    close(o->far);
    o->far = -1;
    hear(fd, text, sizeof(text) - 1, 300, &ended);
    assert_string_equal(text, "answer");
    assert_true(ended);
    for (int i = 0; i < 100 && http_tunnels() > 0; i++)
        usleep(10000);
    assert_int_equal(http_tunnels(), 0);
    close(fd);
}

static void a_tunnel_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct opened *o = f->own;
    char text[64];
    bool ended;
    int fd = open_tunnel(f, "early");
    int ends[2] = {fd, o->far};

    hear(o->far, text, 5, 500, &ended);
    assert_string_equal(text, "early");
    for (int i = 0; i < 2; i++)
        assert_true(fill(ends[i], SIZE_MAX) < 1 << 20); /* most of it is the sockets' */
    close(fd);
}

/* Many tunnels of which no side reads: 64 KiB a direction, and a little. */
static void many_tunnels(void **state)
{
    enum { MANY = 20 }; /* within tunnel_idle_ms */
    struct fixture *f = *state;
    struct opened *o = f->own;
    int near[MANY], far[MANY];
    size_t before = heap_in_use();

    for (int i = 0; i < MANY; i++) {
        near[i] = open_tunnel(f, ""), far[i] = o->far;
        assert_true(fill(near[i], SIZE_MAX) < 1 << 20 && fill(far[i], SIZE_MAX) < 1 << 20);
    }
    assert_int_equal(http_tunnels(), MANY);
    size_t after = heap_in_use();
    if (after > before && after - before > MANY * (2 * 64 + 16) * 1024)
        fail_msg("%zu KiB each", (after - before) / MANY / 1024);
    for (int i = 0; i < MANY; i++)
        close(near[i]), close(far[i]);
    o->far = -1;
    for (int i = 0; i < 200 && http_tunnels() > 0; i++)
        usleep(10000);
    assert_int_equal(http_tunnels(), 0);
}

static void start_drain(void *arg)
{
    struct fixture *f = arg;

    http_server_drain(f->server, note_gone, f);
}

/* Quiet ones, those whose client leaves, and those that are open when the server drains. */
static void tunnels_end(void **state)
{
    struct fixture *f = *state;
    struct opened *o = f->own;
    bool ended;
    int idle = open_tunnel(f, ""), idle_far = o->far, left, left_far, stays;

    hear(idle_far, NULL, 1, 8000, &ended);
    assert_true(ended);
    hear(idle, NULL, 1, 300, &ended);
    assert_true(ended);
    left = open_tunnel(f, ""), left_far = o->far;
    close(left);
    hear(left_far, NULL, 1, 300, &ended);
    assert_true(ended);
    stays = open_tunnel(f, "");
    loop_post(f->loop, start_drain, f);
    hear(o->far, NULL, 1, 300, &ended);
    assert_true(ended);
    hear(stays, NULL, 1, 300, &ended);
    assert_true(ended);
    close(idle), close(idle_far), close(left_far), close(stays);
}

/* Of which a side has ended its output: it is kept for a shorter time, and that begins with each byte. */
static void half_closed_tunnels(void **state)
{
    struct fixture *f = *state;
    struct opened *o = f->own;
    bool ended;

    for (int far_ends = 0; far_ends < 2; far_ends++) {
        int fd = open_tunnel(f, ""), far = o->far, open = open_tunnel(f, ""), open_far = o->far;
        shutdown(far_ends ? far : fd, SHUT_WR);
        hear(far_ends ? fd : far, NULL, 1, 500, &ended);
        assert_true(ended);
        usleep(800000);
        say(far_ends ? fd : far, "x");
        usleep(1000000);
        assert_int_equal(http_tunnels(), 2);
        for (int i = 0; i < 150 && http_tunnels() > 1; i++)
            usleep(10000);
        assert_int_equal(http_tunnels(), 1);
        close(open), close(open_far), close(fd), close(far);
        for (int i = 0; i < 100 && http_tunnels() > 0; i++)
            usleep(10000);
    }
}

#define OPENED(name) cmocka_unit_test_setup_teardown(name, setup_opened, teardown_opened)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(tls_inside),
        OPENED(a_hello_that_comes_early),
        OPENED(no_tls_inside),
        OPENED(refused_targets),
        OPENED(a_tunnel),
        OPENED(a_tunnel_is_bounded),
        OPENED(many_tunnels),
        OPENED(tunnels_end),
        OPENED(half_closed_tunnels),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
