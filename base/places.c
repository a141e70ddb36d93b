#include "base/places.h"

#include "base/array.h"

#include <string.h>

struct places_entry {
    int64_t place;
    size_t len;
    uint8_t key[];
};

struct wanted {
    const struct places *places;
    const void *key;
    size_t len;
};

static bool is(const void *arg, uint32_t place)
{
    const struct wanted *w = arg;
    const struct places_entry *e = w->places->list[place];

    return e->len == w->len && memcmp(e->key, w->key, w->len) == 0;
}

int64_t places_find(const struct places *p, const void *key, size_t len)
{
    const struct wanted w = {p, key, len};
    uint32_t at = lookup_find(&p->lookup, lookup_hash(key, len), is, &w);

    return at == LOOKUP_NONE ? PLACE_NONE : p->list[at]->place;
}

bool places_add(struct places *p, const void *key, size_t len, int64_t place)
{
    struct places_entry *e;

    if (places_find(p, key, len) != PLACE_NONE)
        return false;
    e = xmalloc(sizeof(*e) + len);
    e->place = place;
    e->len = len;
    memcpy(e->key, key, len);
    *ARRAY_NEXT(p->list, p->count, p->cap) = e;
    lookup_add(&p->lookup, lookup_hash(key, len), (uint32_t)p->count++);
    return true;
}

void places_free(struct places *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->list[i]);
    free(p->list);
    lookup_free(&p->lookup);
    *p = (struct places){0};
}
