/* Keys from the environment, where each value comes from, and what differs between two configurations. */
#include "tests/unit/load_config.h"

#include <stdlib.h>
#include <string.h>

static const char FILE_TEXT[] = "cache: {max_size: 10GiB, readahead: 1}\n"
                                "tags:\n  ttl: 7m\n  rules: [{tag: 'v*', ttl: never}]\n"
                                "upstreams: [{name: ghcr.io, parallel: 2}]\n"
                                "log: {level: warn}\n";

struct variable {
    const char *name, *value;
};

static bool load_with(const struct variable *vars, size_t count, struct config *c, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        setenv(vars[i].name, vars[i].value, 1);
    bool ok = load(FILE_TEXT, c, err);
    for (size_t i = 0; i < count; i++)
        unsetenv(vars[i].name);
    return ok;
}

/* What `config show --json` says of a key. */
static char *shown(const struct config *c, const char *path)
{
    json_t *all = config_json(c), *at = all;
    _cleanup_free_ char *rest = xstrdup(path);

    for (char *key = strtok(rest, "."); key; key = strtok(NULL, "."))
        at = json_object_get(at, key);
    char *text = at ? json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT) : xstrdup("(none)");
    json_decref(all);
    return text;
}

static void values(void **state UNUSED)
{
    static const struct {
        struct variable vars[2];
        const char *path, *value;
    } cases[] = {
        {{{"ENTREPOT_CACHE_MAX_SIZE", "50GiB"}}, "cache.max_size", "\"50GiB\""},
        {{{"ENTREPOT_CACHE_MAX_SIZE", ""}}, "cache.max_size", "\"10GiB\""}, /* empty is as none */
        {{{"ENTREPOT_TAGS_TTL", "1h"}}, "tags.ttl", "\"1h\""},
        {{{"ENTREPOT_TAGS_TTL", "1h"}}, "cache.readahead", "1"}, /* others stay as the file has them */
        {{{"ENTREPOT_TAGS_RULES", "[{tag: latest, ttl: 1s}]"}}, "tags.rules", "[{\"tag\":\"latest\",\"ttl\":\"1s\"}]"},
        {{{"ENTREPOT_TAGS_RULES", "[]"}}, "tags.rules", "(none)"},
        {{{"ENTREPOT_CACHE", "{readahead: 5}"}}, "cache.readahead", "5"},
        {{{"ENTREPOT_CACHE", "{readahead: 5}"}}, "cache.max_size", "\"10GiB\""}, /* a section is set key by key */
        {{{"ENTREPOT_CACHE", "{readahead: 5}"}, {"ENTREPOT_CACHE_READAHEAD", "6"}}, "cache.readahead", "6"},
        {{{"ENTREPOT_CACHE_READAHEAD", "6"}, {"ENTREPOT_CACHE", "{readahead: 5}"}}, "cache.readahead", "6"},
        {{{"ENTREPOT_LISTEN", "127.0.0.1:7"}}, "listen", "[{\"address\":\"127.0.0.1:7\"}]"},
        {{{"ENTREPOT_LISTEN", "['127.0.0.1:7', {address: 'unix:/a', upstream: quay.io}]"}},
         "listen",
         "[{\"address\":\"127.0.0.1:7\"},{\"address\":\"unix:/a\",\"upstream\":\"quay.io\"}]"},
        {{{"ENTREPOT_INTERCEPT_CA_CERT", "/c"}, {"ENTREPOT_INTERCEPT_CA_KEY", "/k"}}, "intercept", "(none)"},
        {{{"ENTREPOT_POLICY_DENY", "'*:latest'"}}, "policy.deny", "[\"*:latest\"]"},
        {{{"ENTREPOT_CLIENTS_HOSTS", "[a.test, b.test]"}}, "clients.hosts", "[\"a.test\",\"b.test\"]"},
        {{{"ENTREPOT_OFFLINE", "yes"}}, "offline", "true"},
        {{{"ENTREPOT_LOG_LEVEL", "error"}}, "log.level", "\"error\""},
        /* Kubernetes' and Docker's variables for a service of this name, and what is not like any key */
        {{{"ENTREPOT_PORT", "tcp://10.0.0.1:5000"}, {"ENTREPOT_PORT_5000_TCP_ADDR", "10.0.0.1"}},
         "log.level",
         "\"warn\""},
        {{{"ENTREPOT_SERVICE_HOST", "10.0.0.1"}, {"ENTREPOT_SERVICE_PORT_METRICS", "1"}}, "log.level", "\"warn\""},
        {{{"ENTREPOT_CACHE_SERVICE_HOST", "10.0.0.1"}, {"ENTREPOT_CACHE_PORT", "tcp://10.0.0.1:1"}},
         "log.level",
         "\"warn\""},
        /* of services whose names are like keys: nothing of them is taken as a value */
        {{{"ENTREPOT_LISTEN_PORT", "tcp://10.0.0.1:5000"}, {"ENTREPOT_LISTEN_PORT_5000_TCP", "tcp://10.0.0.1:5000"}},
         "listen",
         "[{\"address\":\"127.0.0.1:5000\"}]"},
        {{{"ENTREPOT_LISTEN_SERVICE_PORT", "5000"}, {"ENTREPOT_LISTEN_SERVICE_PORT_HTTP", "5000"}},
         "listen",
         "[{\"address\":\"127.0.0.1:5000\"}]"},
        {{{"ENTREPOT_LISTEN_PORT_53_UDP_PROTO", "udp"}, {"ENTREPOT_LOG_PORT_9_SCTP_PORT", "9"}},
         "listen",
         "[{\"address\":\"127.0.0.1:5000\"}]"},
        {{{"ENTREPOT_LOG_PORT", "udp://10.0.0.1:5000"}, {"ENTREPOT_LOG_LEVEL_PORT_80_TCP_ADDR", "10.0.0.1"}},
         "log.level",
         "\"warn\""},
        {{{"ENTREPOT_LISTEN_PORT_80_TCP_PORT_START", "80"}, {"ENTREPOT_LISTEN_PORT_80_TCP_END", "tcp://10.0.0.1:90"}},
         "log.level",
         "\"warn\""},
        {{{"ENTREPOT_LOG_NAME", "/web/entrepot-log"}, {"ENTREPOT_LOG_ENV_LEVEL", "debug"}}, "log.level", "\"warn\""},
        {{{"ENTREPOT_VERSION", "1.2.3"}, {"ENTREPOT_SOCKET", "/run/s"}}, "log.level", "\"warn\""},
        {{{"ENTREPOT_SOMETHING_ELSE", "1"}}, "log.level", "\"warn\""},
    };
    struct config c;
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool ok = load_with(cases[i].vars, cases[i].vars[1].name ? 2 : 1, &c, &err);
        if (!ok)
            fail_msg("%s: %s", cases[i].vars[0].name, err.msg);
        char *text = shown(&c, cases[i].path);
        assert_string_equal(text, cases[i].value);
        free(text);
        config_free(&c);
    }
}

