/* skim.h - members of a JSON object without parsing all of it: for lists of thousands of documents of each of which a
 * few texts are needed. What is not plain (an escape in a name, say) is left to document.h, which is slower and
 * complete; so is checking that the rest is JSON. Any thread. */
#ifndef ENTREPOT_BASE_SKIM_H
#define ENTREPOT_BASE_SKIM_H

#include "base/mem.h"

#include <stdbool.h>

/* A part of the document, borrowed; data NULL: absent. */
struct span {
    const char *data;
    size_t len;
};

/* The values of the members with these names, in any case; of duplicates the last one, as document_get() does. False:
 * it is not an object, or not plain. */
bool skim_members(const struct span *object, const char *const *names, size_t count, struct span *values);
/* Copies a value that is a string of printable ASCII without escapes, if it fits. False: it is something else. */
bool skim_text(const struct span *value, char *out, size_t cap);

#endif
