#include "tests/unit/unit.h"

#include "upstream/registry_private.h"
#include "upstream/response.h"

static void endpoint_urls(void **state UNUSED)
{
    static const struct {
        const char *endpoint, *url, *scope;
    } cases[] = {
        {"https://a.io", "https://a.io/v2/org/app/manifests/1", "repository:org/app:pull"},
        {"https://a.io:444//", "https://a.io:444/v2/org/app/manifests/1", "repository:org/app:pull"},
        {"https://a.io/v2/", "https://a.io/v2/org/app/manifests/1", "repository:org/app:pull"},
        {"https://a.io/v2", "https://a.io/v2/org/app/manifests/1", "repository:org/app:pull"},
        {"https://harbor.example/v2/dockerhub-proxy", "https://harbor.example/v2/dockerhub-proxy/org/app/manifests/1",
         "repository:dockerhub-proxy/org/app:pull"},
        {"https://git.example/v2/group/dependency_proxy/containers/",
         "https://git.example/v2/group/dependency_proxy/containers/org/app/manifests/1",
         "repository:group/dependency_proxy/containers/org/app:pull"},
        {"https://jfrog.example/artifactory/api/docker/hub",
         "https://jfrog.example/artifactory/api/docker/hub/v2/org/app/manifests/1", "repository:org/app:pull"},
        {"https://jfrog.example/artifactory/api/docker/hub/v2",
         "https://jfrog.example/artifactory/api/docker/hub/v2/org/app/manifests/1", "repository:org/app:pull"},
        {"https://x.example/before/v2/behind", "https://x.example/before/v2/behind/org/app/manifests/1",
         "repository:behind/org/app:pull"},
        {"https://x.example/v2ray", "https://x.example/v2ray/v2/org/app/manifests/1", "repository:org/app:pull"},
        {"https://v2/v2/v2", "https://v2/v2/v2/org/app/manifests/1", "repository:v2/org/app:pull"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct endpoint e = {0};
        endpoint_set_url(&e, cases[i].endpoint, UPSTREAM_NS_AUTO);
        _cleanup_free_ char *url = endpoint_url(&e, "org/app", "manifests/1", NULL);
        _cleanup_free_ char *scope = endpoint_scope(&e, "org/app");
        assert_string_equal(url, cases[i].url);
        assert_string_equal(scope, cases[i].scope);
        endpoint_clear_url(&e);
    }
}

static void endpoint_urls_with_ns(void **state UNUSED)
{
    static const struct {
        const char *path, *ns, *url, *repository;
    } cases[] = {
        {"manifests/1", "ghcr.io", "https://cache/v2/org/app/manifests/1?ns=ghcr.io", NULL},
        /* another entrepot leaves out one host (test_route), and not what is the repository's own */
        {"manifests/1", "ghcr.io", "https://cache/v2/ghcr.io/ghcr.io/app/manifests/1?ns=ghcr.io", "ghcr.io/app"},
        {"manifests/1", "docker.io", "https://cache/v2/index.docker.io/index.docker.io/app/manifests/1?ns=docker.io",
         "index.docker.io/app"},
        {"manifests/1", "ghcr.io", "https://cache/v2/quay.io/app/manifests/1?ns=ghcr.io", "quay.io/app"},
        {"manifests/1", NULL, "https://cache/v2/ghcr.io/app/manifests/1", "ghcr.io/app"},
        {"tags/list?n=3&last=a", "ghcr.io", "https://cache/v2/org/app/tags/list?ns=ghcr.io&n=3&last=a", NULL},
        {"tags/list?n=3", NULL, "https://cache/v2/org/app/tags/list?n=3", NULL},
        {"manifests/1", "localhost:5001", "https://cache/v2/org/app/manifests/1?ns=localhost%3A5001", NULL},
    };
    struct endpoint e = {0}, named = {0}, both = {0};

    endpoint_set_url(&e, "https://cache", UPSTREAM_NS_AUTO);
    endpoint_set_url(&named, "https://cache/v2/ghcr.io", UPSTREAM_NS_AUTO);
    assert_int_equal(atomic_load(&e.ns), UPSTREAM_NS_AUTO);
    assert_int_equal(atomic_load(&named.ns), UPSTREAM_NS_OFF); /* its path says which */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *url =
            endpoint_url(&e, cases[i].repository ? cases[i].repository : "org/app", cases[i].path, cases[i].ns);
        assert_string_equal(url, cases[i].url);
    }
    /* A prefix is the registry's name already: the host behind it is the repository's own. */
    endpoint_set_url(&both, "https://cache/v2/ghcr.io", UPSTREAM_NS_ON);
    _cleanup_free_ char *url = endpoint_url(&both, "ghcr.io/app", "manifests/1", "ghcr.io");
    assert_string_equal(url, "https://cache/v2/ghcr.io/ghcr.io/app/manifests/1?ns=ghcr.io");
    endpoint_clear_url(&e);
    endpoint_clear_url(&named);
    endpoint_clear_url(&both);
}

