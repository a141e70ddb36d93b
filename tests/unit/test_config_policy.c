/* Which images a policy admits. */
#include "tests/unit/load_config.h"

#include "base/ref.h"

#define INDEX "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define CHILD "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define OTHER "sha256:3333333333333333333333333333333333333333333333333333333333333333"

static bool lists_child(void *arg, const char *parent)
{
    const struct config_image *im = *(const struct config_image **)arg;

    return strcmp(parent, INDEX) == 0 && im->digest && strcmp(im->digest, CHILD) == 0;
}

/* `image`: "name:tag", "name@digest"; "name" alone is a list of tags, "name blob@digest" a blob. */
static bool admits(const struct config *c, const char *image, const char **why)
{
    _cleanup_free_ char *name = xstrdup(image);
    struct config_image im = {.name = name, .is_listed_by = lists_child};
    const struct config_image *own = &im;
    char *blob = strstr(name, " blob"), *at = strchr(name, '@'), *colon = at ? NULL : strrchr(name, ':');

    im.arg = &own;
    im.is_part = blob || (!at && !colon);
    if (at)
        im.digest = at + 1;
    if (colon)
        im.tag = colon + 1;
    if (blob)
        *blob = '\0';
    if (at)
        *at = '\0';
    if (colon)
        *colon = '\0';
    return config_admits(c, &im, why);
}

static void table(void **state UNUSED)
{
    static const struct {
        const char *policy, *image;
        bool admitted;
    } cases[] = {
        {"{}", "docker.io/library/nginx:1", true},
        /* a component, or any number */
        {"{allow: ['docker.io/library/*']}", "docker.io/library/nginx:1", true},
        {"{allow: ['docker.io/library/*']}", "docker.io/library/nginx@" OTHER, true},
        {"{allow: ['docker.io/library/*']}", "docker.io/library/nginx blob@" OTHER, true},
        {"{allow: ['docker.io/library/*']}", "docker.io/library/nginx", true},
        {"{allow: ['docker.io/library/*']}", "docker.io/library/a/b:1", false},
        {"{allow: ['docker.io/library/*']}", "docker.io/org/app:1", false},
        {"{allow: ['docker.io/library/*']}", "ghcr.io/library/nginx:1", false},
        {"{allow: ['ghcr.io/org/**']}", "ghcr.io/org/a/b/c:1", true},
        {"{allow: ['ghcr.io/org/**']}", "ghcr.io/org2/a:1", false},
        {"{allow: ['ghcr.io/**/app']}", "ghcr.io/a/b/app:1", true},
        {"{allow: ['ghcr.io/**/app']}", "ghcr.io/a/b/apps:1", false},
        {"{allow: ['*.example.com/**']}", "eu.example.com/a/b:1", true},
        {"{allow: ['*.example.com/**']}", "evil.test/x.example.com/b:1", false},
        {"{allow: ['ghcr.io/org/ap?']}", "ghcr.io/org/app:1", true},
        {"{allow: ['ghcr.io/org/ap?']}", "ghcr.io/org/ap/p:1", false},
        /* docker.io and library/ are filled in; Docker Hub's other names are it */
        {"{allow: [nginx]}", "docker.io/library/nginx:1", true},
        {"{allow: [nginx]}", "docker.io/org/nginx:1", false},
        {"{allow: [nginx]}", "ghcr.io/library/nginx:1", false},
        {"{allow: [org/app]}", "docker.io/org/app:1", true},
        {"{allow: ['index.docker.io/org/app']}", "docker.io/org/app:1", true},
        {"{allow: ['GHCR.IO/org/app']}", "ghcr.io/org/app:1", true},
        {"{allow: ['localhost:5000/app:1']}", "localhost:5000/app:1", true},
        {"{deny: [docker.io/nginx]}", "docker.io/library/nginx:1", false},
        {"{deny: ['Index.docker.io/nginx:1']}", "docker.io/library/nginx:1", false},
        {"{deny: ['docker.io/ngin*']}", "docker.io/library/nginx@" OTHER, false},
        {"{deny: ['docker.io/**']}", "docker.io/org/nginx:1", false},
        {"{deny: [docker.io/nginx]}", "docker.io/org/nginx:1", true},
        {"{deny: [ghcr.io/nginx]}", "ghcr.io/library/nginx:1", true},
        /* a registry by its name, by that with its port, and one that goes by the port */
        {"{deny: ['nexus.test/app']}", "nexus.test/app:1", false},
        {"{deny: ['nexus.test:8083/app']}", "nexus.test/app:1", false},
        {"{deny: ['NEXUS.test:8083/app']}", "nexus.test/app:1", false},
        {"{deny: ['nexus.test:443/app']}", "nexus.test/app:1", false},
        {"{deny: ['nexus.test:8084/app']}", "nexus.test/app:1", true},
        /* the host twice is another repository */
        {"{allow: ['ghcr.io/org/**']}", "ghcr.io/ghcr.io/org/app:1", false},
        {"{allow: ['ghcr.io/org/**']}", "docker.io/ghcr.io/org/app:1", false},
        {"{allow: ['docker.io/library/*']}", "docker.io/docker.io/nginx:1", false},
        {"{allow: ['docker.io/library/*']}", "docker.io/library/library/nginx:1", false},
        /* tags */
        {"{deny: ['*:latest']}", "docker.io/library/nginx:latest", false},
        {"{deny: ['*:latest']}", "ghcr.io/a/b/c:latest", false},
        {"{deny: ['*:latest']}", "ghcr.io/a/b/c:latest2", true},
        {"{deny: ['*:latest']}", "ghcr.io/a/b/c:Latest", true},
        {"{deny: ['*:latest']}", "ghcr.io/a/b/c@" OTHER, true},
        {"{deny: ['*:latest']}", "ghcr.io/a/b/c blob@" OTHER, true},
        {"{deny: ['*:latest']}", "ghcr.io/a/b/c", true},
        {"{deny: ['nginx:1.*']}", "docker.io/library/nginx:1.27", false},
        {"{allow: ['ghcr.io/org/app:v1']}", "ghcr.io/org/app:v1", true},
        {"{allow: ['ghcr.io/org/app:v1']}", "ghcr.io/org/app:v2", false},
        {"{allow: ['ghcr.io/org/app:v1']}", "ghcr.io/org/app@" OTHER, true}, /* engines go on by digest */
        {"{allow: ['ghcr.io/org/app:v1']}", "ghcr.io/org/app blob@" OTHER, true},
        {"{allow: ['ghcr.io/org/app:v1']}", "ghcr.io/org/other@" OTHER, false},
        /* digests */
        {"{allow: ['*@sha256:*']}", "ghcr.io/org/app@" OTHER, true},
        {"{allow: ['*@sha256:*']}", "ghcr.io/org/app:v1", false},
        {"{allow: ['ghcr.io/org/app@" INDEX "']}", "ghcr.io/org/app@" INDEX, true},
        {"{allow: ['ghcr.io/org/app@" INDEX "']}", "ghcr.io/org/app@" CHILD, true}, /* listed by it */
        {"{allow: ['ghcr.io/org/app@" INDEX "']}", "ghcr.io/org/app@" OTHER, false},
        {"{allow: ['ghcr.io/org/app@" INDEX "']}", "ghcr.io/org/app:v1", false},
        {"{allow: ['ghcr.io/org/app@" INDEX "']}", "ghcr.io/org/app blob@" OTHER, true},
        {"{deny: ['*@" OTHER "']}", "ghcr.io/org/app@" OTHER, false},
        {"{deny: ['*@" OTHER "']}", "ghcr.io/org/app blob@" OTHER, false},
        {"{deny: ['*@" OTHER "']}", "ghcr.io/org/app@" CHILD, true},
        /* both: deny beats allow */
        {"{allow: ['ghcr.io/**'], deny: ['ghcr.io/evil/**']}", "ghcr.io/org/app:1", true},
        {"{allow: ['ghcr.io/**'], deny: ['ghcr.io/evil/**']}", "ghcr.io/evil/app:1", false},
        {"{allow: ['ghcr.io/**'], deny: ['ghcr.io/evil/**']}", "ghcr.io/evil/app blob@" OTHER, false},
        {"{allow: ['ghcr.io/**'], deny: ['ghcr.io/evil/**']}", "ghcr.io/evil/app", false},
        {"{allow: ['ghcr.io/**'], deny: ['ghcr.io/evil/**']}", "quay.io/org/app:1", false},
        {"{deny: ['*']}", "quay.io/org/app:1", false},
    };
    struct config c;
    struct err err;
    const char *why;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *text = xasprintf(
            "policy: %s\nupstreams: [{name: nexus.test, endpoints: ['https://nexus.test:8083']}]\n", cases[i].policy);
        if (!load(text, &c, &err))
            fail_msg("%s: %s", cases[i].policy, err.msg);
        if (admits(&c, cases[i].image, &why) != cases[i].admitted)
            fail_msg("%s: %s is %s", cases[i].policy, cases[i].image, cases[i].admitted ? "denied" : "admitted");
        config_free(&c);
    }
}

