/* Limits of registries that nodes share: which of two values is believed, what is told, and whose they are. */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "upstream/registry_private.h"
#include "upstream/response.h"

static struct ledger_key key_of(const char *name, enum ledger_kind kind)
{
    struct ledger_key key = {.registry = "docker.io", .kind = kind};

    ledger_identity("https://r.example", "account", name, key.identity);
    return key;
}

static struct ledger_value left(int64_t at_ms, int64_t remaining)
{
    return (struct ledger_value){
        .at_ms = at_ms, .limit = 100, .remaining = remaining, .window_s = 21600, .node = "n:1"};
}

static struct ledger_value held(int64_t at_ms, int64_t ms)
{
    return (struct ledger_value){.at_ms = at_ms, .held_ms = ms, .node = "n:1"};
}

static void identities(void **state UNUSED)
{
    static const char *const of[][3] = {{"https://r.example", "account", "alice"},
                                        {"https://r.example", "account", "bob"},
                                        {"https://r.example", "source", "alice"},
                                        {"https://mirror.example", "account", "alice"},
                                        {"https://r.examplea", "ccount", "alice"}};
    char hash[ARRAY_LEN(of)][LEDGER_IDENTITY_LEN + 1];

    for (size_t i = 0; i < ARRAY_LEN(of); i++) {
        ledger_identity(of[i][0], of[i][1], of[i][2], hash[i]);
        assert_int_equal(strlen(hash[i]), LEDGER_IDENTITY_LEN);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(hash[i], hash[k]);
    }
}

static void which_is_believed(void **state UNUSED)
{
    static const struct {
        int64_t a_ms, a, b_ms, b;
        bool replaces;
    } cases[] = {
        {10000, 5, 10000, 6, true},   {10000, 6, 10000, 5, false},
        {10000, 5, 10000, 5, false},  {10000, 5, 12000, 6, true}, /* it came a little later, and was overtaken */
        {90000, 60, 10000, 6, true},                              /* the window has gone on */
        {10000, 6, 90000, 60, false},
    };
    struct ledger_value a, b;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        a = left(cases[i].a_ms, cases[i].a);
        b = left(cases[i].b_ms, cases[i].b);
        assert_int_equal(ledger_replaces(LEDGER_LEFT, &a, &b), cases[i].replaces);
    }
    a = held(0, 60000);
    b = held(1000, 50000);
    assert_true(ledger_replaces(LEDGER_HELD_BLOBS, &a, &b));
    assert_false(ledger_replaces(LEDGER_HELD_BLOBS, &b, &a));
    a = left(0, 10);
    assert_int_equal(ledger_left(&a, 0), 10);
    assert_int_equal(ledger_left(&a, 21600 * 500), 60);
    assert_int_equal(ledger_left(&a, 21600 * 5000), 100);
    assert_int_equal(ledger_left(&a, -5), 10);
}

static void count_call(void *count)
{
    ++*(int *)count;
}

static int taken(struct ledger *l)
{
    struct ledger_key key;
    struct ledger_value v;
    int count = 0;

    while (ledger_take(l, &key, &v))
        count++;
    return count;
}

static void tell_left(struct ledger *l, int64_t at_ms, int64_t limit, int64_t remaining)
{
    struct ledger_key key = key_of("alice", LEDGER_LEFT);
    struct ledger_value v = left(at_ms, remaining);

    v.limit = limit;
    ledger_tell(l, &key, &v);
}

