/* `cluster` in the configuration: peers, how they trust each other, and the bucket. */
#include "tests/unit/load_config.h"

#include <stdlib.h>
#include <sys/stat.h>

static char *folder; /* with the files that the configurations name */

static void put_file(const char *name, const char *text)
{
    _cleanup_free_ char *file = xasprintf("%s/%s", folder, name);
    FILE *f = fopen(file, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_files(void **state UNUSED)
{
    _cleanup_free_ char *certs = NULL;

    folder = make_folder();
    put_file("secret", "0123456789abcdef0123456789abcdef\n");
    put_file("short", "0123456789abcdef0123456789abcde\n");
    put_file("password", "hunter2\n");
    certs = xasprintf("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=a "
                      "-keyout %s/key -out %s/cert 2>/dev/null",
                      folder, folder);
    return system(certs);
}

static int remove_files(void **state UNUSED)
{
    remove_tree(folder);
    return 0;
}

/* `$` stands for the folder. */
static char *with_folder(const char *text)
{
    struct buf out = {0};

    for (; *text; text++)
        if (*text == '$')
            buf_adds(&out, folder);
        else
            buf_add(&out, text, 1);
    return out.data;
}

static void load_it(const char *text, struct config *c)
{
    _cleanup_free_ char *whole = with_folder(text);
    struct err err;

    if (!load(whole, c, &err))
        fail_msg("%s: %s", whole, err.msg);
}

#define WHO    "  peers: {etcd: ['https://10.0.0.1:2379']}\n"
#define HERE   "  advertise: 10.0.0.7:5443\n"
#define SECRET "  secret_file: $/secret\n"
#define S3     "  shared: {s3: 'https://s3.example.com', bucket: images"

/* Each names file, line and key. */
static void faults(void **state UNUSED)
{
    static const char *const cases[][3] = {
        {"cluster: {peer: {}}\n", "line 1", "cluster.peer: unknown key"},
        {"cluster:\n  peers: {prefix: /a}\n", "line 2", "cluster.peers: there is neither etcd nor dns"},
        {"cluster:\n" HERE SECRET "  peers:\n    etcd: []\n", "line 5", "cluster.peers.etcd: there is no URL in it"},
        {"cluster:\n" HERE SECRET "  peers:\n    etcd: ['http://a:1']\n    dns: a.b\n", "line 6",
         "cluster.peers.dns: goes without etcd"},
        {"cluster:\n" WHO SECRET, "line 2", "cluster.peers: needs cluster.advertise"},
        {"cluster:\n" WHO HERE, "line 2", "cluster.peers: needs cluster.secret_file, or cluster.tls"},
        {"cluster:\n" WHO SECRET "  advertise: 0.0.0.0:5443\n", "line 4", "cluster.advertise: \"0.0.0.0:5443\" is not"},
        {"cluster:\n" WHO SECRET "  advertise: '[::]:5443'\n", "line 4", "cluster.advertise: \"[::]:5443\" is not"},
        {"cluster:\n" WHO SECRET "  advertise: '*:5443'\n", "line 4", "is not where other nodes"},
        {"cluster:\n" WHO SECRET "  advertise: ':5443'\n", "line 4", "is not where other nodes"},
        {"cluster:\n" WHO SECRET "  advertise: 'localhost:5443'\n", "line 4", "is not where other nodes"},
        {"cluster:\n" WHO SECRET "  advertise: 'fd00::7:5443'\n", "line 4", "is not where other nodes"},
        {"cluster:\n" WHO SECRET "  advertise: 10.0.0.7\n", "line 4", "is not where other nodes"},
        {"cluster:\n" WHO SECRET "  advertise: 10.0.0.7:0\n", "line 4", "is not where other nodes"},
        {"cluster:\n" WHO SECRET "  advertise: a.example.com:5443\n", "line 4", "is not where other nodes"},
        {"cluster:\n" WHO SECRET "  advertise: unix:/x\n", "line 4", "is not where other nodes"},
        {"cluster:\n  listen: '*:5443'\n", "line 2", "cluster.listen: there is no advertise"},
        {"cluster:\n" HERE "  listen: unix:/x\n", "line 3", "cluster.listen: \"unix:/x\" is not ADDR:PORT"},
        {"cluster:\n" HERE "  listen: 127.0.0.1:5000\n", "line 3",
         "cluster.listen: \"127.0.0.1:5000\" is listed twice"},
        {"metrics: {address: '10.0.0.7:5443'}\ncluster:\n" HERE, "line 3",
         "cluster.advertise: \"10.0.0.7:5443\" is li"},
        {"cluster:\n  zone: 'a b'\n", "line 2", "cluster.zone: \"a b\" is not"},
        {"cluster:\n" HERE SECRET "  peers:\n    etcd:\n    - http://10.0.0.1:1\n    - 10.0.0.2:1\n", "line 7",
         "cluster.peers.etcd[1]: \"10.0.0.2:1\" begins with neither"},
        {"cluster:\n" HERE SECRET "  peers: {etcd: ['http://u:hidden@a']}\n", "line 4",
         "etcd[0]: this URL holds a user"},
        {"cluster:\n" HERE SECRET "  peers: {etcd: http://a}\n", "line 4", "cluster.peers.etcd: a list"},
        {"cluster:\n" HERE SECRET "  peers: {etcd: ['http://a'], prefix: a}\n", "line 4",
         "cluster.peers.prefix: \"a\""},
        {"cluster:\n" HERE SECRET "  peers:\n    etcd: ['http://a']\n    username: u\n", "line 6",
         "cluster.peers.username: username and password_file belong together"},
        {"cluster:\n" HERE SECRET "  peers:\n    etcd: ['http://a']\n    username: u\n    password_file: $/none\n",
         "line 7", "cluster.peers.password_file: "},
        {"cluster:\n" HERE SECRET "  peers:\n    etcd: ['http://a']\n    cert: $/cert\n", "line 6",
         "cluster.peers.cert: there is no key"},
        {"cluster:\n" HERE SECRET "  peers:\n    etcd: ['http://a']\n    key: $/key\n", "line 6",
         "cluster.peers.key: there is no cert"},
        {"cluster:\n" HERE SECRET "  peers:\n    etcd: ['http://a']\n    cert: $/cert\n    key: $/secret\n", "line 7",
         "cluster.peers.key: "},
        {"cluster:\n" HERE SECRET "  peers:\n    etcd: ['http://a']\n    ca: $/none\n", "line 6", "cluster.peers.ca: "},
        {"cluster:\n" HERE SECRET "  peers:\n    dns: a.b\n    ca: $/cert\n", "line 6", "cluster.peers.ca: goes with"},
        {"cluster:\n" HERE SECRET "  peers: {dns: 10.0.0.1}\n", "line 4",
         "cluster.peers.dns: \"10.0.0.1\" is not a na"},
        {"cluster:\n" HERE SECRET "  peers: {dns: 'a..b'}\n", "line 4", "cluster.peers.dns: \"a..b\" is not a name"},
        {"cluster:\n" HERE SECRET "  peers: {dns: 'a.b:1'}\n", "line 4", "cluster.peers.dns: \"a.b:1\" is not a name"},
        {"cluster:\n  tls: {cert: $/cert, key: $/key}\n", "line 2", "cluster.tls: there is no ca"},
        {"cluster:\n  tls: {cert: $/cert, ca: $/cert}\n", "line 2", "cluster.tls: there is no key"},
        {"cluster:\n  tls:\n    cert: $/cert\n    key: $/key\n    ca: $/none\n", "line 5", "cluster.tls.ca: "},
        {"cluster:\n  tls:\n    cert: $/cert\n    key: $/none\n    ca: $/cert\n", "line 4", "cluster.tls.key: "},
        {"cluster:\n  secret_file: secret\n", "line 2", "cluster.secret_file: \"secret\" is not the full path"},
        {"cluster:\n  secret_file: $/none\n", "line 2", "cluster.secret_file: "},
        {"cluster:\n  secret_file: $/short\n", "line 2", "holds less than 32 bytes"},
        {"cluster:\n  shared: {bucket: images}\n", "line 2", "cluster.shared: there is no s3"},
        {"cluster:\n  shared: {s3: 'https://a'}\n", "line 2", "cluster.shared: there is no bucket"},
        {"cluster:\n  shared: {s3: 's3://a', bucket: images}\n", "line 2", "cluster.shared.s3: \"s3://a\" begins with"},
        {"cluster:\n  shared: {s3: 'https://a', bucket: a/b}\n", "line 2", "cluster.shared.bucket: \"a/b\" is not"},
        {"cluster:\n" S3 ", prefix: /a}\n", "line 2", "cluster.shared.prefix: \"/a\" is not"},
        {"cluster:\n" S3 ", prefix: a/../b}\n", "line 2", "cluster.shared.prefix: \"a/../b\" is not"},
        {"cluster:\n" S3 ", region: 'a b'}\n", "line 2", "cluster.shared.region: \"a b\" is not"},
        {"cluster:\n" S3 ", private: perhaps}\n", "line 2", "cluster.shared.private: \"perhaps\""},
        {"cluster:\n" S3 ", ca: $/none}\n", "line 2", "cluster.shared.ca: "},
        {"cluster:\n" S3 ", credentials: {username: u}}\n", "line 2", "cluster.shared.credentials.password_file: "},
        {"cluster:\n" S3 ", credentials: {username: u, password_file: $/none}}\n", "line 2",
         "cluster.shared.credentials.password_file: "},
        {"cluster:\n  order: [peer]\n", "line 2", "cluster.order[0]: \"peer\" is none of peers, shared"},
        {"cluster:\n  order: [peers, peers]\n", "line 2", "cluster.order[1]: \"peers\" is listed twice"},
        {"cluster:\n  order: [peers, shared, peers]\n", "line 2", "cluster.order: too many"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *text = with_folder(cases[i][0]);
        struct config c;
        struct err err;
        if (load(text, &c, &err))
            fail_msg("accepted: %s", text);
        if (!strstr(err.msg, "config.yaml") || !strstr(err.msg, cases[i][1]) || !strstr(err.msg, cases[i][2]) ||
            strstr(err.msg, "hidden"))
            fail_msg("%s: %s", text, err.msg);
    }
}

static void alone(void **state UNUSED)
{
    _cleanup_buf_ struct buf shown = {0};
    struct config c;

    load_it("cluster: {}\n", &c);
    assert_true(!c.cluster.etcd[0] && !c.cluster.dns && !c.cluster.advertise && !c.cluster.shared.s3);
    assert_int_equal(c.cluster.order[0], TIER_NONE);
    assert_string_equal(c.cluster.zone, "");
    config_print(&c, &shown);
    assert_null(strstr(shown.data, "cluster"));
    config_free(&c);
}

static void defaults_of_a_cluster(void **state UNUSED)
{
    struct config c;

    load_it("cluster:\n" WHO HERE SECRET, &c);
    assert_string_equal(c.cluster.etcd[0], "https://10.0.0.1:2379");
    assert_string_equal(c.cluster.prefix, "/entrepot");
    assert_string_equal(c.cluster.listen, "10.0.0.7:5443");
    assert_true(c.cluster.order[0] == TIER_PEERS && c.cluster.order[1] == TIER_NONE);
    config_free(&c);

    load_it("cluster:\n" S3 "}\n", &c);
    assert_string_equal(c.cluster.shared.prefix, "entrepot/");
    assert_string_equal(c.cluster.shared.region, "us-east-1");
    assert_false(c.cluster.shared.keep_private);
    assert_true(c.cluster.order[0] == TIER_SHARED && c.cluster.order[1] == TIER_NONE);
    config_free(&c);

    load_it("cluster:\n  peers: {dns: _entrepot._tcp.example.com.}\n  advertise: '[fd00::7]:5443'\n"
            "  listen: '*:5443'\n  tls: {cert: $/cert, key: $/key, ca: $/cert}\n" S3 ", prefix: ''}\n",
            &c);
    assert_string_equal(c.cluster.listen, "*:5443");
    assert_string_equal(c.cluster.shared.prefix, "");
    assert_true(c.cluster.order[0] == TIER_PEERS && c.cluster.order[1] == TIER_SHARED);
    config_free(&c);
}

#define ALL                                                                                                            \
    "cluster:\n  peers:\n    etcd: ['https://10.0.0.1:2379/', 'https://10.0.0.2:2379']\n    prefix: /nodes/\n"         \
    "    ca: $/cert\n    cert: $/cert\n    key: $/key\n    username: u\n    password_file: $/password\n" HERE          \
    "  listen: '*:5443'\n  zone: eu-1a\n  tls: {cert: $/cert, key: $/key, ca: $/cert}\n" SECRET S3                     \
    ", prefix: a, region: eu-1, credentials: {username: u, password_file: $/password}, ca: $/cert, private: true}\n"   \
    "  order: [shared, peers]\n"

static void it_is_shown_and_read_again(void **state UNUSED)
{
    _cleanup_buf_ struct buf first = {0}, second = {0};
    struct config a, b;

    load_it(ALL, &a);
    config_print(&a, &first);
    assert_non_null(strstr(first.data, "    - https://10.0.0.1:2379\n"));
    assert_non_null(strstr(first.data, "    prefix: /nodes\n"));
    assert_non_null(strstr(first.data, "    prefix: a/\n"));
    assert_non_null(strstr(first.data, "    private: true\n"));
    assert_non_null(strstr(first.data, "    - shared\n    - peers\n"));
    assert_null(strstr(first.data, "hunter2"));
    assert_null(strstr(first.data, "0123456789abcdef"));
    load_it(first.data, &b);
    config_print(&b, &second);
    assert_string_equal(strchr(first.data, '\n'), strchr(second.data, '\n')); /* behind the file's name */
    config_free(&a);
    config_free(&b);
}

static void from_the_environment(void **state UNUSED)
{
    _cleanup_free_ char *secret = xasprintf("%s/secret", folder);
    const char *const vars[][2] = {
        {"ENTREPOT_CLUSTER_PEERS_DNS", "entrepot.example.com"},
        {"ENTREPOT_CLUSTER_ADVERTISE", "10.0.0.7:5443"},
        {"ENTREPOT_CLUSTER_SECRET_FILE", secret},
        {"ENTREPOT_CLUSTER_SHARED", "{s3: 'http://127.0.0.1:9000', bucket: images}"},
        {"ENTREPOT_CLUSTER_SHARED_CREDENTIALS_PROVIDER", "ecr"},
        {"ENTREPOT_CLUSTER_ORDER", "[shared]"},
    };
    struct config c;

    for (size_t i = 0; i < ARRAY_LEN(vars); i++)
        setenv(vars[i][0], vars[i][1], 1);
    load_it("{}\n", &c);
    for (size_t i = 0; i < ARRAY_LEN(vars); i++)
        unsetenv(vars[i][0]);
    assert_string_equal(c.cluster.dns, "entrepot.example.com");
    assert_string_equal(c.cluster.shared.credentials.provider, "ecr");
    assert_true(c.cluster.order[0] == TIER_SHARED && c.cluster.order[1] == TIER_NONE);
    assert_string_equal(config_source_of(&c, "cluster.advertise")->variable, "ENTREPOT_CLUSTER_ADVERTISE");
    config_free(&c);
}

static void take_warning(void *arg, const char *text)
{
    buf_addf(arg, "%s\n", text);
}

/* What is read, and does not do what it seems to. */
static void warnings(void **state UNUSED)
{
#define LOOP "  advertise: 127.0.0.1:5443\n"
    static const char *const cases[][2] = {
        {"cluster:\n" WHO HERE SECRET, ""},
        {"cluster:\n" WHO HERE SECRET "  order: [peers]\n", ""},
        {"cluster:\n" WHO HERE SECRET "  order: [peers, shared]\n",
         "cluster.order names shared, but there is no cluster.shared\n"},
        {"cluster:\n" WHO HERE SECRET "  order: [shared]\n",
         "cluster.order names shared, but there is no cluster.shared; other nodes are asked for nothing either"},
        {"cluster:\n" S3 "}\n  order: [shared, peers]\n", "cluster.order names peers, but there is no cluster.peers\n"},
        {"cluster:\n" WHO LOOP SECRET, "cluster.advertise: 127.0.0.1:5443 is reached from this machine alone"},
        {"cluster:\n" WHO "  advertise: '[::1]:5443'\n" SECRET, "cluster.advertise: [::1]:5443 is reached"},
        {"cluster:\n" LOOP SECRET "  peers: {etcd: ['http://e:2379']}\n", "etcd is at another (http://e:2379)"},
        {"cluster:\n" LOOP SECRET "  peers: {etcd: ['http://127.0.0.2:2379', 'http://[::1]']}\n", ""},
        {"cluster:\n" LOOP SECRET "  peers: {etcd: ['http://localhost:2379']}\n", ""},
        {"cluster:\n" LOOP SECRET "  peers: {dns: a.b}\n", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf said = {0};
        struct config c;
        load_it(cases[i][0], &c);
        config_check_cluster(&c.cluster, take_warning, &said);
        buf_adds(&said, "");
        if (*cases[i][1] ? !strstr(said.data, cases[i][1]) : said.len > 0)
            fail_msg("%s: \"%s\", not \"%s\"", cases[i][0], said.data, cases[i][1]);
        config_free(&c);
    }
}

static void a_restart_is_needed(void **state UNUSED)
{
    struct config one, all;

    load_it("{}\n", &one);
    load_it(ALL, &all);
    json_t *changes = config_changes(&one, &all), *change;
    size_t i;
    assert_true(json_array_size(changes) > 5);
    json_array_foreach(changes, i, change) {
        assert_int_equal(strncmp(json_string_value(json_object_get(change, "key")), "cluster.", 8), 0);
        assert_string_equal(json_string_value(json_object_get(change, "needs")), "restart");
    }
    json_decref(changes);
    config_keep(&one, &all, false, false);
    changes = config_changes(&one, &all);
    assert_int_equal(json_array_size(changes), 0);
    json_decref(changes);
    config_free(&one);
    config_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults),
        cmocka_unit_test(alone),
        cmocka_unit_test(defaults_of_a_cluster),
        cmocka_unit_test(it_is_shown_and_read_again),
        cmocka_unit_test(from_the_environment),
        cmocka_unit_test(warnings),
        cmocka_unit_test(a_restart_is_needed),
    };

    return cmocka_run_group_tests(tests, make_files, remove_files);
}
