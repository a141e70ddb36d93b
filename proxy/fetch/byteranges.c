#include "proxy/fetch/byteranges.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Digits at *p, up to `end`, which is stepped over. -1: there are none. */
static int64_t part_number(const char **p, char end)
{
    char *e;

    if (!isdigit((unsigned char)**p))
        return -1;
    errno = 0;
    long long n = strtoll(*p, &e, 10);
    if (errno != 0 || *e != end)
        return -1;
    *p = e + (end != '\0');
    return n;
}

/* Content-Range of a part. False: it has one that cannot be read. */
static bool take_part_range(struct byteranges *p)
{
    static const char name[] = "content-range:";
    const char *v = p->line + strlen(name);

    if (strncasecmp(p->line, name, strlen(name)) != 0)
        return true;
    v += strspn(v, " \t");
    if (strncasecmp(v, "bytes ", 6) != 0)
        return false;
    v += 6;
    int64_t first = part_number(&v, '-'), last = part_number(&v, '/'), total = part_number(&v, '\0');
    if (first < 0 || last < first || last >= total)
        return false;
    p->first = first;
    p->end = last + 1;
    p->total = total;
    return true;
}

/* A whole line has come. */
static bool take_part_line(struct byteranges *p)
{
    while (p->line_len > 0 && (p->line[p->line_len - 1] == '\r' || p->line[p->line_len - 1] == ' '))
        p->line_len--;
    p->line[p->line_len] = '\0';
    bool empty = p->line_len == 0;
    p->line_len = 0;
    if (strncmp(p->line, "--", 2) == 0 && !p->in_header) { /* also the last one: nothing follows it */
        p->in_header = true;
        p->lines = 0;
        p->end = 0;
        return true;
    }
    if (++p->lines > BYTERANGES_LINES_MAX)
        return false;
    if (!p->in_header)
        return true; /* what stands before the first delimiter, or the end of the line behind a part */
    if (!empty)
        return take_part_range(p);
    p->in_header = false;
    p->left = p->end - p->first;
    return p->end > 0;
}

int64_t byteranges_read(struct byteranges *p, const char *data, size_t len, size_t *taken, int64_t *offset)
{
    *taken = 0;
    while (p->left == 0 && *taken < len) {
        char c = data[(*taken)++];
        if (c == '\n') {
            if (!take_part_line(p))
                return -1;
        } else if (p->line_len == BYTERANGES_LINE_MAX) {
            return -1;
        } else {
            p->line[p->line_len++] = c;
        }
    }
    int64_t n = MIN(p->left, (int64_t)(len - *taken));
    *offset = p->end - p->left;
    *taken += (size_t)n;
    p->left -= n;
    return n;
}
