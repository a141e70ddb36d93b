/* parts.h - the parts of the cache, for its collector (gc/), which changes rows and files itself. All others use
 * cache.h. Any thread; borrowed. */
#ifndef ENTREPOT_CACHE_PARTS_H
#define ENTREPOT_CACHE_PARTS_H

#include "cache/cache.h"
#include "cache/store/touch.h"

struct index *cache_index(struct cache *c);
struct store *cache_store(struct cache *c);
/* As touches_take(). */
size_t cache_take_requested(struct cache *c, struct requested **list);

#endif
