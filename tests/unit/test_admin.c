/* Admin requests that wait for the index. The loop runs on the test's own thread, turn by turn. */
#include "tests/unit/unit.h"

#include "base/pool.h"
#include "gc/gc.h"
#include "proxy/admin/admin.h"

#include <event2/event.h>
#include <semaphore.h>
#include <sys/socket.h>

struct fixture {
    char *dir;
    struct admin admin;
    struct pool *pool;
    atomic_bool serving;
    struct loop *loop;
    struct http_server *http;
    sem_t disk;
    bool finished;
};

static void on_request(void *arg, struct http_request *req)
{
    admin_handle(arg, req);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    const struct gc_options o = {.max_bytes = 1 << 30,
                                 .high = 95,
                                 .low = 90,
                                 .grace_ms = 3600000,
                                 .interval_ms = 3600000,
                                 .policy = &POLICY_LRU};
    struct admin *a = &f->admin;

    f->dir = make_folder();
    sem_init(&f->disk, 0, 0);
    f->pool = pool_new("io", 1, NULL);
    a->admin_pool = pool_new("admin", 1, NULL);
    a->long_pool = pool_new("admin-long", 1, NULL);
    a->puller.cache = cache_open(f->dir, f->pool, NULL, NULL);
    a->puller.gc = a->puller.cache ? gc_new(a->puller.cache, &o, NULL) : NULL;
    while (a->puller.gc && !gc_is_reconciled(a->puller.gc))
        usleep(1000);
    atomic_init(&f->serving, true);
    a->puller.serving = &f->serving;
    f->loop = loop_new("test", NULL);
    f->http = http_server_new(f->loop, &HTTP_LIMITS_DEFAULT, on_request, NULL, a);
    *state = f;
    return a->puller.gc ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (int n = 0; n < 2; n++)
        sem_post(&f->disk); /* a test that failed may have left workers hanging */
    http_server_free(f->http);
    pool_free(f->admin.long_pool);
    pool_free(f->admin.admin_pool);
    gc_free(f->admin.puller.gc);
    pool_free(f->pool);
    cache_close(f->admin.puller.cache);
    loop_free(f->loop);
    sem_destroy(&f->disk);
    remove_tree(f->dir);
    free(f);
    return 0;
}

/* ---- a blob that clients have had and the index has not ---- */

static void hang(void *arg)
{
    sem_wait(arg);
}

static void finished(void *arg, enum ingest_state state, const struct err *err UNUSED)
{
    struct fixture *f = arg;

    assert_int_equal(state, INGEST_STORED);
    f->finished = true;
}

static void unconcerned(void *arg UNUSED)
{
}

/* Verified; its sync waits for the disk. */
static struct ingest *begin_blob(struct fixture *f)
{
    static const char data[] = "a layer";
    struct digest d;

    digest_of(DIGEST_SHA256, data, sizeof(data), &d);
    pool_run(f->pool, hang, &f->disk);
    const struct ingest_events events = {finished, unconcerned, unconcerned, unconcerned, f};
    struct ingest *i = ingest_begin(cache_ingests(f->admin.puller.cache), &d, "docker.io", f->loop, &events, NULL);
    assert_non_null(i);
    ingest_also_link(i, "docker.io/library/x", PROOF_BYTES, false);
    assert_true(ingest_describe(i, sizeof(data), "", NULL));
    assert_true(ingest_write(i, 0, data, sizeof(data), NULL));
    assert_int_equal(ingest_state(i), INGEST_VERIFIED);
    return i;
}

static void wait_for_answer(struct fixture *f, int fd, char *text, size_t cap)
{
    for (int ms = 0; recv(fd, text, cap - 1, MSG_DONTWAIT) < 0 && ms < 3000; ms++) {
        event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        usleep(1000);
    }
}

static void end_blob(struct fixture *f, struct ingest *i)
{
    sem_post(&f->disk);
    for (int ms = 0; !f->finished && ms < 10000; ms++) {
        event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        usleep(1000);
    }
    assert_true(f->finished);
    ingest_unref(i);
}

/* ---- requests ---- */

static int pending(struct fixture *f)
{
    return event_base_get_num_events(loop_base(f->loop), EVENT_BASE_COUNT_ADDED);
}

/* Turns of the loop until so many events are pending. */
static bool wait_for_pending(struct fixture *f, int count)
{
    for (int ms = 0; pending(f) != count && ms < 3000; ms++) {
        event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
        usleep(1000);
    }
    return pending(f) == count;
}

/* A client that has connected. */
static int client(struct fixture *f)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    http_server_accept(f->http, &(struct http_arrival){.fd = pair[1]});
    event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK);
    return pair[0];
}

