/* Unix sockets of a daemon: whether another one listens there already. */
#include "tests/unit/unit.h"

#include "proxy/http/listen.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST = 64 };

static int unix_socket(const char *path, struct sockaddr_un *sa)
{
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(sa->sun_path, sizeof(sa->sun_path), "%s", path);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

static void an_old_socket_is_replaced(void **state UNUSED)
{
    char *dir = make_folder();
    _cleanup_free_ char *path = xasprintf("%s/s", dir), *address = xasprintf("unix:%s", path);
    struct sockaddr_un sa;
    struct err err = {0};
    int old = unix_socket(path, &sa);

    assert_int_equal(bind(old, (struct sockaddr *)&sa, sizeof(sa)), 0);
    close(old); /* nobody listens there */
    struct listener *l = listener_open(address, 0600, &err);
    assert_non_null(l);
    assert_null(listener_open(address, 0600, &err)); /* but now somebody does */
    assert_int_equal(err.code, ERR_IO);
    listener_free(l);
    assert_int_not_equal(access(path, F_OK), 0);
    remove_tree(dir);
}

/* Its backlog is full: a connect(2) that waits would wait forever. */
static void a_daemon_that_hangs_is_noticed_at_once(void **state UNUSED)
{
    char *dir = make_folder();
    _cleanup_free_ char *path = xasprintf("%s/s", dir), *address = xasprintf("unix:%s", path);
    int clients[MOST], count = 0;
    struct sockaddr_un sa;
    struct err err = {0};
    int daemon = unix_socket(path, &sa);

    assert_int_equal(bind(daemon, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(daemon, 0), 0);
    do
        clients[count] = unix_socket(path, &sa);
    while (connect(clients[count++], (struct sockaddr *)&sa, sizeof(sa)) == 0 && count < MOST);
    assert_int_equal(errno, EAGAIN);
    alarm(10);
    assert_null(listener_open(address, 0600, &err));
    alarm(0);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(access(path, F_OK), 0);
    while (count > 0)
        close(clients[--count]);
    close(daemon);
    remove_tree(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_socket_is_replaced),
        cmocka_unit_test(a_daemon_that_hangs_is_noticed_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
