/* Limits of registries in etcd: what nodes write, what they read, and an etcd that answers what a real one does not. */
#include "tests/unit/unit_etcd.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/budgets.h"

/* ---- what is in etcd ---- */

static void keys(void **state UNUSED)
{
#define HASH "0123456789abcdef0123456789abcdef"
    static const struct {
        const char *text;
        int kind; /* -1: none */
    } cases[] = {
        {"/p/budgets/docker.io/" HASH, LEDGER_LEFT},
        {"/p/budgets/r.example:5000/" HASH "-manifests", LEDGER_HELD_MANIFESTS},
        {"/p/budgets/docker.io/" HASH "-blobs", LEDGER_HELD_BLOBS},
        {"/p/budgets/docker.io/" HASH "-other", -1},
        {"/p/budgets/docker.io/" HASH "0", -1},
        {"/p/budgets/docker.io/0123", -1},
        {"/p/budgets//" HASH, -1},
        {"/p/budgets/docker.io", -1},
        {"/p/budgets/", -1},
        {"/p/nodes/docker.io/" HASH, -1},
        {"", -1},
    };
    struct ledger_key key;
    char longest[600];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(budgets_read_key("/p/budgets/", cases[i].text, strlen(cases[i].text), &key),
                         cases[i].kind >= 0);
        if (cases[i].kind < 0)
            continue;
        assert_int_equal(key.kind, cases[i].kind);
        _cleanup_free_ char *again = budgets_write_key("/p/budgets/", &key);
        assert_string_equal(again, cases[i].text);
    }
    snprintf(longest, sizeof(longest), "/p/budgets/%0300d/" HASH, 1);
    assert_false(budgets_read_key("/p/budgets/", longest, strlen(longest), &key));
    assert_false(budgets_read_key("/p/budgets/", "/p/budgets/a/" HASH "\0x", 48, &key));
}

static void values(void **state UNUSED)
{
    static const struct {
        const char *text;
        bool left, held;
    } cases[] = {
        {"{\"node\":\"a:1\",\"limit\":100,\"remaining\":7,\"window\":21600}", true, false},
        {"{\"node\":\"a:1\",\"limit\":100,\"remaining\":7,\"more\":[]}", true, false},
        {"{\"node\":\"a:1\",\"limit\":100,\"remaining\":-7}", false, false},
        {"{\"node\":\"a:1\",\"limit\":100,\"remaining\":7,\"window\":0}", false, false},
        {"{\"node\":\"a:1\",\"limit\":100,\"remaining\":7,\"window\":99999999999}", false, false},
        {"{\"node\":\"a:1\",\"limit\":\"100\",\"remaining\":7}", false, false},
        {"{\"node\":\"a:1\",\"limit\":1e2,\"remaining\":7}", false, false},
        {"{\"node\":\"\",\"limit\":100,\"remaining\":7}", false, false},
        {"{\"node\":\"a\\u001b\",\"limit\":100,\"remaining\":7}", false, false},
        {"{\"limit\":100,\"remaining\":7}", false, false},
        {"{\"node\":\"a:1\",\"held_ms\":45000}", false, true},
        {"{\"node\":\"a:1\",\"held_ms\":-1}", false, false},
        {"{\"node\":\"a:1\",\"held_ms\":21600001}", false, false}, /* over six hours */
        {"[]", false, false},
        {"", false, false},
    };
    struct ledger_value v = {.at_ms = 1000, .limit = 100, .remaining = 7, .window_s = 21600}, out;
    char longest[BUDGETS_VALUE_MAX + 2];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = strlen(cases[i].text);
        assert_int_equal(budgets_read_value(LEDGER_LEFT, cases[i].text, len, 5, &out), cases[i].left);
        assert_int_equal(budgets_read_value(LEDGER_HELD_BLOBS, cases[i].text, len, 5, &out), cases[i].held);
    }
    memset(longest, ' ', sizeof(longest));
    memcpy(longest, cases[0].text, strlen(cases[0].text));
    assert_false(budgets_read_value(LEDGER_LEFT, longest, BUDGETS_VALUE_MAX + 1, 5, &out));
    /* durations go over, not times */
    _cleanup_free_ char *text = budgets_write_value(LEDGER_LEFT, &v, "n:1", 1000 + 21600 * 100);
    assert_true(budgets_read_value(LEDGER_LEFT, text, strlen(text), 77, &out));
    assert_true(out.at_ms == 77 && out.limit == 100 && out.remaining == 17 && out.window_s == 21600);
    assert_string_equal(out.node, "n:1");
    v = (struct ledger_value){.at_ms = 1000, .held_ms = 60000};
    _cleanup_free_ char *hold = budgets_write_value(LEDGER_HELD_BLOBS, &v, "n:1", 11000);
    assert_true(budgets_read_value(LEDGER_HELD_BLOBS, hold, strlen(hold), 77, &out) && out.held_ms == 50000);
}

