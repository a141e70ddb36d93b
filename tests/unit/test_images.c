/* Lists of images, page by page, while the index changes. */
#include "tests/unit/unit_index.h"

#include "proxy/admin/image_page.h"

enum { REPOS = 7, TAGS = 50, EMPTY = 9000 };

static int setup(void **state)
{
    return index_setup(state, 1 << 16); /* tiny: it grows, for which no reader may be in the way */
}

static struct digest named(int n)
{
    struct digest d;

    digest_of(DIGEST_SHA256, &n, sizeof(n), &d);
    return d;
}

static const char *repo_name(int n, char out[64])
{
    /* some are the beginning of others, and their ids are in another order */
    static const char *const names[REPOS] = {"x.io/b", "x.io/a", "x.io/a/b", "x.io/a-b", "a.io/z", "x.io/ab", "y.io/a"};

    snprintf(out, 64, "%s", names[n]);
    return out;
}

struct tagging {
    const char *repo;
    int from, to, digest; /* tags t<from> .. t<to - 1>; digest < 0: of each its own */
    bool drop;
};

static bool apply_tags(struct index_txn *t, void *arg, struct err *err)
{
    const struct tagging *w = arg;
    uint64_t repo;
    bool ok = rows_intern_repo(t, w->repo, &repo, err);

    for (int i = w->from; i < w->to && ok; i++) {
        struct digest d = named(w->digest < 0 ? i : w->digest);
        struct blob_row row = {.size = 10, .created = 1, .used = 1, .flags = BLOB_MANIFEST};
        char tag[32];
        snprintf(tag, sizeof(tag), "t%d", i);
        ok = w->drop ? rows_drop_tag(t, repo, tag, err)
                     : rows_put_manifest(t, &d, &row, NULL, 0, err) &&
                           rows_put_tag(t, repo, tag, &(struct tag_row){d, 1, 1}, err);
    }
    return ok;
}

static void tag(struct fixture *f, struct tagging w)
{
    struct err err;

    assert_true(index_write_wait(f->index, apply_tags, &w, &err));
}

static void fill(struct fixture *f)
{
    char name[64];

    for (int i = 0; i < REPOS; i++)
        tag(f, (struct tagging){repo_name(i, name), 0, TAGS, -1, false});
}

static int order(const struct cached_image *a, const struct cached_image *b)
{
    int names = strcmp(a->name, b->name);

    return names ? names : strcmp(a->tag, b->tag);
}

/* One of those that fill() made, which are there all the time. */
static bool is_lasting(const struct cached_image *i)
{
    char name[64];

    for (int n = 0; n < REPOS; n++)
        if (strcmp(i->name, repo_name(n, name)) == 0)
            return true;
    return false;
}

struct seen {
    size_t count, pages;
    struct cached_image *last;
};

/* All pages; between two of them `between` is done. */
static void walk(struct fixture *f, struct image_page *p, struct seen *s, void (*between)(struct fixture *f, size_t n))
{
    *s = (struct seen){.last = xcalloc(1, sizeof(struct cached_image))};
    do {
        image_page_turn(p);
        index_read(f->index, image_page_fill, p);
        assert_true(p->read);
        for (size_t i = 0; i < p->count; i++) {
            assert_true(order(s->last, &p->list[i]) < 0); /* sorted, each once */
            assert_true(p->list[i].stored);
            assert_int_equal(p->list[i].tree.count, p->names_only ? 0 : 1);
            memcpy(s->last->name, p->list[i].name, sizeof(s->last->name));
            memcpy(s->last->tag, p->list[i].tag, sizeof(s->last->tag));
            s->count += is_lasting(&p->list[i]);
        }
        if (between && p->more)
            between(f, s->pages);
        s->pages++;
    } while (p->more);
    image_page_free(p);
    free(s->last);
}

static void test_all(void **state)
{
    struct fixture *f = *state;
    struct seen s;

    fill(f);
    walk(f, image_page_new(NULL, NULL, NULL), &s, NULL);
    assert_int_equal(s.count, REPOS * TAGS);
    assert_int_equal(s.pages, (REPOS * TAGS + IMAGE_PAGE_MAX - 1) / IMAGE_PAGE_MAX);
}

static void test_some(void **state)
{
    static const struct {
        const char *name, *tag;
        int digest;
        size_t count;
    } cases[] = {
        {"x.io/a", NULL, -1, TAGS}, {"x.io/a/b", "t7", -1, 1},     {"x.io/a", "t999", -1, 0},
        {"x.io/a", NULL, 7, 1},     {"x.io/a", NULL, 999, 0},      {NULL, NULL, 7, REPOS},
        {"x.io/", NULL, -1, 0},     {"x.io/nothing", NULL, -1, 0}, {"x.io/nothing", "t7", -1, 0},
        {"y.io/a", NULL, -1, TAGS}, {"z.io/a", NULL, -1, 0},       {"x.io/a", "t7", 7, 1},
        {"x.io/a", "t7", 8, 0},
    };
    struct fixture *f = *state;
    struct seen s;

    fill(f);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct digest d = named(cases[i].digest);
        walk(f, image_page_new(cases[i].name, cases[i].tag, cases[i].digest < 0 ? NULL : &d), &s, NULL);
        assert_int_equal(s.count, cases[i].count);
    }
}

/* Names come before and behind, the repository of the page's end goes, and so does its last tag. */
static void change(struct fixture *f, size_t n)
{
    char name[64];

    snprintf(name, sizeof(name), "a.io/%zu", n);
    tag(f, (struct tagging){name, 0, 40, -1, false});
    snprintf(name, sizeof(name), "x.io/a/c%zu", n);
    tag(f, (struct tagging){name, 0, 40, -1, false});
    tag(f, (struct tagging){"x.io/a/goes", 0, 200, -1, true});
}

static void test_changes(void **state)
{
    struct fixture *f = *state;
    struct image_page *p = image_page_new(NULL, NULL, NULL);
    struct seen s;

    fill(f);
    tag(f, (struct tagging){"x.io/a/goes", 0, 200, -1, false});
    walk(f, p, &s, change);
    assert_int_equal(s.count, REPOS * TAGS);
    assert_in_range(s.pages, 6, 1000);
}

static bool make_empty(struct index_txn *t, void *arg UNUSED, struct err *err)
{
    uint64_t repo;
    char name[64];

    for (int i = 0; i < EMPTY; i++) {
        snprintf(name, sizeof(name), "e.io/%05d", i);
        if (!rows_intern_repo(t, name, &repo, err))
            return false;
    }
    return true;
}

/* What is passed over is bounded, too: names outlive their images. */
static void test_empty(void **state)
{
    struct fixture *f = *state;
    struct digest none = named(-5);
    struct seen s;
    struct err err;

    fill(f);
    assert_true(index_write_wait(f->index, make_empty, NULL, &err));
    walk(f, image_page_new(NULL, NULL, NULL), &s, NULL);
    assert_int_equal(s.count, REPOS * TAGS);
    assert_in_range(s.pages, (REPOS * TAGS) / IMAGE_PAGE_MAX + 2, 20);
    tag(f, (struct tagging){"m.io/many", 0, EMPTY, 3, false});
    walk(f, image_page_new("m.io/many", NULL, &none), &s, NULL);
    assert_int_equal(s.count, 0);
    assert_in_range(s.pages, 3, 20);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all, setup, index_teardown),
        cmocka_unit_test_setup_teardown(test_some, setup, index_teardown),
        cmocka_unit_test_setup_teardown(test_changes, setup, index_teardown),
        cmocka_unit_test_setup_teardown(test_empty, setup, index_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
