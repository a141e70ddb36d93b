/* base64.h - RFC 4648. Plain functions; any thread. */
#ifndef ENTREPOT_BASE_BASE64_H
#define ENTREPOT_BASE_BASE64_H

#include <stddef.h>

/* §5, without padding: for JWTs. The caller frees. */
char *base64url_encode(const void *data, size_t len);
/* The reverse, with the rules of base64_decode(). */
char *base64url_decode(const char *text, size_t *len);
/* §4, with padding. NUL-terminated beyond *len; the caller frees. NULL if it is not base64, empty, or longer than any
 * secret. */
char *base64_decode(const char *text, size_t *len);

#endif
