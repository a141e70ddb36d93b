#include "tests/unit/unit.h"

#include "base/buf.h"
#include "cache/manifest.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

#define CONFIG "\"config\":{\"digest\":\"" A "\",\"size\":1}"
#define LAYERS "\"layers\":[{\"digest\":\"" B "\",\"size\":2}]"
#define IMAGE  "\"schemaVersion\":2," CONFIG "," LAYERS
#define OCI    "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\""

static void kinds(void **state UNUSED)
{
    static const struct {
        const char *text;
        bool ok;
        enum manifest_kind kind;
        size_t parts;
        bool unread, likely;
    } cases[] = {
        {"{" IMAGE "}", true, MANIFEST_IMAGE, 2, false, true},
        {"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" A "\",\"size\":1,\"platform\":{\"os\":\"unknown\","
         "\"architecture\":\"unknown\"}}]}",
         true, MANIFEST_INDEX, 1, false, true},
        {"{\"schemaVersion\":2,\"manifests\":[]}", true, MANIFEST_INDEX, 0, false, true},
        {"{" IMAGE ",\"subject\":{\"digest\":\"" B "\",\"size\":2}}", true, MANIFEST_IMAGE, 3, false, true},
        {"{\"schemaVersion\":1,\"fsLayers\":[]}", true, MANIFEST_SCHEMA1, 0, false, false},
        {"{\"schemaVersion\":2,\"something\":1}", true, MANIFEST_OTHER, 0, false, false},
        {"{" OCI "}", true, MANIFEST_IMAGE, 0, false, true},
        {"{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":null}", true, MANIFEST_INDEX, 0,
         false, true},
        /* both at once (CVE-2021-41190), unless one of them is null; not JSON */
        {"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", false, 0, 0, false, false},
        {"{\"schemaVersion\":2,\"Manifests\":[],\"layers\":[]}", false, 0, 0, false, false},
        {"{\"manifests\":null," IMAGE "}", true, MANIFEST_IMAGE, 2, false, true},
        {"<html></html>", false, 0, 0, false, false},
        {"[]", false, 0, 0, false, false},
        {"[1,2]", false, 0, 0, false, false},
        {"\"text\"", false, 0, 0, false, false},
        {"", false, 0, 0, false, false},
        {"{\"schemaVersion\":2", false, 0, 0, false, false},
        {"{" IMAGE "} x", false, 0, 0, false, false},
        /* what cannot be understood is passed over, not refused */
        {"{\"schemaVersion\":2,\"manifests\":{}}", true, MANIFEST_INDEX, 0, true, true},
        {"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"sha256:abc\",\"size\":1}]}", true, MANIFEST_INDEX, 0, true,
         true},
        {"{\"schemaVersion\":2,\"manifests\":[7]}", true, MANIFEST_INDEX, 0, true, true},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"blake3:"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"size\":3},{\"digest\":\"" B
         "\",\"size\":2}]}",
         true, MANIFEST_IMAGE, 2, true, true},
        {"{\"schemaVersion\":2," CONFIG ",\"layers\":null}", true, MANIFEST_IMAGE, 1, false, true},
        /* an image's config, a gateway's page */
        {"{\"architecture\":\"amd64\",\"config\":{\"Env\":[]},\"rootfs\":{\"diff_ids\":[\"" A "\"]}}", true,
         MANIFEST_IMAGE, 0, true, false},
        {"{\"error\":\"log in first\"}", true, MANIFEST_OTHER, 0, false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manifest m;
        struct err err = {0};
        bool ok = manifest_parse(&m, cases[i].text, strlen(cases[i].text), &err);
        if (ok != cases[i].ok)
            print_error("case %zu: %s %s\n", i, cases[i].text, err.msg);
        assert_int_equal(ok, cases[i].ok);
        if (!ok)
            continue;
        assert_int_equal(m.kind, cases[i].kind);
        assert_int_equal(m.count, cases[i].parts);
        assert_int_equal(m.unread, cases[i].unread);
        assert_int_equal(manifest_is_likely(&m), cases[i].likely);
        manifest_free(&m);
    }
}

