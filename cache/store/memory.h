/* memory.h - manifests and other small blobs in memory, so that a warm manifest costs no file system call.
 *
 * Bodies are counted references: an answer may hold one while another thread drops it from the table. Bounded in bytes;
 * the least recently used is dropped first. Any thread.
 */
#ifndef ENTREPOT_CACHE_STORE_MEMORY_H
#define ENTREPOT_CACHE_STORE_MEMORY_H

#include "base/digest.h"

#include <stdatomic.h>

struct body {
    atomic_int refs;
    size_t len;
    char data[];
};

/* A body with one reference and space for `len` bytes, which the caller fills before it shares the body. */
struct body *body_new(size_t len);
struct body *body_ref(struct body *b);
void body_unref(struct body *b);
static inline void body_unrefp(struct body **b)
{
    body_unref(*b);
}
#define _cleanup_body_ _cleanup_(body_unrefp)

struct memory;
struct memory *memory_new(size_t bytes);
void memory_free(struct memory *m);
/* A new reference, or NULL. */
struct body *memory_get(struct memory *m, const struct digest *d);
/* Takes a reference of its own; bodies over an eighth of a shard are not kept. */
void memory_put(struct memory *m, const struct digest *d, struct body *b);
void memory_drop(struct memory *m, const struct digest *d);

#endif
