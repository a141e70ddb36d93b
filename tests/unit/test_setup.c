/* What `entrepot setup` is made of: TOML found but not understood, changes taken back, diffs, and what each engine's
 * file becomes. tests/e2e/lived_in.py has whole configurations. */
#include "tests/unit/unit.h"

#include "cli/setup/lines.h"
#include "cli/setup/place.h"
#include "cli/setup/setup.h"
#include "cli/setup/toml.h"

#include <sys/stat.h>

static struct setup_text text_of(const char *s)
{
    struct setup_text t = {.exists = s != NULL};

    if (s)
        buf_adds(&t.bytes, s);
    return t;
}

/* ---- TOML ---- */

/* The entries, each as KIND LINE PATH with "/" between keys, and what a value is. */
static void describe(const struct toml_file *f, struct buf *out)
{
    buf_adds(out, "");
    for (size_t i = 0; i < f->count; i++) {
        const struct toml_entry *e = &f->list[i];
        buf_addf(out, "%c%d ", "TEV"[e->kind], e -> line);
        for (const char *p = e->path; *p; p++)
            buf_addf(out, "%c", *p == TOML_DOT[0] ? '/' : *p);
        if (e->kind == TOML_VALUE)
            buf_addf(out, "=%.*s", (int)(e->value_end - e->value), f->text->data + e->value);
        buf_adds(out, ";");
    }
}