/* What Go's encoding/json takes, and so every engine: the image with its config and its layer is found in all of it. */
static void as_engines_read(void **state UNUSED)
{
    static const char *const cases[] = {
        "{" IMAGE ",\"annotations\":{\"a\":\"1\",\"a\":\"2\"}}",
        "{" IMAGE "," LAYERS "}",
        "{\"layers\":[7]," IMAGE "}",
        "{\"SchemaVersion\":2,\"Config\":{\"Digest\":\"" A "\",\"SIZE\":1},\"LAYERS\":[{\"digest\":\"" B
        "\",\"size\":2}]}",
        "{" IMAGE ",\"annotations\":{\"a\":\"x\\u0000y\",\"b\\u0000\":\"\"}}",
        "{" IMAGE ",\"annotations\":{\"a\":\"\\ud800\",\"b\":\"\\udc00\",\"c\":\"\\ud83d\\ude00\\ud83d\\u0041\"}}",
        "{" IMAGE ",\"annotations\":{\"a\":\"\xff\xc3\",\"b\":\"\xc3\xa9 \xed\xa0\x80 \xf0\x9f\x98\x80\"}}",
        "{" IMAGE ",\"annotations\":{\"a\":\"\\\\\\\"{[\"}}",
        "{" IMAGE ",\"x\":123456789012345678901234567890,\"y\":-1e999,\"z\":1E+400,\"w\":1.5e3}",
        "{\"schemaVersion\":2.0,\"config\":{\"digest\":\"" A "\",\"size\":1.0},\"layers\":[{\"digest\":\"" B
        "\",\"size\":2e0}]}",
        "{\"\\u0073chemaVersion\":2,\"c\\u006fnfig\":{\"digest\":\"" A "\",\"size\":1}," LAYERS "}",
        "\n{" IMAGE "}\t\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manifest m;
        struct err err = {0};
        if (!manifest_parse(&m, cases[i], strlen(cases[i]), &err) || m.unread || m.count != 2)
            fail_msg("case %zu: %s %s", i, cases[i], err.msg);
        assert_int_equal(m.kind, MANIFEST_IMAGE);
        assert_true(manifest_is_likely(&m));
        assert_int_equal(manifest_part(&m, PART_CONFIG)->size, 1);
        assert_int_equal(manifest_part(&m, PART_LAYER)->size, 2);
        manifest_free(&m);
    }
}

/* A size that is none, or not there, does not keep what the digest names from being held. */
static void sizes(void **state UNUSED)
{
    static const struct {
        const char *size;
        int64_t bytes;
    } cases[] = {{"", 0},
                 {",\"size\":-1", 0},
                 {",\"size\":\"3\"", 0},
                 {",\"size\":1.5", 0},
                 {",\"size\":3", 3},
                 {",\"size\":1e30", 0},
                 {",\"size\":null", 0},
                 {",\"size\":99999999999999999999", 0}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *text =
            xasprintf("{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" A "\"%s}]}", cases[i].size);
        struct manifest m;
        assert_true(manifest_parse(&m, text, strlen(text), NULL));
        assert_int_equal(m.count, 1);
        assert_int_equal(m.parts[0].size, cases[i].bytes);
        manifest_free(&m);
    }
}

/* A media type becomes a header: what would end one is none. */
static void media_types(void **state UNUSED)
{
    static const struct {
        const char *said, *taken;
    } cases[] = {{"a/b+json", "a/b+json"}, {"a/b\\r\\nX-Evil: 1", ""}, {"a b", ""}, {"a/\\u0000b", ""}, {"", ""}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *text = xasprintf("{" IMAGE ",\"mediaType\":\"%s\"}", cases[i].said);
        struct manifest m;
        assert_true(manifest_parse(&m, text, strlen(text), NULL));
        assert_string_equal(m.media_type, cases[i].taken);
        manifest_free(&m);
    }
}

static void attestation(void **state UNUSED)
{
    static const char text[] =
        "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" A
        "\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\"}},"
        "{\"digest\":\"" B "\",\"size\":1,\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}]}";
    struct manifest m;

    assert_true(manifest_parse(&m, text, strlen(text), NULL));
    assert_string_equal(m.parts[0].platform, "linux/arm64/v8");
    assert_false(m.parts[0].attestation);
    assert_true(m.parts[1].attestation);
    manifest_free(&m);
}