static void mistakes(void **state UNUSED)
{
    static const struct {
        struct variable var;
        const char *message;
    } cases[] = {
        {{"ENTREPOT_CACHE_MAXSIZE", "1GiB"},
         "ENTREPOT_CACHE_MAXSIZE: is no key of the configuration; the nearest is ENTREPOT_CACHE_MAX_SIZE"},
        {{"ENTREPOT_OFLINE", "true"},
         "ENTREPOT_OFLINE: is no key of the configuration; the nearest is ENTREPOT_OFFLINE"},
        /* nearly what a service sets */
        {{"ENTREPOT_LISTEN_PORT", "5000"},
         "ENTREPOT_LISTEN_PORT: is no key of the configuration; the nearest is ENTREPOT_LISTEN"},
        {{"ENTREPOT_LISTEN_PORT_", "5000"},
         "ENTREPOT_LISTEN_PORT_: is no key of the configuration; the nearest is ENTREPOT_LISTEN"},
        {{"ENTREPOT_LISTEN_PORT_A", "5000"},
         "ENTREPOT_LISTEN_PORT_A: is no key of the configuration; the nearest is ENTREPOT_LISTEN"},
        {{"ENTREPOT_LISTEN_PORT_8", "a"},
         "ENTREPOT_LISTEN_PORT_8: is no key of the configuration; the nearest is ENTREPOT_LISTEN"},
        {{"ENTREPOT_LISTEN_SERVICE", "a"},
         "ENTREPOT_LISTEN_SERVICE: is no key of the configuration; the nearest is ENTREPOT_LISTEN"},
        {{"ENTREPOT_LOG_NAME", "debug"},
         "ENTREPOT_LOG_NAME: is no key of the configuration; the nearest is ENTREPOT_LOG_LEVEL"},
        {{"ENTREPOT_TAGS_TTL", "soon"},
         "ENTREPOT_TAGS_TTL: tags.ttl: \"soon\" is neither a time such as 5m, 1h, 30d, nor never"},
        {{"ENTREPOT_GC_LOW", "99%"}, "ENTREPOT_GC_LOW: gc.low: low is 99%, which is not under high, 95%"},
        {{"ENTREPOT_GC", "{lo: 1%}"}, "ENTREPOT_GC: gc.lo: unknown key"},
        {{"ENTREPOT_GC", "5"}, "ENTREPOT_GC: gc: keys with values are expected here"},
        {{"ENTREPOT_UPSTREAMS", "[{name: a.test, parallel: 999}]"},
         "ENTREPOT_UPSTREAMS: upstreams.parallel: \"999\" is not a whole number from 1 to 64"},
        {{"ENTREPOT_UPSTREAMS", "{a: b}"}, "ENTREPOT_UPSTREAMS: upstreams: a list is expected here"},
        {{"ENTREPOT_UPSTREAMS", "[{name: a.test, credentials: {username: u, password: p}}]"},
         "ENTREPOT_UPSTREAMS: upstreams.credentials.password: unknown key"},
        {{"ENTREPOT_LISTEN", "[1"}, "ENTREPOT_LISTEN: line 1: not YAML: did not find expected ',' or ']'"},
        {{"ENTREPOT_LISTEN", "*a"}, "ENTREPOT_LISTEN: line 1: *a: anchors and aliases are not supported"},
    };
    struct config c;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_false(load_with(&cases[i].var, 1, &c, &err));
        assert_string_equal(err.msg, cases[i].message);
    }
    /* what the file has wrong is the file's */
    setenv("ENTREPOT_CACHE", "{readahead: 5}", 1);
    assert_false(load("cache: {max_size: much}\n", &c, &err));
    assert_non_null(strstr(err.msg, "config.yaml: line 1: cache.max_size: \"much\""));
    unsetenv("ENTREPOT_CACHE");
}

