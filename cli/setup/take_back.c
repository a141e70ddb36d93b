/* Three texts, as of diff3(1): `after` is what we wrote, `before` what was there, `now` what has become of it. Between
 * lines that all three have, each region is one side's: ours is taken back, others' stays, and where both are, a hand
 * has changed our lines. */
#include "cli/setup/lines.h"

#include <string.h>

enum { PART_MIN = 16 /* bytes: less may be found by chance */ };

struct region {
    size_t from, to;
};

struct take_back {
    struct setup_lines before, after, now;
    int *to_before, *to_now; /* of each line of `after` */
    struct buf *out;
    char **why;
};

static bool region_same(const struct setup_lines *a, struct region x, const struct setup_lines *b, struct region y)
{
    if (x.to - x.from != y.to - y.from)
        return false;
    for (size_t i = 0; i < x.to - x.from; i++)
        if (!setup_line_same(&a->list[x.from + i], &b->list[y.from + i]))
            return false;
    return true;
}

static void region_add(struct buf *out, const struct setup_lines *l, struct region r)
{
    for (; r.from < r.to; r.from++)
        buf_add(out, l->list[r.from].data, l->list[r.from].len);
}

/* Our lines, unchanged, within what others have written around them; at one place only. */
static bool region_find(const struct take_back *t, struct region ours, struct region now, size_t *at)
{
    size_t len = ours.to - ours.from;
    int found = 0;

    for (size_t i = now.from; len > 0 && i + len <= now.to; i++)
        if (region_same(&t->after, ours, &t->now, (struct region){i, i + len})) {
            *at = i;
            found++;
        }
    return found == 1;
}

/* Names the first line that is not as we wrote it. */
static bool take_back_refuse(const struct take_back *t, struct region ours, struct region now)
{
    size_t k = 0;

    while (ours.from + k < ours.to && now.from + k < now.to &&
           setup_line_same(&t->after.list[ours.from + k], &t->now.list[now.from + k]))
        k++;
    bool removed = now.from + k == now.to; /* else changed, or written in between */
    const struct setup_line *line = NULL;
    if (!removed)
        line = &t->now.list[now.from + k];
    else if (ours.from + k < ours.to)
        line = &t->after.list[ours.from + k];
    int len = line ? (int)strcspn(line->data, "\r\n") : 0;
    *t->why = xasprintf("line %zu was %s by hand: %.*s", now.from + k + 1, removed ? "removed" : "changed",
                        line ? MIN(len, (int)line->len) : 0, line ? line->data : "");
    return false;
}

/* Leaves what we have changed: the lines around it, which a hand may have changed, begin and end both. */
static void region_narrow(const struct take_back *t, struct region *before, struct region *after)
{
    const struct setup_line *b = t->before.list, *a = t->after.list;

    while (before->from < before->to && after->from < after->to && setup_line_same(&b[before->from], &a[after->from])) {
        before->from++;
        after->from++;
    }
    while (before->from < before->to && after->from < after->to &&
           setup_line_same(&b[before->to - 1], &a[after->to - 1])) {
        before->to--;
        after->to--;
    }
}

/* Whether all that we have added is gone, and nothing that could be our lines in another form has come. */
static bool region_is_gone(const struct take_back *t, struct region before, struct region after, struct region now,
                           size_t lines_before)
{
    if (before.from < before.to || now.to - now.from > lines_before)
        return false;
    for (size_t i = now.from; i < now.to; i++)
        for (size_t k = after.from; k < after.to; k++)
            if (setup_line_same(&t->now.list[i], &t->after.list[k]))
                return false;
    return true;
}

