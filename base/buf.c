#include "base/buf.h"

#include <string.h>

char *buf_reserve(struct buf *b, size_t more)
{
    size_t need = b->len + more + 1;

    if (need > b->cap) {
        b->cap = MAX(need, b->cap * 2);
        b->data = xrealloc(b->data, b->cap);
    }
    return b->data + b->len;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    char *at = buf_reserve(b, len);

    if (len > 0)
        memcpy(at, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n > 0) {
        vsnprintf(buf_reserve(b, (size_t)n), (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->data)
        b->data[0] = '\0';
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}
