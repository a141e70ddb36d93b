/* parts.h - blobs of which a part is here, as sweeps see them. Internal to this folder.
 *
 * A part was used when it was written to or served from last, or when an image that names its blob was used, whichever
 * is later. When room is needed it goes before the first image that was not used since: so parts and images that
 * nobody used for long go in their order, and a part of an image that is in use stays as long as that. What belongs
 * to a pinned image stays.
 */
#ifndef ENTREPOT_GC_PARTS_H
#define ENTREPOT_GC_PARTS_H

#include "cache/cache.h"

struct parts {
    struct part_use {
        struct digest digest;
        int64_t used;  /* seconds since 1970 */
        int64_t bytes; /* on the disk */
    } * list;          /* the longest unused first */
    size_t count, cap;
};

/* Those that are at rest and may go. Blocks. */
void parts_list(struct cache *cache, struct parts *out);
void parts_free(struct parts *p);

#endif