/* A part of a line that we have put in, while a hand has changed the rest of it: JSON on one line. */
static bool take_back_part(const struct take_back *t, struct region before, struct region after, struct region now)
{
    _cleanup_buf_ struct buf was = {0}, ours = {0}, is = {0};
    size_t head = 0, tail = 0;

    region_add(&was, &t->before, before);
    region_add(&ours, &t->after, after);
    region_add(&is, &t->now, now);
    while (head < was.len && head < ours.len && was.data[head] == ours.data[head])
        head++;
    while (tail + head < was.len && tail + head < ours.len &&
           was.data[was.len - tail - 1] == ours.data[ours.len - tail - 1])
        tail++;
    size_t len = ours.len - head - tail;
    if (len < PART_MIN || is.len < len || was.len > head + tail)
        return false;
    const char *at = memmem(is.data, is.len, ours.data + head, len);
    if (!at || memmem(at + 1, is.len - (size_t)(at + 1 - is.data), ours.data + head, len))
        return false;
    buf_add(t->out, is.data, (size_t)(at - is.data));
    buf_add(t->out, at + len, is.len - (size_t)(at - is.data) - len);
    return true;
}

static bool take_back_region(const struct take_back *t, struct region before, struct region after, struct region now)
{
    struct region ours = after, theirs = before;
    size_t at = 0;

    if (region_same(&t->after, after, &t->now, now)) {
        region_add(t->out, &t->before, before);
        return true;
    }
    region_narrow(t, &theirs, &ours);
    if (region_same(&t->before, before, &t->after, after) || region_same(&t->before, before, &t->now, now) ||
        region_is_gone(t, theirs, ours, now, before.to - before.from)) {
        region_add(t->out, &t->now, now);
        return true;
    }
    if (!region_find(t, ours, now, &at))
        return take_back_part(t, before, after, now) || take_back_refuse(t, ours, now);
    region_add(t->out, &t->now, (struct region){now.from, at});
    region_add(t->out, &t->before, theirs);
    region_add(t->out, &t->now, (struct region){at + ours.to - ours.from, now.to});
    return true;
}

static bool take_back_lines(const struct take_back *t)
{
    struct region before = {0}, after = {0}, now = {0};

    for (;;) {
        after.to = after.from;
        while (after.to < t->after.count && (t->to_before[after.to] < 0 || t->to_now[after.to] < 0))
            after.to++;
        bool end = after.to == t->after.count;
        before.to = end ? t->before.count : (size_t)t->to_before[after.to];
        now.to = end ? t->now.count : (size_t)t->to_now[after.to];
        if (!take_back_region(t, before, after, now))
            return false;
        if (end)
            return true;
        region_add(t->out, &t->now, (struct region){now.to, now.to + 1});
        before.from = before.to + 1;
        after.from = after.to + 1;
        now.from = now.to + 1;
    }
}

bool setup_take_back(const struct setup_text *before, const struct setup_text *after, const struct setup_text *now,
                     struct setup_text *out, char **why)
{
    if (setup_text_same(now, after) || setup_text_same(now, before)) {
        setup_text_copy(out, before);
        return true;
    }
    if (!now->exists || !after->exists) { /* removed since, or written since */
        setup_text_copy(out, now);
        return true;
    }
    if (!before->exists) {
        struct take_back t = {.why = why};
        setup_lines_split(&t.after, after);
        setup_lines_split(&t.now, now);
        take_back_refuse(&t, (struct region){0, t.after.count}, (struct region){0, t.now.count});
        setup_lines_free(&t.after);
        setup_lines_free(&t.now);
        return false;
    }
    struct take_back t = {.out = &out->bytes, .why = why};
    setup_lines_split(&t.before, before);
    setup_lines_split(&t.after, after);
    setup_lines_split(&t.now, now);
    t.to_before = setup_lines_match(&t.after, &t.before);
    t.to_now = setup_lines_match(&t.after, &t.now);
    out->exists = true;
    buf_clear(&out->bytes);
    bool ok = take_back_lines(&t);
    setup_lines_free(&t.before);
    setup_lines_free(&t.after);
    setup_lines_free(&t.now);
    free(t.to_before);
    free(t.to_now);
    return ok;
}
