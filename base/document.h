/* document.h - JSON from outside, read as engines read it.
 *
 * Engines are written in Go, whose encoding/json is more lenient than jansson: of duplicate keys the last one counts,
 * keys match in any case, "\u0000", lone surrogates and invalid UTF-8 are accepted as text, and numbers may be of any
 * size as long as they are not used. What engines accept must be read here, too: the references found in a manifest
 * protect content from eviction.
 *
 * Documents are not trusted: nesting is bounded, since jansson recurses; the caller bounds the size. Any thread.
 */
#ifndef ENTREPOT_BASE_DOCUMENT_H
#define ENTREPOT_BASE_DOCUMENT_H

#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

enum { DOCUMENT_DEPTH_MAX = 2000 /* jansson's limit is 2048 */ };

/* The object; NULL if it is another value or not JSON. Errors: ERR_INVALID. */
json_t *document_read(const void *data, size_t len, struct err *err);
/* The value of a key, NULL if it is not there or null. */
json_t *document_get(const json_t *object, const char *key);
/* The same, of a string; NULL if it is not one. */
const char *document_text(const json_t *object, const char *key);
/* The same, of a number that is whole and not negative; else -1. */
int64_t document_number(const json_t *object, const char *key);

#endif
