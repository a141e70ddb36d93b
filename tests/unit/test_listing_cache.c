/* The lists that registries gave, as they are kept and found for when those cannot be asked. */
#include "proxy/fetch/private.h"
#include "unit.h"

#include <time.h>

static struct site NOWHERE = {.host = "nowhere.test"}; /* nobody is asked */

struct store {
    struct fetchers all;
    struct fetcher loop;
};

static struct store *store_new(void)
{
    struct store *s = xcalloc(1, sizeof(*s));

    fetch_apis_init(&s->all);
    s->loop.all = &s->all;
    TAILQ_INIT(&s->loop.listings);
    return s;
}

static void store_free(struct store *s)
{
    fetch_forget_listings(&s->loop);
    fetch_apis_clear(&s->all);
    free(s);
}

static struct fetch *ask(struct store *s, const char *listing)
{
    struct fetch *f = xcalloc(1, sizeof(*f));

    f->fetcher = &s->loop;
    f->want.site = &NOWHERE;
    f->want.kind = FETCH_LISTING;
    f->want.listing = xstrdup(listing);
    f->key = xasprintf("list  nowhere.test/a %s", listing);
    f->tags.ttl_ms = f->tags.negative_ttl_ms = 60000;
    return f;
}

static void end(struct fetch *f)
{
    fetch_result_clear(&f->result);
    free((char *)f->want.listing);
    free(f->key);
    free(f);
}

static struct body *text_body(const char *text)
{
    struct body *b = body_new(strlen(text) + 1);

    strcpy(b->data, text);
    b->len = strlen(text);
    return b;
}

static void keep(struct store *s, const char *listing, const char *page, const char *next)
{
    struct fetch *f = ask(s, listing);

    f->result.body = text_body(page);
    f->result.next = next ? text_body(next) : NULL;
    fetch_note_listing(f, false);
    end(f);
}

/* Referrers of one type, out of what has been listed of all; others' JSON, as engines read it. */
static void test_of_one_type(void **state UNUSED)
{
    static const struct {
        const char *question;
        int count; /* -1: there is no answer */
    } cases[] = {
        {"referrers/sha256:1", 3},
        {"referrers/sha256:1?artifactType=a/b", 3},
        {"referrers/sha256:1?n=50&artifactType=a/b", 3},
        {"referrers/sha256:1?artifactType=a/b&n=50", 3},
        {"referrers/sha256:1?n=1&artifactType=a/b&x=y", 3},
        {"referrers/sha256:1?n=50", -1},
        {"referrers/sha256:1?xartifactType=a/b", -1},
        {"referrers/sha256:2?artifactType=a/b", 1}, /* as it was asked for otherwise */
        {"referrers/sha256:2?n=5&artifactType=a/b", 2},
        {"referrers/sha256:3?artifactType=a/b", -1}, /* half a list */
        {"referrers/sha256:4?artifactType=a/b", -1},
        {"tags/list?artifactType=a/b", -1},
    };
    struct store *s = store_new();

    keep(s, "referrers/sha256:1", "{\"manifests\":[{\"k\":\"a\\u0000b\"},{\"k\":1,\"k\":2}]}", "at=2");
    keep(s, "referrers/sha256:1?at=2", "{\"Manifests\":[{\"k\":\"\xff\"}]}", NULL);
    keep(s, "referrers/sha256:2", "{\"manifests\":[{}]}", NULL);
    keep(s, "referrers/sha256:2?n=5", "{\"manifests\":[{},{}]}", NULL);
    keep(s, "referrers/sha256:3", "{\"manifests\":[{}]}", "at=2");
    keep(s, "tags/list", "{\"name\":\"a\",\"tags\":[]}", NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fetch *f = ask(s, cases[i].question);
        int count = -1;
        if (fetch_use_old_listing(f) && strchr(cases[i].question, '?')) {
            json_t *doc = json_loadb(f->result.body->data, f->result.body->len, 0, NULL);
            count = (int)json_array_size(json_object_get(doc, "manifests"));
            assert_null(f->result.next);
            json_decref(doc);
        } else if (f->result.body) {
            count = 3;
        }
        if (count != cases[i].count)
            fail_msg("%s: %d", cases[i].question, count);
        end(f);
    }
    store_free(s);
}