static void what_is_told(void **state UNUSED)
{
    struct ledger *l = ledger_new();
    struct ledger_key key = key_of("alice", LEDGER_HELD_MANIFESTS), other = key_of("x", LEDGER_LEFT);
    struct ledger_value v, none = held(0, 0);
    int calls = 0;

    tell_left(l, 0, 5000, 5000); /* nothing shares it yet */
    ledger_on_news(l, count_call, &calls);
    assert_int_equal(taken(l), 0);
    for (int i = 0; i < 20; i++)
        tell_left(l, i, 5000, 4000 - i);
    assert_int_equal(calls, 1);
    assert_int_equal(taken(l), 1);
    tell_left(l, 30, 5000, 3990); /* little */
    assert_int_equal(taken(l), 0);
    tell_left(l, 30, 5000, 3900);
    assert_int_equal(taken(l), 1);
    tell_left(l, 40, 200, 3900); /* another plan */
    assert_int_equal(taken(l), 1);
    tell_left(l, 50, 100, 1);
    tell_left(l, 50, 100, 0);
    assert_int_equal(taken(l), 1);
    tell_left(l, 50 + 21600 * 1000 / 3, 100, 0); /* before it would end */
    assert_int_equal(taken(l), 1);
    /* of holds those that are this node's end */
    v = held(0, 30000);
    ledger_learn(l, &key, &v, 1);
    ledger_tell(l, &key, &none);
    assert_int_equal(taken(l), 0);
    v = held(0, 60000);
    ledger_tell(l, &key, &v);
    v = held(500, 59000);
    ledger_tell(l, &key, &v); /* the same */
    assert_int_equal(taken(l), 1);
    ledger_tell(l, &key, &none);
    assert_int_equal(taken(l), 1);
    ledger_forget(l, &key);
    assert_false(ledger_look(l, &key, &v));
    /* the same message again is as old as it was */
    v = left(7, 3);
    ledger_learn(l, &other, &v, 5);
    v.at_ms = 9000;
    ledger_learn(l, &other, &v, 5);
    assert_true(ledger_look(l, &other, &v));
    assert_int_equal(v.at_ms, 7);
    for (int i = 0; i < 2000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        key = key_of(name, LEDGER_LEFT);
        v = left(0, i);
        ledger_tell(l, &key, &v);
        ledger_learn(l, &key, &v, i + 1);
    }
    assert_false(ledger_look(l, &other, &v));
    assert_true(ledger_look(l, &key, &v) && v.remaining == 1999);
    assert_int_equal(taken(l), LEDGER_MAX);
    ledger_free(l);
}

/* ---- an upstream that has a ledger ---- */

static void answered(struct upstream *u, const char *who, bool logged_in, int status, int64_t remaining,
                     const char *source)
{
    struct transfer_response r;

    response_reset(&r);
    r.status = status;
    r.ratelimit_limit = 100;
    r.ratelimit_remaining = remaining;
    r.ratelimit_window = 21600;
    r.retry_after = status == 429 ? 60 : 0;
    snprintf(r.ratelimit_source, sizeof(r.ratelimit_source), "%s", source);
    budget_note(u->budgets, 0, who, BUDGET_MANIFESTS, &r);
    share_note(u, 0, who, logged_in, BUDGET_MANIFESTS, &r);
}

/* What one node was told passes to another, as etcd does it. */
static int carry(struct ledger *from, struct ledger *to)
{
    static int64_t version;
    struct ledger_key key;
    struct ledger_value v;
    int count = 0;

    for (; ledger_take(from, &key, &v); count++) {
        snprintf(v.node, sizeof(v.node), "first:1");
        ledger_learn(to, &key, &v, ++version);
    }
    return count;
}

struct pair {
    struct ledger *ledger[2];
    struct upstream *u[2];
    int calls;
};

static void pair_make(struct pair *p, const struct cred_options *ids)
{
    static const char *const endpoints[] = {"https://r.example", NULL};
    struct upstream_options o = {.name = "docker.io",
                                 .endpoints = endpoints,
                                 .credentials = ids,
                                 .credentials_count = ids ? 2 : 0,
                                 .rate_reserve = 10};

    for (int i = 0; i < 2; i++) {
        p->ledger[i] = o.ledger = ledger_new();
        ledger_on_news(o.ledger, count_call, &p->calls);
        p->u[i] = upstream_new(&o);
    }
}

static void pair_free(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        upstream_free(p->u[i]);
        ledger_free(p->ledger[i]);
    }
}

static void find_node(void *arg, const struct budget_info *info)
{
    if (info->node[0])
        snprintf(arg, 300, "%s %lld %s", info->who, (long long)info->remaining, info->node);
}

