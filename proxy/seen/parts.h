/* parts.h - what a manifest consists of, and where its blobs came from, as the cache knows it; for the pulls that are
 * recognised (pulls.h). */
#ifndef ENTREPOT_PROXY_SEEN_PARTS_H
#define ENTREPOT_PROXY_SEEN_PARTS_H

#include "base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PULL_PLATFORM_MAX = 95, PULL_PARTS_MAX = 4096 };

/* Where bytes that were sent came from: the first was not fetched. */
enum pull_from { PULL_FROM_CACHE, PULL_FROM_UPSTREAM, PULL_FROM_PEERS, PULL_FROM_SHARED, PULL_FROMS };

struct cache;

struct pull_part {
    struct digest digest;
    int64_t size;
    bool here;                            /* the blob is stored */
    char platform[PULL_PLATFORM_MAX + 1]; /* of a manifest in an index */
};

struct pull_parts {
    bool is_index;   /* the parts are manifests, else config and layers */
    bool is_private; /* the repository is */
    struct pull_part *list;
    size_t count;
};

/* Of a stored manifest; false: it is not stored, or no manifest. `cache` is a struct cache. Blocks for the index. */
bool pull_parts_look(void *cache, const char *name, const struct digest *manifest, struct pull_parts *out);
/* For pulls_options.came(). */
bool pull_parts_came(void *cache, const struct digest *blob, int64_t from[PULL_FROMS]);
void pull_parts_clear(struct pull_parts *p);

#endif
