/* The shared tier's bounds and states, with a toy that does what the first segment of the path says; a real store, and
 * what misbehaves, are in tests/cluster. */
#include "tests/unit/unit_bucket.h"

#include "base/clock.h"
#include "base/latch.h"
#include "base/log.h"
#include "cluster/bucket.h"

enum { PATIENCE_MS = 15000 };

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
    atomic_store(&toy.refusals, 0);
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

static void read_prepare(struct fixture *f, int n, enum cancel cancel, struct reading *r)
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
}

static void read_start(struct fixture *f, int n, enum cancel cancel, struct reading *r)
{
    read_prepare(f, n, cancel, r);
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

    bucket_offer(f->b, &d, &d, BLOB_SIZE);
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
        bucket_offer(f.b, &d, &d, BLOB_SIZE);
    }
    d = blob(3);
    bucket_offer(f.b, &d, &d, BLOB_SIZE); /* again */
    assert_int_equal(stats_of(&f).queued, 1024);
    assert_int_equal(stats_of(&f).dropped, 5);
    digest_of(DIGEST_SHA512, "", 0, &d);
    bucket_offer(f.b, &d, &d, BLOB_SIZE);
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

enum { AT_ONCE = 4 };

static void begin_together(void *arg)
{
    struct reading *r = arg;

    for (int i = 0; i < AT_ONCE; i++)
        reading_begin(&r[i]);
}

/* Several that fail at once are one failure; a probe of the bucket's own ends the rest. */
static void it_rests(void **state UNUSED)
{
    struct fixture f = {0};
    struct reading r[AT_ONCE];
    int64_t began;

    begin(&f, "plain", 0);
    WAIT_FOR(stats_of(&f).up);
    atomic_store(&toy.there, true);
    atomic_store(&toy.fails, AT_ONCE);
    began = clock_mono_ms();
    for (int i = 0; i < AT_ONCE; i++)
        read_prepare(&f, i, CANCEL_NEVER, &r[i]);
    loop_post(f.loop, begin_together, r);
    for (int i = 0; i < AT_ONCE; i++)
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

static void a_key_of_a_container(void **state UNUSED)
{
    struct fixture f = {0};
    _cleanup_free_ char *uri = xasprintf("http://127.0.0.1:%d/container", toy.port);

    setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri, 1);
    f.c.credentials.provider = "ecr";
    begin(&f, "plain", 0);
    WAIT_FOR(stats_of(&f).up);
    assert_int_equal(toy_heads_with("Credential=ASIATEST/"), 1);
    assert_int_equal(toy_heads_with("GET /container"), 1);
    /* What is refused is looked up again, once: the key may have been replaced. */
    atomic_store(&toy.there, true);
    usleep(2100000); /* a younger one is not */
    atomic_store(&toy.refusals, 1);
    assert_int_equal(read_blob(&f, 1), ERR_OK);
    assert_int_equal(toy_heads_with("GET /container"), 2);
    atomic_store(&toy.refusals, 1);
    assert_int_equal(read_blob(&f, 2), ERR_NOT_FOUND);
    assert_int_equal(toy_heads_with("GET /container"), 2);
    assert_non_null(strstr(stats_of(&f).why, "403 (SignatureDoesNotMatch)"));
    finish(&f);
    unsetenv("AWS_SHARED_CREDENTIALS_FILE");
    unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

static void uploads_are_refused(void **state UNUSED)
{
    struct fixture f = {0};
    const struct digest first = blob(1), second = blob(2);

    begin(&f, "read-only", 0);
    WAIT_FOR(stats_of(&f).up);
    bucket_offer(f.b, &first, &first, BLOB_SIZE);
    WAIT_FOR(strstr(stats_of(&f).why, "403 (AccessDenied)"));
    bucket_offer(f.b, &second, &second, BLOB_SIZE);
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

/* Whoever knows the digest of a private blob cannot find it by way of another repository. */
static void private_names(void **state UNUSED)
{
    struct digest d = blob(1), other = blob(2), mine, again, theirs, another;

    bucket_name_private("docker.io/team/app", &d, &mine);
    bucket_name_private("docker.io/team/app", &d, &again);
    bucket_name_private("docker.io/team/other", &d, &theirs);
    bucket_name_private("docker.io/team/app", &other, &another);
    assert_true(digest_eq(&mine, &again));
    assert_false(digest_eq(&mine, &d) || digest_eq(&mine, &theirs) || digest_eq(&mine, &another));
    assert_int_equal(mine.alg, DIGEST_SHA256);
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
        cmocka_unit_test(a_key_of_a_container),
        cmocka_unit_test(uploads_are_refused),
        cmocka_unit_test(cancelled_at_any_time),
        cmocka_unit_test(what_cannot_be),
        cmocka_unit_test(private_names),
    };

    return cmocka_run_group_tests(tests, toy_start, toy_stop);
}
