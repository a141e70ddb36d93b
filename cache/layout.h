/* layout.h - index.json of the cache folder (image-spec image-layout.md): its tagged images, for other tools, and for
 * ourselves when the index is lost.
 *
 * Each image has its full reference as org.opencontainers.image.ref.name and io.containerd.image.name; our own
 * annotation io.entrepot.checked is when upstream last confirmed the tag, in milliseconds since 1970, and
 * io.entrepot.pinned says "true" of pinned ones, io.entrepot.private of those whose repository is for clients with a
 * grant alone.
 */
#ifndef ENTREPOT_CACHE_LAYOUT_H
#define ENTREPOT_CACHE_LAYOUT_H

#include "cache/cache.h"

/* Writes index.json again if tags have changed since. Blocks. */
bool layout_save(struct cache *c, struct err *err);
/* Enters what index.json says: the tags and pins of images, be their blobs known already or not. Before there is
 * traffic. What cannot be read is logged and left out.
 * Returns how many there were. */
size_t layout_load(struct cache *c);

#endif
