/* etcd's client: which endpoint is called, how often, and what becomes of an answer. */
#include "tests/unit/unit_etcd.h"

#include "base/clock.h"
#include "base/latch.h"
#include "base/log.h"
#include "cluster/etcd.h"
#include "cluster/etcd_json.h"

/* ---- a client on a loop of its own ---- */

struct run {
    struct loop *loop;
    struct transfer_engine *engine;
    struct etcd *etcd;
    void (*begin)(struct run *r);
    struct etcd_call *call;
    atomic_int done, messages;
    bool failed;
    struct err err;
    struct etcd_answer answer; /* its kvs are not kept */
    char value[100];           /* of the first key */
};

static void take_done(void *arg, const struct etcd_answer *a, const struct err *err)
{
    struct run *r = arg;

    r->failed = err != NULL;
    r->err = err ? *err : (struct err){0};
    r->answer = a ? *a : (struct etcd_answer){0};
    snprintf(r->value, sizeof(r->value), "%s", a && a->count > 0 ? a->kvs[0].value : "");
    atomic_fetch_add(&r->done, 1);
}

static void begin_on_loop(void *arg)
{
    struct run *r = arg;

    r->begin(r);
}

static void run_start(struct run *r, const char *const *urls, const char *user, const char *password_file)
{
    struct err err = {0};

    *r = (struct run){0};
    r->loop = loop_new("test", &err);
    r->engine = transfer_engine_new(r->loop, &err);
    r->etcd = etcd_new(
        &(struct etcd_options){
            .loop = r->loop, .engine = r->engine, .endpoints = urls, .username = user, .password_file = password_file},
        &err);
    assert_non_null(r->etcd);
    assert_true(loop_start(r->loop, &err));
}

static void run_call(struct run *r, void (*begin)(struct run *r), int done)
{
    r->begin = begin;
    atomic_store(&r->done, 0);
    loop_post(r->loop, begin_on_loop, r);
    for (int i = 0; i < 2000 && atomic_load(&r->done) < done; i++)
        usleep(5000);
    assert_int_equal(atomic_load(&r->done), done);
}

static void run_end(struct run *r)
{
    loop_stop(r->loop);
    loop_join(r->loop);
    etcd_end(r->etcd);
    transfer_engine_end(r->engine);
    transfer_engine_free(r->engine);
    etcd_free(r->etcd);
    loop_free(r->loop);
}

#define HEADER "{\"header\":{\"revision\":\"7\"}"

/* ---- calls ---- */

static void begin_get(struct run *r)
{
    assert_non_null(etcd_get(r->etcd, "key", take_done, r));
}

static void begin_txn(struct run *r)
{
    const struct etcd_txn txn = {.key = "key",
                                 .mod_revision = 9007199254740993, /* more than a double can tell */
                                 .then = {{.kind = ETCD_OP_PUT, .key = "key", .value = "a\0b", .len = 3, .lease = 5},
                                          {.kind = ETCD_OP_DELETE, .key = "old"}},
                                 .then_count = 2,
                                 .otherwise = {{.kind = ETCD_OP_GET, .key = "key"}},
                                 .otherwise_count = 1};

    assert_non_null(etcd_txn(r->etcd, &txn, take_done, r));
}

static void transactions(void **state UNUSED)
{
    static const struct toy_etcd_answer answers[] = {
        {"/v3/kv/txn", 200,
         HEADER ",\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"a2V5\",\"value\":\"dmFsdWU=\","
                "\"mod_revision\":\"9007199254740993\",\"lease\":\"9\"}],\"count\":\"1\"}}]}",
         false},
        {0}};
    struct toy_etcd etcd;
    struct run r;

    toy_etcd_start(&etcd, answers);
    run_start(&r, (const char *const[]){etcd.url, NULL}, NULL, NULL);
    run_call(&r, begin_txn, 1);
    assert_false(r.failed);
    assert_false(r.answer.succeeded);
    assert_int_equal(r.answer.revision, 7);
    assert_string_equal(r.value, "value");
    assert_int_equal(toy_etcd_saw(&etcd,
                                  "/v3/kv/txn {\"compare\":[{\"key\":\"a2V5\",\"target\":\"MOD\",\"result\":"
                                  "\"EQUAL\",\"mod_revision\":\"9007199254740993\"}],\"success\":[{\"request_put\":{"
                                  "\"key\":\"a2V5\",\"value\":\"YQBi\",\"lease\":\"5\"}},{\"request_delete_"
                                  "range\":{\"key\":\"b2xk\"}}],\"failure\":[{\"request_range\":{\"key\":\"a2V5\"}}]}"),
                     1);
    run_end(&r);
    toy_etcd_stop(&etcd);
}

