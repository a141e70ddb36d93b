#include "tests/unit/load_config.h"

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
    static const char *const nonsense[] = {"0x10", "1e3",  "1e3MiB", ".5GiB", "5.",     " 5",
                                           "+5",   "5kib", "nan",    "inf",   "1 MiBs", "9999999999999999TiB"};
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++)
        if (config_parse_amount(nonsense[i], &a) || config_parse_duration(nonsense[i], &ms))
            fail_msg("%s", nonsense[i]);
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
        {"tags:\n  ttl: soon\n", "line 2", "nor never"},
        {"log: {level: loud}\n", "line 1", "log.level"},
        {"listen:\n  - address: 127.0.0.1\n", "line 2", "listen.address"},
        {"upstreams:\n  - name: a.io\n    endpoints: [\"http://a.io\"]\n", "line 3", "upstreams.endpoints"},
        {"upstreams:\n  - name: a.io\n  - name: a.io\n", "line 3", "upstreams.name"},
        {"upstreams:\n  - name: a.io\n    endpoints: [\"ftp://a.io\"]\n", "line 3", "upstreams.endpoints"},
        {"upstreams:\n  - name: a.io\n    access: client\n    credentials: {helper: x}\n", "line 3",
         "access: is client"},
        {"limits:\n  connections: 0\n", "line 2", "limits.connections"},
        {"limits: {misses: many}\n", "line 1", "limits.misses"},
        {"clients: {grant_ttl: 10m}\n", "line 1", "grant_ttl"},
        {"offline: false\nclients: {login_for: not.configured}\n", "line 2",
         "clients.login_for: \"not.configured\" is neither"},
        {"upstreams_any: true\nclients: {login_for: not.configured}\n", "line 2", "is neither"},
        {"clients: {hosts: ['node:80']}\n", "line 1", "clients.hosts: \"node:80\" is neither"},
        {"clients: {login_for: '*.pkg.dev'}\n", "line 1", "is not a registry's host"},
        {"upstreams:\n  - name: a.io\n    credentials: {username: u}\n", "line 3", "upstreams.credentials"},
        {"upstreams:\n  - name: a.io\n    credentials: {username: u, password_file: /nowhere}\n", "line 3",
         "password_file"},
        {"cache: {fetch: some}\n", "line 1", "none of auto, whole, lazy"},
        {"cache: {readahead: 17}\n", "line 1", "cache.readahead"},
        {"cache: {path: relative}\n", "line 1", "cache.path"},
        {"offline: perhaps\n", "line 1", "offline"},
        {"a: [\n", "line", ""},
        {"workers: 4.5\n", "line 1", "workers"},
        {"workers: -1\n", "line 1", "workers"},
        {"fetchers: 0\n", "line 1", "fetchers"},
        {"workers: 1\n\nworkers: 2\n", "line 3", "workers"},
        {"workers: 1\n---\nworkers: 2\n", "line 2", "second document"},
        {"log: [a]\n", "line 1", "log: keys with values"},
        {"upstreams: many\n", "line 1", "upstreams: a list"},
        {"gc: &a {low: 1%}\ntags: *a\n", "line 2", "*a: anchors and aliases"},
        {"workers: 1\nlog:\n\tlevel: info\n", "line 3", "not YAML"},
        {"workers: 1\n# listen: [\nlisten: [\n\n\n", "line 3", "not YAML"},
        {"workers: 1\nlog: \"info\ngc:\n  low: 1%\n", "line 2", "not YAML: found unexpected end of stream"},
        {"upstreams:\n- name: a.io\n  endpoints:\n  -https://x\n  - y\n", "line 4",
         "not YAML: could not find expected"},
        {"workers: 1\n# \xff\ngc: [\n", "line 2", "not YAML"},
        {"workers: 1\n? [a]\n: b\n", "line 2", "a key has to be a single value"},
        {"clients:\n  hosts:\n  - a.io\n  - ''\n", "line 4", "clients.hosts: is empty"},
        {"upstreams:\n- name: a.io\n  credentials:\n  - {helper: x}\n  - provider: kubelet\n    args: [a, [b]]\n",
         "line 6", "upstreams.credentials.args: a single value"},
        {"upstreams:\n- name: a.io\n  endpoints: [https://1, https://2, https://3, https://4, https://5, https://6,\n"
         "  https://7, https://8,\n  https://9]\n",
         "line 5", "upstreams.endpoints: too many entries"},
        {"gc:\n  high: 50%\n", "line 2", "gc.high"},
        {"gc: {interval: 10ms}\n", "line 1", "gc.interval"},
        {"cache:\n  path: /x\n  max_size: 0\n", "line 3", "cache.max_size"},
        {"cache:\n  min_free: 100%\n", "line 2", "cache.min_free"},
        {"tags: {ttl: 5m}\ncache:\n  path: /x\n  ttl: 3\n", "line 4", "cache.ttl: unknown"},
        {"listen: [{address: \"host:5000\"}]\n", "line 1", "listen.address"},
        {"listen:\n- address: 127.0.0.1:5000\n- address: 127.0.0.1:5000\n", "line 3", "listed twice"},
        {"listen:\n  - address: 127.0.0.1:1\n    tls: {cert: /a}\n", "line 3", "listen.tls: there is no key"},
        {"listen:\n  - address: 127.0.0.1:1\n    tls: {client_ca: /a}\n", "line 3", "listen.tls: there is no cert"},
        {"listen:\n  - address: 127.0.0.1:1\n    tls: {cert: '', key: /b}\n", "line 3", "cert"},
        {"listen:\n  - address: 127.0.0.1:1\n    tls: {crt: /a}\n", "line 3", "crt"},
        {"listen:\n  - address: unix:/a\n    tls: {cert: /a, key: /b}\n", "line 3", "a unix socket is plain HTTP"},
        {"listen:\n  - address: 127.0.0.1:1\n    tls:\n      cert: /no/such\n      key: /b\n", "line 4",
         "listen.tls.cert: /no/such: No such file or directory"},
        {"listen:\n  - address: 127.0.0.1:1\n    tls: {cert: /dev/zero, key: /b}\n", "line 3", "not a file"},
        {"admin: {socket: here}\n", "line 1", "admin.socket"},
        {"listen: [{address: unix:/x.sock}]\nadmin: {socket: /x.sock}\n", "line 2",
         "admin.socket: \"/x.sock\" is listed twice"},
        {"metrics:\n  address: nowhere\n", "line 2", "metrics.address"},
        {"upstreams:\n  - name: a.io\n  - parallel: 2\n", "line 3", "upstreams.name: is required"},
        {"upstreams:\n  - name: a/b.io\n", "line 2", "upstreams.name"},
        {"upstreams:\n  - name: '*.*.*.*.io'\n", "line 2", "upstreams.name"},
        {"upstreams:\n  - name: index.docker.io\n", "line 2", "docker.io"},
        {"upstreams:\n  - name: ghcr.io:443\n", "line 2", "leave out the port 443"},
        {"upstreams:\n- name: a.io\n- name: A.io\n", "line 3", "twice"},
        {"upstreams:\n- name: a.io\n  endpoints:\n  - https://x\n  - ftp://y\n- name: b.io\n", "line 5",
         "endpoints[1]"},
        {"upstreams:\n  - name: a.io\n    endpoints:\n      - https://x\n      - https://y\n  - name: b.io\n"
         "    parallel: 999\n",
         "line 7", "upstreams.parallel"},
        {"upstreams: [\n {name: a.io, parallel: 4},\n {name: b.io,\n  parallel: 0}]\n", "line 4", "parallel"},
        {"upstreams:\n  - name: a.io\n    tags:\n      ttl: 1h\n  - name: b.io\n    tags:\n      ttl: soon\n", "line 7",
         "upstreams.tags.ttl"},
        {"listen:\n- address: 127.0.0.1:1\n- {address: 127.0.0.1:2, upstream: a.io}\n", "line 3",
         "listen.upstream: \"a.io\" is neither configured"},
        {"listen:\n- address: 127.0.0.1:1\n  upstream: '*.pkg.dev'\n", "line 3", "not a registry's host"},
        {"listen:\n- address: 127.0.0.1:1\n  upstream: https://ghcr.io\n", "line 3", "not a registry's host"},
        {"listen:\n- address: 127.0.0.1:1\n  upstream: ''\n", "line 3", "not a registry's host"},
        {"upstreams:\n- name: a.io\n  endpoints:\n  - https://x\n  - {url: \"https://y\", ns: perhaps}\n", "line 5",
         "endpoints[1].ns"},
        {"upstreams:\n- name: a.io\n  endpoints:\n  - url: ftp://x\n", "line 4", "endpoints[0]"},
        {"upstreams:\n- name: a.io\n  endpoints:\n  - ns: true\n", "line 4", "endpoints.url: is required"},
        {"upstreams:\n- name: a.io\n  endpoints:\n  - https://x\n  - {ur: https://x}\n", "line 5", "ur: unknown"},
        {"upstreams:\n- name: a.io\n  endpoints: [https://x/v2/Hub]\n", "line 3", "behind /v2/"},
        {"upstreams:\n- name: a.io\n  endpoints: ['https://x/?a=b']\n", "line 3", "a query or a fragment"},
        {"upstreams:\n  - name: a.io\n    stall_timeout: 0s\n", "line 3", "stall_timeout"},
        {"tags:\n  deleted: perhaps\n", "line 2", "tags.deleted"},
        {"tags:\n  max_stale: never\n", "line 2", "tags.max_stale"},
        {"tags:\n  rules:\n    - ttl: 5s\n", "line 3", "neither repository nor tag"},
        {"tags:\n  rules:\n    - {tag: 'v*', ttl: never}\n    - {tag: x, ttl: soon}\n", "line 4", "tags.rules[1].ttl"},
        {"tags:\n  rules:\n    - repository: library/nginx\n", "line 3", "not a pattern of full names"},
        {"upstreams:\n  - name: a.io\n    tags: {rules: []}\n", "line 3", "rules"},
        {"upstreams:\n  - name: a.io\n    credentials:\n      - helper: x\n      - username: u\n", "line 5",
         "credentials[1]."},
        {"upstreams:\n  - name: a.io\n    credentials:\n      helpr: x\n", "line 4", "helpr"},
        {"upstreams:\n  - name: a.io\n    credentials: x\n", "line 3", "a list is expected"},
        {"upstreams:\n  - name: a.io\n    rate_reserve: -1\n", "line 3", "rate_reserve"},
        {"upstreams:\n  - name: a.io\n    ca: /nowhere/ca.pem\n", "line 3",
         "upstreams.ca: /nowhere/ca.pem: No such file"},
        {"upstreams:\n  - name: a.io\n    ca: /dev/null\n", "line 3", "upstreams.ca: /dev/null: "},
        {"upstreams:\n  - name: a.io\n    ca_only: true\n", "line 3", "ca_only: is about ca"},
        {"upstreams:\n  - name: a.io\n    client_key: /x\n", "line 3", "client_key: is that of client_cert"},
        {"upstreams:\n  - name: a.io\n    client_cert: /nowhere/c.pem\n", "line 3",
         "client_cert: /nowhere/c.pem: No such"},
        {"upstreams:\n  - name: a.io\n    credentials:\n      helper: ../x\n", "line 4", "helper: is what follows"},
        {"upstreams:\n  - name: a.io\n    credentials: {helper: x, username: u}\n", "line 3",
         "username: does not belong"},
        {"upstreams:\n  - name: a.io\n    credentials: {provider: abc}\n", "line 3",
         "provider: is none of kubelet, ecr"},
        {"upstreams:\n  - name: a.io\n    credentials: {provider: ecr, tenant: t}\n", "line 3",
         "tenant: does not belong"},
        {"upstreams:\n  - name: a.io\n    credentials: {docker_config: /x}\n", "line 3", "docker_config: reading /x"},
        {"upstreams:\n  - name: a.io\n    credentials: {provider: kubelet}\n", "line 3", "command: has to be"},
        {"upstreams:\n  - name: a.io\n    credentials: {provider: kubelet, command: /nowhere}\n", "line 3",
         "command: /nowhere"},
        {"upstreams:\n  - name: a.io\n    credentials: {provider: ecr, args: [a]}\n", "line 3",
         "args: is for provider: kubelet"},
        {"upstreams:\n  - name: a.io\n    credentials: {username: \"a:b\", password_file: /x}\n", "line 3",
         "username: cannot be"},
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