static void what_endpoints_lack(void **state UNUSED)
{
    struct lacks *l = lacks_new();

    assert_false(lacks_has(l, 0, "org/app", "manifests/1"));
    lacks_forget(l, 0, "org/app", "manifests/1");
    lacks_note(l, 0, "org/app", "manifests/1", 60000);
    assert_true(lacks_has(l, 0, "org/app", "manifests/1"));
    assert_false(lacks_has(l, 1, "org/app", "manifests/1"));
    assert_false(lacks_has(l, 0, "org/other", "manifests/1"));
    assert_false(lacks_has(l, 0, "org/app", "manifests/2"));
    lacks_note(l, 0, "org/app", "tags/list?n=1", 60000); /* a query makes no difference */
    assert_true(lacks_has(l, 0, "org/app", "tags/list?n=2"));
    lacks_forget(l, 0, "org/app", "manifests/1");
    assert_false(lacks_has(l, 0, "org/app", "manifests/1"));
    lacks_note(l, 0, "org/app", "manifests/1", 0); /* negative_ttl: 0s */
    assert_false(lacks_has(l, 0, "org/app", "manifests/1"));
    lacks_note(l, 0, "org/app", "manifests/1", 50);
    usleep(60000);
    assert_false(lacks_has(l, 0, "org/app", "manifests/1"));
    for (int i = 0; i < 100000; i++) { /* no more than the table holds */
        char path[32];
        snprintf(path, sizeof(path), "manifests/%d", i);
        lacks_note(l, 0, "org/app", path, 60000);
    }
    assert_true(lacks_has(l, 0, "org/app", "manifests/99999"));
    lacks_free(l);
}

/* ---- which endpoint is asked ---- */

static const struct upstream_options two = {
    .name = "x.example", .endpoints = (const char *const[]){"https://a.example", "https://b.example", NULL}};

static int chosen(struct upstream *u, unsigned tried, const char *path, bool optional)
{
    int64_t wait_ms;

    return endpoint_choose(u, 0, tried, path, optional, &wait_ms);
}