/* A failing endpoint is left for the next one, and the next call begins there; a transaction may have been carried
 * out. */
static void endpoints(void **state UNUSED)
{
    static const struct toy_etcd_answer closes[] = {
        {"/v3/kv/range", 0, NULL, false}, {"/v3/kv/txn", 0, NULL, false}, {0}};
    static const struct toy_etcd_answer fails[] = {
        {"/v3/kv/range", 503, "{\"message\":\"no leader\",\"code\":14}", false},
        {"/v3/kv/txn", 503, "{\"message\":\"no leader\",\"code\":14}", false},
        {0}};
    static const struct toy_etcd_answer good[] = {
        {"/v3/kv/range", 200, HEADER "}", false}, {"/v3/kv/txn", 200, HEADER ",\"succeeded\":true}", false}, {0}};
    struct toy_etcd a, b, c;
    struct run r;

    toy_etcd_start(&a, closes);
    toy_etcd_start(&b, fails);
    toy_etcd_start(&c, good);
    run_start(&r, (const char *const[]){"http://127.0.0.1:1", a.url, b.url, c.url, NULL}, NULL, NULL);
    run_call(&r, begin_get, 1);
    assert_false(r.failed);
    int before = atomic_load(&b.requests);
    assert_int_equal(before, 1);
    run_call(&r, begin_get, 1);
    assert_int_equal(atomic_load(&b.requests), before); /* it stays with the one that answers */
    run_end(&r);

    run_start(&r, (const char *const[]){"http://127.0.0.1:1", b.url, c.url, NULL}, NULL, NULL);
    run_call(&r, begin_txn, 1);
    assert_true(r.failed && r.err.code == ERR_UPSTREAM && strstr(r.err.msg, "no leader"));
    run_call(&r, begin_txn, 1);
    assert_true(!r.failed && r.answer.succeeded);
    run_end(&r);
    toy_etcd_stop(&a);
    toy_etcd_stop(&b);
    toy_etcd_stop(&c);
}

static void begin_two_hundred(struct run *r)
{
    int refused = 0;

    for (int i = 0; i < ETCD_CALLS_MAX + 10; i++)
        refused += etcd_get(r->etcd, "key", take_done, r) == NULL;
    assert_int_equal(refused, 10);
}

/* Silence is bounded, whatever is silent. */
static void silence(void **state UNUSED)
{
    static const struct toy_etcd_answer mute[] = {{"/v3/kv/range", 200, NULL, false}, {0}};
    struct toy_etcd etcd;
    struct run r;

    toy_etcd_start(&etcd, mute);
    run_start(&r, (const char *const[]){etcd.url, etcd.url, etcd.url, etcd.url, NULL}, NULL, NULL);
    int64_t began = clock_mono_ms();
    run_call(&r, begin_get, 1);
    assert_true(r.failed && r.err.code == ERR_TIMEOUT);
    assert_true(clock_mono_ms() - began < ETCD_CALL_MS + 1000);
    run_end(&r);
    run_start(&r, (const char *const[]){etcd.url, NULL}, NULL, NULL);
    run_call(&r, begin_two_hundred, ETCD_CALLS_MAX);
    run_end(&r);
    toy_etcd_stop(&etcd);
}

/* ---- watches ---- */

static void on_events(void *arg, const struct etcd_answer *a UNUSED)
{
    struct run *r = arg;

    atomic_fetch_add(&r->messages, 1);
}

static void on_events_cancel(void *arg, const struct etcd_answer *a UNUSED)
{
    struct run *r = arg;

    atomic_fetch_add(&r->messages, 1);
    etcd_cancel(r->call);
    r->call = NULL;
}

static void begin_watch(struct run *r)
{
    r->call =
        etcd_watch(r->etcd, &(struct etcd_watch){.prefix = "/p/", .revision = 8, .on_events = on_events}, take_done, r);
}

static void begin_watch_cancel(struct run *r)
{
    r->call = etcd_watch(r->etcd, &(struct etcd_watch){.prefix = "/p/", .revision = 8, .on_events = on_events_cancel},
                         take_done, r);
}

