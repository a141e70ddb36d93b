/* places.h - where in an array something is, by a name or a digest that is copied: lookup.h for who has no array of its
 * keys. A plain value that begins as {0}. The first place that a key is given is kept. One thread at a time.
 */
#ifndef ENTREPOT_BASE_PLACES_H
#define ENTREPOT_BASE_PLACES_H

#include "base/lookup.h"

enum { PLACE_NONE = -1 };

struct places {
    struct lookup lookup;
    struct places_entry **list;
    size_t count, room;
};

/* False: the key has a place already, and keeps it. */
bool places_add(struct places *p, const void *key, size_t len, int64_t place);
/* PLACE_NONE: it has none. */
int64_t places_find(const struct places *p, const void *key, size_t len);
void places_free(struct places *p);

#endif
