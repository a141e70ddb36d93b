/* What nodes write into etcd, and an etcd that answers what a real one does not. */
#include "tests/unit/unit_etcd.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/members_private.h"

#include <openssl/evp.h>

/* ---- in place of peers.c ---- */

struct peers {
    pthread_mutex_t lock;
    int sets, count;
    bool told, ok;
    char first[PEER_NAME_MAX + 1], why[200];
};

static struct peers peers = {.lock = PTHREAD_MUTEX_INITIALIZER};

void peers_set(struct peers *all, const struct member *list, int count)
{
    pthread_mutex_lock(&all->lock);
    all->sets++;
    all->count = count;
    snprintf(all->first, sizeof(all->first), "%s", count > 0 ? list[0].address : "");
    pthread_mutex_unlock(&all->lock);
}

void peers_note_source(struct peers *all, const char *from UNUSED, bool ok, const char *why)
{
    pthread_mutex_lock(&all->lock);
    all->told = true;
    all->ok = ok;
    snprintf(all->why, sizeof(all->why), "%s", why);
    pthread_mutex_unlock(&all->lock);
}

bool peers_has_others(struct peers *all)
{
    pthread_mutex_lock(&all->lock);
    bool others = all->count > 1;
    pthread_mutex_unlock(&all->lock);
    return others;
}

/* ---- pure functions ---- */