static void note_name(void *arg, const char *path, const char *name)
{
    json_t *names = arg;

    if (strstr(name, "_PORT") || strstr(name, "_SERVICE") || strstr(name, "_ENV_"))
        fail_msg("%s: Kubernetes or Docker may set that", name);
    if (json_object_get(names, name))
        fail_msg("two keys have the variable %s: %s", name, path);
    json_object_set_new(names, name, json_true());
}

/* A variable stands for one key. */
static void names(void **state UNUSED)
{
    json_t *all = json_object();

    config_each_variable(note_name, all);
    assert_true(json_object_size(all) > 50);
    assert_non_null(json_object_get(all, "ENTREPOT_CACHE_MAX_SIZE"));
    json_decref(all);
}

static void sources(void **state UNUSED)
{
    static const struct variable vars[] = {{"ENTREPOT_TAGS_TTL", "1h"}, {"ENTREPOT_GC", "{high: 90%}"}};
    static const struct {
        const char *path, *from, *detail;
    } cases[] = {
        {"tags.ttl", "environment", "ENTREPOT_TAGS_TTL"},
        {"gc.high", "environment", "ENTREPOT_GC"},
        {"gc.low", "default", NULL},
        {"cache.max_size", "file", NULL},
        {"tags.rules", "file", NULL},
        {"upstreams", "file", NULL},
        {"workers", "default", NULL},
        {"offline", "command line", "--offline"},
        {"listen", "command line", "--listen"},
    };
    const char *const listen[] = {"127.0.0.1:9", NULL};
    char *dir = make_folder(), *file = xasprintf("%s/c.yaml", dir);
    const struct config_overrides o = {.file = file, .offline = true, .listen = listen};
    FILE *f = fopen(file, "w");
    struct config c;
    struct err err;

    fputs(FILE_TEXT, f);
    fclose(f);
    for (size_t i = 0; i < ARRAY_LEN(vars); i++)
        setenv(vars[i].name, vars[i].value, 1);
    assert_true(config_load(&c, &o, &err));
    for (size_t i = 0; i < ARRAY_LEN(vars); i++)
        unsetenv(vars[i].name);
    json_t *all = config_sources_json(&c);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const json_t *s = json_object_get(all, cases[i].path);
        assert_non_null(s);
        assert_string_equal(json_string_value(json_object_get(s, "from")), cases[i].from);
        const char *detail = json_string_value(json_object_get(s, "variable"));
        detail = detail ? detail : json_string_value(json_object_get(s, "option"));
        assert_true(!cases[i].detail == !detail && (!detail || strcmp(detail, cases[i].detail) == 0));
    }
    assert_int_equal(json_integer_value(json_object_get(json_object_get(all, "tags.ttl"), "line")), 0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(all, "tags.rules"), "line")), 4);
    _cleanup_buf_ struct buf text = {0};
    config_print_sources(&c, &text);
    assert_non_null(strstr(text.data, "\n  ttl: 1h  # ENTREPOT_TAGS_TTL\n"));
    assert_non_null(strstr(text.data, "c.yaml:5\n"));
    /* with its comments, too, it can be read again */
    struct config again;
    assert_true(load(text.data, &again, &err));
    json_t *first = config_json(&c), *second = config_json(&again);
    assert_true(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    json_decref(all);
    config_free(&again);
    config_free(&c);
    free(file);
    remove_tree(dir);
}

