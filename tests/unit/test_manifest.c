#include "tests/unit/unit.h"

#include "base/buf.h"
#include "cache/manifest.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void kinds(void **state UNUSED)
{
    static const struct {
        const char *text;
        bool ok;
        enum manifest_kind kind;
        size_t parts;
    } cases[] = {
        {"{\"schemaVersion\":2,\"config\":{\"digest\":\"" A "\",\"size\":1},\"layers\":[{\"digest\":\"" B
         "\",\"size\":2}]}",
         true, MANIFEST_IMAGE, 2},
        {"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" A "\",\"size\":1,\"platform\":{\"os\":\"unknown\","
         "\"architecture\":\"unknown\"}}]}",
         true, MANIFEST_INDEX, 1},
        {"{\"schemaVersion\":2,\"manifests\":[]}", true, MANIFEST_INDEX, 0},
        {"{\"schemaVersion\":2,\"config\":{\"digest\":\"" A "\",\"size\":1},\"layers\":[],\"subject\":{\"digest\":\"" B
         "\",\"size\":2}}",
         true, MANIFEST_IMAGE, 2},
        {"{\"schemaVersion\":1,\"fsLayers\":[]}", true, MANIFEST_SCHEMA1, 0},
        {"{\"schemaVersion\":2,\"something\":1}", true, MANIFEST_OTHER, 0},
        /* both at once (CVE-2021-41190), duplicate keys, wrong types, wrong digests, not JSON */
        {"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}", false, 0, 0},
        {"{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}", false, 0, 0},
        {"{\"schemaVersion\":2,\"manifests\":{}}", false, 0, 0},
        {"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"sha256:abc\",\"size\":1}]}", false, 0, 0},
        {"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" A "\",\"size\":-1}]}", false, 0, 0},
        {"{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" A "\"}]}", false, 0, 0},
        {"{\"schemaVersion\":2,\"manifests\":[7]}", false, 0, 0},
        {"<html></html>", false, 0, 0},
        {"[]", false, 0, 0},
        {"", false, 0, 0},
        {"{\"schemaVersion\":2", false, 0, 0},
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

static void limits(void **state UNUSED)
{
    _cleanup_buf_ struct buf deep = {0}, wide = {0}, large = {0};
    struct manifest m;
    struct err err;

    buf_adds(&deep, "{\"schemaVersion\":2,\"manifests\":[],\"x\":");
    for (int i = 0; i < 100000; i++)
        buf_adds(&deep, "[");
    assert_false(manifest_parse(&m, deep.data, deep.len, &err));
    buf_adds(&wide, "{\"schemaVersion\":2,\"manifests\":[");
    for (int i = 0; i < MANIFEST_CHILDREN_MAX + 1; i++)
        buf_addf(&wide, "%s{\"digest\":\"" A "\",\"size\":1}", i ? "," : "");
    buf_adds(&wide, "]}");
    assert_false(manifest_parse(&m, wide.data, wide.len, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    memset(buf_reserve(&large, MANIFEST_SIZE_MAX + 1), ' ', MANIFEST_SIZE_MAX + 1);
    assert_false(manifest_parse(&m, large.data, MANIFEST_SIZE_MAX + 1, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kinds), cmocka_unit_test(attestation),
                                       cmocka_unit_test(limits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
