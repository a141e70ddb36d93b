/* visible.h - makes text from outside (archives, registries, names, annotations, others' error messages) safe to
 * display.
 *
 * A control character in it could drive a terminal or forge a log line; so these are escaped: C0, DEL and C1 (ECMA-48),
 * characters that reorder text (Unicode UAX #9) and separate lines, and invalid UTF-8. Done once, at the output: the
 * commands' lines and tables (cli/lib/say.c), the log, JSON. Any thread.
 */
#ifndef ENTREPOT_BASE_VISIBLE_H
#define ENTREPOT_BASE_VISIBLE_H

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>

enum visible_as {
    VISIBLE_LINE,   /* "\x1b", "\u202e" */
    VISIBLE_TEXT,   /* the same, but newlines and tabs stay */
    VISIBLE_STRING, /* as the inside of a JSON string: quotes and backslashes, too; invalid UTF-8 as U+FFFD */
    VISIBLE_JSON,   /* of JSON text: valid escapes and newlines stay */
};

/* Appends `len` bytes. */
void buf_add_visible(struct buf *b, const char *text, size_t len, enum visible_as as);
/* Appends text as the inside of a JSON string. */
void buf_add_json(struct buf *b, const char *text);
/* As one line; the caller frees. */
char *visible_line(const char *text);
/* The length, at most `len`, at which a text can be cut without splitting a character. */
size_t text_whole(const char *text, size_t len);
/* vsnprintf(3), but a text that does not fit is cut between characters. */
void text_print(char *out, size_t cap, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);
/* A JSON string of any text: as it is, or, if it is not UTF-8 (a file's name, a text cut within a character), as
 * visible_line(). A new reference. */
json_t *visible_json(const char *text);
/* The length of the UTF-8 sequence at `text` (RFC 3629), and its code point; 0 if it is invalid. */
size_t utf8_next(const char *text, size_t len, unsigned *code);
/* Whether no byte of it is a control character of ASCII (C0, DEL). Sixteen bytes at a time. */
bool text_is_plain(const char *text, size_t len);
/* Whether all of it is printable ASCII without quotes and backslashes: VISIBLE_STRING leaves it as it is. */
bool text_is_simple(const char *text, size_t len);
/* Whether a code point drives a terminal or reorders text: controls, line separators, directional marks. */
bool utf8_is_hidden(unsigned code);

#endif
