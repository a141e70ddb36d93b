#include "tests/unit/unit.h"

#include "proxy/config.h"
#include "proxy/range.h"

#include <stdio.h>

static bool load(const char *text, struct config *c, struct err *err)
{
    char *dir = make_folder(), *file = xasprintf("%s/config.yaml", dir);
    struct config_overrides o = {.file = file};
    FILE *f = fopen(file, "w");

    fputs(text, f);
    fclose(f);
    memset(err, 0, sizeof(*err));
    bool ok = config_load(c, &o, err);
    free(file);
    remove_tree(dir);
    return ok;
}

static void amounts_and_times(void **state UNUSED)
{
    struct amount a;
    int64_t ms;

    assert_true(config_parse_amount("1.5GiB", &a) && a.bytes == 1610612736);
    assert_true(config_parse_amount("80%", &a) && a.bytes == -1);
    assert_true(config_parse_amount("0", &a) && a.bytes == 0);
    assert_false(config_parse_amount("101%", &a));
    assert_false(config_parse_amount("-1GiB", &a));
    assert_false(config_parse_amount("1GB", &a));
    assert_false(config_parse_amount("", &a));
    assert_true(config_parse_duration("500ms", &ms) && ms == 500);
    assert_true(config_parse_duration("30d", &ms) && ms == (int64_t)30 * 86400000);
    assert_true(config_parse_duration("1.5h", &ms) && ms == 5400000);
    assert_false(config_parse_duration("5", &ms));
    assert_false(config_parse_duration("5 weeks", &ms));
}

