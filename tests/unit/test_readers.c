#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/ref.h"
#include "cli/images/list.h"

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
                              "LATE=first\nLATE=last # the one\r\nDQ=\"in-quotes\" # so\n=none\n"
                              "export  BLANKS = \t'wide'\nCOLON: quay.io:443/colon # so\n";
    static const struct list_case cases[] = {
        {"services:\n  a: {image: nginx}\n  b: {build: .}\n  c: {image: 'redis:7'}\n", "nginx redis:7 ", NULL},
        {"services: {a: {image: '$GIVEN'}, b: {image: '${GIVEN}/x:${TAG:-1}'}, c: {image: '${BESIDE}/y'}}\n",
         "quay.io/given quay.io/given/x:1 quay.io/beside/y ", NULL},
        {"services: {a: {image: '$BOTH'}, b: {image: '$LATE'}, c: {image: '$DQ'}}\n", "environment last in-quotes ",
         NULL},
        {"services: {a: {image: '$BLANKS'}, b: {image: '$COLON'}}\n", "wide quay.io:443/colon ", NULL},
        /* empty is set for - and +, not for :- and :+ */
        {"services: {a: {image: 'a${EMPTY-1}'}, b: {image: 'b${EMPTY:-1}'}, c: {image: 'c${EMPTY+1}'}, "
         "d: {image: 'd${EMPTY:+1}'}, e: {image: 'e${NONE}'}}\n",
         "a b1 c1 d e ", NULL},
        {"services: {a: {image: '${NONE:-${NONE:-${GIVEN}}}'}}\n", "quay.io/given ", NULL},
        {"x: &c {image: common}\nservices:\n  a: {<<: *c}\n  b: {<<: *c, image: own}\n", "common own ", NULL},
        {"services: {a: {image: a}}\n---\n", "a ", NULL},
        {"services:\n  a:\n    image: a\n    volumes:\n      - data:/data\n"
         "      - {type: image, source: '${GIVEN}/files:1', target: /f}\n      - {type: bind, source: /x, target: "
         "/y}\n",
         "quay.io/given/files:1 a ", NULL},
        {"services:\n  a:\n    image: x:${NONE:?say which}\n", NULL, "line 3: NONE is not set: say which"},
        {"services:\n  a:\n    image: a$$b\n", NULL, "line 3"},
        {"services:\n  a:\n    image: ${WORD}\n", NULL, "line 3"},
        {"services:\n  a:\n    image: ${GIVEN\n", NULL, "without a closing }"},
        {"services: {a: {image: '${1}'}}\n", NULL, "not a variable name"},
        {"services: {a: {image: '${GIVEN!x}'}}\n", NULL, "invalid syntax"},
        {"services: {a: {image: [a]}}\n", NULL, "line 1"},
        {"services: {a: {image: "
         "'${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-${N:-x}}}}}}}}}}}'}}\n",
         NULL, "deep"},
        {"services: {a: {image: a}, b: {extends: a}, c: {extends: {service: b}}}\n", "a ", NULL},
        {"services:\n  a: {image: a}\n  b: {extends: c}\n", NULL, "line 3: extends the unknown service c"},
        {"kind: Pod\n", NULL, "no services"},
    };

    assert_int_equal(setenv("GIVEN", "quay.io/given", 1) | setenv("BOTH", "environment", 1) | setenv("EMPTY", "", 1),
                     0);
    assert_int_equal(unsetenv("NONE") | unsetenv("N") | unsetenv("TAG") | unsetenv("LATE"), 0);
    check(image_list_read_compose, env, cases, ARRAY_LEN(cases));
}