static void breakers(void **state UNUSED)
{
    struct upstream *u = upstream_new(&two);
    int64_t wait_ms;

    assert_int_equal(chosen(u, 0, "a", false), 0);
    endpoint_note(u, 0, "a", ENDPOINT_UNREACHABLE, 5);
    assert_int_equal(chosen(u, 0, "a", false), 0); /* once may be chance */
    endpoint_note(u, 0, "a", ENDPOINT_UNREACHABLE, 5);
    assert_int_equal(chosen(u, 0, "a", false), 1); /* open */
    assert_int_equal(chosen(u, 2, "a", false), 0); /* nothing better, and it fails fast */
    assert_int_equal(chosen(u, 2, "a", true), -1); /* not just to try */
    assert_true(endpoint_any_healthy(u));
    endpoint_note(u, 1, "a", ENDPOINT_UNREACHABLE, 5000);
    assert_false(endpoint_any_healthy(u));
    assert_int_equal(chosen(u, 0, "a", false), 0);
    /* the other is slow to fail: not worth waiting for, whatever is asked for */
    assert_int_equal(endpoint_choose(u, 0, 1, "b", false, &wait_ms), -1);
    assert_true(wait_ms > 0 && wait_ms <= 1000);
    usleep(1100000);
    assert_int_equal(chosen(u, 1, "a", false), 1); /* half-open: one request probes it */
    assert_int_equal(chosen(u, 1, "a", false), -1);
    endpoint_note(u, 1, "a", ENDPOINT_UNREACHABLE, 5000);
    assert_int_equal(endpoint_choose(u, 0, 1, "a", false, &wait_ms), -1);
    assert_true(wait_ms > 1000); /* longer than before */
    endpoint_note(u, 0, "a", ENDPOINT_OK, 5);
    assert_int_equal(chosen(u, 0, "a", false), 0); /* closed */
    assert_int_equal(chosen(u, 0, "a", false), 0);
    upstream_free(u);
}

static void bad_objects(void **state UNUSED)
{
    struct upstream *u = upstream_new(&two);

    for (int i = 0; i < 9; i++)
        endpoint_note(u, 1, "bad", ENDPOINT_FAILED, 30000);
    assert_int_equal(chosen(u, 1, "bad", false), -1); /* nobody waits for that again */
    assert_int_equal(chosen(u, 1, "good", false), 1); /* ... and for the others nothing has changed */
    assert_int_equal(chosen(u, 1, "good", true), 1);
    assert_true(endpoint_any_healthy(u));
    endpoint_note(u, 1, "worse", ENDPOINT_FAILED, 30000);
    assert_int_equal(chosen(u, 1, "good", false), 1);
    endpoint_note(u, 1, "good", ENDPOINT_OK, 5);
    assert_int_equal(chosen(u, 1, "bad", false), -1); /* it still is */
    endpoint_note(u, 1, "worst", ENDPOINT_FAILED, 30000);
    assert_int_equal(chosen(u, 1, "good", false), 1); /* three have failed, but not in a row */

    endpoint_note(u, 1, "bad", ENDPOINT_FAILED, 30000);
    endpoint_note(u, 1, "worse", ENDPOINT_FAILED, 30000);
    assert_int_equal(chosen(u, 1, "good", false), -1); /* three in a row: it is the endpoint */
    endpoint_note(u, 1, "good", ENDPOINT_FAILED, 5);
    endpoint_note(u, 1, "good", ENDPOINT_FAILED, 5);
    assert_int_equal(chosen(u, 1, "good", false), 1); /* fails fast, and there is nothing better */
    assert_int_equal(chosen(u, 1, "good", true), -1);
    endpoint_note(u, 1, "bad", ENDPOINT_OK, 5);
    assert_int_equal(chosen(u, 1, "bad", false), 1);
    assert_int_equal(chosen(u, 1, "worse", false), -1); /* that one is not known to be well */
    for (int i = 0; i < 100; i++) {                     /* no more than the table holds */
        char path[16];
        snprintf(path, sizeof(path), "path %d", i);
        endpoint_note(u, 1, path, ENDPOINT_FAILED, 30000);
    }
    endpoint_note(u, 1, "good", ENDPOINT_OK, 5);
    assert_int_equal(chosen(u, 1, "path 99", false), -1);
    assert_int_equal(chosen(u, 1, "worse", false), 1);
    upstream_free(u);
}

/* A mirror that is slow to fail for one object is not asked for others while the registry is well: a time-out for each
 * of them would be worse than a mirror unused for a second. */
