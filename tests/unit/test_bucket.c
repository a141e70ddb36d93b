/* The shared tier's bounds and states, with a toy that does what the first segment of the path says; a real store, and
 * what misbehaves, are in tests/cluster. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/latch.h"
#include "base/log.h"
#include "cluster/bucket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SKEW_S = 3600, BLOB_SIZE = 1000, PATIENCE_MS = 15000 };

/* ---- the toy ---- */

static struct {
    int listener, port;
    atomic_int alive, puts, gets, fails; /* fails: so many requests are answered 503, probes included */
    atomic_bool there;                   /* each blob */
    pthread_mutex_t lock;
    char heads[200000]; /* all that it was sent, but bodies */
    pthread_t thread;
} toy = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void toy_note(const char *head)
{
    size_t used;

    pthread_mutex_lock(&toy.lock);
    used = strlen(toy.heads);
    snprintf(toy.heads + used, sizeof(toy.heads) - used, "%s\n", head);
    pthread_mutex_unlock(&toy.lock);
}

static int toy_heads_with(const char *text)
{
    int n = 0;

    pthread_mutex_lock(&toy.lock);
    for (const char *p = toy.heads; (p = strstr(p, text)); p++)
        n++;
    pthread_mutex_unlock(&toy.lock);
    return n;
}