static void toml(void **state UNUSED)
{
    static const struct {
        const char *text, *want; /* NULL: refused */
    } cases[] = {
        {"", ""},
        {"# a = 1\n\n", ""},
        {"\xef\xbb\xbf"
         "a = 1",
         "V1 a=1;"},
        {"a = 1 # b = 2\nb=true\r\n", "V1 a=1;V2 b=true;"},
        {"[a]\nb = 'x'\n[[c.d]]\n e = \"#\"\n", "T1 a;V2 a/b='x';E3 c/d;V4 c/d/e=\"#\";"},
        {"[ a . \"b.c\" ]\n'd'.e = -1.5e3\n", "T1 a/b.c;V2 a/b.c/d/e=-1.5e3;"},
        {"a = \"\"\"\n[b]\nc = 1\n\"\"\"\nd = 2\n", "V1 a=\"\"\"\n[b]\nc = 1\n\"\"\";V5 d=2;"},
        {"a = '''x''''' \nb = \"\\\"]\"\n", "V1 a='''x''''';V2 b=\"\\\"]\";"},
        {"a = [ # ]\n 'x', # ,\n [1, 2],\n]\nb = 1\n", "V1 a=[ # ]\n 'x', # ,\n [1, 2],\n];V5 b=1;"},
        {"a = { b = 1, c = { d = [1] } }\n", "V1 a={ b = 1, c = { d = [1] } };"},
        {"t = 1979-05-27T07:32:00Z\n", "V1 t=1979-05-27T07:32:00Z;"},
        {"a", NULL},
        {"a =\nb = 1", NULL},
        {"a = 1 b = 2", NULL},
        {"[a", NULL},
        {"[[a]\n", NULL},
        {"[a] b = 1\n", NULL},
        {"a = \"x\nb = \"y\"\n", NULL},
        {"a = '''x\n", NULL},
        {"a = [1, 2\nb = 3\n", NULL},
        {"\"a\\u0062\" = 1\n", NULL},
        {"a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", NULL},
        {"\001 = 1", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct setup_text text = text_of(cases[i].text);
        struct toml_file f;
        struct err err = {0};
        struct buf out = {0};
        bool ok = toml_read(&f, &text, &err);
        if (ok)
            describe(&f, &out);
        if (ok != (cases[i].want != NULL) || (ok && strcmp(out.data, cases[i].want) != 0))
            fail_msg("%s\ngives %s", cases[i].text, ok ? out.data : err.msg);
        if (!ok)
            assert_non_null(strstr(err.msg, "line "));
        toml_free(&f);
        buf_free(&out);
        setup_text_free(&text);
    }
}

/* Whatever a file is cut off at, reading it ends. */
static void toml_cut(void **state UNUSED)
{
    static const char whole[] = "a = [\"x\", {b = 'c'}] # d\n[[e.\"f\"]]\ng = '''\n'''\nh.i = \"\"\"\\\"\"\"\"\n";

    for (size_t len = 0; len < sizeof(whole); len++) {
        char *cut = xstrndup(whole, len);
        struct setup_text text = text_of(cut);
        struct toml_file f;
        struct err err = {0};
        if (toml_read(&f, &text, &err))
            toml_free(&f);
        else
            assert_true(len < sizeof(whole) - 1 && err.code == ERR_INVALID);
        setup_text_free(&text);
        free(cut);
    }
}

/* ---- what a hand has changed since ---- */

static void take_back(void **state UNUSED)
{
    static const struct {
        const char *before, *after, *now;
        const char *want; /* NULL: absent; or, if `why`, refused */
        const char *why;
    } cases[] = {
        {"a\n", "a\nours\n", "a\nours\n", "a\n", NULL},
        {NULL, "ours\n", "ours\n", NULL, NULL},
        {NULL, "ours\n", NULL, NULL, NULL},
        {"a\n", "a\nours\n", "a\n", "a\n", NULL},
        {"a", "a\nours\n", "a\nours\n", "a", NULL},
        /* lines around ours, and next to them */
        {"a\nb\n", "a\nours\nb\n", "0\na\nours\nb\nc\n", "0\na\nb\nc\n", NULL},
        {"a\nb\n", "a\nours\nb\n", "a\nnew\nours\nb\n", "a\nnew\nb\n", NULL},
        {"a\nb\n", "a\nours\nb\n", "a\nours\nnew\nb\n", "a\nnew\nb\n", NULL},
        {"a\nb\n", "a\nours\nb\n", "a\nours\nB\n", "a\nB\n", NULL},
        /* a line that was replaced */
        {"a\nx = 1\nb\n", "a\nx = 2\nb\n", "a\nx = 2\nb\nc\n", "a\nx = 1\nb\nc\n", NULL},
        {"a\nx = 1\nb\n", "a\nx = 2\nb\n", "a\nx = 3\nb\n", NULL, "line 2 was changed by hand: x = 3"},
        {"a\nb\n", "a\nours\nb\n", "a\nOURS\nb\n", NULL, "line 2 was changed by hand: OURS"},
        {"a\nb\n", "a\n1\n2\nb\n", "a\n1\nb\n", NULL, "line 3 was removed by hand: 2"},
        {NULL, "1\n2\n", "1\n2\n3\n", NULL, "line 3 was changed by hand: 3"},
        {NULL, "1\n2\n", "1\n", NULL, "line 2 was removed by hand: 2"},
        /* a part of a line */
        {"{\"a\": 1}", "{\"registry-mirrors\": [\"h\"], \"a\": 1}",
         "{\"registry-mirrors\": [\"h\"], \"a\": 1, \"b\": 2}\n", "{\"a\": 1, \"b\": 2}\n", NULL},
        {"{\"a\": 1}", "{\"registry-mirrors\": [\"h\"], \"a\": 1}", "{\"registry-mirrors\": [\"i\"], \"a\": 1}", NULL,
         "line 1 was changed by hand: {\"registry-mirrors\": [\"i\"], \"a\": 1}"},
        /* removed by hand, or by an upgrade */
        {"a\nb\n", "a\nours\nb\n", "A\nB\n", "A\nB\n", NULL},
        {"a\nb\n", "a\nours\nb\n", "a\nb\nc\n", "a\nb\nc\n", NULL},
        {"a\nb\n", "a\nours\nb\n", NULL, NULL, NULL},
        {"a\nb\n", "a\nours\nb\n", "other\n", "other\n", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct setup_text before = text_of(cases[i].before), after = text_of(cases[i].after),
                          now = text_of(cases[i].now), want = text_of(cases[i].want), got = {0};
        char *why = NULL;
        bool ok = setup_take_back(&before, &after, &now, &got, &why);
        if (ok != (cases[i].why == NULL) || (ok && !setup_text_same(&got, &want)))
            fail_msg("case %zu gives %s", i, ok ? (got.exists ? got.bytes.data : "(absent)") : why);
        if (!ok)
            assert_string_equal(why, cases[i].why);
        free(why);
        setup_text_free(&before);
        setup_text_free(&after);
        setup_text_free(&now);
        setup_text_free(&want);
        setup_text_free(&got);
    }
}

static void diffs(void **state UNUSED)
{
    static const struct {
        const char *from, *to, *want;
    } cases[] = {
        {"a\n", "a\n", ""},
        {NULL, "a\nb", "--- /dev/null\n+++ /f\n@@ -0,0 +1,2 @@\n+a\n+b\n\\ No newline at end of file\n"},
        {"a\n", NULL, "--- /f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n"},
        {"1\n2\n3\n4\n5\n", "1\n2\n3\n4\nx\n5\n", "--- /f\n+++ /f\n@@ -2,4 +2,5 @@\n 2\n 3\n 4\n+x\n 5\n"},
        {"a\n1\n2\n3\n4\n5\n6\n7\n8\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\n8\nB\n",
         "--- /f\n+++ /f\n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -7,4 +7,4 @@\n 6\n 7\n 8\n-b\n+B\n"},
        {"a\n1\n2\nb\n", "A\n1\n2\nB\n", "--- /f\n+++ /f\n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n-b\n+B\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct setup_text from = text_of(cases[i].from), to = text_of(cases[i].to);
        struct buf out = {0};
        setup_diff(&out, "/f", &from, &to);
        assert_string_equal(out.data ? out.data : "", cases[i].want);
        buf_free(&out);
        setup_text_free(&from);
        setup_text_free(&to);
    }
}

/* ---- files ---- */

static void put_file(const char *root, const char *path, const char *content)
{
    _cleanup_free_ char *full = xasprintf("%s%s", root, path);

    for (char *p = strchr(full + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        mkdir(full, 0755);
        *p = '/';
    }
    FILE *f = content ? fopen(full, "we") : NULL;
    assert_true(!content || (f && fputs(content, f) >= 0 && fclose(f) == 0));
}

static void links(void **state UNUSED)
{
    static const struct {
        const char *path, *want; /* below the root; NULL: refused */
    } cases[] = {
        {"/etc/x", "/etc/x"},    {"/etc/../../../etc/./x", "/etc/x"},  {"/absolute", "/etc/x"},
        {"/out", "/etc/passwd"}, {"/up/passwd", "/etc/passwd"},        {"/chain", "/etc/x"},
        {"/round", NULL},        {"/etc/new/a.d/b", "/etc/new/a.d/b"}, {"/", "/"},
    };
    static const char *const made[][2] = {{"/etc/x", "/absolute"},
                                          {"/../../etc/passwd", "/out"},
                                          {"../../etc", "/up"},
                                          {"absolute", "/chain"},
                                          {"round", "/round"}};
    char *root = make_folder();

    put_file(root, "/etc/x", "");
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        _cleanup_free_ char *at = xasprintf("%s%s", root, made[i][1]);
        assert_int_equal(symlink(made[i][0], at), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        _cleanup_free_ char *full = place_resolve(root, cases[i].path, &err);
        if ((full != NULL) != (cases[i].want != NULL) || (full && strcmp(full + strlen(root), cases[i].want) != 0))
            fail_msg("%s is %s", cases[i].path, full ? full : err.msg);
    }
    remove_tree(root);
}

/* ---- engines: what a file becomes, and back ---- */

#define CONTAINERD "/etc/containerd/config.toml"
#define DOCKER     "/etc/docker/daemon.json"
#define K3S        "/etc/rancher/k3s/registries.yaml"
#define BUILDKIT   "/etc/buildkit/buildkitd.toml"
#define CRI        "plugins.\"io.containerd.grpc.v1.cri\".registry"

static const struct engine_case {
    const char *engine, *path, *before;
    const char *want; /* NULL: refused */
    const char *says;
} ENGINE_CASES[] = {
    {"docker", DOCKER, NULL, "{\n  \"registry-mirrors\": [\"http://h:1\"]\n}\n", NULL},
    {"docker", DOCKER, "{}", "{\n  \"registry-mirrors\": [\"http://h:1\"]\n}", NULL},
    {"docker", DOCKER, "{\r\n\t\"a\": 1\r\n}", "{\r\n\t\"registry-mirrors\": [\"http://h:1\"],\r\n\t\"a\": 1\r\n}",
     NULL},
    {"docker", DOCKER, "{\"registry-mirrors\":[\"b\"]}", "{\"registry-mirrors\":[\"http://h:1\", \"b\"]}", NULL},
    {"docker", DOCKER, "{\"a\": 1,}", NULL, DOCKER ", line 1: "},
    {"docker", DOCKER, "{\"registry-mirrors\": {}}", NULL, "not a list"},
    {"containerd", CONTAINERD, NULL, "version = 2\n\n[" CRI "]\n  config_path = \"/etc/containerd/certs.d\"\n", NULL},
    {"containerd", CONTAINERD, "version = 2\n\t[" CRI "]\n\t\tx = 1\n",
     "version = 2\n\t[" CRI "]\n\t\tconfig_path = \"/etc/containerd/certs.d\"\n\t\tx = 1\n", NULL},
    {"containerd", CONTAINERD, "version = 2\n[" CRI "]\nconfig_path=\"\" # none\n",
     "version = 2\n[" CRI "]\nconfig_path=\"/etc/containerd/certs.d\" # none\n", NULL},
    {"containerd", CONTAINERD, "version = 3",
     "version = 3\n\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n",
     NULL},
    {"containerd", CONTAINERD, "version = 2\n[" CRI ".mirrors.a]\n", NULL, "line 2: containerd refuses `mirrors`"},
    {"containerd", CONTAINERD, "root = \"/x\"\n", NULL, "format 1"},
    {"containerd", CONTAINERD, "version = 5\n", NULL, "not known"},
    {"containerd", CONTAINERD, "version = 2\nimports = [\"/etc/*/x.toml\"]\n", NULL, "not understood"},
    {"k3s", K3S, "mirrors:\n\n  # a\n  b:\n    endpoint: [c]\n",
     "mirrors:\n  \"docker.io\":\n    endpoint:\n      - \"http://h:1\"\n\n  # a\n  b:\n    endpoint: [c]\n", NULL},
    {"k3s", K3S, "mirrors: {docker.io: {endpoint: [ \"c\" ]}}",
     "mirrors: {docker.io: {endpoint: [\"http://h:1\",  \"c\" ]}}", NULL},
    {"k3s", K3S, "a: [", NULL, K3S ": line "},
    {"buildkit", BUILDKIT, "[registry.\"docker.io\"]\n\tmirrors = [\n\t\t\"a\",\n\t]",
     "[registry.\"docker.io\"]\n\tmirrors = [\n\t\t\"h:1\",\n\t\t\"a\",\n\t]\n\n[registry.\"h:1\"]\n  http = true\n",
     NULL},
    {"buildkit", BUILDKIT, "[registry.\"docker.io\"]\nmirrors = \"a\"\n", NULL, "line 2"},
};

static void check_engine(const struct engine_case *c)
{
    char *registries[] = {(char *)(uintptr_t) "docker.io"}, *root = make_folder();
    const struct setup_target target = {.address = "h:1", .registries = registries, .count = 1};
    const struct setup_run run = {.root = root};
    const struct setup_engine *e = setup_engine_find(c->engine);
    struct setup_text now = {0}, want = text_of(c->want), before = text_of(c->before);
    struct err err = {0};
    json_t *report = json_object(), *again = json_object();

    put_file(root, c->path, c->before);
    bool ok = setup_apply(e, &target, &run, report, &err);
    assert_true(place_read(root, c->path, &now, &err));
    if (ok != (c->want != NULL) || !setup_text_same(&now, ok ? &want : &before) ||
        (c->says && !strstr(err.msg, c->says)))
        fail_msg("%s %s: %s\n%s", c->engine, c->before, ok ? "" : err.msg, now.exists ? now.bytes.data : "(absent)");
    assert_true(!ok || setup_apply(e, &target, &run, again, &err));
    assert_null(json_object_get(again, "changed"));
    assert_true(setup_undo(e, &run, again, &err));
    assert_true(place_read(root, c->path, &now, &err) && setup_text_same(&now, &before));
    setup_text_free(&now);
    setup_text_free(&want);
    setup_text_free(&before);
    json_decref(report);
    json_decref(again);
    remove_tree(root);
}

static void engines(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(ENGINE_CASES); i++)
        check_engine(&ENGINE_CASES[i]);
}

/* dockerd does not start with a key that is a flag, too. */
static void docker_flags(void **state UNUSED)
{
    static const struct {
        const char *path, *content;
        bool ok;
    } cases[] = {
        {"/etc/default/docker", "DOCKER_OPTS=\"--registry-mirror=https://a\"\n", false},
        {"/etc/default/docker", "# DOCKER_OPTS=\"--registry-mirror=https://a\"\n", true},
        {"/etc/systemd/system/docker.service.d/x.conf", "ExecStart=dockerd --registry-mirror https://a\n", false},
        {"/etc/systemd/system/docker.service.d/x.conf", "ExecStart=dockerd --registry-mirror http://h:1\n", true},
    };
    char *registries[] = {(char *)(uintptr_t) "docker.io"};
    const struct setup_target target = {.address = "h:1", .registries = registries, .count = 1};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *root = make_folder();
        struct setup_view v = {.root = root};
        struct err err = {0};
        put_file(root, cases[i].path, cases[i].content);
        assert_int_equal(setup_engine_find("docker")->plan(&v, &target, &err), cases[i].ok);
        assert_true(cases[i].ok || strstr(err.msg, cases[i].path));
        setup_view_free(&v);
        remove_tree(root);
    }
}

/* hosts.toml of others, certificates in Docker's form, and the second name of a folder of a registry with a port. */
static void hosts(void **state UNUSED)
{
    static const struct {
        const char *path, *content;
        size_t left;
        const char *written; /* below certs.d; NULL: nothing */
    } cases[] = {
        {"x", NULL, 0, "r.lan:5000/hosts.toml"},
        {"r.lan:5000/hosts.toml", "[host.\"https://m.lan\"]\n", 1, NULL},
        {"r.lan:5000/hosts.toml", "server=\"https://r\"\n[host.\"http://h:1\"]\ncapabilities=[\"pull\"]\n", 0, NULL},
        {"r.lan:5000/ca.crt", "x", 1, NULL},
        {"r.lan_5000_/hosts.toml", "[host.\"https://m.lan\"]\n", 1, NULL},
        {"r.lan:5000/hosts.toml", "# Written by `entrepot setup containerd`\n[host.\"http://old:1\"]\n", 0,
         "r.lan:5000/hosts.toml"},
    };
    char *registries[] = {(char *)(uintptr_t) "r.lan:5000"};
    const struct setup_target target = {.address = "h:1", .registries = registries, .count = 1};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *root = make_folder();
        struct setup_view v = {.root = root};
        struct err err = {0};
        _cleanup_free_ char *path = xasprintf("/etc/containerd/certs.d/%s", cases[i].path);
        put_file(root, path, cases[i].content);
        assert_true(setup_engine_find("containerd")->plan(&v, &target, &err));
        assert_int_equal(v.left, cases[i].left);
        const char *written = NULL;
        for (size_t k = 0; k < v.count; k++)
            if (strstr(v.files[k]->path, "/hosts.toml") && !setup_text_same(&v.files[k]->disk, &v.files[k]->want))
                written = v.files[k]->path + strlen("/etc/containerd/certs.d/");
        assert_string_equal(written ? written : "nothing", cases[i].written ? cases[i].written : "nothing");
        setup_view_free(&v);
        remove_tree(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(toml),  cmocka_unit_test(toml_cut), cmocka_unit_test(take_back),    cmocka_unit_test(diffs),
        cmocka_unit_test(links), cmocka_unit_test(engines),  cmocka_unit_test(docker_flags), cmocka_unit_test(hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