/* Nothing of it may be shown: what stands before the @ is a password. */
static void an_endpoint_with_a_password_is_not_repeated(void **state UNUSED)
{
    struct config c;
    struct err err;

    assert_false(load("upstreams:\n  - name: a.io\n    endpoints: [\"https://u:not-a-secret@a.io\"]\n", &c, &err));
    assert_non_null(strstr(err.msg, "credentials"));
    assert_null(strstr(err.msg, "not-a-secret"));
}

/* What is in the file cannot break an error into two lines. */
static void an_error_is_one_line(void **state UNUSED)
{
    struct config c;
    struct err err;

    assert_false(load("cache: {path: \"a\\nb\"}\n", &c, &err));
    assert_null(strchr(err.msg, '\n'));
}

static void files_that_are_no_configuration(void **state UNUSED)
{
    char *dir = make_folder(), *file = xasprintf("%s/config.yaml", dir);
    struct config_overrides o = {.file = file};
    struct config c;
    struct err err;

    assert_false(config_load(&c, &o, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    o.file = dir;
    assert_false(config_load(&c, &o, &err));
    assert_non_null(strstr(err.msg, dir));
    o.file = file;
    FILE *f = fopen(file, "w");
    for (int i = 0; i < (1 << 20) / 16 + 1; i++)
        fputs("# sixteen bytes\n", f);
    fclose(f);
    assert_false(config_load(&c, &o, &err));
    assert_non_null(strstr(err.msg, "1 MiB"));
    free(file);
    remove_tree(dir);
}

/* Comments, marks and sections without keys are no errors: whoever comments a section out gets its defaults. */
static void empty_ones(void **state UNUSED)
{
    static const char *const texts[] = {
        "", "\n\n", "# nothing\n", "---\n", "---\n# nothing\n...\n", "gc:\n  # low: 1%\nlisten:\nupstreams:\nlog:\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct config c;
        struct err err;
        if (!load(texts[i], &c, &err))
            fail_msg("%s", err.msg);
        assert_string_equal(c.listen[0], "127.0.0.1:5000");
        assert_null(c.listen[1]);
        assert_true(c.gc_low == 85);
        assert_int_equal(c.upstream_count, 11);
        config_free(&c);
    }
}

static void defaults(void **state UNUSED)
{
    struct config_overrides o = {.file = "/dev/null", .cache = "/tmp/entrepot-nowhere"};
    struct config c;
    struct err err;

    assert_true(config_load(&c, &o, &err));
    assert_string_equal(c.listen[0], "127.0.0.1:5000");
    assert_string_equal(c.admin_socket, "/tmp/entrepot-nowhere/admin.sock");
    assert_null(c.metrics_address);
    assert_in_range(c.workers, 1, 8);
    assert_int_equal(c.fetchers, 2);
    assert_true(c.limits.connections == 8192 && c.limits.per_client == 1024 && c.limits.misses == 256 &&
                c.limits.relays == 256);
    assert_int_equal(c.log_level, LOG_LEVEL_INFO);
    assert_true(c.max_size.bytes == -1 && c.max_size.percent == 80);
    assert_true(c.min_free.bytes == -1 && c.min_free.percent == 20);
    assert_true(c.gc_high == 95 && c.gc_low == 85 && !c.gc_lru);
    assert_int_equal(c.gc_grace_ms, 3600000);
    assert_int_equal(c.gc_interval_ms, 60000);
    assert_int_equal(c.tags.ttl_ms, 300000);
    assert_true(c.tags.max_stale_ms == (int64_t)30 * 86400000);
    assert_int_equal(c.tags.negative_ttl_ms, 10000);
    assert_false(c.offline || c.upstreams_any);
    const struct config_upstream *u = config_find_upstream(&c, "ghcr.io");
    assert_null(u->endpoints[0]);
    assert_int_equal(u->tags.ttl_ms, -1);
    assert_int_equal(u->connect_timeout_ms, 10000);
    assert_int_equal(u->stall_timeout_ms, 30000);
    assert_true(u->parallel == 4 && u->rate_reserve == 10 && !u->insecure && u->credentials_count == 0);
    config_free(&c);
}

static void the_command_line_comes_first(void **state UNUSED)
{
    const char *const listen[] = {"127.0.0.1:1", "unix:/tmp/x.sock", NULL}, *const wrong[] = {"host:1", NULL};
    struct config_overrides o = {.file = "/dev/null", .cache = "relative", .listen = listen, .offline = true};
    struct config c;
    struct err err;

    assert_true(config_load(&c, &o, &err));
    assert_string_equal(c.listen[1], "unix:/tmp/x.sock");
    assert_null(c.listen[2]);
    assert_true(c.offline && c.cache_path[0] == '/');
    config_free(&c);
    o.listen = wrong;
    assert_false(config_load(&c, &o, &err));
    assert_non_null(strstr(err.msg, "--listen"));
    o.listen = (const char *const[]){"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:1", NULL};
    assert_false(config_load(&c, &o, &err));
    assert_non_null(strstr(err.msg, "127.0.0.1:1\" is listed twice"));
    o.listen = (const char *const[]){"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:5000", NULL};
    assert_true(config_load(&c, &o, &err));
    config_free(&c);
}

/* What systemd made for us is used; what it made for somebody who starts us is not. */
static void folders_of_the_service(void **state UNUSED)
{
    struct config_overrides o = {.file = "/dev/null"};
    struct config c;
    struct err err;

    setenv("STATE_DIRECTORY", "/srv/state/entrepot", 1);
    setenv("RUNTIME_DIRECTORY", "/srv/run/entrepot", 1);
    assert_true(config_load(&c, &o, &err));
    assert_string_equal(c.cache_path, "/srv/state/entrepot");
    assert_string_equal(c.admin_socket, "/srv/run/entrepot/admin.sock");
    config_free(&c);
    setenv("STATE_DIRECTORY", "/srv/state/runner", 1);
    setenv("RUNTIME_DIRECTORY", "/srv/run/runner", 1);
    setenv("XDG_CACHE_HOME", "/srv/home", 1);
    assert_true(config_load(&c, &o, &err));
    assert_null(strstr(c.cache_path, "runner"));
    assert_null(strstr(c.admin_socket, "runner"));
    config_free(&c);
    unsetenv("STATE_DIRECTORY");
    unsetenv("RUNTIME_DIRECTORY");
    unsetenv("XDG_CACHE_HOME");
}

static void addresses(void **state UNUSED)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"127.0.0.1:5000", true},   {"0.0.0.0:0", true},       {"[::1]:5000", true},    {"[::]:65535", true},
        {"*:5000", true},           {":5000", true},           {"localhost:80", true},  {"unix:/run/x.sock", true},
        {"127.0.0.1", false},       {"127.0.0.1:", false},     {"1.2.3:80", false},     {"host.example:80", false},
        {"127.0.0.1:65536", false}, {"127.0.0.1:-1", false},   {"127.0.0.1:+1", false}, {"127.0.0.1:80x", false},
        {"[::1:80", false},         {"[127.0.0.1]:80", false}, {"unix:run", false},     {"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (config_is_address(cases[i].text) != cases[i].good)
            fail_msg("%s", cases[i].text);
}

static void patterns(void **state UNUSED)
{
    static const struct {
        const char *host, *name;
    } cases[] = {
        {"europe-docker.pkg.dev", "*.pkg.dev"},
        {"Europe-Docker.PKG.dev", "*.pkg.dev"},
        {"a.b.pkg.dev", "*.pkg.dev"},
        {"1.dkr.ecr.eu-west-1.amazonaws.com", "*.dkr.ecr.*.amazonaws.com"},
        {"QUAY.io", "quay.io"},
        {"exact.pkg.dev", "exact.pkg.dev"},
        {".pkg.dev", NULL},
        {"pkg.dev", NULL},
        {"pkg.dev.evil.example", NULL},
        {"1.dkr.ecr.amazonaws.com", NULL},
        {"evil.example/.pkg.dev", NULL},
        {"evil.example?.pkg.dev", NULL},
        {"evil.example#.pkg.dev", NULL},
        {"user@evil.example.pkg.dev", NULL},
        {"evil.example:443.pkg.dev", NULL},
        {"evil.example\\.pkg.dev", NULL},
        {"evil.example .pkg.dev", NULL},
        {"x.pkg.dev:443", NULL},
        {"", NULL},
    };
    struct config c;
    struct err err;

    assert_true(load("upstreams: [{name: exact.pkg.dev}]\n", &c, &err));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct config_upstream *u = config_find_upstream(&c, cases[i].host);
        if (!u != !cases[i].name || (u && strcmp(u->name, cases[i].name) != 0))
            fail_msg("%s: %s", cases[i].host, u ? u->name : "none");
    }
    config_free(&c);
}