/* ---- an etcd that answers this ---- */

#define HEADER "{\"header\":{\"revision\":\"7\"}"
#define GRANT                                                                                                          \
    {                                                                                                                  \
        "/v3/lease/grant", 200, HEADER ",\"ID\":\"5\",\"TTL\":\"60\"}", false                                          \
    }
#define REVOKE                                                                                                         \
    {                                                                                                                  \
        "/v3/lease/revoke", 200, HEADER "}", false                                                                     \
    }
#define PUT                                                                                                            \
    {                                                                                                                  \
        "/v3/kv/txn", 200, HEADER ",\"succeeded\":true}", false                                                        \
    }
#define EMPTY                                                                                                          \
    {                                                                                                                  \
        "/v3/kv/range", 200, HEADER "}", false                                                                         \
    }
#define QUIET                                                                                                          \
    {                                                                                                                  \
        "/v3/watch", 200, "{\"result\":" HEADER ",\"created\":true}}\n", true                                          \
    }
/* "/p/budgets/r/" HASH, {"node":"b:1","limit":100,"remaining":2}, and "-manifests", {"node":"b:1","held_ms":60000} */
#define KEY_LEFT   "L3AvYnVkZ2V0cy9yLzAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm"
#define VALUE_LEFT "eyJub2RlIjoiYjoxIiwibGltaXQiOjEwMCwicmVtYWluaW5nIjoyfQ=="
#define KEY_HELD   KEY_LEFT "LW1hbmlmZXN0cw=="
#define VALUE_HELD "eyJub2RlIjoiYjoxIiwiaGVsZF9tcyI6NjAwMDB9"

struct node {
    struct toy_etcd toy;
    struct config_cluster config;
    struct member self;
    struct members_place place;
    struct etcd *etcd;
    struct budgets_link *link;
};

static const struct ledger_key one = {"r", HASH, LEDGER_LEFT}, hold_of_one = {"r", HASH, LEDGER_HELD_MANIFESTS};

static void node_link(void *arg)
{
    struct node *n = arg;

    n->link = budgets_link_new(&n->place, n->etcd, "/p/budgets/");
}

static void node_start(struct node *n, const struct toy_etcd_answer *answers)
{
    struct err err = {0};

    *n = (struct node){.self.address = "self:1"};
    const char *urls[] = {n->toy.url, NULL};
    toy_etcd_start(&n->toy, answers);
    n->place = (struct members_place){.config = &n->config, .self = &n->self, .ledger = ledger_new()};
    n->place.loop = loop_new("node", &err);
    n->place.engine = transfer_engine_new(n->place.loop, &err);
    n->etcd =
        etcd_new(&(struct etcd_options){.loop = n->place.loop, .engine = n->place.engine, .endpoints = urls}, &err);
    assert_non_null(n->etcd);
    loop_post(n->place.loop, node_link, n);
    assert_true(loop_start(n->place.loop, &err));
    for (int i = 0; i < 1000 && toy_etcd_saw(&n->toy, "/v3/kv/range") == 0; i++)
        usleep(5000);
}

