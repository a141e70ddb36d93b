/* places.h - a map from a name or a digest, which is copied, to an index: lookup.h for owners without an array of keys.
 * A plain value that begins as {0}. The first index of a key stays. One thread at a time. */
#ifndef ENTREPOT_BASE_PLACES_H
#define ENTREPOT_BASE_PLACES_H

#include "base/lookup.h"

enum { PLACE_NONE = -1 };

struct places {
    struct lookup lookup;
    struct places_entry **list;
    size_t count, cap;
};

/* False: the key has an index already, and keeps it. */
bool places_add(struct places *p, const void *key, size_t len, int64_t place);
/* PLACE_NONE: not in the map. */
int64_t places_find(const struct places *p, const void *key, size_t len);
void places_free(struct places *p);

#endif
