/* readahead.h - the other layers of an image, before the client that has begun to fetch it asks for them.
 *
 * A client that was given an image's manifest and requests one of its layers will request the others. So when a layer
 * has to be fetched, the layers behind it that are not here are begun: `cache.readahead` of them at a time, in the
 * manifest's order, each over one connection as long as no client waits for it. Once a client requests such a layer its
 * fetch is an ordinary one, and the next layer is begun in its place.
 *
 *     handed out:  manifest ─▶ layer 1    2    3    4    5    6    7
 *     a client                 ▲ asks for
 *     read ahead                       ─▶   ─▶   ─▶
 *
 * Not of an image of which a client requests pieces: a lazy snapshotter would have all of it fetched in vain. Layers
 * that are made for that (zstd:chunked, eStargz) are read ahead after a client has requested one of them whole. When no
 * client has requested anything of the image for some seconds, what is being read ahead is given up; a fetch of which
 * half is here goes on (proxy/fetch/leave.c). An error ends it for this image: its clients will see it themselves.
 *
 * Everything happens on one loop, which the serve loops post to.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_READAHEAD_H
#define ENTREPOT_PROXY_REGISTRY_READAHEAD_H

#include "config/config.h"
#include "proxy/fetch/fetch.h"

struct readahead;
struct readahead_request; /* a client's request for a blob that has to be fetched, until it ends */

/* Everything is borrowed. */
struct readahead *readahead_new(struct cache *cache, struct fetchers *fetchers, struct loop *loop);
/* Begins nothing any more, and gives up what is under way. On its loop. */
void readahead_stop(struct readahead *ra);
/* After the loops have been settled. May be NULL. */
void readahead_free(struct readahead *ra);

/* A client requests a blob (kind FETCH_BLOB) that has to be fetched; copied. NULL: nothing is read ahead for it. Any
 * loop. */
struct readahead_request *readahead_begin(struct readahead *ra, const struct fetch_want *want);
/* It has been answered, or its client is gone. NULL is allowed. */
void readahead_end(struct readahead_request *r);
/* A client requests a blob that is here: it may have been read ahead. Any loop. */
void readahead_note_hit(struct readahead *ra, const char *name, const struct digest *d);

/* Layers that were read ahead: requested by a client since, or not, so far. Any thread. */
struct readahead_stats {
    uint64_t used, used_bytes, wasted, wasted_bytes;
};
struct readahead_stats readahead_stats(const struct readahead *ra);

#endif
