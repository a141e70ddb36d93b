/* byteranges.h - reads the body of an answer with several ranges, multipart/byteranges (RFC 9110 §14.6), as it comes.
 *
 *     --boundary CRLF header, CRLF, bytes, CRLF --boundary CRLF header, CRLF, bytes, ... CRLF --boundary-- CRLF
 *
 * How long a part is, its Content-Range says; so bytes are never searched for a boundary, and which one it is does not
 * matter. A plain value that begins as {0}; one thread at a time.
 */
#ifndef ENTREPOT_PROXY_FETCH_BYTERANGES_H
#define ENTREPOT_PROXY_FETCH_BYTERANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BYTERANGES_LINE_MAX = 511, /* bytes of a line */
    BYTERANGES_LINES_MAX = 32, /* of one part's header, and before the first one */
};

struct byteranges {
    bool in_header; /* behind a delimiter */
    int lines;      /* since the last one */
    char line[BYTERANGES_LINE_MAX + 1];
    size_t line_len;
    int64_t first, end, total; /* of this part's Content-Range; end 0: none yet */
    int64_t left;              /* bytes of it that are to come */
};

/* Looks at what has come, of which it takes *taken bytes. Returns how many of these are of a part, the last ones: they
 * belong at *offset of the whole, which has p->total bytes. -1: it is not such a body. */
int64_t byteranges_read(struct byteranges *p, const char *data, size_t len, size_t *taken, int64_t *offset);

#endif
