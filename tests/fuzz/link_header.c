/* Link, by which registries name the next page of a list (RFC 8288). */
#include "tests/fuzz/fuzz.h"
#include "upstream/link_header.h"
#include "base/url.h"

/* The target is a part of the header, and by itself it is found again; the URL that is logged has no query. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool named = false, again_named = false;
    _cleanup_free_ char *text = fuzz_text(data, size), *target = link_header_next(text, &named);
    _cleanup_buf_ struct buf shown = {0};
    char host[300];

    if (!target) {
        MUST(!named);
        return 0;
    }
    MUST(!strchr(target, '>') && strstr(text, target));
    MUST(!named || strcasestr(text, "next") || strchr(text, '\\')); /* which may stand within the word */
    _cleanup_free_ char *alone = xasprintf("<%s>; rel=\"next\"", target),
                        *again = link_header_next(alone, &again_named);
    MUST(again && again_named && strcmp(again, target) == 0);
    url_redact(&shown, target);
    MUST(!shown.data || !strpbrk(shown.data, "?#"));
    if (url_authority(target, host, sizeof(host)))
        MUST(host[0] && !strpbrk(host, "/?#@"));
    if (url_host(target, host, sizeof(host)))
        MUST(host[0] && !strpbrk(host, "/?#@"));
    return 0;
}
