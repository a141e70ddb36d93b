/* Sockets that libcurl closes behind our back: it does not tell of those that have not connected. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "upstream/connect.h"
#include "upstream/transfer_private.h"

#include <errno.h>
#include <arpa/inet.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { QUEUED = 8, TRANSFERS = 20 };

static struct loop *loop;
static struct sockaddr_in deaf; /* where nothing is answered: the queue of connections is full */
static int deaf_fd, queued[QUEUED];

/* It does not end soon. */
static void begin_to_connect(int fd)
{
    assert_true(connect(fd, (const struct sockaddr *)(const void *)&deaf, sizeof(deaf)) == 0 || errno == EINPROGRESS);
}

static int set_up(void **state UNUSED)
{
    socklen_t len = sizeof(deaf);
    struct err err;

    loop = loop_new("test", &err);
    deaf = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    deaf_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(deaf_fd, (struct sockaddr *)&deaf, sizeof(deaf)), 0);
    assert_int_equal(listen(deaf_fd, 0), 0);
    assert_int_equal(getsockname(deaf_fd, (struct sockaddr *)&deaf, &len), 0);
    for (int i = 0; i < QUEUED; i++) {
        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        begin_to_connect(queued[i]);
    }
    return 0;
}

static int tear_down(void **state UNUSED)
{
    for (int i = 0; i < QUEUED; i++)
        close(queued[i]);
    close(deaf_fd);
    loop_free(loop);
    return 0;
}

static bool is_connecting(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_SYN_SENT;
}

static void run_for(int ms)
{
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    event_base_loopexit(loop_base(loop), &tv);
    event_base_loop(loop_base(loop), EVLOOP_NO_EXIT_ON_EMPTY);
}

static void must_not_be_called(void *arg UNUSED, int fd UNUSED)
{
    fail();
}

/* Another's socket, with the number of one that has gone, has the time that it needs to connect. */
static void another_with_its_number_is_left_alone(void **state UNUSED)
{
    struct connect_table *t = connect_table_new(loop);
    const struct sockaddr *to = (const struct sockaddr *)(const void *)&deaf;
    int fd = connect_open(t, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, to, 0, must_not_be_called, &deaf);

    assert_true(fd >= 0);
    begin_to_connect(fd);
    assert_true(is_connecting(fd));
    close(fd); /* as libcurl does */
    int other = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(other, fd);
    begin_to_connect(other);
    run_for(1200);
    assert_true(is_connecting(other));
    /* Nor is the address known as one that does not answer. */
    int next = connect_open(t, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, to, 0, must_not_be_called, &deaf);
    assert_true(next >= 0);
    connect_close(t, next);
    connect_forget(t, &deaf);
    assert_int_equal(connect_count(t), 0);
    close(other);
    connect_table_free(t);
}

static void count_end(void *arg, const struct transfer_response *r UNUSED, const struct err *err)
{
    assert_int_equal(err->code, ERR_TIMEOUT);
    ++*(int *)arg;
}

static struct transfer *start_one(struct transfer_engine *e, int total_timeout_ms, int *ended)
{
    static const char *const named[] = {"127.0.0.1", NULL};
    _cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d/v2/", ntohs(deaf.sin_port));

    return transfer_start(e, &(struct transfer_request){.method = "GET",
                                                        .url = url,
                                                        .range_first = -1,
                                                        .range_last = -1,
                                                        .named = named,
                                                        .unshared = true,
                                                        .total_timeout_ms = total_timeout_ms,
                                                        .on_done = count_end,
                                                        .arg = ended});
}

/* Clients leave, or it takes too long: nothing is left of their transfers. */
static void nothing_is_kept_of_what_never_connected(void **state UNUSED)
{
    struct transfer *held[TRANSFERS];
    struct err err;
    int ended = 0;
    struct transfer_engine *e = transfer_engine_new(loop, &err);

    assert_non_null(e);
    for (int i = 0; i < TRANSFERS; i++)
        held[i] = start_one(e, 0, &ended);
    for (int left = 500; connect_count(e->connects) < TRANSFERS && left > 0; left--)
        run_for(20);
    assert_int_equal(connect_count(e->connects), TRANSFERS);
    for (int i = 0; i < TRANSFERS; i++)
        transfer_cancel(held[i]);
    run_for(20);
    assert_int_equal(connect_count(e->connects), 0);
    assert_int_equal(ended, 0);
    for (int i = 0; i < TRANSFERS; i++)
        start_one(e, 400, &ended);
    for (int left = 500; ended < TRANSFERS && left > 0; left--)
        run_for(20);
    assert_int_equal(ended, TRANSFERS);
    assert_int_equal(connect_count(e->connects), 0);
    transfer_engine_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_with_its_number_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_kept_of_what_never_connected, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