static void accounts(void **state UNUSED)
{
    struct cred_options ids[2] = {{.username = (char *)"alice", .password_file = (char *)"a"},
                                  {.helper = (char *)"two"}};
    const struct upstream_request ours = {.method = "HEAD"};
    struct pair p = {0};
    char seen[300] = "";
    int64_t wait;

    pair_make(&p, ids);
    share_know_account(p.u[0], 1, "AWS"); /* any account's */
    answered(p.u[0], "own 1", true, 200, 50, "");
    answered(p.u[0], "a client", true, 429, 0, "");
    assert_int_equal(carry(p.ledger[0], p.ledger[1]), 0);
    answered(p.u[0], "", false, 200, 50, ""); /* without a login it is no account's */
    assert_int_equal(carry(p.ledger[0], p.ledger[1]), 0);
    share_know_account(p.u[0], 1, "bob");
    share_know_account(p.u[1], 1, "bob");
    answered(p.u[0], "", true, 200, 3, "");
    answered(p.u[0], "own 1", true, 200, 4, "");
    assert_int_equal(carry(p.ledger[0], p.ledger[1]), 2);
    assert_int_equal(upstream_health(p.u[1], &ours), UPSTREAM_SHORT);
    assert_int_equal(identity_choose(p.u[1], 0, BUDGET_MANIFESTS, 0, &wait), 1);
    answered(p.u[0], "own 1", true, 429, 0, "");
    carry(p.ledger[0], p.ledger[1]);
    assert_int_equal(identity_choose(p.u[1], 0, BUDGET_MANIFESTS, 0, &wait), 0);
    answered(p.u[0], "", true, 429, 0, "");
    carry(p.ledger[0], p.ledger[1]);
    assert_int_equal(upstream_health(p.u[1], &ours), UPSTREAM_LIMITED);
    assert_int_equal(identity_choose(p.u[1], 0, BUDGET_MANIFESTS, 0, &wait), -1);
    assert_true(wait > 58000 && wait <= 60000);
    assert_true(identity_choose(p.u[1], 0, BUDGET_BLOBS, 0, &wait) >= 0);
    upstream_each_budget(p.u[1], find_node, seen);
    assert_string_equal(seen, "1 0 first:1");
    struct upstream_stats st;
    upstream_get_stats(p.u[1], &st);
    assert_true(st.ratelimit_limit == 100 && st.ratelimit_remaining == 0 && st.limited_ms > 58000);
    /* what it learns by itself, later, is newer */
    struct ledger_key key = key_of("alice", LEDGER_LEFT);
    struct ledger_value old = left(clock_mono_ms() - 60000, 3);
    ledger_learn(p.ledger[1], &key, &old, 1000);
    answered(p.u[1], "", true, 200, 90, "");
    share_look(p.u[1], 0, 0, BUDGET_BLOBS, &wait, &old.remaining);
    assert_int_equal(old.remaining, 90);
    pair_free(&p);
}

static void addresses(void **state UNUSED)
{
    const struct upstream_request ours = {.method = "HEAD"};
    struct pair p = {0};

    pair_make(&p, NULL);
    answered(p.u[0], "", true, 429, 0, ""); /* the registry does not say what it counts by */
    assert_int_equal(carry(p.ledger[0], p.ledger[1]), 0);
    answered(p.u[1], "", true, 200, 70, "198.51.100.7");
    answered(p.u[0], "", true, 429, 0, "192.0.2.1");
    assert_int_equal(carry(p.ledger[0], p.ledger[1]), 2);
    assert_int_equal(upstream_health(p.u[1], &ours), UPSTREAM_HEALTHY); /* behind another address */
    answered(p.u[1], "", true, 200, 70, "192.0.2.1");
    assert_int_equal(upstream_health(p.u[1], &ours), UPSTREAM_LIMITED);
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities), cmocka_unit_test(which_is_believed), cmocka_unit_test(what_is_told),
        cmocka_unit_test(accounts),   cmocka_unit_test(addresses),
    };

    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
