#include "tests/unit/unit_http.h"

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
        hear(stays, text, sizeof(text) - 1, 400, &ended);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(pipelined),
        CASE(half_closed),
        CASE(closed_while_waiting),
        CASE(a_slow_disk),
        CASE(gone_from_a_cold_file),
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