static void addresses(void **state UNUSED)
{
    static const char *const good[] = {"10.0.0.1:1", "node-7.example_x.com:65535", "[::1]:5443", "[fd00::2]:1", "a:1"};
    static const char *const bad[] = {"",         ":1",    "a",        "a:",     "a:0",       "a:65536",      "a:1x",
                                      "a b:1",    "a/b:1", "::1:5443", "[::1]",  "[::1:5443", "[x]:1",        "[]:1",
                                      "[::1]x:1", "a\n:1", "a:-1",     "a\"b:1", "a:000001",  "a:99999999999"};
    char longest[400];

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(members_is_address(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(members_is_address(bad[i]));
    memset(longest, 'a', sizeof(longest));
    strcpy(longest + 390, ":1");
    assert_false(members_is_address(longest));
    assert_true(members_is_address(longest + 390 - 200));
}

static void values(void **state UNUSED)
{
    static const struct {
        const char *value, *zone;
        bool good;
    } cases[] = {
        {"{\"address\":\"a:1\"}", "", true},
        {"{\"address\":\"a:1\",\"zone\":\"z\",\"version\":\"1\",\"since\":7,\"more\":{\"x\":[]}}", "z", true},
        {"", NULL, false},
        {"[]", NULL, false},
        {"{\"address\":\"b:1\"}", NULL, false},
        {"{\"address\":7}", NULL, false},
        {"{}", NULL, false},
        {"{\"address\":\"a:1\",\"zone\":5}", NULL, false},
        {"{\"address\":\"a:1\",\"zone\":\"a\\u001bb\"}", NULL, false},
        {"{\"address\":\"a:1\",\"zone\":\"a\\u0000b\"}", NULL, false},
        {"{\"address\":\"a:1\",\"version\":\"0123456789012345678901234567890123456789012345678901234567890123\"}", NULL,
         false},
        {"{\"address\":\"a:1\",\"since\":-1}", NULL, false},
        {"{\"address\":\"a:1\",\"since\":\"1\"}", NULL, false},
        {"{\"address\":\"a:1\"", NULL, false},
        {"{\"address\":\"a:1\"} x", NULL, false},
    };
    struct member m;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(members_read_node("a:1", cases[i].value, strlen(cases[i].value), &m, &err), cases[i].good);
        if (cases[i].good)
            assert_string_equal(m.zone, cases[i].zone);
    }
    struct member self = {.address = "[::1]:5443", .zone = "z", .version = "1.0", .since_s = 1767225600};
    _cleanup_free_ char *text = members_write_node(&self);
    assert_true(members_read_node(self.address, text, strlen(text), &m, &err));
    assert_memory_equal(&m, &self, sizeof(m));
}

static void table(void **state UNUSED)
{
    struct members_table t = {0};
    struct member m = {0};

    for (int i = 0; i < PEERS_MAX + 10; i++) {
        snprintf(m.address, sizeof(m.address), "a%d:1", i * 7919 % (PEERS_MAX + 10));
        assert_int_equal(members_table_put(&t, &m), i < PEERS_MAX);
    }
    assert_int_equal(t.count, PEERS_MAX);
    for (size_t i = 1; i < t.count; i++)
        assert_true(strcmp(t.list[i - 1]->address, t.list[i]->address) < 0);
    snprintf(m.address, sizeof(m.address), "%s", t.list[7]->address);
    snprintf(m.zone, sizeof(m.zone), "new");
    assert_true(members_table_put(&t, &m)); /* it is there already */
    assert_string_equal(t.list[7]->zone, "new");
    members_table_drop(&t, m.address);
    members_table_drop(&t, m.address);
    assert_false(members_table_has(&t, m.address));
    assert_int_equal(t.count, PEERS_MAX - 1);
    members_table_clear(&t);
}

static void pauses(void **state UNUSED)
{
    for (int failures = 0; failures < 100; failures++)
        for (uint32_t random = 0; random < 5; random++) {
            int64_t ms = members_retry_pause(failures, MEMBERS_RETRY_MAX_MS, random * 0x3fffffffu);
            assert_true(ms >= MEMBERS_RETRY_MS / 2 && ms <= MEMBERS_RETRY_MAX_MS);
        }
    assert_true(members_retry_pause(1, MEMBERS_RETRY_MAX_MS, UINT32_MAX) <= MEMBERS_RETRY_MS);
    assert_true(members_retry_pause(50, MEMBERS_RETRY_MAX_MS, 0) >= MEMBERS_RETRY_MAX_MS / 2);
}

/* ---- a node, and an etcd that answers this ---- */

#define HEADER "{\"header\":{\"revision\":\"7\"}"
#define GRANT                                                                                                          \
    {                                                                                                                  \
        "/v3/lease/grant", 200, HEADER ",\"ID\":\"5\",\"TTL\":\"10\"}", false                                          \
    }
#define PUT                                                                                                            \
    {                                                                                                                  \
        "/v3/kv/put", 200, HEADER "}", false                                                                           \
    }
#define REVOKE                                                                                                         \
    {                                                                                                                  \
        "/v3/lease/revoke", 200, HEADER "}", false                                                                     \
    }
#define LEASE GRANT, PUT, REVOKE
#define QUIET                                                                                                          \
    {                                                                                                                  \
        "/v3/watch", 200, "{\"result\":" HEADER ",\"created\":true}}\n", true                                          \
    }
/* "/p/nodes/a:1" and {"address":"a:1"} */
#define KEY_A   "L3Avbm9kZXMvYTox"
#define VALUE_A "eyJhZGRyZXNzIjoiYToxIn0="
#define KV_A    "{\"key\":\"" KEY_A "\",\"value\":\"" VALUE_A "\",\"mod_revision\":\"6\"}"

static bool look(bool want_ok, int want_count, const char *want_why)
{
    pthread_mutex_lock(&peers.lock);
    bool met = peers.told && peers.ok == want_ok && (want_count < 0 || peers.count == want_count) &&
               (!want_why || strstr(peers.why, want_why));
    pthread_mutex_unlock(&peers.lock);
    return met;
}

/* Runs a node until what is wanted has come; false: it has not, within so many milliseconds. */
static bool run_node(const struct toy_etcd_answer *answers, bool ok, int count, const char *why, int64_t ms)
{
    struct toy_etcd etcd;
    struct config_cluster c = {.prefix = "/p/"};
    struct member self = {.address = "self:1"};
    struct err err = {0};

    toy_etcd_start(&etcd, answers);
    c.etcd[0] = etcd.url;
    pthread_mutex_lock(&peers.lock);
    peers.sets = peers.count = 0;
    peers.told = peers.ok = false;
    pthread_mutex_unlock(&peers.lock);
    struct members *m = members_start(&c, &self, &peers, NULL, &err);
    assert_non_null(m);
    int64_t until = clock_mono_ms() + ms;
    while (!look(ok, count, why) && clock_mono_ms() < until)
        usleep(10000);
    bool met = look(ok, count, why);
    if (!met)
        print_message("%d nodes, ok %d, why: %s\n", peers.count, peers.ok, peers.why);
    int64_t began = clock_mono_ms();
    members_stop(m);
    members_free(m);
    assert_true(clock_mono_ms() - began < 5000);
    toy_etcd_stop(&etcd);
    return met;
}

static void a_good_one(void **state UNUSED)
{
    static const struct toy_etcd_answer first[] = {
        LEASE, QUIET, {"/v3/kv/range", 200, HEADER ",\"kvs\":[" KV_A "]}", false}, {0}};
    /* an event of another node, whose numbers are numbers; one that ends; garbage */
    static const struct toy_etcd_answer later[] = {
        LEASE,
        {"/v3/kv/range", 200, HEADER "}", false},
        {"/v3/watch", 200,
         "{\"result\":" HEADER
         ",\"created\":true}}\n\n{\"result\":{\"header\":{\"revision\":9},\"events\":[{\"kv\":" KV_A
         "},null,5,{\"kv\":{\"key\":\"####\"}},{\"kv\":{\"key\":5}},{\"type\":\"DELETE\",\"kv\":{\"key\":\"eA==\"}},"
         "{\"kv\":{\"key\":\"L3Avbm9kZXMvYjox\",\"value\":\"" VALUE_A "\"}}]}}\n",
         true},
        {0}};

    assert_true(run_node(first, true, 1, NULL, 10000));
    assert_string_equal(peers.first, "a:1");
    assert_true(run_node(later, true, 1, NULL, 10000));
}

static char *make_many(int count)
{
    struct buf b = {0};

    buf_adds(&b, HEADER ",\"kvs\":[");
    for (int i = 0; i < count; i++) {
        char key[64], value[64], key64[100], value64[100];
        int k = snprintf(key, sizeof(key), "/p/nodes/n%d:1", i);
        int v = snprintf(value, sizeof(value), "{\"address\":\"n%d:1\"}", i);
        EVP_EncodeBlock((unsigned char *)key64, (unsigned char *)key, k);
        EVP_EncodeBlock((unsigned char *)value64, (unsigned char *)value, v);
        buf_addf(&b, "%s{\"key\":\"%s\",\"value\":\"%s\"}", i ? "," : "", key64, value64);
    }
    buf_adds(&b, "]}");
    return b.data;
}

static void too_much(void **state UNUSED)
{
    _cleanup_free_ char *many = make_many(PEERS_MAX + 500), *huge = xmalloc(ETCD_ANSWER_MAX + 1000);
    const struct toy_etcd_answer nodes[] = {LEASE, QUIET, {"/v3/kv/range", 200, many, false}, {0}};
    const struct toy_etcd_answer bytes[] = {LEASE, QUIET, {"/v3/kv/range", 200, huge, false}, {0}};
    const struct toy_etcd_answer line[] = {
        LEASE, {"/v3/kv/range", 200, HEADER ",\"kvs\":[" KV_A "]}", false}, {"/v3/watch", 200, huge, true}, {0}};

    memset(huge, ' ', ETCD_ANSWER_MAX + 999);
    huge[ETCD_ANSWER_MAX + 999] = '\0';
    assert_true(run_node(nodes, true, PEERS_MAX, NULL, 20000));
    assert_true(run_node(bytes, false, 0, "more than", 10000));
    assert_true(run_node(line, false, 1, "more than", 10000));
}

static void odd_answers(void **state UNUSED)
{
    _cleanup_free_ char *deep = xmalloc(100001);
    static const char *const ranges[] = {
        "hello",
        "",
        "[]",
        "7",
        "{\"header\":5,\"kvs\":[null],\"more\":true}",
        HEADER ",\"kvs\":[" KV_A "],\"more\":true}", /* the same page without end */
        "\x80\xff",
    };

    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        const struct toy_etcd_answer answers[] = {LEASE, QUIET, {"/v3/kv/range", 200, ranges[i], false}, {0}};
        assert_true(run_node(answers, false, 0, "reading the nodes", 10000));
    }
    memset(deep, '[', 100000);
    deep[100000] = '\0';
    const struct toy_etcd_answer nested[] = {LEASE, QUIET, {"/v3/kv/range", 200, deep, false}, {0}};
    assert_true(run_node(nested, false, 0, "not one of etcd", 10000));
}

