#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/ref.h"
#include "cli/image_list.h"

typedef bool reader(struct image_list *l, const char *file, struct err *err);

struct list_case {
    const char *text;
    const char *want; /* references, a space after each; NULL: an error */
    const char *says; /* that has this */
};

static void write_file(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* Reads `text` from a file, and an .env beside it; false with *err set, or *out the references with a space after each.
 */
static bool read_text(reader *read, const char *text, size_t len, const char *env, struct buf *out, struct err *err)
{
    struct image_list l = {0};
    char *dir = make_folder(), *path = xasprintf("%s/the-file", dir), *env_path = xasprintf("%s/.env", dir);

    write_file(path, text, len);
    if (env)
        write_file(env_path, env, strlen(env));
    bool ok = read(&l, path, err);
    for (size_t i = 0; i < l.count; i++)
        buf_addf(out, "%s ", l.references[i]);
    buf_adds(out, "");
    image_list_free(&l);
    free(path);
    free(env_path);
    remove_tree(dir);
    return ok;
}

static void check(reader *read, const char *env, const struct list_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buf out = {0};
        struct err err = {0};
        bool ok = read_text(read, cases[i].text, strlen(cases[i].text), env, &out, &err);
        if (ok != (cases[i].want != NULL))
            fail_msg("%s\n%s", cases[i].text, ok ? out.data : err.msg);
        if (ok && cases[i].want)
            assert_string_equal(out.data ? out.data : "", cases[i].want);
        else if (!cases[i].says || !strstr(err.msg, cases[i].says) || !strstr(err.msg, "the-file"))
            fail_msg("\"%s\" does not say \"%s\"", err.msg, cases[i].says);
        buf_free(&out);
    }
}

static void lists(void **state UNUSED)
{
    static const struct list_case cases[] = {
        {"", "", NULL},
        {"\n# nothing\n   \n", "", NULL},
        {"nginx", "nginx ", NULL},
        {"nginx\r\n\r\nquay.io/a/b:1 # why\r\n", "nginx quay.io/a/b:1 ", NULL},
        {"\xef\xbb\xbfnginx\n", "nginx ", NULL},
        {" \tnginx\t \n", "nginx ", NULL},
        /* the same three times */
        {"nginx\ndocker.io/library/nginx:latest\nnginx:latest\nnginx:1\n", "nginx nginx:1 ", NULL},
        {"nginx\n\nNginx\n", NULL, "line 3"},
        {"nginx alpine\n", NULL, "line 1"},
        {"nginx\na@sha256:12\n", NULL, "line 2"},
    };

    check(image_list_read, NULL, cases, ARRAY_LEN(cases));
}

static void kubernetes(void **state UNUSED)
{
    static const struct list_case cases[] = {
        {"", "", NULL},
        {"kind: Pod\nspec:\n  initContainers:\n  - image: i\n  containers:\n  - name: x\n    image: a:1\n  - {image: "
         "\"b\"}\n"
         "  ephemeralContainers: [{image: e}]\n",
         "i a:1 b e ", NULL},
        {"kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: c}]}}}}}\n---\n"
         "kind: List\nitems:\n- spec: {template: {spec: {containers: [{image: d}, {image: c}]}}}\n---\n",
         "c d ", NULL},
        {"spec:\n  volumes:\n  - name: v\n    image: {reference: \"quay.io/v/w:2\", pullPolicy: Always}\n  - emptyDir: "
         "{}\n",
         "quay.io/v/w:2 ", NULL},
        {"{\"spec\": {\"containers\": [{\"image\": \"quay.io\\/a\\/b\"}]}}", "quay.io/a/b ", NULL},
        /* a schema, not containers; an image elsewhere; none at all */
        {"properties: {containers: {type: array}}\nimage: not-one\n", "", NULL},
        {"containers:\n- image:\n- image: ~\n- image: ''\n- {}\n- word\n", "", NULL},
        /* anchors, merged keys; its own value comes first */
        {"x: &c {image: a, name: n}\ncontainers:\n- *c\n- {<<: *c, name: m}\n- {<<: *c, image: b}\n- {<<: [{y: 1}, "
         "{image: d}]}\n",
         "a b d ", NULL},
        {"containers:\n- image: UPPER\n", NULL, "line 2"},
        {"containers:\n- name: x\n  image: {{ .Values.image }}\n", NULL, "line 3"},
        {"containers:\n- name: x\n  image: \"{{ .Values.image }}\"\n", NULL, "line 3"},
        {"containers:\n- name: x\n{{- if .Values.more }}\n- image: y\n{{- end }}\n", NULL, "template"},
        {"a: [1, 2\n", NULL, "not YAML"},
        {"a: *nothing\n", NULL, "not YAML"},
        {"a: &a [*a]\n", NULL, "nested too deep"},
        {"a: &a\n  b: *a\n", NULL, "nested too deep"},
    };

    check(image_list_read_kubernetes, NULL, cases, ARRAY_LEN(cases));
}

