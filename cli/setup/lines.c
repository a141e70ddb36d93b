#include "cli/setup/lines.h"

#include "base/array.h"

#include <stdint.h>
#include <string.h>

/* Cells of the table below; beyond, a file counts as changed as a whole, but for its beginning and end. */
enum { CELLS_MAX = 4 << 20 };

void setup_lines_split(struct setup_lines *l, const struct setup_text *text)
{
    const char *p = text->bytes.data, *end = p ? p + text->bytes.len : NULL;

    while (p && p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = nl ? (size_t)(nl - p) + 1 : (size_t)(end - p);
        *ARRAY_NEXT(l->list, l->count, l->cap) = (struct setup_line){p, len};
        l->count++;
        p += len;
    }
}

void setup_lines_free(struct setup_lines *l)
{
    free(l->list);
    memset(l, 0, sizeof(*l));
}

bool setup_line_same(const struct setup_line *a, const struct setup_line *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* The lines between the common beginning and the common end: `n` of a, `m` of b, from `at` on. */
static void match_middle(const struct setup_lines *a, const struct setup_lines *b, size_t at, size_t n, size_t m,
                         int *match)
{
    size_t width = m + 1;
    _cleanup_free_ uint32_t *longest = xcalloc((n + 1) * width, sizeof(*longest));

    for (size_t i = n; i-- > 0;)
        for (size_t j = m; j-- > 0;)
            longest[i * width + j] = setup_line_same(&a->list[at + i], &b->list[at + j])
                                         ? longest[(i + 1) * width + j + 1] + 1
                                         : MAX(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    for (size_t i = 0, j = 0; i < n && j < m;) {
        if (setup_line_same(&a->list[at + i], &b->list[at + j])) {
            match[at + i++] = (int)(at + j++);
        } else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
            i++;
        } else {
            j++;
        }
    }
}

int *setup_lines_match(const struct setup_lines *a, const struct setup_lines *b)
{
    size_t head = 0, tail = 0, least = MIN(a->count, b->count);
    int *match = xcalloc(a->count + 1, sizeof(*match));

    for (size_t i = 0; i < a->count; i++)
        match[i] = -1;
    for (; head < least && setup_line_same(&a->list[head], &b->list[head]); head++)
        match[head] = (int)head;
    for (; tail < least - head && setup_line_same(&a->list[a->count - tail - 1], &b->list[b->count - tail - 1]); tail++)
        match[a->count - tail - 1] = (int)(b->count - tail - 1);
    size_t n = a->count - head - tail, m = b->count - head - tail;
    if (n > 0 && m > 0 && (n + 1) <= CELLS_MAX / (m + 1))
        match_middle(a, b, head, n, m, match);
    return match;
}