/* A request waits until the index has what clients have been served. When its connection ends, as all do when the
 * daemon stops, nothing of it is left: no timer that nobody will wait for, and no memory (which is ASan's to say). */
static void gone_while_it_waits(void **state)
{
    static const char *const requests[] = {
        "GET /v1/images HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v1/rm HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\n{\"references\": [\"nginx:1\"]}",
        "POST /v1/gc HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        /* looks again when it has found none */
        "POST /v1/pin HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\n{\"references\": [\"nginx:1\"]}",
    };
    struct fixture *f = *state;
    struct ingest *i = begin_blob(f);
    int nobody = pending(f);

    for (size_t k = 0; k < ARRAY_LEN(requests); k++) {
        int fd = client(f), idle = pending(f);
        assert_int_equal(write(fd, requests[k], strlen(requests[k])), strlen(requests[k]));
        assert_true(wait_for_pending(f, idle + 1));
        http_server_cut(f->http);
        event_base_loop(loop_base(f->loop), EVLOOP_NONBLOCK); /* what close put off */
        assert_int_equal(pending(f), nobody);
        close(fd);
    }
    end_blob(f, i);
}

/* A value of the wrong kind is an error, not the default: that of gc is to collect. */
static void kinds_of_values(void **state)
{
    static const struct {
        const char *page, *body, *said;
    } cases[] = {
        {"gc", "{\"dry_run\": \"true\"}", "\\\"dry_run\\\" has to be true or false"},
        {"gc", "{\"dry_run\": 1}", "\\\"dry_run\\\" has to be true or false"},
        {"gc", "{\"dry_run\": true, \"to\": \"5GiB\"}", "\\\"to\\\" has to be a whole number, 0 or more"},
        {"gc", "{\"dry_run\": true, \"to\": -1}", "\\\"to\\\" has to be a whole number, 0 or more"},
        {"verify", "{\"rate\": \"1MiB\"}", "\\\"rate\\\" has to be a whole number, 0 or more"},
        {"pull", "{\"references\": [\"a\"], \"platforms\": \"all\"}", "\\\"platforms\\\" has to be a list"},
        {"rm", "{\"references\": \"a\"}", "\\\"references\\\" has to be a list"},
        {"export", "{\"references\": [\"a\"], \"format\": 1}", "\\\"format\\\" has to be a text"},
        {"rm", "[]", "not a JSON object"},
    };
    struct fixture *f = *state;

    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        _cleanup_free_ char *request = xasprintf("POST /v1/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
                                                 cases[k].page, strlen(cases[k].body), cases[k].body);
        char text[4096] = "";
        int fd = client(f);
        assert_int_equal(write(fd, request, strlen(request)), strlen(request));
        wait_for_answer(f, fd, text, sizeof(text));
        if (!strstr(text, " 400 Bad Request\r\n") || !strstr(text, cases[k].said))
            fail_msg("%s: %s", cases[k].body, text);
        close(fd);
    }
}

/* One that stays has its answer as soon as the index has the blob. */
static void answered_when_it_is_there(void **state)
{
    static const char request[] = "GET /v1/images HTTP/1.1\r\nHost: x\r\n\r\n";
    struct fixture *f = *state;
    struct ingest *i = begin_blob(f);
    char text[4096] = "";
    int fd = client(f), idle = pending(f);

    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    assert_true(wait_for_pending(f, idle + 1));
    assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), -1);
    end_blob(f, i);
    wait_for_answer(f, fd, text, sizeof(text));
    assert_non_null(strstr(text, " 200 OK\r\n"));
    close(fd);
}

/* Neither syncs of blobs nor long requests are in the way of a short one. */
static void short_ones_wait_for_nobody(void **state)
{
    static const char *const requests[] = {
        "POST /v1/pin HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\n{\"references\": [\"nginx:1\"]}",
        "GET /v1/images/nginx:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    struct fixture *f = *state;

    pool_run(f->pool, hang, &f->disk);
    pool_run(f->admin.long_pool, hang, &f->disk);
    for (size_t k = 0; k < ARRAY_LEN(requests); k++) {
        char text[4096] = "";
        int fd = client(f);
        assert_int_equal(write(fd, requests[k], strlen(requests[k])), strlen(requests[k]));
        wait_for_answer(f, fd, text, sizeof(text));
        if (!strstr(text, " 404 Not Found\r\n"))
            fail_msg("%s is answered: %s", requests[k], text);
        close(fd);
    }
    sem_post(&f->disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(kinds_of_values, setup, teardown),
        cmocka_unit_test_setup_teardown(gone_while_it_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(answered_when_it_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(short_ones_wait_for_nobody, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
