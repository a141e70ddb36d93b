#include "tests/unit/unit.h"

#include "proxy/registry/handlers.h"
#include "proxy/http/bounds.h"
#include "proxy/limits.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

/* Two loops that share what clients may have: 8 connections, 3 each address, 2 that wait to be refused. */
enum { LOOPS = 2, ALL = 8, EACH = 3, OVER = 2 };

struct fixture {
    struct loop *loops[LOOPS];
    struct http_server *servers[LOOPS];
    struct http_bounds *bounds;
    atomic_int requests;
};

/* "/wait" is never answered. */
static void on_request(void *arg, struct http_request *req)
{
    struct fixture *f = arg;

    if (strcmp(http_path(req), "/wait") != 0)
        http_reply(req, 200, "text/plain", "ok", 2);
    atomic_fetch_add(&f->requests, 1);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    f->bounds = http_bounds_new("limits.connections", ALL, EACH, OVER);
    for (int i = 0; i < LOOPS; i++) {
        f->loops[i] = loop_new("test", NULL);
        f->servers[i] = http_server_new(f->loops[i], &HTTP_LIMITS_DEFAULT, on_request, NULL, f);
        http_server_set_errors(f->servers[i], reply_format_error);
        http_bounds_add_server(f->bounds, f->servers[i]);
    }
    for (int i = 0; i < LOOPS; i++)
        assert_true(loop_start(f->loops[i], NULL));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < LOOPS; i++)
        loop_stop(f->loops[i]);
    for (int i = 0; i < LOOPS; i++)
        loop_join(f->loops[i]);
    http_bounds_close(f->bounds);
    for (int i = 0; i < LOOPS; i++)
        http_server_free(f->servers[i]);
    for (int i = 0; i < LOOPS; i++)
        loop_free(f->loops[i]);
    http_bounds_free(f->bounds);
    free(f);
    return 0;
}

struct arrival {
    struct fixture *f;
    int fd, loop;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } peer;
};

static void arrive(void *arg)
{
    struct arrival *a = arg;

    http_bounds_accept(a->f->bounds, a->f->servers[a->loop], &(struct http_arrival){.fd = a->fd}, &a->peer.any);
    free(a);
}

/* Somebody connects from this address; what it sends is there with it. */
static int come(struct fixture *f, int loop, const char *from, const char *says)
{
    struct arrival *a = xcalloc(1, sizeof(*a));
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    a->f = f;
    a->loop = loop;
    a->fd = pair[1];
    a->peer.any.sa_family = strchr(from, ':') ? AF_INET6 : AF_INET;
    if (strchr(from, ':'))
        assert_int_equal(inet_pton(AF_INET6, from, &a->peer.in6.sin6_addr), 1);
    else
        assert_int_equal(inet_pton(AF_INET, from, &a->peer.in.sin_addr), 1);
    if (says)
        assert_true(write(pair[0], says, strlen(says)) > 0);
    loop_post(f->loops[loop], arrive, a);
    return pair[0];
}

#define WAIT "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
#define ASK  "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"

/* The status of the answer; 0: it was closed, or reset, without one; -1: nothing comes. Leaves it in `out`. */
static int answer(int fd, char out[512])
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    memset(out, 0, 512);
    if (poll(&p, 1, 500) != 1)
        return -1;
    return read(fd, out, 511) > 12 ? atoi(out + 9) : 0;
}

static struct http_bounds_stats now(struct fixture *f)
{
    struct http_bounds_stats s;

    http_bounds_get_stats(f->bounds, &s);
    return s;
}

static void busy(struct fixture *f, int fds[], int n, const char *from)
{
    for (int i = 0; i < n; i++)
        fds[i] = come(f, i % LOOPS, from, WAIT);
    for (int k = 0; k < 200 && atomic_load(&f->requests) < n; k++)
        usleep(5000);
    assert_int_equal(atomic_load(&f->requests), n);
}

static void all_are_busy(void **state)
{
    struct fixture *f = *state;
    char text[512];
    int fds[ALL], more[OVER + 1];

    busy(f, fds, ALL, "127.0.0.1"); /* all engines of a node: more than EACH */
    assert_int_equal(now(f).connections, ALL);
    assert_int_equal(now(f).clients, 0);
    for (int i = 0; i <= OVER; i++)
        more[i] = come(f, 0, "192.0.2.1", ASK);
    for (int i = 0; i < OVER; i++) {
        assert_int_equal(answer(more[i], text), 503);
        assert_non_null(strstr(text, "\r\nRetry-After: 1\r\n"));
        assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
        assert_non_null(strstr(text, "UNAVAILABLE"));
    }
    assert_int_equal(answer(more[OVER], text), 0); /* not even that */
    assert_int_equal(now(f).refused_full, OVER + 1);
    close(fds[0]);
    for (int i = 0; i <= OVER; i++)
        close(more[i]);
    for (int k = 0; k < 1000 && now(f).connections == ALL; k++)
        usleep(5000);
    int again = come(f, 1, "192.0.2.1", ASK);
    assert_int_equal(answer(again, text), 200);
    close(again);
    for (int i = 1; i < ALL; i++)
        close(fds[i]);
}