static void suspect_mirror(void **state UNUSED)
{
    struct upstream *u = upstream_new(&two);

    endpoint_note(u, 0, "bad", ENDPOINT_FAILED, 30000);
    assert_int_equal(chosen(u, 0, "good", false), 1);
    assert_int_equal(chosen(u, 2, "good", false), 0);
    endpoint_note(u, 0, "bad", ENDPOINT_UNREACHABLE, 30000);
    assert_int_equal(chosen(u, 2, "good", false), -1);
    endpoint_note(u, 0, "bad", ENDPOINT_FAILED, 30000); /* it can be connected to again */
    assert_int_equal(chosen(u, 2, "good", false), 0);
    upstream_free(u);
}

/* ---- limits ---- */

static void says(struct budgets *b, const char *who, int status, int64_t remaining, int retry_after)
{
    struct transfer_response r;

    response_reset(&r);
    r.status = status;
    r.ratelimit_limit = remaining >= 0 ? 100 : -1;
    r.ratelimit_remaining = remaining;
    r.retry_after = retry_after;
    budget_note(b, 0, who, BUDGET_MANIFESTS, &r);
}

static void budgets(void **state UNUSED)
{
    struct budgets *b = budgets_new();
    struct transfer_response r;
    char who[32];

    assert_int_equal(budget_left(b, 0, ""), -1);
    says(b, "", 200, 7, 0);
    assert_int_equal(budget_left(b, 0, ""), 7);
    assert_int_equal(budget_left(b, 1, ""), -1); /* another endpoint, another limit */
    assert_int_equal(budget_held_ms(b, 0, "", BUDGET_MANIFESTS), 0);
    says(b, "", 429, -1, 77);
    int64_t held = budget_held_ms(b, 0, "", BUDGET_MANIFESTS);
    assert_true(held > 76000 && held <= 77000);
    assert_int_equal(budget_held_ms(b, 0, "", BUDGET_BLOBS), 0);
    assert_int_equal(budget_held_ms(b, 0, "other", BUDGET_MANIFESTS), 0);
    says(b, "", 200, 50, 0);
    assert_int_equal(budget_held_ms(b, 0, "", BUDGET_MANIFESTS), 0);
    /* without Retry-After the time doubles */
    says(b, "x", 429, -1, 0);
    int64_t first = budget_held_ms(b, 0, "x", BUDGET_MANIFESTS);
    assert_true(first > 0 && first <= 30000);
    says(b, "x", 429, -1, 0); /* one that was under way */
    assert_true(budget_held_ms(b, 0, "x", BUDGET_MANIFESTS) <= first);
    /* a burst counts as one: the time doubles once */
    for (int i = 0; i < 10; i++)
        says(b, "burst", 429, -1, 1);
    usleep(1100000);
    assert_int_equal(budget_held_ms(b, 0, "burst", BUDGET_MANIFESTS), 0);
    says(b, "burst", 429, -1, 0);
    assert_true(budget_held_ms(b, 0, "burst", BUDGET_MANIFESTS) <= 60000);
    /* thousands of clients take no more than there is */
    for (int i = 0; i < 5000; i++) {
        snprintf(who, sizeof(who), "client %d", i);
        says(b, who, 200, 1, 0);
    }
    assert_int_equal(budget_left(b, 0, "client 4999"), 1);
    assert_int_equal(budget_left(b, 0, "client 0"), -1);
    response_reset(&r);
    budget_note(b, 0, "unlimited", BUDGET_MANIFESTS, &r);
    assert_int_equal(budget_left(b, 0, "unlimited"), -1);
    budgets_free(b);
}

