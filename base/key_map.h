/* key_map.h - a map from a name or a digest, which is copied, to an index: lookup.h for owners without an array of
 * keys. A plain value that begins as {0}. The first index of a key stays. One thread at a time. */
#ifndef ENTREPOT_BASE_KEY_MAP_H
#define ENTREPOT_BASE_KEY_MAP_H

#include "base/lookup.h"

enum { KEY_MAP_NONE = -1 };

struct key_map {
    struct lookup lookup;
    struct key_map_entry **list;
    size_t count, cap;
};

/* False: the key has an index already, and keeps it. */
bool key_map_add(struct key_map *m, const void *key, size_t len, int64_t place);
/* KEY_MAP_NONE: not in the map. */
int64_t key_map_find(const struct key_map *m, const void *key, size_t len);
void key_map_free(struct key_map *m);

#endif
