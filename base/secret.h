/* secret.h - passwords, tokens and keys: wiped when freed, never logged. Any thread. */
#ifndef ENTREPOT_BASE_SECRET_H
#define ENTREPOT_BASE_SECRET_H

#include "base/buf.h"
#include "base/err.h"

enum { SECRET_MAX = 64 << 10 /* bytes of a file that holds one */ };

/* Wipes and frees; NULL is allowed. */
void secret_free(char *secret);
void secret_clear_buf(struct buf *b);
/* The content of a file, without the line's end; to be freed by secret_free(). NULL with ERR_IO, or ERR_INVALID if it
 * is empty, too large, or not text. The message names only the file. */
char *secret_read(const char *file, struct err *err);
/* The value of an Authorization header for Basic (RFC 7617); the caller wipes and frees it. */
char *secret_basic(const char *username, const char *password);

static inline void cleanup_secretp(char **secret)
{
    secret_free(*secret);
}

#define _cleanup_secret_     _cleanup_(cleanup_secretp)
#define _cleanup_secret_buf_ _cleanup_(secret_clear_buf)

#endif
