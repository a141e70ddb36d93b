/* The headers of registries' answers, line by line as libcurl gives them; at most as many bytes as transfer.c takes. */
#include "tests/fuzz/fuzz.h"
#include "upstream/response.h"

static void check(const struct transfer_response *r)
{
    MUST(r->content_length >= -1);
    MUST(r->ratelimit_limit >= -1 && r->ratelimit_remaining >= -1 && r->ratelimit_window >= -1);
    MUST(r->retry_after >= 0 && r->retry_after <= 21600 && r->date >= 0 && r->retry_at >= 0);
    MUST(memchr(r->etag, '\0', sizeof(r->etag)) && memchr(r->challenge, '\0', sizeof(r->challenge)));
    MUST(r->digest.alg == DIGEST_NONE || digest_len(&r->digest) > 0);
    for (const char *p = r->content_type; *p; p++)
        MUST(*p > ' ' && *p != ';' && !(*p >= 'A' && *p <= 'Z'));
    for (const char *p = r->ratelimit_source; *p; p++)
        MUST(*p > ' ' && *p < 0x7f);
    MUST(r->next_page || !r->next_page_named);
}

/* Numbers are in their bounds after every line, texts end, and what people see of them has no control characters. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct transfer_response r;
    const char *at = (const char *)data, *end = at + MIN(size, (size_t)TRANSFER_HEADER_BYTES);

    response_reset(&r);
    for (int i = 0; at < end && i < TRANSFER_HEADERS_MAX; i++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *next = newline ? newline + 1 : end;
        char *line = xmalloc((size_t)(next - at)); /* which is not NUL-terminated */
        memcpy(line, at, (size_t)(next - at));
        response_header(&r, line, (size_t)(next - at));
        free(line);
        check(&r);
        at = next;
    }
    response_clear(&r);
    return 0;
}