static void refusals(void **state UNUSED)
{
    static const struct {
        struct toy_etcd_answer range;
        const char *why;
    } cases[] = {
        {{"/v3/kv/range", 503, "{\"message\":\"etcdserver: no leader\",\"code\":14}", false}, "no leader"},
        {{"/v3/kv/range", 403, "{\"error\":\"etcdserver: permission denied\",\"code\":7}", false}, "permission denied"},
        {{"/v3/kv/range", 502, "<html>\x1b[31m", false}, "502: <html>\\x1b"},
        {{"/v3/kv/range", 307, "", false}, "307"},
        {{"/v3/kv/range", 0, NULL, false}, "reading the nodes"},
        {{"/v3/kv/range", 200, NULL, false}, "did not answer in time"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct toy_etcd_answer answers[] = {LEASE, QUIET, cases[i].range, {0}};
        assert_true(run_node(answers, false, 0, cases[i].why, 10000));
    }
}

/* The nodes are found although this one cannot register; that is told. */
static void no_lease(void **state UNUSED)
{
    static const char *const grants[] = {HEADER "}", HEADER ",\"ID\":\"x\"}", "{\"error\":{\"message\":\"no\"}}"};

    for (size_t i = 0; i < ARRAY_LEN(grants); i++) {
        const struct toy_etcd_answer answers[] = {{"/v3/lease/grant", 200, grants[i], false},
                                                  QUIET,
                                                  {"/v3/kv/range", 200, HEADER ",\"kvs\":[" KV_A "]}", false},
                                                  {0}};
        assert_true(run_node(answers, false, 1, "registering this node", 10000));
    }
}

/* A watch may say that a node's key is gone when the node has left: by its own leaving. */
struct leaving {
    struct members_place place;
    struct etcd *etcd;
    struct members_lease *lease;
    atomic_int kept, left;
};

static void leaving_on_state(void *arg, const struct err *err)
{
    if (!err)
        atomic_fetch_add(&((struct leaving *)arg)->kept, 1);
}

static void leaving_on_left(void *arg)
{
    struct leaving *l = arg;

    members_lease_renew(l->lease);
    atomic_fetch_add(&l->left, 1);
}

static void leaving_begin(void *arg)
{
    struct leaving *l = arg;

    l->lease = members_lease_new(&l->place, l->etcd, "/p/nodes/self:1", leaving_on_state, l);
}

static void leaving_leave(void *arg)
{
    struct leaving *l = arg;

    assert_true(members_lease_leave(l->lease, leaving_on_left, l));
    members_lease_renew(l->lease);
}

static void missing_after_it_left(void **state UNUSED)
{
    static const struct toy_etcd_answer answers[] = {LEASE, {0}};
    struct leaving l = {0};
    struct toy_etcd etcd;
    struct member self = {.address = "self:1"};
    struct err err = {0};

    toy_etcd_start(&etcd, answers);
    const char *const endpoints[] = {etcd.url, NULL};
    l.place = (struct members_place){.self = &self, .peers = &peers, .loop = loop_new("test", &err)};
    assert_non_null(l.place.loop);
    l.place.engine = transfer_engine_new(l.place.loop, &err);
    assert_non_null(l.place.engine);
    l.etcd =
        etcd_new(&(struct etcd_options){.loop = l.place.loop, .engine = l.place.engine, .endpoints = endpoints}, &err);
    assert_non_null(l.etcd);
    loop_post(l.place.loop, leaving_begin, &l);
    assert_true(loop_start(l.place.loop, &err));
    for (int i = 0; i < 1000 && !atomic_load(&l.kept); i++)
        usleep(5000);
    loop_post(l.place.loop, leaving_leave, &l);
    for (int i = 0; i < 1000 && !atomic_load(&l.left); i++)
        usleep(5000);
    assert_int_equal(atomic_load(&l.left), 1);
    loop_stop(l.place.loop);
    loop_join(l.place.loop);
    assert_int_equal(toy_etcd_saw(&etcd, "/v3/kv/put "), 1);
    etcd_end(l.etcd);
    members_lease_free(l.lease);
    transfer_engine_end(l.place.engine);
    transfer_engine_free(l.place.engine);
    etcd_free(l.etcd);
    loop_free(l.place.loop);
    toy_etcd_stop(&etcd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),   cmocka_unit_test(values),
        cmocka_unit_test(table),       cmocka_unit_test(pauses),
        cmocka_unit_test(a_good_one),  cmocka_unit_test(too_much),
        cmocka_unit_test(odd_answers), cmocka_unit_test(refusals),
        cmocka_unit_test(no_lease),    cmocka_unit_test(missing_after_it_left),
    };

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
