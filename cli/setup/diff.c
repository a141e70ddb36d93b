/* A unified diff, as diff(1) -u prints it and patch(1) reads it. */
#include "cli/setup/lines.h"

#include <string.h>

enum { CONTEXT = 3 };

/* A run of lines that differ: [a, a_end) is replaced by [b, b_end). */
struct diff_change {
    size_t a, a_end, b, b_end;
};

struct diff_texts {
    struct setup_lines a, b;
    int *match;
};

/* The first change at or behind the lines `a` and `b`, which correspond. */
static bool diff_next(const struct diff_texts *t, size_t a, size_t b, struct diff_change *c)
{
    while (a < t->a.count && t->match[a] == (int)b) {
        a++;
        b++;
    }
    if (a == t->a.count && b == t->b.count)
        return false;
    *c = (struct diff_change){a, a, b, t->b.count};
    while (c->a_end < t->a.count && t->match[c->a_end] < 0)
        c->a_end++;
    if (c->a_end < t->a.count)
        c->b_end = (size_t)t->match[c->a_end];
    return true;
}

static void diff_add_lines(struct buf *out, char sign, const struct setup_lines *l, size_t from, size_t to)
{
    for (; from < to; from++) {
        const struct setup_line *line = &l->list[from];
        buf_addf(out, "%c", sign);
        buf_add(out, line->data, line->len);
        if (line->data[line->len - 1] != '\n')
            buf_adds(out, "\n\\ No newline at end of file\n");
    }
}

static void diff_add_range(struct buf *out, char sign, size_t from, size_t to)
{
    buf_addf(out, " %c%zu,%zu", sign, to > from ? from + 1 : from, to - from);
}

/* One hunk: changes that are so near to each other that their context touches. Returns what is behind it in *c. */
static bool diff_add_hunk(struct buf *out, const struct diff_texts *t, struct diff_change *c)
{
    _cleanup_buf_ struct buf body = {0};
    size_t lead = MIN((size_t)CONTEXT, c->a), a = c->a - lead, b = c->b - lead, at = a, end;
    struct diff_change last;
    bool more;

    do {
        diff_add_lines(&body, ' ', &t->a, at, c->a);
        diff_add_lines(&body, '-', &t->a, c->a, c->a_end);
        diff_add_lines(&body, '+', &t->b, c->b, c->b_end);
        last = *c;
        at = last.a_end;
        more = diff_next(t, last.a_end, last.b_end, c);
    } while (more && c->a - last.a_end <= 2 * CONTEXT);
    end = MIN(last.a_end + CONTEXT, t->a.count);
    diff_add_lines(&body, ' ', &t->a, last.a_end, end);
    buf_adds(out, "@@");
    diff_add_range(out, '-', a, end);
    diff_add_range(out, '+', b, last.b_end + (end - last.a_end));
    buf_adds(out, " @@\n");
    buf_add(out, body.data, body.len);
    return more;
}

void setup_diff(struct buf *out, const char *path, const struct setup_text *from, const struct setup_text *to)
{
    struct diff_texts t = {0};
    struct diff_change c;

    if (setup_text_same(from, to))
        return;
    setup_lines_split(&t.a, from);
    setup_lines_split(&t.b, to);
    t.match = setup_lines_match(&t.a, &t.b);
    buf_addf(out, "--- %s\n+++ %s\n", from->exists ? path : "/dev/null", to->exists ? path : "/dev/null");
    for (bool more = diff_next(&t, 0, 0, &c); more;)
        more = diff_add_hunk(out, &t, &c);
    setup_lines_free(&t.a);
    setup_lines_free(&t.b);
    free(t.match);
}
