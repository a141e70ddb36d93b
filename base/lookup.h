/* lookup.h - a hash table over an array: finds its elements by key. A plain value that begins as {0}; the array, and
 * what a key is, are the owner's.
 *
 * Keys come from outside (digests in a manifest, names in an archive), so the hash depends on a random number of the
 * process: nobody can construct collisions. One thread at a time.
 */
#ifndef ENTREPOT_BASE_LOOKUP_H
#define ENTREPOT_BASE_LOOKUP_H

#include "base/digest.h"

struct lookup {
    struct lookup_slot *slots;
    size_t count, cap;
};

enum { LOOKUP_NONE = UINT32_MAX };

uint64_t lookup_hash(const void *key, size_t len);
static inline uint64_t lookup_hash_digest(const struct digest *d)
{
    return lookup_hash(digest_key(d), digest_key_len(d));
}

/* The index of the element with this hash for which `is` returns true; LOOKUP_NONE: there is none. */
uint32_t lookup_find(const struct lookup *l, uint64_t hash, bool (*is)(const void *arg, uint32_t place),
                     const void *arg);
/* Adds the element at `place`, with this hash. It is not in the table yet. */
void lookup_add(struct lookup *l, uint64_t hash, uint32_t place);
void lookup_free(struct lookup *l);

#define _cleanup_lookup_ _cleanup_(lookup_free)

/* A set of texts: the first copy that is added stays. Borrowed. */
struct text_set {
    struct lookup lookup;
    const char **list;
    size_t count, cap;
};

/* False: it is in the set already. */
bool text_set_add(struct text_set *s, const char *text);
bool text_set_has(const struct text_set *s, const char *text);
void text_set_free(struct text_set *s);

#define _cleanup_text_set_ _cleanup_(text_set_free)

#endif