static void upstreams(void **state UNUSED)
{
    struct config c;
    struct err err;

    assert_true(load("upstreams:\n  - name: quay.io\n    endpoints: [\"https://mirror/x\", \"https://quay.io\"]\n"
                     "    tags: {ttl: 1h}\n",
                     &c, &err));
    assert_string_equal(config_find_upstream(&c, "quay.io")->endpoints[1], "https://quay.io");
    assert_int_equal(config_find_upstream(&c, "quay.io")->tags.ttl_ms, 3600000);
    assert_string_equal(config_find_upstream(&c, "docker.io")->endpoints[0], "https://registry-1.docker.io");
    assert_string_equal(config_find_upstream(&c, "europe-docker.pkg.dev")->name, "*.pkg.dev");
    assert_string_equal(config_find_upstream(&c, "1.dkr.ecr.eu-west-1.amazonaws.com")->name,
                        "*.dkr.ecr.*.amazonaws.com");
    assert_null(config_find_upstream(&c, "pkg.dev"));
    assert_null(config_find_upstream(&c, "evil.example"));
    assert_int_equal(c.tags.ttl_ms, 300000);
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
    assert_string_equal(config_find_upstream(&c, "a.io")->credentials[0].password_file, file);
    config_print(&c, &shown);
    assert_null(strstr(shown.data, "not-a-secret"));
    json_t *j = config_json(&c);
    char *json = json_dumps(j, 0);
    assert_null(strstr(json, "not-a-secret"));
    assert_non_null(strstr(json, file));
    json_decref(j);
    free(json);
    config_free(&c);
    free(text);
    free(file);
    remove_tree(dir);
}