static void node_stop(struct node *n)
{
    loop_stop(n->place.loop);
    loop_join(n->place.loop);
    etcd_end(n->etcd);
    budgets_link_free(n->link);
    transfer_engine_end(n->place.engine);
    transfer_engine_free(n->place.engine);
    etcd_free(n->etcd);
    loop_free(n->place.loop);
    ledger_free(n->place.ledger);
    toy_etcd_stop(&n->toy);
}

static bool node_sees(struct node *n, const struct ledger_key *key, bool is_there)
{
    struct ledger_value v;

    for (int i = 0; i < 1000 && ledger_look(n->place.ledger, key, &v) != is_there; i++)
        usleep(5000);
    return ledger_look(n->place.ledger, key, &v) == is_there;
}

static bool node_sent(struct node *n, const char *text, int count)
{
    for (int i = 0; i < 1000 && toy_etcd_saw(&n->toy, text) < count; i++)
        usleep(5000);
    return toy_etcd_saw(&n->toy, text) >= count;
}

static void tell(struct node *n, const struct ledger_key *key, int64_t remaining, int64_t held_ms)
{
    struct ledger_value v = {.at_ms = clock_mono_ms(), .held_ms = held_ms};

    if (key->kind == LEDGER_LEFT)
        v = (struct ledger_value){.at_ms = v.at_ms, .limit = 100, .remaining = remaining, .window_s = 21600};
    ledger_tell(n->place.ledger, key, &v);
}

static void what_others_write(void **state UNUSED)
{
    static const struct toy_etcd_answer answers[] = {
        {"/v3/kv/range", 200,
         HEADER ",\"kvs\":[{\"key\":\"" KEY_LEFT "\",\"value\":\"" VALUE_LEFT
                "\",\"mod_revision\":\"6\"},{\"key\":\"eA==\"},"
                "{\"key\":\"" KEY_HELD "\",\"value\":\"" VALUE_HELD "\",\"mod_revision\":\"5\"}]}",
         false},
        {"/v3/watch", 200,
         "{\"result\":" HEADER ",\"created\":true}}\n{\"result\":{\"header\":{\"revision\":9},\"events\":[null,"
         "{\"type\":\"DELETE\",\"kv\":{\"key\":\"" KEY_HELD "\",\"mod_revision\":\"9\"}}]}}\n",
         true},
        {0}};
    struct ledger_value v;
    struct node n;

    node_start(&n, answers);
    assert_true(node_sees(&n, &one, true));
    assert_true(ledger_look(n.place.ledger, &one, &v));
    assert_true(v.limit == 100 && v.remaining == 2 && v.window_s == -1);
    assert_string_equal(v.node, "b:1");
    assert_true(node_sees(&n, &hold_of_one, false));
    tell(&n, &one, 5, 0); /* it allows more than is known */
    usleep(300000);
    assert_int_equal(toy_etcd_saw(&n.toy, "/v3/kv/txn"), 0);
    node_stop(&n);
}

static void what_it_writes(void **state UNUSED)
{
    static const struct toy_etcd_answer answers[] = {EMPTY, QUIET, GRANT, PUT, REVOKE, {0}};
    struct node n;

    node_start(&n, answers);
    tell(&n, &hold_of_one, 0, 45000);
    assert_true(node_sent(&n, "/v3/lease/grant {\"TTL\":\"45\"", 1));
    assert_true(node_sent(&n, KEY_HELD, 1));
    tell(&n, &hold_of_one, 0, 0); /* it is over: the lease takes the key along */
    assert_true(node_sent(&n, "/v3/lease/revoke", 1));
    int before = toy_etcd_saw(&n.toy, "/v3/kv/txn");
    int64_t began = clock_mono_ms();
    for (int i = 0; i < 100; i++) {
        tell(&n, &one, 100 - i, 0);
        usleep(20000);
    }
    int writes = toy_etcd_saw(&n.toy, "/v3/kv/txn") - before;
    assert_true(writes >= 2 && writes <= 2 + (clock_mono_ms() - began) / BUDGETS_WRITE_MS);
    assert_int_equal(toy_etcd_saw(&n.toy, "/v3/lease/grant {\"TTL\":\"21600\""), 1);
    node_stop(&n);
}