/* Each names file, line and key. */
static void errors(void **state UNUSED)
{
    static const char *const cases[][3] = {
        {"nonsense: 1\n", "line 1", "nonsense"},
        {"cache:\n  path: /x\n  max_sise: 5GiB\n", "line 3", "max_sise"},
        {"workers: many\n", "line 1", "workers"},
        {"workers: 99\n", "line 1", "workers"},
        {"cache:\n  max_size: 5GB\n", "line 2", "cache.max_size"},
        {"gc:\n  high: 80%\n  low: 90%\n", "line 3", "gc.low"},
        {"tags:\n  ttl: soon\n", "line 2", "tags.ttl"},
        {"log: {level: loud}\n", "line 1", "log.level"},
        {"listen:\n  - address: 127.0.0.1\n", "line 2", "listen.address"},
        {"upstreams:\n  - name: a.io\n    endpoints: [\"http://a.io\"]\n", "line 3", "upstreams.endpoints"},
        {"upstreams:\n  - name: a.io\n  - name: a.io\n", "line 3", "upstreams.name"},
        {"upstreams:\n  - name: a.io\n    endpoints: [\"ftp://a.io\"]\n", "line 3", "upstreams.endpoints"},
        {"upstreams:\n  - name: a.io\n    access: client\n", "line 3", "not supported"},
        {"upstreams:\n  - name: a.io\n    credentials: {username: u}\n", "line 3", "upstreams.credentials"},
        {"upstreams:\n  - name: a.io\n    credentials: {username: u, password_file: /nowhere}\n", "line 3",
         "password_file"},
        {"cache: {fetch: lazy}\n", "line 1", "not supported"},
        {"cache: {path: relative}\n", "line 1", "cache.path"},
        {"offline: perhaps\n", "line 1", "offline"},
        {"a: [\n", "line", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config c;
        struct err err;
        bool ok = load(cases[i][0], &c, &err);
        bool said = strstr(err.msg, "config.yaml: ") && strstr(err.msg, cases[i][1]) && strstr(err.msg, cases[i][2]);
        if (ok || !said)
            print_error("case %zu: %s -> %s\n", i, cases[i][0], err.msg);
        assert_false(ok);
        assert_int_equal(err.code, ERR_INVALID);
        assert_true(said);
    }
}

static void upstreams(void **state UNUSED)
{
    struct config c;
    struct err err;

    assert_true(load("upstreams:\n  - name: quay.io\n    endpoints: [\"https://mirror/x\", \"https://quay.io\"]\n"
                     "    tags: {ttl: 1h}\n",
                     &c, &err));
    assert_string_equal(config_find_upstream(&c, "quay.io")->endpoints[1], "https://quay.io");
    assert_int_equal(config_find_upstream(&c, "quay.io")->tags_ttl_ms, 3600000);
    assert_string_equal(config_find_upstream(&c, "docker.io")->endpoints[0], "https://registry-1.docker.io");
    assert_string_equal(config_find_upstream(&c, "europe-docker.pkg.dev")->name, "*.pkg.dev");
    assert_string_equal(config_find_upstream(&c, "1.dkr.ecr.eu-west-1.amazonaws.com")->name,
                        "*.dkr.ecr.*.amazonaws.com");
    assert_null(config_find_upstream(&c, "pkg.dev"));
    assert_null(config_find_upstream(&c, "evil.example"));
    assert_int_equal(c.tags_ttl_ms, 300000);
    config_free(&c);
}

static void secrets_are_not_shown(void **state UNUSED)
{
    char *dir = make_folder(), *file = xasprintf("%s/password", dir);
    char *text = xasprintf("upstreams:\n  - name: a.io\n    credentials: {username: u, password_file: %s}\n", file);
    _cleanup_buf_ struct buf shown = {0};
    struct config c;
    struct err err;
    FILE *f = fopen(file, "w");

    fputs("not-a-secret\n", f);
    fclose(f);
    assert_true(load(text, &c, &err));
    assert_string_equal(config_find_upstream(&c, "a.io")->password, "not-a-secret");
    config_print(&c, &shown);
    assert_null(strstr(shown.data, "not-a-secret"));
    config_free(&c);
    free(text);
    free(file);
    remove_tree(dir);
}

/* What is shown can be read again. */
static void shown_and_read_again(void **state UNUSED)
{
    struct config_overrides o = {.cache = "/tmp/entrepot-nowhere"};
    _cleanup_buf_ struct buf first = {0}, second = {0};
    struct config a, b;
    struct err err;

    assert_true(config_load(&a, &o, &err));
    config_print(&a, &first);
    bool ok = load(first.data, &b, &err);
    if (!ok)
        print_error("%s\n", err.msg);
    assert_true(ok);
    config_print(&b, &second);
    assert_string_equal(strchr(first.data, '\n'), strchr(second.data, '\n'));
    config_free(&a);
    config_free(&b);
}

static void ranges(void **state UNUSED)
{
    static const struct {
        const char *header;
        enum range_verdict verdict;
        int64_t first, last;
    } cases[] = {
        {NULL, RANGE_WHOLE, 0, 99},
        {"bytes=0-0", RANGE_PART, 0, 0},
        {"bytes=10-", RANGE_PART, 10, 99},
        {"bytes=10-1000", RANGE_PART, 10, 99},
        {"bytes=-5", RANGE_PART, 95, 99},
        {"bytes=-500", RANGE_PART, 0, 99},
        {"bytes=99-99999999999999999999", RANGE_PART, 99, 99},
        {"bytes=100-", RANGE_OUTSIDE, 0, 0},
        {"bytes=-0", RANGE_OUTSIDE, 0, 0},
        {"bytes=5-4", RANGE_WHOLE, 0, 99},
        {"bytes=0-1,3-4", RANGE_WHOLE, 0, 99},
        {"bytes=a-b", RANGE_WHOLE, 0, 99},
        {"lines=0-1", RANGE_WHOLE, 0, 99},
        {"bytes=", RANGE_WHOLE, 0, 99},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t first, last;
        enum range_verdict v = range_parse(cases[i].header, 100, &first, &last);
        if (v != cases[i].verdict)
            print_error("%s\n", cases[i].header);
        assert_int_equal(v, cases[i].verdict);
        if (v == RANGE_PART) {
            assert_int_equal(first, cases[i].first);
            assert_int_equal(last, cases[i].last);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_and_times),
        cmocka_unit_test(errors),
        cmocka_unit_test(upstreams),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(shown_and_read_again),
        cmocka_unit_test(ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
