#include "tests/unit/load_config.h"

static void tags_by_rules(void **state UNUSED)
{
    static const char text[] = "tags:\n"
                               "  ttl: 10m\n"
                               "  rules:\n"
                               "    - {repository: 'docker.io/library/*', tag: latest, ttl: 30s}\n"
                               "    - {tag: 'v*', ttl: never}\n"
                               "    - {repository: 'quay.io/*/keep', deleted: keep, max_stale: 1d}\n"
                               "upstreams:\n"
                               "  - name: quay.io\n"
                               "    tags: {ttl: 1h, negative_ttl: 1m}\n";
    static const struct {
        const char *host, *name, *tag;
        int64_t ttl_ms, max_stale_ms, negative_ttl_ms;
        int keep;
    } cases[] = {
        {"docker.io", "docker.io/library/nginx", "1", 600000, 30 * 86400000LL, 10000, 0},
        {"docker.io", "docker.io/library/nginx", "latest", 30000, 30 * 86400000LL, 10000, 0},
        {"docker.io", "docker.io/team/nginx", "latest", 600000, 30 * 86400000LL, 10000, 0},
        {"docker.io", "docker.io/team/nginx", "v1.2", CONFIG_NEVER_MS, 30 * 86400000LL, 10000, 0},
        {"quay.io", "quay.io/a/b", "1", 3600000, 30 * 86400000LL, 60000, 0},
        {"quay.io", "quay.io/a/keep", "1", 3600000, 86400000, 60000, 1},
        {"quay.io", "quay.io/a/keep", "v1", CONFIG_NEVER_MS, 86400000, 60000,
         1}, /* each key from the first that says it */
    };
    struct config c;
    struct err err;

    assert_true(load(text, &c, &err));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_tags t =
            config_tags_for(&c, config_find_upstream(&c, cases[i].host), cases[i].name, cases[i].tag);
        if (t.ttl_ms != cases[i].ttl_ms || t.max_stale_ms != cases[i].max_stale_ms ||
            t.negative_ttl_ms != cases[i].negative_ttl_ms || t.keep_deleted != cases[i].keep)
            fail_msg("%s:%s: %lld %lld %lld %d", cases[i].name, cases[i].tag, (long long)t.ttl_ms,
                     (long long)t.max_stale_ms, (long long)t.negative_ttl_ms, t.keep_deleted);
    }
    config_free(&c);
}

static void several_identities(void **state UNUSED)
{
    struct config c;
    struct err err;

    assert_true(load("upstreams:\n"
                     "  - name: a.io\n"
                     "    credentials:\n"
                     "      - {helper: one}\n"
                     "      - provider: ecr\n"
                     "        region: eu-west-1\n"
                     "  - {name: b.io, credentials: {helper: three}}\n",
                     &c, &err));
    const struct config_upstream *u = config_find_upstream(&c, "a.io");
    assert_int_equal(u->credentials_count, 2);
    assert_string_equal(u->credentials[0].helper, "one");
    assert_string_equal(u->credentials[1].region, "eu-west-1");
    u = config_find_upstream(&c, "b.io");
    assert_int_equal(u->credentials_count, 1);
    assert_string_equal(u->credentials[0].helper, "three");
    config_free(&c);
}

static void a_listener_of_one_upstream(void **state UNUSED)
{
    static const struct {
        const char *more, *given, *upstream;
    } good[] = {
        {"", "ghcr.io", "ghcr.io"},                                       /* built in */
        {"", "Registry-1.docker.io", "docker.io"},                        /* by another of its names */
        {"", "europe-docker.pkg.dev", "europe-docker.pkg.dev"},           /* a pattern's */
        {"upstreams: [{name: 'a.io:5000'}]\n", "a.io:5000", "a.io:5000"}, /* configured */
        {"upstreams_any: true\n", "b.io", "b.io"},
    };
    struct config c;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        _cleanup_free_ char *text =
            xasprintf("listen: [{address: 127.0.0.1:1}, {address: 127.0.0.1:2, upstream: \"%s\"}]\n%s", good[i].given,
                      good[i].more);
        if (!load(text, &c, &err))
            fail_msg("%s", err.msg);
        assert_null(c.listen_upstream[0]);
        assert_string_equal(c.listen_upstream[1], good[i].upstream);
        config_free(&c);
    }
}

static void endpoints_in_either_form(void **state UNUSED)
{
    struct config c;
    struct err err;

    assert_true(load("upstreams:\n"
                     "  - name: a.io\n"
                     "    endpoints:\n"
                     "      - https://one\n"
                     "      - url: https://two\n"
                     "        ns: true\n"
                     "      - {url: https://three, ns: false}\n"
                     "      - {url: https://four, credentials: true}\n"
                     "    trusted_hosts: [x.io]\n"
                     "  - {name: b.io, endpoints: [https://five]}\n",
                     &c, &err));
    const struct config_upstream *u = config_find_upstream(&c, "a.io");
    assert_string_equal(u->endpoints[0], "https://one");
    assert_string_equal(u->endpoints[1], "https://two");
    assert_string_equal(u->endpoints[3], "https://four");
    assert_null(u->endpoints[4]);
    assert_int_equal(u->endpoint_ns[0], UPSTREAM_NS_AUTO);
    assert_int_equal(u->endpoint_ns[1], UPSTREAM_NS_ON);
    assert_int_equal(u->endpoint_ns[2], UPSTREAM_NS_OFF);
    assert_int_equal(u->endpoint_ns[3], UPSTREAM_NS_AUTO);
    assert_false(u->endpoint_logins[0]);
    assert_true(u->endpoint_logins[3]);
    assert_string_equal(u->trusted_hosts[0], "x.io");
    assert_string_equal(config_find_upstream(&c, "b.io")->endpoints[0], "https://five");
    config_free(&c);
}

static void endpoints(void **state UNUSED)
{
    static const struct {
        const char *url;
        bool insecure, good;
    } cases[] = {
        {"https://a.io", false, true},
        {"https://a.io:444/path", false, true},
        {"HTTPS://[::1]:5000", false, true},
        {"http://a.io", true, true},
        {"http://a.io", false, false},
        {"https://", false, false},
        {"https://:443", false, false},
        {"https://a.io?x=1", false, false},
        {"https://a.io#x", false, false},
        {"https://u:p@a.io", false, false},
        {"https://a b.io", false, false},
        {"https://a.io/v2/hub", false, true},
        {"https://a.io/v2/hub/", false, true},
        {"https://a.io/v2/", false, true},
        {"https://a.io/artifactory/api/docker/NAME", false, true},
        {"https://a.io/v2/Hub", false, false},
        {"https://a.io/v2/a//b", false, false},
        {"https://a.io/v2/hub%20", false, false},
        {"https://a.io/v2/hub?x", false, false},
        {"https://a.io/x/../v2/hub", false, false},
        {"https://a.io/..", false, false},
        {"https://a.io/\n", false, false},
        {"https://a.io:99999", false, false},
        {"file:///etc", false, false},
        {"a.io", false, false},
        {"", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (!config_endpoint_fault(cases[i].url, cases[i].insecure) != cases[i].good)
            fail_msg("%s", cases[i].url);
}

/* A pattern lets hosts through, and nothing that only ends like one: it would become part of a URL. */
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints),
        cmocka_unit_test(tags_by_rules),
        cmocka_unit_test(several_identities),
        cmocka_unit_test(endpoints_in_either_form),
        cmocka_unit_test(a_listener_of_one_upstream),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
