#include "base/key_map.h"

#include "base/array.h"

#include <string.h>

struct key_map_entry {
    int64_t place;
    size_t len;
    uint8_t key[];
};

struct wanted {
    const struct key_map *map;
    const void *key;
    size_t len;
};

static bool is(const void *arg, uint32_t place)
{
    const struct wanted *w = arg;
    const struct key_map_entry *e = w->map->list[place];

    return e->len == w->len && memcmp(e->key, w->key, w->len) == 0;
}

int64_t key_map_find(const struct key_map *m, const void *key, size_t len)
{
    const struct wanted w = {m, key, len};
    uint32_t at = lookup_find(&m->lookup, lookup_hash(key, len), is, &w);

    return at == LOOKUP_NONE ? KEY_MAP_NONE : m->list[at]->place;
}

bool key_map_add(struct key_map *m, const void *key, size_t len, int64_t place)
{
    struct key_map_entry *e;

    if (key_map_find(m, key, len) != KEY_MAP_NONE)
        return false;
    e = xmalloc(sizeof(*e) + len);
    e->place = place;
    e->len = len;
    memcpy(e->key, key, len);
    *ARRAY_NEXT(m->list, m->count, m->cap) = e;
    lookup_add(&m->lookup, lookup_hash(key, len), (uint32_t)m->count++);
    return true;
}

void key_map_free(struct key_map *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->list[i]);
    free(m->list);
    lookup_free(&m->lookup);
    *m = (struct key_map){0};
}
