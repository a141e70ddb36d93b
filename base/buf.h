/* buf.h - a growing buffer. A plain value that begins as {0}; `data` is NUL-terminated once something was added, so
 * text can be read as a C string. One thread at a time. */
#ifndef ENTREPOT_BASE_BUF_H
#define ENTREPOT_BASE_BUF_H

#include "base/mem.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
};

/* Makes space for `more` further bytes and returns where to write them; the caller then adds to `len`. */
char *buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *text);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Empties it, and keeps the memory. */
void buf_clear(struct buf *b);
void buf_free(struct buf *b);

#define _cleanup_buf_ _cleanup_(buf_free)

#endif
