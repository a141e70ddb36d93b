/* lines.h - texts as lines, and which lines two of them have in common: for diffs, and for undoing what was changed
 * since. One thread. */
#ifndef ENTREPOT_CLI_SETUP_LINES_H
#define ENTREPOT_CLI_SETUP_LINES_H

#include "cli/setup/text.h"

/* A line with its line end; borrowed. */
struct setup_line {
    const char *data;
    size_t len;
};

struct setup_lines {
    struct setup_line *list;
    size_t count, cap;
};

void setup_lines_split(struct setup_lines *l, const struct setup_text *text);
void setup_lines_free(struct setup_lines *l);
#define _cleanup_lines_ _cleanup_(setup_lines_free)

bool setup_line_same(const struct setup_line *a, const struct setup_line *b);
/* For each line of `a` the same line of `b`, or -1: a longest common subsequence. The caller frees it. */
int *setup_lines_match(const struct setup_lines *a, const struct setup_lines *b);

/* diff.c: appends the change as a unified diff, nothing if there is none. */
void setup_diff(struct buf *out, const char *path, const struct setup_text *from, const struct setup_text *to);

/* take_back.c: *out is `now` without what turned `before` into `after`: what others have changed since stays. False: a
 * hand has changed the very lines; *why (the caller frees it) names the first one. */
bool setup_take_back(const struct setup_text *before, const struct setup_text *after, const struct setup_text *now,
                     struct setup_text *out, char **why);

#endif
