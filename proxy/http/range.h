/* range.h - the Range header (RFC 9110 §14.2). Pure functions; any thread.
 *
 * Ranges that overlap are joined, so that no byte is sent twice; the joined one takes the place of the first of them.
 * All others stay as the client requested them, in its order (§15.3.7.2), also where one begins right behind another:
 * containers/image (podman, CRI-O, skopeo) counts the parts of the answer and fails if it gets fewer than it requested.
 * Ranges that cannot be satisfied are dropped as long as another can.
 */
#ifndef ENTREPOT_PROXY_HTTP_RANGE_H
#define ENTREPOT_PROXY_HTTP_RANGE_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    RANGES_MAX = 4096, /* in a request; containers/image has up to 1024. For more, the whole is sent */
};

enum range_verdict {
    RANGE_WHOLE,   /* no Range, or one that may be ignored: not bytes, malformed, too many */
    RANGE_PART,    /* one */
    RANGE_PARTS,   /* several */
    RANGE_OUTSIDE, /* 416 */
};

/* Inclusive. */
struct range {
    int64_t first, last;
};

struct ranges {
    struct range one;  /* of RANGE_WHOLE all bytes, of RANGE_PART these; of RANGE_PARTS the first one */
    struct range *all; /* RANGE_PARTS: `count` of them; NULL otherwise */
    int count;
};

/* `header` may be NULL; `size` is that of the whole, in bytes. Freed by ranges_free(). */
enum range_verdict ranges_parse(const char *header, int64_t size, struct ranges *out);
void ranges_free(struct ranges *ranges);
#define _cleanup_ranges_ _cleanup_(ranges_free)
/* Whether each begins behind the one before it. */
bool ranges_ascend(const struct ranges *ranges);

#endif
