/* What finds entries of arrays, and members of documents, many times over. */
#include "tests/unit/unit.h"

#include "base/lookup.h"
#include "base/skim.h"
#include "cache/manifest.h"

enum { MANY = 20000 };

struct counted {
    const struct digest *list, *key;
    size_t *compared;
};

static bool is_it(const void *arg, uint32_t place)
{
    const struct counted *c = arg;

    ++*c->compared;
    return digest_eq(&c->list[place], c->key);
}

/* A manifest names whatever digests its author likes, be they alike but for a few bytes. */
static void test_alike_digests(void **state UNUSED)
{
    struct digest *list = xcalloc(MANY, sizeof(*list));
    struct lookup l = {0};
    size_t compared = 0;

    for (uint32_t i = 0; i < MANY; i++) {
        list[i] = (struct digest){.alg = DIGEST_SHA256};
        memcpy(list[i].raw + (i % 2 ? 28 : 8), &(uint32_t){i + 1}, 4);
        struct counted c = {list, &list[i], &compared};
        assert_int_equal(lookup_find(&l, lookup_hash_digest(&list[i]), is_it, &c), LOOKUP_NONE);
        lookup_add(&l, lookup_hash_digest(&list[i]), i);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        struct counted c = {list, &list[i], &compared};
        assert_int_equal(lookup_find(&l, lookup_hash_digest(&list[i]), is_it, &c), i);
    }
    assert_in_range(compared, MANY, MANY + MANY / 100);
    lookup_free(&l);
    free(list);
}

static void test_texts(void **state UNUSED)
{
    struct text_set s = {0};
    char texts[300][16];

    assert_false(text_set_has(&s, ""));
    for (int i = 0; i < 300; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%.*s%d", i % 9, "abcdefgh", i / 2);
        bool had = false;
        for (int k = 0; k < i; k++)
            had = had || strcmp(texts[k], texts[i]) == 0;
        assert_int_equal(text_set_has(&s, texts[i]), had);
        assert_int_equal(text_set_add(&s, texts[i]), !had);
        assert_true(text_set_has(&s, texts[i]));
    }
    text_set_free(&s);
}

/* The quick way and the thorough way say the same; what is not plain is left to the latter. */
static void test_platforms(void **state UNUSED)
{
    static const struct {
        const char *text, *platform;
    } cases[] = {
        {"{\"os\":\"linux\",\"architecture\":\"amd64\"}", "linux/amd64"},
        {" {\n \"architecture\" : \"arm\" , \"variant\":\"v7\", \"os\": \"linux\" } \n", "linux/arm/v7"},
        {"{\"os\":\"windows\",\"architecture\":\"amd64\",\"os.version\":\"10.0.1\"}", "windows/amd64:10.0.1"},
        {"{\"config\":{\"os\":\"no\",\"Env\":[\"a]}\\\"\",\"{\"]},\"OS\":\"linux\",\"Architecture\":\"riscv64\"}",
         "linux/riscv64"},
        {"{\"os\":\"one\",\"architecture\":\"a\",\"os\":\"two\"}", "two/a"},
        {"{\"o\\u0073\":\"linux\",\"architecture\":\"s390x\"}", "linux/s390x"},
        {"{\"os\":\"lin\\u0075x\",\"architecture\":\"s390x\"}", "linux/s390x"},
        {"{\"os\":\"linux\"}", ""},
        {"{\"os\":5,\"architecture\":\"amd64\"}", ""},
        {"{\"os\":null,\"architecture\":\"amd64\"}", ""},
        {"{\"os\":\"linux\",\"architecture\":\"amd64\"", ""},
        {"{\"os\":\"linux\",\"architecture\":\"amd64\"}}", ""},
        {"{\"os\":\"linux\",\"architecture\":\"amd", ""},
        {"{\"os\"", ""},
        {"{", ""},
        {"{}", ""},
        {"[]", ""},
        {"\"", ""},
        {"", ""},
        {"{\"a\\", ""},
        {"{\"a\":[[[", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char platform[PLATFORM_MAX + 1] = "?";
        struct image_config config;
        size_t len = strlen(cases[i].text);
        char *copy = xmalloc(len + 1); /* of that length: what reads on is seen by a sanitizer */
        memcpy(copy, cases[i].text, len);
        image_config_platform(platform, copy, len);
        assert_string_equal(platform, cases[i].platform);
        bool ok = image_config_parse(&config, copy, len, NULL);
        assert_string_equal(ok ? config.platform : "", cases[i].platform);
        image_config_free(&config);
        free(copy);
    }
}

#define DIGEST "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_configs(void **state UNUSED)
{
    static const struct {
        const char *text;
        bool plain;
    } cases[] = {
        {"{\"schemaVersion\":2,\"config\":{\"size\":3,\"digest\":\"" DIGEST "\"},\"layers\":[]}", true},
        {"{\"layers\":[{\"digest\":\"x\"}],\"config\":{\"digest\":\"" DIGEST "\"},\"schemaVersion\":2}", true},
        {"{\"schemaVersion\":1,\"config\":{\"digest\":\"" DIGEST "\"},\"layers\":[]}", false},
        {"{\"schemaVersion\":2,\"config\":{\"digest\":\"" DIGEST "\"},\"layers\":[],\"manifests\":[]}", false},
        {"{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:a\"},\"layers\":[]}", false},
        {"{\"schemaVersion\":2,\"config\":\"" DIGEST "\",\"layers\":[]}", false},
        {"{\"schemaVersion\":2,\"config\":{\"digest\":\"" DIGEST "\"}}", false},
        {"{\"schemaVersion\":2,\"layers\":[]}", false},
        {"nothing", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[DIGEST_TEXT_MAX];
        struct digest d;
        assert_int_equal(manifest_skim_config(cases[i].text, strlen(cases[i].text), &d), cases[i].plain);
        if (cases[i].plain)
            assert_string_equal(digest_format(&d, text), DIGEST);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alike_digests),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_platforms),
        cmocka_unit_test(test_configs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