static void changes(void **state UNUSED)
{
    static const struct {
        const char *from, *to, *changes; /* "key need; …" */
    } cases[] = {
        {"", "", ""},
        {"log: {level: info}", "", ""},
        {"", "log: {level: debug}", "log.level reload; "},
        {"workers: 1", "workers: 2", "workers restart; "},
        {"cache: {path: /a}", "cache: {path: /b}", "cache.path restart; "},
        {"gc: {policy: lru}", "", "gc.policy restart; "},
        {"admin: {socket: /a}", "admin: {socket: /b}", "admin.socket restart; "},
        {"upstreams: [{name: ghcr.io, parallel: 2}]", "upstreams: [{name: quay.io, parallel: 2}]",
         "upstreams[ghcr.io].parallel reload; upstreams[quay.io].parallel reload; "},
        {"", "upstreams: [{name: a.test}]", "upstreams[a.test] reload; "},
        {"listen: [{address: '127.0.0.1:1'}]", "listen: [{address: '127.0.0.1:1', upstream: quay.io}]",
         "listen[127.0.0.1:1].upstream reload; "},
        {"policy: {deny: ['a']}", "policy: {deny: ['a', 'b']}", "policy.deny reload; "},
        {"tags: {rules: [{tag: a, ttl: 1s}]}", "", "tags.rules reload; "},
    };
    struct config a, b;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf text = {0};
        json_t *change;
        size_t k;
        assert_true(load(cases[i].from, &a, &err) && load(cases[i].to, &b, &err));
        json_t *list = config_changes(&a, &b);
        buf_adds(&text, "");
        json_array_foreach(list, k, change)
            buf_addf(&text, "%s %s; ", json_string_value(json_object_get(change, "key")),
                     json_string_value(json_object_get(change, "needs")));
        assert_string_equal(text.data ? text.data : "", cases[i].changes);
        json_decref(list);
        config_free(&a);
        config_free(&b);
    }
}

static void counted(void **state UNUSED)
{
    struct err err;
    const struct config_overrides o = {.cache = "/tmp"};
    struct config *c = config_new(&o, &err);

    assert_non_null(c);
    assert_ptr_equal(config_ref(c), c);
    config_unref(c);
    assert_string_equal(c->cache_path, "/tmp");
    config_unref(c); /* LeakSanitizer tells if this frees nothing */
    config_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),  cmocka_unit_test(mistakes), cmocka_unit_test(names),
        cmocka_unit_test(sources), cmocka_unit_test(changes),  cmocka_unit_test(counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