/* Pages that lead in a ring have no end, and that is found out soon, however many there are. */
static void test_ring(void **state UNUSED)
{
    enum { PAGES = 3000 };
    struct store *s = store_new();
    char listing[64], next[64];

    for (int i = 0; i < PAGES; i++) {
        snprintf(listing, sizeof(listing), "tags/list?at=%d", i);
        snprintf(next, sizeof(next), "at=%d", (i + 1) % PAGES);
        keep(s, listing, "{}", next);
    }
    clock_t begun = clock();
    for (int i = 0; i < 100; i++) {
        struct fetch *f = ask(s, "tags/list?at=0");
        assert_true(fetch_has_listing(f));
        assert_false(fetch_use_old_listing(f));
        end(f);
    }
    assert_true(clock() - begun < 2 * CLOCKS_PER_SEC);
    /* a list that ends in it is none, one that leads past it is one */
    keep(s, "tags/list", "{}", "at=0");
    struct fetch *f = ask(s, "tags/list");
    assert_false(fetch_use_old_listing(f));
    keep(s, "tags/list?at=2999", "{}", NULL);
    assert_true(fetch_use_old_listing(f));
    end(f);
    store_free(s);
}

/* What one repository said is its own; of one that was never asked its registry's last word holds. */
static void test_apis(void **state UNUSED)
{
    struct store *s = store_new();
    struct fetch *a = ask(s, "referrers/sha256:1"), *b = ask(s, "referrers/sha256:1");

    a->want.name = "nowhere.test/a";
    b->want.name = "nowhere.test/b";
    assert_false(fetch_api_is_known(a) || fetch_api_is_missing(a));
    fetch_note_api(a, false);
    assert_true(fetch_api_is_known(a) && !fetch_api_is_missing(a));
    assert_false(fetch_api_is_known(b) || fetch_api_is_missing(b));
    fetch_note_api(b, true);
    assert_true(fetch_api_is_known(a) && !fetch_api_is_missing(a));
    assert_true(!fetch_api_is_known(b) && fetch_api_is_missing(b));
    b->want.name = "nowhere.test/c";
    assert_true(!fetch_api_is_known(b) && fetch_api_is_missing(b));
    for (int i = 0; i < 5000; i++) { /* the latest are kept */
        _cleanup_free_ char *name = xasprintf("nowhere.test/%d", i);
        b->want.name = name;
        fetch_note_api(b, true);
        b->want.name = NULL;
    }
    assert_false(fetch_api_is_known(a));
    end(a);
    end(b);
    store_free(s);
}

/* After a push, or a deletion, nothing that was remembered of the repository is believed; others' lists stay. */
static void test_pushed(void **state UNUSED)
{
    static const struct {
        const char *key;
        bool stays;
    } cases[] = {
        {"tag nowhere.test/a v1", false},
        {"get nowhere.test/a sha256:1", false},
        {"blob-head nowhere.test/a sha256:1", false},
        {"blob sha256:1", false}, /* of whichever repository */
        {"tag nowhere.test/a/b v1", true},
        {"tag nowhere.test/ab v1", true},
        {"blob-head nowhere.test/b sha256:1", true},
    };
    struct store *s = store_new();

    TAILQ_INIT(&s->loop.absences);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fetch *f = ask(s, "");
        free(f->key);
        f->key = xstrdup(cases[i].key);
        f->result.upstream_status = 404;
        err_set(&f->result.err, ERR_NOT_FOUND, "absent");
        fetch_note_absence(f);
        end(f);
    }
    keep(s, "tags/list", "{}", NULL);
    keep(s, "referrers/sha256:1", "{}", NULL);
    fetch_forget_absences_of(&s->loop, "nowhere.test/a");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if ((fetch_find_absence(&s->loop, cases[i].key) != NULL) != cases[i].stays)
            fail_msg("%s", cases[i].key);
    fetch_forget_listings_of(&s->loop, "nowhere.test/ab");
    struct fetch *f = ask(s, "tags/list");
    assert_true(fetch_has_listing(f));
    fetch_forget_listings_of(&s->loop, "nowhere.test/a");
    assert_false(fetch_has_listing(f));
    assert_true(TAILQ_EMPTY(&s->loop.listings));
    end(f);
    fetch_forget_absences(&s->loop);
    store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_one_type),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_apis),
        cmocka_unit_test(test_pushed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
