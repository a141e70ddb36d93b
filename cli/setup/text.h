/* text.h - the content of a file. A plain value that begins as {0}; one thread. */
#ifndef ENTREPOT_CLI_SETUP_TEXT_H
#define ENTREPOT_CLI_SETUP_TEXT_H

#include "base/buf.h"

#include <stdbool.h>

/* A file's content; an absent file is not an empty one. */
struct setup_text {
    bool exists;
    struct buf bytes;
};

bool setup_text_same(const struct setup_text *a, const struct setup_text *b);
void setup_text_copy(struct setup_text *to, const struct setup_text *from);
void setup_text_free(struct setup_text *t);

/* How lines of this text end: "\r\n" or "\n". */
const char *setup_line_end(const struct setup_text *t);
/* Appends the text with `insert` at `offset`, in place of `remove` bytes. */
void setup_splice(struct buf *out, const struct buf *text, size_t offset, size_t remove, const char *insert);

#endif
