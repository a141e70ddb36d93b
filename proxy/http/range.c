#include "proxy/http/range.h"

#include "base/mem.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Digits to a number that stays at INT64_MAX when it is larger: such a position is past every end. */
static bool read_number(const char **p, int64_t *n)
{
    if (!isdigit((unsigned char)**p))
        return false;
    for (*n = 0; isdigit((unsigned char)**p); (*p)++)
        *n = *n > (INT64_MAX - 9) / 10 ? INT64_MAX : *n * 10 + (**p - '0');
    return true;
}

enum range_verdict range_parse(const char *header, int64_t size, int64_t *first, int64_t *last)
{
    const char *p = header;
    int64_t n;

    *first = 0;
    *last = size - 1;
    if (!p || strncasecmp(p, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    p += 6;
    p += strspn(p, " \t");
    if (*p == '-') { /* the last n bytes */
        p++;
        if (!read_number(&p, &n) || p[strspn(p, " \t")] != '\0')
            return RANGE_WHOLE;
        if (n == 0 || size == 0)
            return RANGE_OUTSIDE;
        *first = MAX(size - n, (int64_t)0);
        return RANGE_PART;
    }
    if (!read_number(&p, &n) || *p++ != '-')
        return RANGE_WHOLE;
    int64_t end = INT64_MAX;
    if (isdigit((unsigned char)*p) && !read_number(&p, &end))
        return RANGE_WHOLE;
    if (p[strspn(p, " \t")] != '\0' || end < n)
        return RANGE_WHOLE; /* several ranges, or nonsense */
    if (n >= size)
        return RANGE_OUTSIDE;
    *first = n;
    *last = MIN(end, size - 1);
    return RANGE_PART;
}