/* Those that are idle make room, the first ones first, also those of another loop; but not who has just come. */
static void idle_ones_go(void **state)
{
    struct fixture *f = *state;
    char text[512];
    int fds[ALL], fresh, other;

    for (int i = 0; i < ALL; i++) {
        fds[i] = come(f, 0, "127.0.0.1", ASK);
        assert_int_equal(answer(fds[i], text), 200);
    }
    int same = come(f, 0, "127.0.0.1", ASK);
    assert_int_equal(answer(same, text), 200);
    assert_int_equal(answer(fds[0], text), 0);
    other = come(f, 1, "127.0.0.1", ASK); /* this loop has none */
    assert_int_equal(answer(other, text), 200);
    assert_int_equal(answer(fds[1], text), 0);
    assert_int_equal(now(f).idle_closed, 2);
    assert_int_equal(now(f).refused_full, 0);
    assert_int_equal(now(f).connections, ALL);
    fresh = come(f, 0, "127.0.0.1", NULL);
    for (int i = 3; i < ALL; i++)
        assert_true(write(fds[i], WAIT, strlen(WAIT)) > 0);
    assert_true(write(same, WAIT, strlen(WAIT)) > 0 && write(other, WAIT, strlen(WAIT)) > 0);
    usleep(50000);
    int last = come(f, 0, "127.0.0.1", ASK);
    assert_int_equal(answer(last, text), 503);
    assert_true(write(fresh, ASK, strlen(ASK)) > 0);
    assert_int_equal(answer(fresh, text), 200);
    close(fresh);
    close(last);
    close(same);
    close(other);
    for (int i = 0; i < ALL; i++)
        close(fds[i]);
}

static void one_client(void **state)
{
    struct fixture *f = *state;
    char text[512];
    int fds[EACH], n = 0, others[3];
    static const char *const elsewhere[] = {"192.0.2.9", "2001:db8:0:1::1", "::ffff:127.0.0.1"};

    busy(f, fds, EACH, "2001:db8::1");
    assert_int_equal(now(f).clients, 1);
    int more = come(f, 0, "2001:db8::ffff:1", ASK); /* a /64 is one client */
    assert_int_equal(answer(more, text), 503);
    assert_int_equal(now(f).refused_client, 1);
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        others[n] = come(f, 0, elsewhere[i], ASK);
        assert_int_equal(answer(others[n++], text), 200);
    }
    assert_int_equal(now(f).clients, 3);
    close(fds[0]);
    for (int k = 0; k < 1000 && now(f).connections >= EACH + n; k++)
        usleep(5000);
    int idle = come(f, 0, "2001:db8::2", ASK);
    assert_int_equal(answer(idle, text), 200);
    int last = come(f, 1, "2001:db8::3", ASK); /* the client's own idle one goes, nobody else's */
    assert_int_equal(answer(last, text), 200);
    assert_int_equal(answer(idle, text), 0);
    for (int i = 0; i < n; i++) {
        assert_true(write(others[i], ASK, strlen(ASK)) > 0);
        assert_int_equal(answer(others[i], text), 200);
        close(others[i]);
    }
    close(idle);
    close(last);
    close(more);
    for (int i = 1; i < EACH; i++)
        close(fds[i]);
    for (int k = 0; k < 1000 && now(f).connections > 0; k++)
        usleep(5000);
    assert_int_equal(now(f).connections, 0);
    assert_int_equal(now(f).clients, 0);
}

static void shares(void **state UNUSED)
{
    static const struct config_limits usual = {.connections = 8192, .per_client = 1024, .misses = 256};
    static const struct {
        int64_t nofile, used;
        int connections, per_client, calls;
    } cases[] = {
        {524288, 60, 8192, 1024, 87312},
        {INT64_MAX, 60, 8192, 1024, 174694},
        {4096, 60, 921, 921, 614},
        {1024, 60, 169, 169, 112},
        {256, 60, 16, 16, 8}, /* not enough for anything: a little, all the same */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct limits_share s = limits_share_out(&usual, cases[i].nofile, cases[i].used);
        assert_int_equal(s.connections, cases[i].connections);
        assert_int_equal(s.per_client, cases[i].per_client);
        assert_int_equal(s.calls, cases[i].calls);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_are_busy),
        CASE(idle_ones_go),
        CASE(one_client),
        cmocka_unit_test(shares),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