static void tags_that_point_to_it(void **state UNUSED)
{
    struct config c;
    struct err err;

    assert_true(load("policy: {deny: ['ghcr.io/org/*@" OTHER "', '*:latest']}\n", &c, &err));
    assert_string_equal(config_denies_digest(&c, "ghcr.io/org/app", OTHER), "ghcr.io/org/*@" OTHER);
    assert_null(config_denies_digest(&c, "ghcr.io/org/app", CHILD));
    assert_null(config_denies_digest(&c, "ghcr.io/else/app", OTHER));
    config_free(&c);
}

static void wrong_patterns(void **state UNUSED)
{
    static const char *const patterns[] = {
        "n\xc3\xb6",
        "a b",
        "Org/App",
        "ghcr.io/Org/app",
        "https://ghcr.io/a",
        "/a",
        "a//b",
        ":latest",
        "a:",
        "a@",
        "@sha256:1",
        "ghcr.io/*a*b*c*d*e*f*g*h*i*j",
    };
    struct config c;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        _cleanup_free_ char *text = xasprintf("policy: {deny: [ok, '%s']}\n", patterns[i]);
        if (load(text, &c, &err))
            fail_msg("%s is taken", patterns[i]);
        assert_non_null(strstr(err.msg, "line 1: policy.deny[1]: \""));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(tags_that_point_to_it),
        cmocka_unit_test(wrong_patterns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
