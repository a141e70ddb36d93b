/* Range of clients (RFC 9110 §14.2) and Content-Range of registries (§14.4). */
#include "proxy/http/range.h"
#include "tests/fuzz/fuzz.h"
#include "upstream/response.h"

static void check_range(const char *text, int64_t size)
{
    int64_t first = -2, last = -2;

    switch (range_parse(text, size, &first, &last)) {
    case RANGE_WHOLE:
        MUST(first == 0 && last == size - 1);
        break;
    case RANGE_PART:
        MUST(first >= 0 && first <= last && last < size);
        break;
    case RANGE_OUTSIDE:
        break;
    }
}

/* A part lies within the whole; what a registry says of a part does, or it is as if it had said nothing. */
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