static void watches(void **state UNUSED)
{
    static const struct toy_etcd_answer quiet[] = {
        {"/v3/watch", 200, "{\"result\":" HEADER ",\"created\":true}}\n{\"result\":" HEADER "}}\n", true},
        {"/v3/kv/range", 503, "{}", false},
        {0}};
    static const struct toy_etcd_answer compacted[] = {
        {"/v3/watch", 200,
         "{\"result\":" HEADER ",\"created\":true}}\n"
         "{\"result\":{\"canceled\":true,\"compact_revision\":\"5\"}}\n{\"result\":" HEADER "}}\n",
         true},
        {0}};
    struct toy_etcd etcd;
    struct run r;

    toy_etcd_start(&etcd, quiet);
    run_start(&r, (const char *const[]){etcd.url, NULL}, NULL, NULL);
    run_call(&r, begin_watch_cancel, 0);
    for (int i = 0; i < 1000 && atomic_load(&r.messages) == 0; i++)
        usleep(5000);
    usleep(50000);
    assert_int_equal(atomic_load(&r.messages), 1); /* nothing comes after the end */
    atomic_store(&r.messages, 0);
    run_call(&r, begin_watch, 0);
    for (int i = 0; i < 1000 && atomic_load(&r.messages) < 2; i++)
        usleep(5000);
    assert_int_equal(atomic_load(&r.messages), 2);
    run_call(&r, begin_get, 2); /* it fails: the endpoint is left, and the watch ends with it */
    assert_true(r.failed);
    run_end(&r);
    toy_etcd_stop(&etcd);

    toy_etcd_start(&etcd, compacted);
    run_start(&r, (const char *const[]){etcd.url, NULL}, NULL, NULL);
    run_call(&r, begin_watch, 1);
    assert_int_equal(r.err.code, ERR_OUTDATED);
    assert_int_equal(atomic_load(&r.messages), 1);
    run_end(&r);
    toy_etcd_stop(&etcd);
}

/* ---- users ---- */

static void begin_three(struct run *r)
{
    for (int i = 0; i < 3; i++)
        begin_get(r);
}

/* One login for all that wait; a token that is refused is renewed once, not again and again. */
static void logins(void **state UNUSED)
{
    static const struct toy_etcd_answer refuses[] = {
        {"/v3/auth/authenticate", 200, HEADER ",\"token\":\"abc.1\"}", false},
        {"/v3/kv/range", 401, "{\"message\":\"etcdserver: invalid auth token\",\"code\":16}", false},
        {"/v3/kv/txn", 200, HEADER ",\"succeeded\":true}", false},
        {0}};
    static const struct toy_etcd_answer odd[] = {
        {"/v3/auth/authenticate", 200, HEADER ",\"token\":\"a\\r\\nX: y\"}", false}, {0}};
    char *dir = make_folder();
    _cleanup_free_ char *file = xasprintf("%s/password", dir);
    struct toy_etcd etcd;
    struct run r;
    struct err err;
    FILE *f = fopen(file, "w");

    assert_true(f && fputs("pass\"word\n", f) >= 0 && fclose(f) == 0);
    toy_etcd_start(&etcd, refuses);
    run_start(&r, (const char *const[]){etcd.url, NULL}, "user", file);
    run_call(&r, begin_txn, 1);
    assert_false(r.failed);
    assert_int_equal(toy_etcd_saw(&etcd, "authenticate {\"name\":\"user\",\"password\":\"pass\\\"word\"}"), 1);
    run_call(&r, begin_three, 3);
    assert_true(r.failed && r.err.code == ERR_DENIED);
    assert_in_range(toy_etcd_saw(&etcd, "authenticate"), 2, 4);
    assert_int_equal(toy_etcd_saw(&etcd, "/v3/kv/range"), 6);
    assert_int_equal(unlink(file), 0); /* and then it cannot be read */
    run_call(&r, begin_get, 1);
    assert_true(r.failed && strstr(r.err.msg, "/password"));
    run_end(&r);
    assert_null(etcd_new(&(struct etcd_options){.endpoints = (const char *const[]){"http://a", NULL},
                                                .username = "user",
                                                .password_file = file},
                         &err));
    toy_etcd_stop(&etcd);

    f = fopen(file, "w");
    assert_true(f && fputs("x", f) >= 0 && fclose(f) == 0);
    toy_etcd_start(&etcd, odd);
    run_start(&r, (const char *const[]){etcd.url, NULL}, "user", file);
    run_call(&r, begin_three, 3);
    assert_true(r.failed && strstr(r.err.msg, "no token"));
    run_end(&r);
    toy_etcd_stop(&etcd);
    remove_tree(dir);
}

/* ---- messages ---- */

static void ends_of_prefixes(void **state UNUSED)
{
    static const struct {
        const char *prefix, *end;
    } cases[] = {{"/a/", "L2Ew"}, {"a", "Yg=="}, {"a\xff", "Yg=="}, {"\xff", "AA=="}, {"", "AA=="}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *end = etcd_json_end(cases[i].prefix);
        assert_string_equal(json_string_value(end), cases[i].end);
        json_decref(end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions), cmocka_unit_test(endpoints), cmocka_unit_test(silence),
        cmocka_unit_test(watches),      cmocka_unit_test(logins),    cmocka_unit_test(ends_of_prefixes),
    };

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
