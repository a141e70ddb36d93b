/* WWW-Authenticate, as registries and whoever stands in their place send it. */
#include "tests/fuzz/fuzz.h"
#include "upstream/challenge.h"

static void print(const struct challenge *c, struct buf *out)
{
    buf_adds(out, "");
    challenge_format(c, out);
}

/* What is understood of a challenge can be sent on, and is understood as the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = fuzz_text(data, size);
    _cleanup_buf_ struct buf first = {0}, second = {0};
    struct challenge c, again;

    challenge_parse(&c, text);
    MUST(c.scheme != CHALLENGE_BEARER || c.realm[0]);
    print(&c, &first);
    challenge_parse(&again, first.data);
    MUST(again.scheme == c.scheme);
    if (c.scheme == CHALLENGE_BEARER)
        MUST(strcmp(again.realm, c.realm) == 0 && strcmp(again.service, c.service) == 0 &&
             strcmp(again.scope, c.scope) == 0);
    print(&again, &second);
    MUST(strcmp(first.data, second.data) == 0);
    return 0;
}
