#include "cli/setup/text.h"

#include <string.h>

bool setup_text_same(const struct setup_text *a, const struct setup_text *b)
{
    return a->exists == b->exists && a->bytes.len == b->bytes.len &&
           (a->bytes.len == 0 || memcmp(a->bytes.data, b->bytes.data, a->bytes.len) == 0);
}

void setup_text_copy(struct setup_text *to, const struct setup_text *from)
{
    buf_clear(&to->bytes);
    buf_add(&to->bytes, from->bytes.len ? from->bytes.data : "", from->bytes.len);
    to->exists = from->exists;
}

void setup_text_free(struct setup_text *t)
{
    buf_free(&t->bytes);
    t->exists = false;
}

const char *setup_line_end(const struct setup_text *t)
{
    const char *nl = t->bytes.len ? memchr(t->bytes.data, '\n', t->bytes.len) : NULL;

    return nl && nl > t->bytes.data && nl[-1] == '\r' ? "\r\n" : "\n";
}

void setup_splice(struct buf *out, const struct buf *text, size_t offset, size_t remove, const char *insert)
{
    if (offset > 0)
        buf_add(out, text->data, offset);
    buf_adds(out, insert);
    if (text->len > offset + remove)
        buf_add(out, text->data + offset + remove, text->len - offset - remove);
}
