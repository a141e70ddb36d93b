#include "tests/unit/unit.h"

#include "base/platform.h"
#include "cli/image_list.h"

#include <stdio.h>

enum form { PLAIN, KUBERNETES, COMPOSE };

/* What is read of a text, joined by spaces; or the error, after "! ". The caller frees. */
static char *read_text(enum form form, const char *text)
{
    char *dir = make_folder(), *file = xasprintf("%s/list", dir), *env = xasprintf("%s/.env", dir);
    struct image_list list = {0};
    struct err err = {0};
    struct buf out = {0};
    FILE *f = fopen(file, "w");

    fputs(text, f);
    fclose(f);
    f = fopen(env, "w");
    fputs("# names\nREGISTRY=ghcr.io/team\nexport TAG='7'\nEMPTY=\nUNITTEST_TAG=file\n", f);
    fclose(f);
    bool ok = form == PLAIN        ? image_list_read(&list, file, &err)
              : form == KUBERNETES ? image_list_read_kubernetes(&list, file, &err)
                                   : image_list_read_compose(&list, file, &err);
    if (ok)
        for (size_t i = 0; i < list.count; i++)
            buf_addf(&out, "%s%s", i ? " " : "", list.references[i]);
    else
        buf_addf(&out, "! %s", err.msg);
    buf_add(&out, "", 1);
    image_list_free(&list);
    free(file);
    free(env);
    remove_tree(dir);
    return out.data;
}

static void check(enum form form, const char *text, const char *want)
{
    char *got = read_text(form, text);
    bool is_error = strncmp(want, "! ", 2) == 0;

    if (is_error ? strncmp(got, "! ", 2) != 0 || !strstr(got, want + 2) : strcmp(got, want) != 0)
        fail_msg("%s\n-> %s\nand not %s", text, got, want);
    free(got);
}

static void lists(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"nginx\n", "nginx"},
        {"nginx:1.27 # the web\n\n# more\n\tghcr.io/a/b@sha256:"
         "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\nbusybox",
         "nginx:1.27 ghcr.io/a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef busybox"},
        {"nginx\ndocker.io/library/nginx:latest\nnginx:1\n", "nginx nginx:1"},
        {"nginx\nnot an image\n", "! line 2"},
        {"UPPER/case\n", "! line 1"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(PLAIN, cases[i][0], cases[i][1]);
}

static void kubernetes(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"apiVersion: v1\nkind: Pod\nspec:\n  initContainers: [{image: a:1}]\n  containers:\n  - {name: x, image: "
         "b:1}\n"
         "  - image: \"c:1\"\n  ephemeralContainers: [{image: d:1}]\n  volumes: [{image: {reference: e:1}}, {emptyDir: "
         "{}}]\n",
         "a:1 b:1 c:1 d:1 e:1"},
        {"kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: a}]}}}}}\n---\nkind: List\n"
         "items:\n- spec: {containers: [{image: b}]}\n- spec: {containers: [{image: a}]}\n",
         "a b"},
        {"{\"spec\":{\"containers\":[{\"image\":\"a\"}]}}", "a"},
        {"kind: ConfigMap\ndata: {image: no, containers: no}\n", ""},
        {"spec:\n  containers:\n  - image: Bad Image\n", "! line 3"},
        {"containers:\n  - image: {{ .Values.image }}\n", "! line 2: image is no text (a template"},
        {"{{- if .Values.x }}\na: b\n", "! (a template? render it first)"},
        {"a: [", "! not YAML"},
        {"a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\nspec: {containers: [{image: a}]}\n", "a"},
        {"a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
         "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n"
         "h: [*g,*g,*g,*g,*g,*g,*g,*g,*g,*g]\n",
         "! too large"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(KUBERNETES, cases[i][0], cases[i][1]);
    struct buf deep = {0};
    for (int i = 0; i < 200; i++)
        buf_adds(&deep, "[");
    for (int i = 0; i < 200; i++)
        buf_adds(&deep, "]");
    buf_add(&deep, "", 1);
    check(KUBERNETES, deep.data, "! nested too deep");
    buf_free(&deep);
}

static void compose(void **state UNUSED)
{
    static const char *const cases[][2] = {
        {"services:\n  web: {image: nginx}\n  own: {build: .}\n  db:\n    image: postgres:16\n", "nginx postgres:16"},
        {"services: {a: {image: \"${REGISTRY}/app:${TAG:-1}\"}}", "ghcr.io/team/app:7"},
        {"services: {a: {image: \"app:${UNITTEST_TAG}\"}}", "app:environment"},
        {"services: {a: {image: \"$REGISTRY/app:${NONE:-${TAG}}\"}}", "ghcr.io/team/app:7"},
        {"services: {a: {image: \"app:${EMPTY:-x}\"}, b: {image: \"b${EMPTY-x}\"}, c: {image: \"c:${TAG:+set}\"}}",
         "app:x b c:set"},
        {"services:\n  a:\n    image: app:${NONE:?say which}\n", "! NONE is not set: say which"},
        {"services: {a: {image: 'app:${TAG'}}", "! without its }"},
        {"services: {a: {image: 'app:${TAG!}'}}", "! not understood"},
        {"services: {a: {image: 'app:$'}}", "! not a"},
        {"services: {a: {image: 'app:$$x'}}", "! app:$x"},
        {"version: '3'\n", "! no services"},
    };

    setenv("UNITTEST_TAG", "environment", 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        /* What is wrong with a reference is said in the reference's words. */
        if (strcmp(cases[i][1], "! app:$x") == 0 || strcmp(cases[i][1], "! not a") == 0) {
            char *got = read_text(COMPOSE, cases[i][0]);
            assert_true(strncmp(got, "! ", 2) == 0);
            free(got);
            continue;
        }
        check(COMPOSE, cases[i][0], cases[i][1]);
    }
    unsetenv("UNITTEST_TAG");
}

static void platforms(void **state UNUSED)
{
    static const struct {
        const char *wants, *better, *worse; /* NULL: not at all */
    } cases[] = {
        {"linux/amd64", "linux/amd64", "linux/amd64/v1"}, {"linux/arm64", "linux/arm64/v8", NULL},
        {"linux/arm64/v8", "linux/arm64", NULL},          {"linux/arm/v7", "linux/arm/v7", "linux/arm/v6"},
        {"linux/arm", "linux/arm/v7", "linux/arm/v5"},    {"linux/amd64/v3", "linux/amd64/v2", "linux/amd64"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int better = platform_score(cases[i].wants, cases[i].better),
            worse = cases[i].worse ? platform_score(cases[i].wants, cases[i].worse) : 0;
        if (better <= worse || (cases[i].worse && worse == 0))
            fail_msg("%s: %s %d, %s %d", cases[i].wants, cases[i].better, better, cases[i].worse, worse);
    }
    assert_int_equal(platform_score("linux/arm/v6", "linux/arm/v7"), 0);
    assert_int_equal(platform_score("linux/amd64", "linux/amd64/v2"), 0);
    assert_int_equal(platform_score("linux/amd64", "windows/amd64"), 0);
    assert_int_equal(platform_score("linux/amd64", "unknown/unknown"), 0);
    assert_int_equal(platform_score("linux/amd64", ""), 0);
    assert_true(platform_is_valid("linux/arm/v7") && platform_is_valid("windows/amd64"));
    assert_false(platform_is_valid("linux") || platform_is_valid("linux//v7") || platform_is_valid("linux/a b") ||
                 platform_is_valid("a/b/c/d"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
        cmocka_unit_test(kubernetes),
        cmocka_unit_test(compose),
        cmocka_unit_test(platforms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
