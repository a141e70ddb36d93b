/* Image references, digests, hosts and platforms, as people and registries write them. */
#include "base/platform.h"
#include "base/ref.h"
#include "tests/fuzz/fuzz.h"

static void check_pieces(const struct ref *ref)
{
    MUST(ref_host_valid(ref->host, strlen(ref->host)));
    MUST(ref_is_path(ref->path, strlen(ref->path)));
    MUST(ref->tag[0] || ref->digest.alg != DIGEST_NONE);
    MUST(!ref->tag[0] || ref_is_tag(ref->tag, strlen(ref->tag)));
}

static bool is_same(const struct ref *a, const struct ref *b)
{
    return strcmp(a->host, b->host) == 0 && strcmp(a->path, b->path) == 0 && strcmp(a->tag, b->tag) == 0 &&
           digest_eq(&a->digest, &b->digest);
}

static void check_reference(const char *text)
{
    char full[REF_TEXT_MAX], again[REF_TEXT_MAX], tag[REF_TAG_MAX + 1];
    struct ref ref, other;
    struct err err = {0};

    if (!ref_parse(&ref, text, &err)) {
        MUST(err.code == ERR_INVALID && err.msg[0]);
        return;
    }
    check_pieces(&ref);
    ref_format(&ref, full);
    MUST(ref_parse(&other, full, &err) && is_same(&ref, &other));
    MUST(strcmp(ref_format(&other, again), full) == 0);
    MUST(strlen(ref_name(&ref, again)) <= REF_NAME_MAX);
    MUST(ref_tag(&ref, tag)[0]);
}

static void check_digest(const char *text)
{
    char out[DIGEST_TEXT_MAX], tag[REF_TAG_MAX + 1];
    struct digest d, key;

    if (!digest_parse(&d, text, strlen(text)))
        return;
    MUST(strcmp(digest_format(&d, out), text) == 0);
    MUST(digest_from_key(&key, digest_key(&d), digest_key_len(&d)) == digest_key_len(&d) && digest_eq(&d, &key));
    ref_referrers_tag(&d, tag);
    MUST(ref_is_tag(tag, strlen(tag)) && ref_is_statement_tag(tag));
}

static void check_platform(const char *text)
{
    char once[PLATFORM_TEXT], twice[PLATFORM_TEXT];

    if (!platform_normalize(text, once))
        return;
    MUST(platform_normalize(once, twice) && strcmp(once, twice) == 0);
    MUST(platform_score(once, once) > 0);
}

/* What is parsed is printed and parsed to the same; a name fits its place in the index; a canonical host stays what it
 * is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = fuzz_text(data, size), *host = xstrdup(text);

    check_reference(text);
    check_digest(text);
    check_platform(text);
    ref_is_statement_tag(text);
    if (ref_host_valid(host, strlen(host))) {
        ref_canonical_host(host);
        _cleanup_free_ char *again = xstrdup(host);
        ref_canonical_host(again);
        MUST(strcmp(host, again) == 0 && ref_host_valid(host, strlen(host)));
    }
    return 0;
}
