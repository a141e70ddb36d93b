#include "base/lookup.h"

#include <search.h>
#include <string.h>

struct lookup_entry {
    int64_t place;
    const void *key;
    size_t len;
    uint8_t copy[];
};

static int compare(const void *a, const void *b)
{
    const struct lookup_entry *x = a, *y = b;
    int order = memcmp(x->key, y->key, MIN(x->len, y->len));

    return order ? order : (x->len > y->len) - (x->len < y->len);
}

bool lookup_add(struct lookup *l, const void *key, size_t len, int64_t place)
{
    struct lookup_entry *e = xmalloc(sizeof(*e) + len);

    memcpy(e->copy, key, len);
    *e = (struct lookup_entry){place, e->copy, len};
    struct lookup_entry **there = tsearch(e, &l->root, compare);
    if (!there)
        abort(); /* no memory: as xmalloc() */
    if (*there == e)
        return true;
    free(e);
    return false;
}

int64_t lookup_find(const struct lookup *l, const void *key, size_t len)
{
    struct lookup_entry want = {0, key, len}, **there = tfind(&want, &l->root, compare);

    return there ? (*there)->place : LOOKUP_NONE;
}

void lookup_free(struct lookup *l)
{
    tdestroy(l->root, free);
    l->root = NULL;
}
