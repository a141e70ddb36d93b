/* document.h - JSON that somebody else wrote, read the way engines read it.
 *
 * Engines are written in Go, whose encoding/json is more lenient than jansson: of a key that is there twice the last
 * one counts, keys are found whatever their case, "\u0000", a lone surrogate and bytes that are not UTF-8 are text like
 * any other, and no number is too large as long as nobody looks at it. What they take has to be read here, too: what a
 * manifest names is held by what we find in it.
 *
 * Documents are not trusted: nesting is bounded, since jansson recurses; the caller bounds the size. Any thread.
 */
#ifndef ENTREPOT_BASE_DOCUMENT_H
#define ENTREPOT_BASE_DOCUMENT_H

#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

enum { DOCUMENT_DEPTH_MAX = 2000 /* jansson ends at 2048 */ };

/* An object; NULL if it is something else or not JSON at all. Errors: ERR_INVALID. */
json_t *document_read(const void *data, size_t len, struct err *err);
/* The value of a key, NULL if it is not there or null. */
json_t *document_get(const json_t *object, const char *key);
/* The same as text; NULL if it is none. */
const char *document_text(const json_t *object, const char *key);
/* The same as a number that is whole and not negative; -1 if it is none. */
int64_t document_number(const json_t *object, const char *key);

#endif
