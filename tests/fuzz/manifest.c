/* Manifests, indexes, image configs: JSON that registries and archives have. */
#include "base/document.h"
#include "cache/manifest.h"
#include "tests/fuzz/fuzz.h"

static void check_text(const char *text, size_t max)
{
    MUST(strlen(text) <= max);
    for (; *text; text++)
        MUST(*text > ' ' && *text < 0x7f); /* it becomes a header's value */
}

static void check_manifest(const uint8_t *data, size_t size)
{
    struct err err = {0};
    _cleanup_manifest_ struct manifest m;

    if (!manifest_parse(&m, data, size, &err)) {
        MUST(err.code == ERR_INVALID && err.msg[0]);
        MUST(!m.parts && m.count == 0);
        return;
    }
    MUST(m.count <= MANIFEST_CHILDREN_MAX);
    check_text(m.media_type, MEDIA_TYPE_MAX);
    for (size_t i = 0; i < m.count; i++) {
        MUST(digest_len(&m.parts[i].digest) > 0 && m.parts[i].size >= 0);
        MUST(strlen(m.parts[i].platform) <= PLATFORM_MAX);
        check_text(m.parts[i].media_type, MEDIA_TYPE_MAX);
    }
    const struct part *chosen = manifest_choose(&m, "linux/arm64/v8");
    MUST(!chosen || (chosen->role == PART_MANIFEST && !chosen->attestation));
    free(manifest_children(&m));
    manifest_is_likely(&m);
}

/* Of reals beyond 10^100 nothing is kept when they are read again. */
static bool has_exponent(const char *text)
{
    while (*text && (*text < '0' || *text > '9' || text[1] != 'e'))
        text++;
    return *text;
}

/* What was read can be written, and read as the same; so can what became of what jansson does not take. */
static void check_document(const uint8_t *data, size_t size)
{
    json_t *doc = document_read(data, size, NULL);

    if (!doc)
        return;
    _cleanup_free_ char *text = json_dumps(doc, JSON_COMPACT);
    MUST(text);
    json_t *again = document_read(text, strlen(text), NULL);
    MUST(again && (json_equal(doc, again) || has_exponent(text)));
    MUST(document_number(doc, "size") >= -1);
    json_decref(again);
    json_decref(doc);
}

/* Every part has a digest, a size, and texts that are fit for headers; lists are bounded. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_config c;

    check_manifest(data, size);
    check_document(data, size);
    if (image_config_parse(&c, data, size, NULL)) {
        MUST(c.count <= MANIFEST_CHILDREN_MAX);
        image_config_free(&c);
    }
    return 0;
}