/* Each line of an .env may double what the one before it stands for, and few bytes stand for 64 KiB then. */
static void compose_doubling(void **state UNUSED)
{
    static const char file[] = "services: {a: {image: a}}\n";
    struct buf env = {0}, out = {0};
    struct err err = {0};
    int64_t begun = clock_mono_ms();

    buf_adds(&env, "A=0123456789abcdef\n");
    for (int c = 'A'; c < 'M'; c++)
        buf_addf(&env, "%c=$%c$%c\n", c + 1, c, c);
    assert_true(read_text(image_list_read_compose, file, strlen(file), env.data, &out, &err));
    for (int i = 0; i < 30000; i++)
        buf_addf(&env, "N%d=$M\n", i);
    assert_false(read_text(image_list_read_compose, file, strlen(file), env.data, &out, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_non_null(strstr(err.msg, ".env"));
    assert_in_range(clock_mono_ms() - begun, 0, 10000);
    buf_free(&env);
    buf_free(&out);
}

struct tree_file {
    const char *path, *text;
};

/* Reads `first` of a folder with these files. */
static bool read_tree(const struct tree_file *files, size_t count, const char *first, struct buf *out, struct err *err)
{
    struct image_list l = {0};
    char *dir = make_folder(), *path = xasprintf("%s/%s", dir, first), *sub = xasprintf("%s/sub", dir);

    assert_int_equal(mkdir(sub, 0700), 0);
    for (size_t i = 0; i < count; i++) {
        _cleanup_free_ char *to = xasprintf("%s/%s", dir, files[i].path);
        write_file(to, files[i].text, strlen(files[i].text));
    }
    bool ok = image_list_read_compose(&l, path, err);
    for (size_t i = 0; i < l.count; i++)
        buf_addf(out, "%s ", l.references[i]);
    image_list_free(&l);
    remove_tree(dir);
    free(path);
    free(sub);
    return ok;
}

/* What a compose file includes and extends in other files. */
static void compose_files(void **state UNUSED)
{
    static const struct tree_file files[] = {
        {".env", "OUTER=outer\nBOTH=outer\nNESTED=${OUTER}-and-${MORE:-more}\nPLAIN='${OUTER}'\n"},
        {"sub/.env", "INNER=inner\nBOTH=inner\n"},
        {"other.env", "INNER=other\n"},
        {"plain.yaml", "services: {a: {image: 'a/$NESTED'}}\n"},
        {"quoted.yaml", "services: {a: {image: '$PLAIN'}}\n"},
        {"sub/one.yaml", "services: {a: {image: '${OUTER}/${INNER}'}, b: {image: 'b/$BOTH'}}\n"},
        {"sub/two.yaml", "include: [three.yaml]\nservices: {}\n"},
        {"sub/three.yaml", "services: {t: {image: three}}\n"},
        {"include.yaml", "include: [sub/one.yaml]\nservices: {own: {image: own}}\n"},
        {"alone.yaml", "include:\n- sub/two.yaml\n"},
        {"mapping.yaml", "include:\n- path: [sub/one.yaml, sub/three.yaml]\n  env_file: other.env\n"},
        {"folder.yaml", "include:\n- path: sub/two.yaml\n  project_directory: .\n"},
        {"circle.yaml", "include: [circle.yaml]\n"},
        {"twice.yaml", "include: [wide.yaml, wide.yaml, wide.yaml, wide.yaml, wide.yaml, wide.yaml]\n"},
        {"wide.yaml", "include: [twice.yaml, twice.yaml, twice.yaml, twice.yaml]\n"},
        {"remote.yaml", "include:\n- https://127.0.0.1/compose.yaml\n"},
        {"missing.yaml", "include:\n- nowhere.yaml\n"},
        {"no-path.yaml", "include:\n- env_file: x\n"},
        {"no-list.yaml", "include: {path: x}\n"},
        {"noenv.yaml", "include:\n- {path: sub/one.yaml, env_file: nowhere.env}\n"},
        {"base.yaml", "services:\n  base: {image: 'base:${TAG:-1}'}\n  more: {extends: base}\n  other: {image: other}\n"
                      "  lost: {extends: {service: nobody}}\n  loop: {extends: loop}\n  far: {extends: {file: "
                      "sub/three.yaml, service: t}}\n"},
        {"extends.yaml", "services:\n  a: {extends: {file: base.yaml, service: base}}\n"},
        {"chain.yaml", "services:\n  a: {extends: {file: base.yaml, service: more}}\n  b: {extends: a}\n"
                       "  c: {extends: {file: base.yaml, service: far}}\n"},
        {"override.yaml", "services:\n  a: {extends: {file: base.yaml, service: base}, image: mine}\n"},
        {"nobody.yaml", "services:\n  a: {extends: {file: base.yaml, service: nobody}}\n"},
        {"lost.yaml", "services:\n  a: {extends: {file: base.yaml, service: lost}}\n"},
        {"loop.yaml", "services:\n  a: {extends: {file: base.yaml, service: loop}}\n"},
        {"included.yaml", "include: [sub/three.yaml]\nservices: {a: {extends: t}}\n"},
    };
    static const struct {
        const char *file, *want, *says;
    } cases[] = {
        {"plain.yaml", "a/outer-and-more ", NULL},
        {"quoted.yaml", NULL, "${OUTER}"},
        {"include.yaml", "outer/inner b/outer own ", NULL},
        {"alone.yaml", "three ", NULL},
        {"mapping.yaml", "outer/other b/outer three ", NULL},
        {"folder.yaml", NULL, "three.yaml"}, /* it is beside two.yaml, and not here */
        {"circle.yaml", NULL, "do files include each other?"},
        {"twice.yaml", NULL, "do files include each other?"},
        {"remote.yaml", NULL, "only local files are supported"},
        {"missing.yaml", NULL, "nowhere.yaml"},
        {"no-path.yaml", NULL, "line 2: include without a path"},
        {"no-list.yaml", NULL, "line 1: include is not a list"},
        {"noenv.yaml", NULL, "nowhere.env"},
        {"extends.yaml", "base:1 ", NULL},
        {"chain.yaml", "base:1 three ", NULL},
        {"override.yaml", "mine ", NULL},
        {"nobody.yaml", NULL, "unknown service nobody"},
        {"lost.yaml", NULL, "extends the unknown service nobody"},
        {"loop.yaml", NULL, "extends the unknown service loop"},
        {"included.yaml", "three ", NULL},
    };

    assert_int_equal(unsetenv("OUTER") | unsetenv("INNER") | unsetenv("BOTH") | unsetenv("TAG") | unsetenv("MORE"), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_buf_ struct buf out = {0};
        struct err err = {0};
        bool ok = read_tree(files, ARRAY_LEN(files), cases[i].file, &out, &err);
        if (ok != (cases[i].want != NULL))
            fail_msg("%s: %s", cases[i].file, ok ? out.data : err.msg);
        if (ok && cases[i].want)
            assert_string_equal(out.data ? out.data : "", cases[i].want);
        else if (!cases[i].says || !strstr(err.msg, cases[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].file, err.msg, cases[i].says);
    }
}

/* Little text that stands for much ends with an error, and soon. */
static void hostile(void **state UNUSED)
{
    static reader *const readers[] = {image_list_read_kubernetes, image_list_read_compose};
    enum { LAUGHS, DEEP, WIDE, ANCHORS, LARGE, BINARY, KINDS };

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
        for (int i = 0; i < 60000 && kind == ANCHORS; i++)
            buf_addf(&text, "- &a%d x\n", i);
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

/* Mappings that merge many that merge many: too large, and said to be, in place of services that are not seen. */
static void merges_of_merges(void **state UNUSED)
{
    struct buf text = {0}, out = {0};
    struct err err = {0};
    int64_t started = clock_mono_ms();

    buf_adds(&text, "x:\n- &a {}\n");
    for (int c = 'b'; c <= 'd'; c++) {
        buf_addf(&text, "- &%c {<<: [*%c", c, c - 1);
        for (int i = 1; i < 900; i++)
            buf_addf(&text, ", *%c", c - 1);
        buf_adds(&text, "]}\n");
    }
    buf_adds(&text, "services: {s: *d}\n");
    assert_false(read_text(image_list_read_compose, text.data, text.len, NULL, &out, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_true(clock_mono_ms() - started < 20000);
    buf_free(&text);
    buf_free(&out);
}

/* A full list is taken, one more is not; both in no time. */
static void many(void **state UNUSED)
{
    struct image_list l = {0};
    struct err err = {0};

    for (int i = 0; i < IMAGE_LIST_MAX; i++) {
        _cleanup_free_ char *text = xasprintf("quay.io/a/b:%d", i);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(lists),
                                       cmocka_unit_test(kubernetes),
                                       cmocka_unit_test(compose),
                                       cmocka_unit_test(compose_files),
                                       cmocka_unit_test(hostile),
                                       cmocka_unit_test(compose_doubling),
                                       cmocka_unit_test(merges_of_merges),
                                       cmocka_unit_test(many)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
