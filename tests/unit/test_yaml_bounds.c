/* YAML that would take its reader for minutes, or memory for days: each reader refuses it at once, and says where. */
#include "tests/unit/load_config.h"

#include "base/yaml_bounds.h"
#include "cli/images/list.h"
#include "cli/setup/setup.h"

#include <string.h>
#include <time.h>

enum { MANY = 50000, SOON_MS = 3000 };

static const struct {
    const char *first, *many, *last;
} DEEP[] = {
    {"", "[", ""},       {"", "{a: ", ""},   {"", "[a: ", ""},  {"", "- ", ""},      {"", "? ", ""},
    {"", "[\n", ""},     {"a: ", "[", "\n"}, {"", "[{a: ", ""}, {"", "&a [", ""},    {"", "!!x [", ""},
    {"a:\n  ", "[", ""}, {"", "{[", ""},     {"", "[[], ", ""}, {"- a\n", "- ", ""}, {"", "[? ", ""},
};

static void write_text(struct buf *out, const char *first, const char *many, int count, const char *last)
{
    buf_adds(out, first);
    for (int i = 0; i < count; i++)
        buf_adds(out, many);
    buf_adds(out, last);
}

static void many_anchors(struct buf *out, int count)
{
    buf_adds(out, "a: [");
    for (int i = 0; i < count; i++)
        buf_addf(out, "&a%d x, ", i);
    buf_adds(out, "]\n");
}

/* Each list has ten times the one before it. */
static void laughs(struct buf *out, const char *key)
{
    buf_addf(out, "a: &a0 [x]\n");
    for (int i = 1; i < 25; i++) {
        buf_addf(out, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_addf(out, "*a%d, ", i - 1);
        buf_adds(out, "]\n");
    }
    buf_addf(out, "%s: *a24\n", key);
}

/* ---- its readers ---- */

static bool read_config(const struct buf *text, struct err *err)
{
    struct config c;

    bool ok = load(text->data, &c, err);
    if (ok)
        config_free(&c);
    return ok;
}

static bool bounds_read_list(bool (*read)(struct image_list *l, const char *file, struct err *err),
                             const struct buf *text, struct err *err)
{
    char *dir = make_folder(), *file = xasprintf("%s/f.yaml", dir);
    struct image_list l = {0};
    FILE *f = fopen(file, "w");

    fputs(text->data, f);
    fclose(f);
    bool ok = read(&l, file, err);
    image_list_free(&l);
    free(file);
    remove_tree(dir);
    return ok;
}

static bool read_kubernetes(const struct buf *text, struct err *err)
{
    return bounds_read_list(image_list_read_kubernetes, text, err);
}

static bool read_compose(const struct buf *text, struct err *err)
{
    return bounds_read_list(image_list_read_compose, text, err);
}

static bool read_rancher(const struct buf *text, struct err *err)
{
    static char docker[] = "docker.io";
    char *registries[] = {docker};
    const struct setup_target target = {.address = "127.0.0.1:5000", .registries = registries, .count = 1};
    struct setup_view v = {.root = "/nonexistent"};
    struct setup_file *f = setup_view_file(&v, "/etc/rancher/k3s/registries.yaml", NULL);

    assert_non_null(f);
    f->base.exists = true;
    buf_adds(&f->base.bytes, text->data);
    bool ok = setup_engine_find("k3s")->plan(&v, &target, err);
    setup_view_free(&v);
    return ok;
}

/* What this process has used: other processes may be in its way. */
static int64_t processor_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool (*const READERS[])(const struct buf *text, struct err *err) = {read_config, read_kubernetes, read_compose,
                                                                           read_rancher};

static void refused(const struct buf *text, const char *says)
{
    for (size_t r = 0; r < ARRAY_LEN(READERS); r++) {
        struct err err = {0};
        int64_t begun = processor_ms();
        if (READERS[r](text, &err))
            fail_msg("reader %zu: %.60s", r, text->data);
        if (processor_ms() - begun > SOON_MS || !strstr(err.msg, says))
            fail_msg("reader %zu: %.60s: %s after %lld ms of a processor", r, text->data, err.msg,
                     (long long)(processor_ms() - begun));
    }
}

static void deep(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(DEEP); i++) {
        _cleanup_buf_ struct buf text = {0};
        write_text(&text, DEEP[i].first, DEEP[i].many, MANY, DEEP[i].last);
        refused(&text, "nested deeper than");
    }
}

/* libyaml compares each with all before it. */
static void anchored(void **state UNUSED)
{
    _cleanup_buf_ struct buf text = {0};

    many_anchors(&text, MANY);
    refused(&text, "more than 1000 anchors");
}

static void expanded(void **state UNUSED)
{
    static const struct {
        const char *key, *says;
    } cases[ARRAY_LEN(READERS)] = {
        {"listen", "anchors and aliases are not supported"},
        {"spec", "too large"},
        {"services", "services"},
        {"mirrors", "too many aliases"},
    };

    for (size_t r = 0; r < ARRAY_LEN(READERS); r++) {
        _cleanup_buf_ struct buf text = {0};
        struct err err = {0};
        int64_t begun = processor_ms();
        laughs(&text, cases[r].key);
        if (READERS[r](&text, &err))
            fail_msg("reader %zu", r);
        if (processor_ms() - begun > SOON_MS || !strstr(err.msg, cases[r].says))
            fail_msg("reader %zu: %s after %lld ms of a processor", r, err.msg, (long long)(processor_ms() - begun));
    }
}

static void bounds(void **state UNUSED)
{
    static const struct {
        const char *text, *says; /* NULL: it is within */
    } cases[] = {
        {"", NULL},
        {"a: {b: [c, {d: 1}]}\n", "line 1: nested deeper than 3"},
        {"a: {b: [c, d]}\n", NULL},
        {"a: {b: [c]}\n---\na: {b: [c]}\n", NULL}, /* each alone */
        {"a: &a 1\nb: &b [&c 1]\n", "line 2: more than 2 anchors"},
        {"a: &a 1\n---\nb: &b [&c 1]\n", NULL},
        {"a: [1,\n 2, 3, 4, 5, 6, 7, 8,\n 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]\n",
         "line 3: more than 25 keys and values"},
        {"a: [1, 2\n", NULL}, /* not YAML: others say that */
        {"\xff", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        bool ok = yaml_is_bounded(cases[i].text, strlen(cases[i].text), &(struct yaml_bounds){3, 2, 25}, &err);
        if (ok != !cases[i].says || (!ok && strcmp(err.msg, cases[i].says) != 0))
            fail_msg("%s: %s", cases[i].text, ok ? "within" : err.msg);
    }
}

/* As deep as the configuration has keys, and somewhat deeper, is understood; so is a file of nearly 1 MiB. */
static void ordinary(void **state UNUSED)
{
    _cleanup_buf_ struct buf large = {0}, larger = {0};
    struct config c;
    struct err err = {0};

    write_text(&large, "workers: 1\n", "# a comment of twenty bytes...\n", (1 << 20) / 31 - 1, "");
    assert_true(load(large.data, &c, &err));
    config_free(&c);
    write_text(&larger, "workers: 1\n", "# a comment of twenty bytes...\n", (1 << 20) / 31 + 1, "");
    assert_false(load(larger.data, &c, &err));
    assert_non_null(strstr(err.msg, "not a text of at most 1 MiB"));
    assert_false(load("a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n", &c, &err));
    assert_non_null(strstr(err.msg, "a: unknown key"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deep),   cmocka_unit_test(anchored), cmocka_unit_test(expanded),
        cmocka_unit_test(bounds), cmocka_unit_test(ordinary),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