static void compose(void **state UNUSED)
{
    static const char env[] = "# the project's\nBESIDE=quay.io/beside\nBOTH=beside\nexport WORD='a b'\n"
                              "LATE=first\nLATE=last # the one\r\nDQ=\"in-quotes\" # so\n=none\n";
    static const struct list_case cases[] = {
        {"services:\n  a: {image: nginx}\n  b: {build: .}\n  c: {image: 'redis:7'}\n", "nginx redis:7 ", NULL},
        {"services: {a: {image: '$GIVEN'}, b: {image: '${GIVEN}/x:${TAG:-1}'}, c: {image: '${BESIDE}/y'}}\n",
         "quay.io/given quay.io/given/x:1 quay.io/beside/y ", NULL},
        {"services: {a: {image: '$BOTH'}, b: {image: '$LATE'}, c: {image: '$DQ'}}\n", "environment last in-quotes ",
         NULL},
        /* empty is set for - and +, not for :- and :+ */
        {"services: {a: {image: 'a${EMPTY-1}'}, b: {image: 'b${EMPTY:-1}'}, c: {image: 'c${EMPTY+1}'}, "
         "d: {image: 'd${EMPTY:+1}'}, e: {image: 'e${NONE}'}}\n",
         "a b1 c1 d e ", NULL},
        {"services: {a: {image: '${NONE:-${NONE:-${GIVEN}}}'}}\n", "quay.io/given ", NULL},
        {"x: &c {image: common}\nservices:\n  a: {<<: *c}\n  b: {<<: *c, image: own}\n", "common own ", NULL},
        {"services: {a: {image: a}}\n---\n", "a ", NULL},
        {"services:\n  a:\n    image: x:${NONE:?say which}\n", NULL, "line 3: NONE is not set: say which"},
        {"services:\n  a:\n    image: a$$b\n", NULL, "line 3"},
        {"services:\n  a:\n    image: ${WORD}\n", NULL, "line 3"},
        {"services:\n  a:\n    image: ${GIVEN\n", NULL, "without its }"},
        {"services: {a: {image: '${1}'}}\n", NULL, "no variable's name"},
        {"services: {a: {image: '${GIVEN!x}'}}\n", NULL, "not understood"},
        {"services: {a: {image: [a]}}\n", NULL, "line 1"},
        {"services: {a: {image: "
         "'${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-x}}}}}}}}}}}'}}\n",
         NULL, "deep"},
        {"kind: Pod\n", NULL, "no services"},
    };

    assert_int_equal(setenv("GIVEN", "quay.io/given", 1) | setenv("BOTH", "environment", 1) | setenv("EMPTY", "", 1),
                     0);
    assert_int_equal(unsetenv("NONE") | unsetenv("N") | unsetenv("TAG") | unsetenv("LATE"), 0);
    check(image_list_read_compose, env, cases, ARRAY_LEN(cases));
}

/* Little text that stands for much ends with an error, and soon. */
static void hostile(void **state UNUSED)
{
    static reader *const readers[] = {image_list_read_kubernetes, image_list_read_compose};
    enum { LAUGHS, DEEP, WIDE, LARGE, BINARY, KINDS };

    for (int kind = 0; kind < KINDS; kind++) {
        struct buf text = {0};
        if (kind == LAUGHS) {
            buf_adds(&text, "l0: &l0 [{image: x}, {image: x}]\n");
            for (int i = 1; i < 40; i++)
                buf_addf(&text, "l%d: &l%d [*l%d, *l%d, *l%d, *l%d]\n", i, i, i - 1, i - 1, i - 1, i - 1);
        }
        for (int i = 0; i < 100000 && kind == DEEP; i++)
            buf_adds(&text, "[");
        for (int i = 0; i < 3000000 && kind == WIDE; i++)
            buf_adds(&text, "- a\n");
        if (kind == LARGE)
            memset(buf_reserve(&text, IMAGE_LIST_FILE_MAX + 1), ' ', IMAGE_LIST_FILE_MAX + 1);
        text.len = kind == LARGE ? IMAGE_LIST_FILE_MAX + 1 : text.len;
        if (kind == BINARY)
            buf_add(&text, "services:\0\n", 11);
        for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
            struct buf out = {0};
            struct err err = {0};
            int64_t started = clock_mono_ms();
            assert_false(read_text(readers[i], text.data, text.len, NULL, &out, &err));
            assert_true(clock_mono_ms() - started < 20000);
            assert_non_null(strstr(err.msg, "the-file"));
            buf_free(&out);
        }
        buf_free(&text);
    }
}

/* A full list is taken, one more is not; both in no time. */
static void many(void **state UNUSED)
{
    struct image_list l = {0};
    struct err err = {0};

    for (int i = 0; i < IMAGE_LIST_MAX; i++) {
        _cleanup_free_
        char *text = xasprintf("quay.io/a/b:%d", i);
        assert_true(image_list_add(&l, text, &err));
    }
    assert_true(image_list_add(&l, "quay.io/a/b:0", &err));
    assert_int_equal(l.count, IMAGE_LIST_MAX);
    assert_false(image_list_add(&l, "quay.io/a/c", &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    image_list_free(&l);
    assert_false(image_list_read(&l, "/nonexistent/list", &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lists), cmocka_unit_test(kubernetes), cmocka_unit_test(compose),
                                       cmocka_unit_test(hostile), cmocka_unit_test(many)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