static void toy_answer(int fd, bool is_head, const char *status, const char *headers, const char *body)
{
    _cleanup_free_ char *text =
        xasprintf("HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers, strlen(body), is_head ? "" : body);

    (void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static bool toy_is_skewed(const char *head)
{
    const char *at = strstr(head, "x-amz-date: ");
    struct tm tm = {0};

    return at && strptime(at + 12, "%Y%m%dT%H%M%SZ", &tm) && llabs((long long)timegm(&tm) - time(NULL)) < SKEW_S / 2;
}

static void toy_object(int fd, bool is_head)
{
    _cleanup_free_ char *body = xcalloc(BLOB_SIZE + 1, 1);

    memset(body, 'x', BLOB_SIZE);
    toy_answer(fd, is_head, "200 OK", "", body);
}

static void toy_serve(int fd, const char *head)
{
    const char *path = strchr(head, ' ') + 1;
    bool is_head = strncmp(head, "HEAD", 4) == 0, is_put = strncmp(head, "PUT", 3) == 0;
    char date[100];
    time_t there = time(NULL) + SKEW_S;
    struct tm tm;

    gmtime_r(&there, &tm);
    strftime(date, sizeof(date), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    atomic_fetch_add(is_put ? &toy.puts : &toy.gets, 1);
    if (atomic_load(&toy.fails) > 0 && atomic_fetch_sub(&toy.fails, 1) > 0)
        toy_answer(fd, is_head, "503 Slow Down", "", "<Error><Code>SlowDown</Code></Error>");
    else if (strncmp(path, "/skew/", 6) == 0 && toy_is_skewed(head))
        toy_answer(fd, is_head, "403 No", date, "<Error><Code>RequestTimeTooSkewed</Code></Error>");
    else if (is_put && strncmp(path, "/bare/", 6) == 0 && strstr(head, "If-None-Match"))
        toy_answer(fd, is_head, "501 No", "", "<Error><Code>NotImplemented</Code></Error>");
    else if (is_put && strncmp(path, "/read-only/", 11) == 0)
        toy_answer(fd, is_head, "403 No", "", "<Error><Code>AccessDenied</Code></Error>");
    else if (is_put && strncmp(path, "/there/", 7) == 0)
        toy_answer(fd, is_head, "412 There", "", "<Error><Code>PreconditionFailed</Code></Error>");
    else if (is_put)
        toy_answer(fd, is_head, "200 OK", "ETag: \"x\"\r\n", "");
    else if (atomic_load(&toy.there) && !strstr(path, "/sha256/00/00"))
        toy_object(fd, is_head);
    else
        toy_answer(fd, is_head, "404 No", "", "<Error><Code>NoSuchKey</Code></Error>");
}

static void *toy_connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char head[16384];
    size_t have = 0;
    ssize_t n = 1;

    while (n > 0) {
        char *end;
        while (!(head[have] = '\0', end = strstr(head, "\r\n\r\n")) &&
               (n = recv(fd, head + have, sizeof(head) - 1 - have, 0)) > 0)
            have += (size_t)n;
        if (!end)
            break;
        const char *length = strcasestr(head, "\r\ncontent-length:");
        size_t body = length ? (size_t)atoll(length + 17) : 0, whole = (size_t)(end + 4 - head) + body;
        while (have < whole && (n = recv(fd, head + have, sizeof(head) - 1 - have, 0)) > 0)
            have += (size_t)n;
        *end = '\0';
        toy_note(head);
        toy_serve(fd, head);
        have = 0; /* nothing is pipelined */
    }
    close(fd);
    atomic_fetch_sub(&toy.alive, 1);
    return NULL;
}

static void *toy_run(void *arg UNUSED)
{
    pthread_t thread;
    int fd;

    while ((fd = accept(toy.listener, NULL, NULL)) >= 0) {
        atomic_fetch_add(&toy.alive, 1);
        assert_int_equal(pthread_create(&thread, NULL, toy_connection, (void *)(intptr_t)fd), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static int toy_start(void **state UNUSED)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    toy.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(toy.listener, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(toy.listener, 64), 0);
    getsockname(toy.listener, (struct sockaddr *)&a, &len);
    toy.port = ntohs(a.sin_port);
    return pthread_create(&toy.thread, NULL, toy_run, NULL);
}

static int toy_stop(void **state UNUSED)
{
    shutdown(toy.listener, SHUT_RDWR);
    pthread_join(toy.thread, NULL);
    close(toy.listener);
    for (int i = 0; i < 1000 && atomic_load(&toy.alive) > 0; i++)
        usleep(5000);
    return atomic_load(&toy.alive);
}

/* ---- a bucket, and a reader's loop ---- */

struct fixture {
    struct config_shared c;
    struct cred_workers *workers;
    struct bucket *b;
    struct loop *loop;
    struct transfer_engine *engine;
    char *url;
    int64_t size; /* of the stored files; -1: they are gone */
};

static int stored_open(void *arg, const struct digest *d UNUSED, int64_t *size)
{
    const struct fixture *f = arg;
    FILE *file = f->size >= 0 ? tmpfile() : NULL;

    if (!file)
        return -1;
    *size = f->size;
    assert_int_equal(ftruncate(fileno(file), f->size), 0);
    int fd = dup(fileno(file));
    fclose(file);
    return fd;
}

/* `port` 0: the toy's. */
static void begin(struct fixture *f, const char *mode, int port)
{
    const struct bucket_files files = {.open = stored_open, .arg = f};
    struct err err = {0};

    toy.heads[0] = '\0';
    atomic_store(&toy.puts, 0);
    atomic_store(&toy.gets, 0);
    atomic_store(&toy.fails, 0);
    atomic_store(&toy.there, false);
    f->size = BLOB_SIZE;
    f->url = xasprintf("http://127.0.0.1:%d/%s", port ? port : toy.port, mode);
    f->c.s3 = f->url;
    f->c.bucket = "images";
    f->workers = cred_workers_new(1, &err);
    f->b = bucket_start(&f->c, f->workers, &files, &err);
    if (!f->b)
        fail_msg("%s", err.msg);
    f->loop = loop_new("reader", &err);
    f->engine = transfer_engine_new(f->loop, &err);
    assert_true(loop_start(f->loop, &err));
}

static void finish(struct fixture *f)
{
    bucket_stop(f->b);
    loop_stop(f->loop);
    loop_join(f->loop);
    transfer_engine_end(f->engine);
    cred_workers_stop(f->workers);
    while (bucket_settle(f->b) || loop_settle(f->loop))
        ;
    transfer_engine_free(f->engine);
    loop_free(f->loop);
    bucket_free(f->b);
    cred_workers_free(f->workers);
    free(f->url);
}

static struct bucket_stats stats_of(struct fixture *f)
{
    struct bucket_stats s;

    bucket_get_stats(f->b, &s);
    return s;
}

#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        int64_t end_ms = clock_mono_ms() + PATIENCE_MS;                                                                \
        while (!(condition) && clock_mono_ms() < end_ms)                                                               \
            usleep(2000);                                                                                              \
        assert_true(condition);                                                                                        \
    } while (0)

static struct digest blob(int n)
{
    struct digest d;

    digest_of(DIGEST_SHA256, &n, sizeof(n), &d);
    return d;
}

/* ---- a read ---- */

enum cancel { CANCEL_NEVER, CANCEL_AT_ONCE, CANCEL_AT_HEAD, CANCEL_AT_DATA };

struct reading {
    struct fixture *f;
    struct bucket_range range;
    enum cancel cancel;
    struct bucket_get *get;
    struct latch latch;
    size_t got;
};

static bool reading_cancels(struct reading *r, enum cancel when)
{
    if (r->cancel != when)
        return false;
    bucket_get_cancel(r->get);
    latch_open(&r->latch, NULL);
    return true;
}

static bool reading_head(void *arg, const struct transfer_response *head UNUSED)
{
    return !reading_cancels(arg, CANCEL_AT_HEAD);
}

static bool reading_data(void *arg, const void *data UNUSED, size_t len)
{
    struct reading *r = arg;

    r->got += len;
    return !reading_cancels(r, CANCEL_AT_DATA);
}

static void reading_done(void *arg, const struct transfer_response *head, const struct err *err)
{
    assert_non_null(head);
    latch_open(&((struct reading *)arg)->latch, err);
}

static void reading_begin(void *arg)
{
    struct reading *r = arg;

    r->get = bucket_get_start(r->f->b, &r->range);
    reading_cancels(r, CANCEL_AT_ONCE);
}

static void read_start(struct fixture *f, int n, enum cancel cancel, struct reading *r)
{
    *r = (struct reading){.f = f,
                          .cancel = cancel,
                          .range = {.engine = f->engine,
                                    .loop = f->loop,
                                    .digest = blob(n),
                                    .last = -1,
                                    .on_head = reading_head,
                                    .on_data = reading_data,
                                    .on_done = reading_done,
                                    .arg = r}};
    latch_init(&r->latch);
    loop_post(f->loop, reading_begin, r);
}

static enum err_code read_end(struct reading *r)
{
    struct err err = {0};

    return latch_wait(&r->latch, &err) ? ERR_OK : err.code;
}

static enum err_code read_blob(struct fixture *f, int n)
{
    struct reading r;

    read_start(f, n, CANCEL_NEVER, &r);
    return read_end(&r);
}

static bool may_have(struct fixture *f, int n)
{
    const struct digest d = blob(n);

    return bucket_may_have(f->b, &d);
}

static void offer(struct fixture *f, int n)
{
    const struct digest d = blob(n);

    bucket_offer(f->b, &d, BLOB_SIZE);
    WAIT_FOR(stats_of(f).queued == 0);
}

/* ---- cases ---- */

static void the_queue_is_bounded(void **state UNUSED)
{
    struct fixture f = {0};
    struct digest d;

    begin(&f, "", 1); /* nothing listens there */
    for (int i = 0; i < 1024 + 5; i++) {
        d = blob(i);
        bucket_offer(f.b, &d, BLOB_SIZE);
    }
    d = blob(3);
    bucket_offer(f.b, &d, BLOB_SIZE); /* again */
    assert_int_equal(stats_of(&f).queued, 1024);
    assert_int_equal(stats_of(&f).dropped, 5);
    digest_of(DIGEST_SHA512, "", 0, &d);
    bucket_offer(f.b, &d, BLOB_SIZE);
    assert_false(bucket_may_have(f.b, &d));
    assert_int_equal(stats_of(&f).dropped, 5);
    WAIT_FOR(strstr(stats_of(&f).why, "127.0.0.1"));
    assert_false(stats_of(&f).up);
    finish(&f); /* with all of them queued */
}

static void what_is_lacking(void **state UNUSED)
{
    struct fixture f = {0};

    begin(&f, "plain", 0);
    WAIT_FOR(stats_of(&f).up);
    assert_true(may_have(&f, 1));
    assert_int_equal(read_blob(&f, 1), ERR_NOT_FOUND);
    assert_false(may_have(&f, 1));
    assert_true(may_have(&f, 2));
    assert_int_equal(stats_of(&f).lacked, 1);
    offer(&f, 1);
    assert_int_equal(stats_of(&f).written, BLOB_SIZE);
    assert_true(may_have(&f, 1));
    atomic_store(&toy.there, true);
    assert_int_equal(read_blob(&f, 1), ERR_OK);
    assert_int_equal(stats_of(&f).read, BLOB_SIZE);
    assert_int_equal(toy_heads_with("Authorization"), 0); /* anonymous */
    f.size = -1;
    offer(&f, 9); /* its file is gone */
    assert_int_equal(stats_of(&f).failed, 0);
    finish(&f);
}

/* Several that fail at once are one failure; a probe of the bucket's own ends the rest. */
static void it_rests(void **state UNUSED)
{
    struct fixture f = {0};
    struct reading r[4];
    int64_t began;

    begin(&f, "plain", 0);
    WAIT_FOR(stats_of(&f).up);
    atomic_store(&toy.there, true);
    atomic_store(&toy.fails, 4);
    began = clock_mono_ms();
    for (int i = 0; i < 4; i++)
        read_start(&f, i, CANCEL_NEVER, &r[i]);
    for (int i = 0; i < 4; i++)
        assert_int_equal(read_end(&r[i]), ERR_UPSTREAM);
    assert_false(may_have(&f, 7));
    assert_non_null(strstr(stats_of(&f).why, "503 (SlowDown)"));
    WAIT_FOR(may_have(&f, 7));
    assert_in_range(clock_mono_ms() - began, 1900, 3700);
    assert_int_equal(read_blob(&f, 7), ERR_OK);
    assert_string_equal(stats_of(&f).why, "");
    finish(&f);
}

static void wrong_bytes_are_replaced(void **state UNUSED)
{
    struct fixture f = {0};
    const struct digest d = blob(1);

    begin(&f, "plain", 0);
    WAIT_FOR(stats_of(&f).up);
    atomic_store(&toy.there, true);
    offer(&f, 1);
    assert_int_equal(atomic_load(&toy.puts), 0); /* it is there */
    bucket_note_wrong(f.b, &d);
    assert_false(may_have(&f, 1));
    offer(&f, 1);
    assert_int_equal(atomic_load(&toy.puts), 1);
    assert_int_equal(toy_heads_with("If-None-Match"), 0);
    assert_true(may_have(&f, 1));
    finish(&f);
}

static void conditions(void **state UNUSED)
{
    struct fixture f = {0};

    begin(&f, "there", 0);
    offer(&f, 1);
    assert_int_equal(toy_heads_with("If-None-Match: *"), 1);
    assert_int_equal(stats_of(&f).failed + stats_of(&f).written, 0);
    assert_true(may_have(&f, 1));
    finish(&f);

    begin(&f, "bare", 0);
    offer(&f, 1);
    offer(&f, 2);
    assert_int_equal(toy_heads_with("If-None-Match"), 1); /* once, for ever */
    assert_int_equal(atomic_load(&toy.puts), 3);
    assert_int_equal(stats_of(&f).written, 2 * BLOB_SIZE);
    finish(&f);
}

static void clocks_differ(void **state UNUSED)
{
    struct fixture f = {0};

    begin(&f, "skew", 0);
    WAIT_FOR(stats_of(&f).up);
    assert_int_equal(atomic_load(&toy.gets), 2); /* the probe, twice */
    atomic_store(&toy.there, true);
    assert_int_equal(read_blob(&f, 1), ERR_OK);
    assert_int_equal(atomic_load(&toy.gets), 3);
    offer(&f, 2);
    assert_int_equal(atomic_load(&toy.gets), 4);
    finish(&f);
}

static void a_session_of_aws(void **state UNUSED)
{
    struct fixture f = {0};

    setenv("AWS_ACCESS_KEY_ID", "AKIDTEST", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "topsecret", 1);
    setenv("AWS_SESSION_TOKEN", "TOKEN", 1);
    f.c.credentials.provider = "ecr";
    f.c.region = "eu-west-9";
    begin(&f, "plain", 0);
    WAIT_FOR(stats_of(&f).up);
    assert_int_equal(toy_heads_with("x-amz-security-token: TOKEN\r\n"), 1);
    assert_int_equal(toy_heads_with("/eu-west-9/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;"
                                    "x-amz-security-token, "),
                     1);
    assert_int_equal(toy_heads_with("Credential=AKIDTEST/"), 1);
    assert_int_equal(toy_heads_with("topsecret"), 0);
    finish(&f);
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    unsetenv("AWS_SESSION_TOKEN");
}

static void uploads_are_refused(void **state UNUSED)
{
    struct fixture f = {0};
    const struct digest first = blob(1), second = blob(2);

    begin(&f, "read-only", 0);
    WAIT_FOR(stats_of(&f).up);
    bucket_offer(f.b, &first, BLOB_SIZE);
    WAIT_FOR(strstr(stats_of(&f).why, "403 (AccessDenied)"));
    bucket_offer(f.b, &second, BLOB_SIZE);
    atomic_store(&toy.there, true);
    assert_true(may_have(&f, 1));
    assert_int_equal(read_blob(&f, 3), ERR_OK);
    usleep(200000);
    assert_int_equal(atomic_load(&toy.puts), 1); /* and no more for ten minutes */
    assert_int_equal(stats_of(&f).queued, 2);
    assert_true(stats_of(&f).up);
    finish(&f);
}

static void cancelled_at_any_time(void **state UNUSED)
{
    static const enum cancel when[] = {CANCEL_AT_ONCE, CANCEL_AT_HEAD, CANCEL_AT_DATA, CANCEL_NEVER};
    struct fixture f = {0};
    struct reading r;

    begin(&f, "plain", 0);
    WAIT_FOR(stats_of(&f).up);
    atomic_store(&toy.there, true);
    for (int i = 0; i < 40; i++) {
        read_start(&f, i, when[i % 4], &r);
        assert_int_equal(read_end(&r), ERR_OK);
        assert_int_equal(r.got, i % 4 == 3 ? BLOB_SIZE : i % 4 == 2 ? r.got : 0);
    }
    assert_true(stats_of(&f).up);
    finish(&f);
}

static void what_cannot_be(void **state UNUSED)
{
    const struct config_shared cases[] = {{.s3 = "ftp://x", .bucket = "b"},
                                          {.s3 = "https://x", .bucket = "a b"},
                                          {.s3 = "https://x", .bucket = "b", .credentials.provider = "gcp"}};
    const struct bucket_files files = {.open = stored_open};
    struct cred_workers *workers = cred_workers_new(1, NULL);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        assert_null(bucket_start(&cases[i], workers, &files, &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    cred_workers_free(workers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(what_is_lacking),
        cmocka_unit_test(it_rests),
        cmocka_unit_test(wrong_bytes_are_replaced),
        cmocka_unit_test(conditions),
        cmocka_unit_test(clocks_differ),
        cmocka_unit_test(a_session_of_aws),
        cmocka_unit_test(uploads_are_refused),
        cmocka_unit_test(cancelled_at_any_time),
        cmocka_unit_test(what_cannot_be),
    };

    return cmocka_run_group_tests(tests, toy_start, toy_stop);
}
