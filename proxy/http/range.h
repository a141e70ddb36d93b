/* range.h - the Range header (RFC 9110 §14.2). Any thread. */
#ifndef ENTREPOT_PROXY_HTTP_RANGE_H
#define ENTREPOT_PROXY_HTTP_RANGE_H

#include <stdint.h>

enum range_verdict {
    RANGE_WHOLE,   /* no Range, or one that may be ignored: not bytes, malformed, several ranges */
    RANGE_PART,    /* *first and *last (inclusive) are set */
    RANGE_OUTSIDE, /* 416 */
};

/* `header` may be NULL; `size` is that of the whole, in bytes. */
enum range_verdict range_parse(const char *header, int64_t size, int64_t *first, int64_t *last);

#endif