/* What engines take out of an index: the best for a platform, else the first that says none. */
static void choice(void **state UNUSED)
{
#define ENTRY(hex, platform)                                                                                           \
    "{\"digest\":\"sha256:" hex                                                                                        \
    "000000000000000000000000000000000000000000000000000000000000000\",\"size\":1" platform "}"
#define ON(os, arch, more) ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"" more "}"
    /* clang-format off */
    static const char text[] =
        "{\"schemaVersion\":2,\"manifests\":["
        ENTRY("0", ON("unknown", "unknown", "")) ","
        ENTRY("1", "") ","
        ENTRY("2", "") ","
        ENTRY("3", ON("linux", "arm", ",\"variant\":\"v6\"")) ","
        ENTRY("4", ON("linux", "arm", ",\"variant\":\"v7\"")) ","
        ENTRY("5", ON("windows", "amd64", ",\"os.version\":\"10.0.17763.1\"")) ","
        ENTRY("6", ON("windows", "amd64", ",\"os.version\":\"10.0.20348.2\"")) "]}";
    /* clang-format on */
    static const struct {
        const char *platform;
        char first; /* of the digest that is chosen */
    } cases[] = {{"linux/arm", '4'},
                 {"linux/arm/v6", '3'},
                 {"linux/amd64", '1'},
                 {"windows/amd64", '5'},
                 {"windows/amd64:10.0.20348", '6'},
                 {"linux/armhf", '4'}};
    struct manifest m;

    assert_true(manifest_parse(&m, text, strlen(text), NULL));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct part *part = manifest_choose(&m, cases[i].platform);
        char hex[DIGEST_TEXT_MAX];
        if (!part || digest_hex(&part->digest, hex)[0] != cases[i].first)
            fail_msg("%s: %s", cases[i].platform, part ? hex : "none");
    }
    manifest_free(&m);
}

static char *nested(int depth, bool whole)
{
    struct buf b = {0};

    buf_adds(&b, "{" IMAGE ",\"x\":");
    for (int i = 0; i < depth; i++)
        buf_adds(&b, i % 2 ? "{\"k\":" : "[");
    buf_adds(&b, "1");
    for (int i = depth - 1; i >= 0 && whole; i--)
        buf_adds(&b, i % 2 ? "}" : "]");
    buf_adds(&b, whole ? "}" : "");
    return b.data;
}

static void depth(void **state UNUSED)
{
    static const struct {
        int depth;
        bool whole, ok;
    } cases[] = {{10, true, true}, {100, true, true}, {1990, true, true}, {2100, true, false}, {1000000, false, false}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        _cleanup_free_ char *text = nested(cases[i].depth, cases[i].whole);
        struct manifest m;
        struct err err = {0};
        assert_int_equal(manifest_parse(&m, text, strlen(text), &err), cases[i].ok);
        if (cases[i].ok)
            manifest_free(&m);
        else
            assert_int_equal(err.code, ERR_INVALID);
    }
}

static void limits(void **state UNUSED)
{
    _cleanup_buf_ struct buf wide = {0}, large = {0};
    struct manifest m;
    struct err err;

    /* passed on by whoever asked for it, not kept: nobody would know what it holds */
    buf_adds(&wide, "{\"schemaVersion\":2,\"manifests\":[");
    for (int i = 0; i < MANIFEST_CHILDREN_MAX + 1; i++)
        buf_addf(&wide, "%s{\"digest\":\"" A "\",\"size\":1}", i ? "," : "");
    buf_adds(&wide, "]}");
    assert_true(manifest_parse(&m, wide.data, wide.len, &err));
    assert_int_equal(m.kind, MANIFEST_OTHER);
    assert_true(m.unread);
    assert_int_equal(m.count, 0);
    memset(buf_reserve(&large, MANIFEST_SIZE_MAX + 1), ' ', MANIFEST_SIZE_MAX + 1);
    assert_false(manifest_parse(&m, large.data, MANIFEST_SIZE_MAX + 1, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),       cmocka_unit_test(as_engines_read), cmocka_unit_test(sizes),
        cmocka_unit_test(media_types), cmocka_unit_test(attestation),     cmocka_unit_test(depth),
        cmocka_unit_test(limits),      cmocka_unit_test(choice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
