/* visible.h - text from outside (archives, registries, names, annotations, others' error messages) as it may be shown.
 *
 * A control character in it could drive a terminal or forge a line of a log; so each becomes visible: C0, DEL and C1
 * (ECMA-48), the marks that reorder text (Unicode UAX #9) and separate lines, and bytes that are no UTF-8. Done once,
 * where text goes out: the commands' lines and tables (cli/lib/say.c), the log, JSON. Any thread.
 */
#ifndef ENTREPOT_BASE_VISIBLE_H
#define ENTREPOT_BASE_VISIBLE_H

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>

enum visible_as {
    VISIBLE_LINE,   /* "\x1b", "\u202e" */
    VISIBLE_TEXT,   /* the same, but newlines and tabs stay */
    VISIBLE_STRING, /* as the inside of a JSON string, quotes and backslashes too; U+FFFD for what is no UTF-8 */
    VISIBLE_JSON,   /* of JSON that has been written already: valid escapes, newlines stay */
};

/* Appends `len` bytes. */
void buf_add_visible(struct buf *b, const char *text, size_t len, enum visible_as as);
/* Appends text as the inside of a JSON string. */
void buf_add_json(struct buf *b, const char *text);
/* As one line; the caller frees. */
char *visible_line(const char *text);
/* How many of the first `len` bytes of a text that was cut there end with a whole character. */
size_t text_whole(const char *text, size_t len);
/* vsnprintf(3); of what has no room in `out`, the last character that is there is a whole one. */
void text_print(char *out, size_t room, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);
/* A JSON string of any text: as it is, or, of what is no UTF-8 (a file's name, what was cut within a character), as one
 * line. A new reference. */
json_t *visible_json(const char *text);
/* Bytes of the UTF-8 sequence at `text` (RFC 3629), and its code point; 0 if it is none. */
size_t utf8_next(const char *text, size_t len, unsigned *code);
/* Whether a code point drives a terminal or reorders text: controls, line separators, directional marks. */
bool utf8_is_hidden(unsigned code);

#endif