static void who_asks(void **state UNUSED)
{
    static const char *const endpoints[] = {"https://a.example", NULL};
    struct cred_options ids[2] = {{.helper = (char *)"one"}, {.helper = (char *)"two"}};
    const struct upstream_options o = {
        .name = "x.example", .endpoints = endpoints, .credentials = ids, .credentials_count = 2, .rate_reserve = 10};
    struct upstream *u = upstream_new(&o);
    const struct upstream_request ours = {.method = "HEAD"}, theirs = {.authorization = "Bearer x"};
    struct upstream_stats st;
    int64_t held;

    assert_int_equal(identity_choose(u, 0, BUDGET_MANIFESTS, 0, &held), 0);
    says(u->budgets, "", 200, 20, 0);
    assert_int_equal(identity_choose(u, 0, BUDGET_MANIFESTS, 0, &held), 1); /* nobody knows what it has: ask */
    says(u->budgets, "own 1", 200, 30, 0);
    assert_int_equal(identity_choose(u, 0, BUDGET_MANIFESTS, 0, &held), 1);
    says(u->budgets, "own 1", 200, 10, 0);
    assert_int_equal(identity_choose(u, 0, BUDGET_MANIFESTS, 0, &held), 0);
    assert_int_equal(upstream_health(u, &ours), UPSTREAM_HEALTHY);
    says(u->budgets, "", 429, 0, 60);
    assert_int_equal(identity_choose(u, 0, BUDGET_MANIFESTS, 0, &held), 1);
    says(u->budgets, "own 1", 200, 9, 0);
    assert_int_equal(upstream_health(u, &ours), UPSTREAM_SHORT);
    assert_true(upstream_take_probe(u));
    assert_false(upstream_take_probe(u)); /* once a minute */
    says(u->budgets, "own 1", 429, 0, 30);
    assert_int_equal(identity_choose(u, 0, BUDGET_MANIFESTS, 0, &held), -1);
    assert_true(held > 29000 && held <= 30000);
    assert_true(identity_choose(u, 0, BUDGET_BLOBS, 0, &held) >= 0); /* what has been counted goes on */
    assert_int_equal(upstream_health(u, &ours), UPSTREAM_LIMITED);
    assert_int_equal(upstream_health(u, &theirs), UPSTREAM_HEALTHY);
    upstream_get_stats(u, &st);
    assert_true(st.limited_ms > 29000 && st.limited_ms <= 30000 && st.ratelimit_limit == 100);
    endpoint_doubt(u, 0);
    assert_int_equal(upstream_health(u, &theirs), UPSTREAM_DOWN);
    endpoint_note(u, 0, "a", ENDPOINT_OK, 1);
    assert_int_equal(upstream_health(u, &theirs), UPSTREAM_HEALTHY);
    upstream_free(u);
}

/* Logins are for the registry and for those it names, not for whoever stands before it. */
static void who_is_given_logins(void **state UNUSED)
{
    static const char *const endpoints[] = {"https://mirror.example",      "https://R.example:444/v2/hub",
                                            "http://r.example:444",        "https://r.example:444.evil.example",
                                            "https://other.example",       "https://r.example:4444",
                                            "https://r.example:444/v2/up", NULL};
    static const bool logins[7] = {[4] = true}, trusted[7] = {[1] = true, [4] = true, [6] = true};
    struct cred_options ids[2] = {{.helper = (char *)"one"}, {.helper = (char *)"two"}};
    const struct upstream_options o = {
        .name = "x.example", .endpoints = endpoints, .logins = logins, .credentials = ids, .credentials_count = 2};
    struct upstream *u = upstream_new(&o);
    int64_t held;

    for (int i = 0; i < 7; i++) {
        assert_int_equal(u->endpoints[i].trusted, trusted[i]);
        assert_int_equal(identity_choose(u, i, BUDGET_MANIFESTS, 1, &held), trusted[i] ? 1 : -1);
        assert_ptr_equal(identity_cred(u, i, 0), trusted[i] ? u->creds[0] : u->nobody);
        identity_refused(u, i, 0, 0);
        assert_int_equal(identity_choose(u, i, BUDGET_MANIFESTS, 0, &held),
                         trusted[i] ? 1 : 0); /* nobody can ask again */
    }
    upstream_free(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoint_urls),
        cmocka_unit_test(endpoint_urls_with_ns),
        cmocka_unit_test(what_endpoints_lack),
        cmocka_unit_test(breakers),
        cmocka_unit_test(bad_objects),
        cmocka_unit_test(suspect_mirror),
        cmocka_unit_test(budgets),
        cmocka_unit_test(who_asks),
        cmocka_unit_test(who_is_given_logins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
