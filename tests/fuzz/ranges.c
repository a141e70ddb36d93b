/* Range of clients (RFC 9110 §14.2) and Content-Range of registries (§14.4). */
#include "proxy/http/range.h"
#include "tests/fuzz/fuzz.h"
#include "upstream/response.h"

static void check_range(const char *text, int64_t size)
{
    _cleanup_ranges_ struct ranges r;
    enum range_verdict verdict = ranges_parse(text, size, &r);

    MUST((verdict == RANGE_PARTS) == (r.all != NULL) && (r.count > 1) == (r.all != NULL));
    if (verdict == RANGE_WHOLE)
        MUST(r.one.first == 0 && r.one.last == size - 1);
    if (verdict == RANGE_PART)
        MUST(r.one.first >= 0 && r.one.first <= r.one.last && r.one.last < size);
    for (int i = 0; r.all && i < r.count; i++) {
        MUST(r.all[i].first >= 0 && r.all[i].first <= r.all[i].last && r.all[i].last < size);
        for (int n = 0; n < i && i < 64; n++) /* no byte is sent twice */
            MUST(r.all[n].last < r.all[i].first || r.all[i].last < r.all[n].first);
    }
}

/* Parts lie within the whole and do not overlap; what a registry says of a part does, or it is as if it had said
 * nothing. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t sizes[] = {0, 1, 2, 10, 4096, INT64_MAX};
    _cleanup_free_ char *text = fuzz_text(data, size), *line = xasprintf("Content-Range: %s\r\n", text);
    struct transfer_response r;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        check_range(text, sizes[i]);
    response_reset(&r);
    response_header(&r, line, strlen(line));
    MUST(r.range_first >= -1 && r.range_last >= r.range_first);
    MUST(r.range_first >= 0 || (r.range_last == -1 && r.range_total == -1));
    MUST(r.range_total == -1 || r.range_total > r.range_last);
    response_clear(&r);
    return 0;
}