/* Who only looks for the socket need not be allowed to read passwords. */
static void secrets_may_be_left_unread(void **state UNUSED)
{
    char *dir = make_folder(), *file = xasprintf("%s/config.yaml", dir);
    struct config_overrides o = {.file = file, .no_secrets = true};
    struct config c;
    struct err err;
    FILE *f = fopen(file, "w");

    fputs("admin: {socket: /x/y.sock}\n"
          "upstreams: [{name: a.io, ca: /nowhere, credentials: {username: u, password_file: /nowhere}}]\n",
          f);
    fclose(f);
    assert_true(config_load(&c, &o, &err));
    assert_string_equal(c.admin_socket, "/x/y.sock");
    assert_string_equal(config_find_upstream(&c, "a.io")->credentials[0].password_file, "/nowhere");
    config_free(&c);
    o.no_secrets = false;
    assert_false(config_load(&c, &o, &err));
    free(file);
    remove_tree(dir);
}

/* What is shown can be read again. */
static void shown_and_read_again(void **state UNUSED)
{
    _cleanup_buf_ struct buf first = {0}, second = {0};
    struct config a, b;
    struct err err;

    if (!load("listen: [{address: \"[::1]:5000\"}, {address: unix:/tmp/a b.sock, upstream: GHCR.io}]\nmetrics: "
              "{address: \":5001\"}\n"
              "log: {level: debug, format: json}\ncache: {path: '/a \\\"b: c #d', max_size: 1536MiB, min_free: 33.3%}\n"
              "gc: {policy: lru, grace: 0, interval: 1500ms}\nupstreams_any: on\n"
              "upstreams: [{name: \"*.io\", endpoints: [\"http://x:5000/y\", {url: https://z, ns: true},"
              " {url: https://w, ns: no}], insecure: yes, tags: {ttl: 90s}}]\n",
              &a, &err))
        fail_msg("%s", err.msg);
    config_print(&a, &first);
    assert_non_null(strstr(first.data, "\n    upstream: ghcr.io\n"));
    assert_non_null(strstr(first.data, "      - url: https://z\n        ns: true\n"));
    bool ok = load(first.data, &b, &err);
    if (!ok)
        print_error("%s\n", err.msg);
    assert_true(ok);
    config_print(&b, &second);
    assert_string_equal(strchr(first.data, '\n'), strchr(second.data, '\n'));
    config_free(&a);
    config_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_and_times),
        cmocka_unit_test(errors),
        cmocka_unit_test(an_endpoint_with_a_password_is_not_repeated),
        cmocka_unit_test(an_error_is_one_line),
        cmocka_unit_test(files_that_are_no_configuration),
        cmocka_unit_test(empty_ones),
        cmocka_unit_test(defaults),
        cmocka_unit_test(the_command_line_comes_first),
        cmocka_unit_test(folders_of_the_service),
        cmocka_unit_test(addresses),
        cmocka_unit_test(patterns),
        cmocka_unit_test(upstreams),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(secrets_may_be_left_unread),
        cmocka_unit_test(shown_and_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
