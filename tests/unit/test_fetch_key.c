/* Which requests are one fetch, and which fetch loop they meet on. */
#include "proxy/fetch/private.h"
#include "unit.h"

#define ONE "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define TWO "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define APP "ghcr.io/org/app"
#define LIB "ghcr.io/org/lib"

enum who { CACHE, ALICE, BOB };

/* A request in short. */
struct asked {
    enum fetch_kind kind;
    const char *name, *tag, *digest, *listing;
    enum who who; /* not CACHE: private */
};

#define BLOB(name, digest, who)                                                                                        \
    {                                                                                                                  \
        FETCH_BLOB, name, NULL, digest, NULL, who                                                                      \
    }
#define RELAY(name, digest)                                                                                            \
    {                                                                                                                  \
        FETCH_BLOB_RELAY, name, NULL, digest, NULL, CACHE                                                              \
    }
#define SIZE(name, digest)                                                                                             \
    {                                                                                                                  \
        FETCH_BLOB_HEAD, name, NULL, digest, NULL, CACHE                                                               \
    }
#define GET(name, tag, digest, who)                                                                                    \
    {                                                                                                                  \
        FETCH_MANIFEST, name, tag, digest, NULL, who                                                                   \
    }
#define HEAD(name, tag, digest)                                                                                        \
    {                                                                                                                  \
        FETCH_MANIFEST_HEAD, name, tag, digest, NULL, CACHE                                                            \
    }
#define LIST(listing, who)                                                                                             \
    {                                                                                                                  \
        FETCH_LISTING, APP, NULL, NULL, listing, who                                                                   \
    }
#define ADMIT(name, listing, who)                                                                                      \
    {                                                                                                                  \
        FETCH_ADMIT, name, NULL, NULL, listing, who                                                                    \
    }

static char *key_of(struct fetchers *all, const struct asked *a)
{
    static struct client clients[] = {
        [CACHE] = {.client_id = ""}, [ALICE] = {.client_id = "a1"}, [BOB] = {.client_id = "b0"}};
    struct fetch_want want = {.kind = a->kind,
                              .name = a->name,
                              .tag = a->tag ? a->tag : "",
                              .listing = a->listing ? a->listing : "",
                              .client = &clients[a->who],
                              .is_private = a->who != CACHE};

    if (a->digest)
        assert_true(digest_parse(&want.digest, a->digest, strlen(a->digest)));
    return fetch_key(all, &want);
}

static void one_fetch(void **state UNUSED)
{
    static const struct {
        const char *why;
        bool same;
        struct asked a, b;
    } cases[] = {
        {"a blob is one, whatever the repository", true, BLOB(APP, ONE, CACHE), BLOB(LIB, ONE, CACHE)},
        {"... and whatever the client", true, BLOB(APP, ONE, ALICE), BLOB(APP, ONE, CACHE)},
        {"two blobs", false, BLOB(APP, ONE, CACHE), BLOB(APP, TWO, CACHE)},
        {"a relay is of one client", false, RELAY(APP, ONE), RELAY(APP, ONE)},
        {"a blob, and its size", false, BLOB(APP, ONE, CACHE), SIZE(APP, ONE)},
        {"a size", true, SIZE(APP, ONE), SIZE(APP, ONE)},
        {"a size is a repository's", false, SIZE(APP, ONE), SIZE(LIB, ONE)},
        {"a tag's manifest, and its digest alone", true, GET(APP, "v1", NULL, CACHE), HEAD(APP, "v1", NULL)},
        {"two tags", false, GET(APP, "v1", NULL, CACHE), GET(APP, "v2", NULL, CACHE)},
        {"a tag of two repositories", false, GET(APP, "v1", NULL, CACHE), GET(LIB, "v1", NULL, CACHE)},
        {"private content is apart", false, GET(APP, "v1", NULL, CACHE), GET(APP, "v1", NULL, ALICE)},
        {"by digest", true, GET(APP, NULL, ONE, CACHE), GET(APP, NULL, ONE, CACHE)},
        {"by digest, and its size", false, GET(APP, NULL, ONE, CACHE), HEAD(APP, NULL, ONE)},
        {"a list", true, LIST("tags/list", CACHE), LIST("tags/list", CACHE)},
        {"two pages", false, LIST("tags/list", CACHE), LIST("tags/list?n=1", CACHE)},
        {"a private list is one client's", false, LIST("tags/list", ALICE), LIST("tags/list", BOB)},
        {"access, by whatever path", true, ADMIT(APP, "manifests/v1", ALICE), ADMIT(APP, "tags/list?n=1", ALICE)},
        {"access of two clients", false, ADMIT(APP, "manifests/v1", ALICE), ADMIT(APP, "manifests/v1", BOB)},
        {"access to two repositories", false, ADMIT(APP, "manifests/v1", ALICE), ADMIT(LIB, "manifests/v1", ALICE)},
    };
    static struct fetchers all;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *a = key_of(&all, &cases[i].a), *b = key_of(&all, &cases[i].b);
        if ((strcmp(a, b) == 0) != cases[i].same)
            fail_msg("%s: %s | %s", cases[i].why, a, b);
    }
}

/* All pages of a list are kept where its first one is; other keys are spread. */
static void loop_of_a_key(void **state UNUSED)
{
    static const char *const pages[] = {"tags/list", "tags/list?n=10", "tags/list?n=10&last=v9", "tags/list?last=a?b"};
    static struct fetchers all;
    bool used[4] = {false};

    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        _cleanup_free_ char *first = key_of(&all, &(struct asked)LIST(pages[0], CACHE));
        _cleanup_free_ char *key = key_of(&all, &(struct asked)LIST(pages[i], CACHE));
        assert_int_equal(fetch_key_loop(key, 4), fetch_key_loop(first, 4));
    }
    for (int i = 0; i < 100; i++) {
        _cleanup_free_ char *tag = xasprintf("v%d", i);
        _cleanup_free_ char *key = key_of(&all, &(struct asked)GET(APP, tag, NULL, CACHE));
        assert_in_range(fetch_key_loop(key, 4), 0, 3);
        assert_int_equal(fetch_key_loop(key, 1), 0);
        used[fetch_key_loop(key, 4)] = true;
    }
    assert_true(used[0] && used[1] && used[2] && used[3]);
}

/* A copy stands by itself. */
static void copy(void **state UNUSED)
{
    static struct site nowhere = {.host = "nowhere.test"};
    char name[] = APP, tag[] = "v1";
    struct fetch_want want = {.kind = FETCH_MANIFEST,
                              .site = &nowhere,
                              .path = name,
                              .name = name,
                              .tag = tag,
                              .force = true},
                      own;

    fetch_want_copy(&own, &want);
    name[0] = tag[0] = '!';
    assert_string_equal(own.name, APP);
    assert_string_equal(own.tag, "v1");
    assert_string_equal(own.listing, ""); /* none is "" */
    assert_true(own.force && !own.keep && own.kind == FETCH_MANIFEST && own.site == &nowhere);
    assert_null(own.client);
    fetch_want_clear(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_fetch),
        cmocka_unit_test(loop_of_a_key),
        cmocka_unit_test(copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
