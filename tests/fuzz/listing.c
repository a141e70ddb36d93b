/* Pages of tags/list and referrers, and the way to the next one: the first line of the input is the Link header, the
 * rest the page. */
#include "base/document.h"
#include "proxy/fetch/private.h"
#include "tests/fuzz/fuzz.h"
#include "upstream/link_header.h"
#include "base/url.h"

static void check_page(const uint8_t *data, size_t size, bool referrers)
{
    bool empty = false;

    if (!fetch_is_listing(data, size, referrers, &empty))
        return;
    json_t *doc = document_read(data, size, NULL);
    MUST(doc);
    MUST(empty == (json_array_size(document_get(doc, referrers ? "manifests" : "tags")) == 0));
    json_decref(doc);
}

/* The next page is asked for by what the registry said, but for our own parameter. */
static void check_next(const char *link)
{
    _cleanup_buf_ struct buf again = {0};
    struct body *next = fetch_next_query(link);

    if (!next)
        return;
    MUST(strlen(next->data) + 1 == next->len && !strpbrk(next->data, "#"));
    url_query_without(&again, next->data, "ns");
    MUST(strcmp(again.data ? again.data : "", next->data) == 0);
    body_unref(next);
}

/* A page is a list of what it should list; ns= of the registry's link goes no further. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = memchr(data, '\n', size);
    size_t line = newline ? (size_t)(newline - data) : size, rest = newline ? size - line - 1 : 0;
    _cleanup_free_ char *header = fuzz_text(data, line);
    bool named;
    _cleanup_free_ char *link = link_header_next(header, &named);

    if (link)
        check_next(link);
    check_page(data + size - rest, rest, false);
    check_page(data + size - rest, rest, true);
    return 0;
}
