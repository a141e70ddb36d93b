#include "base/lookup.h"

#include "base/array.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

enum { CAP_FIRST = 64, WORD = 7 /* bytes; with the 1 that marks its end it is below the prime */ };

/* Open addressing. The hash is stored, so that growing needs no keys. */
struct lookup_slot {
    uint64_t hash;
    uint32_t place; /* LOOKUP_NONE: empty */
};

/* A polynomial over the field of 2^61 - 1, at a secret point (Carter and Wegman): two keys of n words collide at n of
 * its points at most. */
static const uint64_t PRIME = (1ull << 61) - 1;
static uint64_t point;

static void draw_point(void)
{
    if (getrandom(&point, sizeof(point), 0) != sizeof(point))
        point = (uintptr_t)&point; /* the random address of the program */
    point = point % (PRIME - 1) + 1;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    unsigned __int128 n = (unsigned __int128)a * b;
    uint64_t sum = (uint64_t)(n & PRIME) + (uint64_t)(n >> 61);

    return sum >= PRIME ? sum - PRIME : sum;
}

uint64_t lookup_hash(const void *key, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const uint8_t *p = key;
    uint64_t h = 1;

    pthread_once(&once, draw_point);
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= len; at += WORD) {
        uint64_t word;
        memcpy(&word, p + at, sizeof(word));
        h = times(h, point) + ((le64toh(word) & ((1ull << 8 * WORD) - 1)) | 1ull << 8 * WORD);
        h = h >= PRIME ? h - PRIME : h;
    }
    for (; at < len; at += WORD) {
        size_t n = MIN(len - at, (size_t)WORD);
        uint64_t word = 1ull << (8 * n);
        for (size_t i = 0; i < n; i++)
            word += (uint64_t)p[at + i] << (8 * i);
        h = times(h, point) + word;
        h = h >= PRIME ? h - PRIME : h;
    }
    return times(h, point);
}

static size_t lookup_slot_of(const struct lookup *l, uint64_t hash)
{
    return (size_t)(hash ^ hash >> 32) & (l->cap - 1);
}

uint32_t lookup_find(const struct lookup *l, uint64_t hash, bool (*is)(const void *arg, uint32_t place),
                     const void *arg)
{
    if (l->count == 0)
        return LOOKUP_NONE;
    for (size_t i = lookup_slot_of(l, hash);; i = (i + 1) & (l->cap - 1)) {
        const struct lookup_slot *s = &l->slots[i];
        if (s->place == LOOKUP_NONE || (s->hash == hash && is(arg, s->place)))
            return s->place;
    }
}

static void lookup_put(struct lookup *l, const struct lookup_slot *slot)
{
    size_t i = lookup_slot_of(l, slot->hash);

    while (l->slots[i].place != LOOKUP_NONE)
        i = (i + 1) & (l->cap - 1);
    l->slots[i] = *slot;
}

static void grow(struct lookup *l)
{
    const struct lookup old = *l;

    l->cap = old.cap ? 2 * old.cap : CAP_FIRST;
    l->slots = xmalloc(l->cap * sizeof(*l->slots));
    memset(l->slots, 0xff, l->cap * sizeof(*l->slots)); /* LOOKUP_NONE */
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].place != LOOKUP_NONE)
            lookup_put(l, &old.slots[i]);
    free(old.slots);
}

void lookup_add(struct lookup *l, uint64_t hash, uint32_t place)
{
    if (2 * l->count >= l->cap)
        grow(l);
    l->count++;
    lookup_put(l, &(struct lookup_slot){hash, place});
}

void lookup_free(struct lookup *l)
{
    free(l->slots);
    *l = (struct lookup){0};
}

/* ---- texts ---- */

struct text_key {
    const struct text_set *set;
    const char *text;
};

static bool is_text(const void *arg, uint32_t place)
{
    const struct text_key *k = arg;

    return strcmp(k->set->list[place], k->text) == 0;
}

static bool find_text(const struct text_set *s, const char *text, uint64_t hash)
{
    return lookup_find(&s->lookup, hash, is_text, &(struct text_key){s, text}) != LOOKUP_NONE;
}

bool text_set_has(const struct text_set *s, const char *text)
{
    return find_text(s, text, lookup_hash(text, strlen(text)));
}

bool text_set_add(struct text_set *s, const char *text)
{
    uint64_t hash = lookup_hash(text, strlen(text));

    if (find_text(s, text, hash))
        return false;
    lookup_add(&s->lookup, hash, (uint32_t)s->count);
    *ARRAY_NEXT(s->list, s->count, s->cap) = text;
    s->count++;
    return true;
}

void text_set_free(struct text_set *s)
{
    lookup_free(&s->lookup);
    free(s->list);
    *s = (struct text_set){0};
}
