/* lookup.h - where in an array something is, by its name or digest.
 *
 * Keys come from others (names in archives): the time does not depend on which they are (a balanced tree, tsearch(3)),
 * as that of a hash table would. The first place that a key is given is kept. One thread at a time.
 */
#ifndef ENTREPOT_BASE_LOOKUP_H
#define ENTREPOT_BASE_LOOKUP_H

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOOKUP_NONE = -1 };

struct lookup {
    void *root;
};

/* False: the key has a place already, and keeps it. The key is copied. */
bool lookup_add(struct lookup *l, const void *key, size_t len, int64_t place);
/* LOOKUP_NONE: it has none. */
int64_t lookup_find(const struct lookup *l, const void *key, size_t len);
void lookup_free(struct lookup *l);

#endif
