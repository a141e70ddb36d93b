#include "proxy/http/range.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* Digits to a number that stays at INT64_MAX when it is larger: such a position is past every end. */
static bool read_number(const char **p, int64_t *n)
{
    if (!isdigit((unsigned char)**p))
        return false;
    for (*n = 0; isdigit((unsigned char)**p); (*p)++)
        *n = *n > (INT64_MAX - 9) / 10 ? INT64_MAX : *n * 10 + (**p - '0');
    return true;
}

/* "first-last", "first-" or "-length" of a whole of `size` bytes. An empty one: it cannot be satisfied. False: it is
 * malformed. */
static bool read_range(const char **p, int64_t size, struct range *out)
{
    int64_t n, end = INT64_MAX;

    if (**p == '-') { /* the last n bytes */
        (*p)++;
        if (!read_number(p, &n))
            return false;
        *out = (struct range){MAX(size - n, (int64_t)0), size - 1};
        return true;
    }
    if (!read_number(p, &n) || *(*p)++ != '-')
        return false;
    if (isdigit((unsigned char)**p) && (!read_number(p, &end) || end < n))
        return false;
    *out = (struct range){n, MIN(end, size - 1)};
    return true;
}

/* A list (RFC 9110 §5.6.1: empty elements are skipped) into `list`, which has room for as many as there can be, at most
 * RANGES_MAX. False: it is malformed, has none, or too many. */
static bool read_list(const char *p, int64_t size, struct range *list, int *count)
{
    int seen = 0;

    *count = 0;
    for (;; p++) {
        p = skip_blanks(p);
        if (*p != ',' && *p != '\0') {
            struct range s;
            if (seen++ == RANGES_MAX || !read_range(&p, size, &s))
                return false;
            if (s.first <= s.last)
                list[(*count)++] = s;
            p = skip_blanks(p);
        }
        if (*p == '\0')
            return seen > 0;
        if (*p != ',')
            return false;
    }
}

/* ---- joining ---- */

struct placed {
    struct range range;
    int place; /* among those of the request */
};

static int by_first(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;

    return x->range.first != y->range.first ? (x->range.first > y->range.first) - (x->range.first < y->range.first)
                                            : x->place - y->place;
}

static int by_place(const void *a, const void *b)
{
    return ((const struct placed *)a)->place - ((const struct placed *)b)->place;
}

static bool do_ascend(const struct range *list, int count)
{
    for (int i = 1; i < count; i++)
        if (list[i].first <= list[i - 1].last)
            return false;
    return true;
}

/* Returns how many are left. */
static int join_overlapping(struct range *list, int count)
{
    int left = 0;

    if (do_ascend(list, count)) /* as nearly all clients request them */
        return count;
    _cleanup_free_ struct placed *all = xcalloc((size_t)count, sizeof(*all));
    for (int i = 0; i < count; i++)
        all[i] = (struct placed){list[i], i};
    qsort(all, (size_t)count, sizeof(*all), by_first);
    for (int i = 1; i < count; i++) {
        struct placed *joined = &all[left];
        if (all[i].range.first > joined->range.last) {
            all[++left] = all[i];
            continue;
        }
        joined->range.last = MAX(joined->range.last, all[i].range.last);
        joined->place = MIN(joined->place, all[i].place);
    }
    left++;
    qsort(all, (size_t)left, sizeof(*all), by_place);
    for (int i = 0; i < left; i++)
        list[i] = all[i].range;
    return left;
}

/* ---- the header ---- */

static int most_elements(const char *list)
{
    int n = 1;

    for (; *list && n < RANGES_MAX; list++)
        n += *list == ',';
    return n;
}

enum range_verdict ranges_parse(const char *header, int64_t size, struct ranges *out)
{
    static const char unit[] = "bytes="; /* in any case (RFC 9110 §14.1) */
    struct range one, *list = &one;
    int count;

    *out = (struct ranges){.one = {0, size - 1}, .count = 1};
    if (!header || strncasecmp(header, unit, strlen(unit)) != 0)
        return RANGE_WHOLE;
    header += strlen(unit);
    int most = most_elements(header);
    _cleanup_free_ struct range *several = most > 1 ? xcalloc((size_t)most, sizeof(*several)) : NULL;
    if (several)
        list = several;
    if (!read_list(header, size, list, &count))
        return RANGE_WHOLE;
    if (count == 0)
        return RANGE_OUTSIDE;
    count = join_overlapping(list, count);
    out->one = list[0];
    out->count = count;
    if (count == 1)
        return RANGE_PART;
    out->all = list;
    several = NULL;
    return RANGE_PARTS;
}

void ranges_free(struct ranges *ranges)
{
    free(ranges->all);
    *ranges = (struct ranges){0};
}

bool ranges_ascend(const struct ranges *ranges)
{
    return !ranges->all || do_ascend(ranges->all, ranges->count);
}