/* Another node was faster: its value is learnt, and stays, since it allows less. */
static void who_is_faster(void **state UNUSED)
{
    static const struct toy_etcd_answer answers[] = {
        EMPTY,
        QUIET,
        GRANT,
        {"/v3/kv/txn", 200,
         HEADER ",\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"" KEY_LEFT "\",\"value\":\"" VALUE_LEFT
                "\",\"mod_revision\":\"7\"}]}}]}",
         false},
        {0}};
    struct ledger_value v;
    struct node n;

    node_start(&n, answers);
    tell(&n, &one, 5, 0);
    assert_true(node_sees(&n, &one, true));
    assert_true(ledger_look(n.place.ledger, &one, &v) && v.remaining == 2);
    usleep(1300000);
    assert_int_equal(toy_etcd_saw(&n.toy, "/v3/kv/txn"), 1);
    tell(&n, &one, 1, 0);
    assert_true(node_sent(&n, "/v3/kv/txn", 2));
    node_stop(&n);
}

/* An etcd that is away, refuses, or answers nonsense: nothing waits for it. */
static void none_that_helps(void **state UNUSED)
{
    static const struct toy_etcd_answer
        closed[] = {{"/v3/kv/range", 0, NULL, false}, {"/v3/lease/grant", 0, NULL, false}, {0}},
        refused[] = {{"/v3/kv/range", 403, "{\"code\":7,\"message\":\"no\"}", false},
                     {"/v3/lease/grant", 403, "{\"code\":7,\"message\":\"no\"}", false},
                     {0}},
        odd[] = {{"/v3/kv/range", 200, "[1]", false}, QUIET, GRANT, {"/v3/kv/txn", 200, "7", false}, {0}},
        silent[] = {EMPTY, QUIET, {"/v3/lease/grant", 200, NULL, false}, {0}},
        forgets[] = {
            EMPTY, QUIET, GRANT, {"/v3/kv/txn", 404, "{\"code\":5,\"message\":\"lease not found\"}", false}, {0}};
    static const struct toy_etcd_answer *const all[] = {closed, refused, odd, silent, forgets};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct node n;
        node_start(&n, all[i]);
        int64_t began = clock_mono_ms();
        for (int k = 0; k < 1000; k++)
            tell(&n, &one, 100 - k % 100, 0);
        tell(&n, &hold_of_one, 0, 45000);
        assert_true(clock_mono_ms() - began < 1000);
        usleep(500000);
        assert_true(atomic_load(&n.toy.requests) < 60);
        node_stop(&n);
    }
}

/* It is back when what could not be written is over: what comes next is written. */
static void back_when_it_is_over(void **state UNUSED)
{
    static const struct toy_etcd_answer away[] = {EMPTY, QUIET, {"/v3/lease/grant", 0, NULL, false}, {0}},
                                        back[] = {EMPTY, QUIET, GRANT, PUT, REVOKE, {0}};
    struct node n;

    node_start(&n, away);
    tell(&n, &hold_of_one, 0, 600);
    assert_true(node_sent(&n, "/v3/lease/grant", 1));
    usleep(700000);
    pthread_mutex_lock(&n.toy.lock);
    n.toy.answers = back;
    pthread_mutex_unlock(&n.toy.lock);
    usleep(3000000);
    assert_int_equal(toy_etcd_saw(&n.toy, "/v3/kv/txn"), 0);
    tell(&n, &hold_of_one, 0, 45000);
    assert_true(node_sent(&n, KEY_HELD, 1));
    node_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys),
        cmocka_unit_test(values),
        cmocka_unit_test(what_others_write),
        cmocka_unit_test(what_it_writes),
        cmocka_unit_test(who_is_faster),
        cmocka_unit_test(none_that_helps),
        cmocka_unit_test(back_when_it_is_over),
    };

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
