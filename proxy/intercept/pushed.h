/* pushed.h - what the cache is told about content that clients have pushed to a registry, or deleted there, through us:
 * a tag is fresh at once, not after its ttl. */
#ifndef ENTREPOT_PROXY_INTERCEPT_PUSHED_H
#define ENTREPOT_PROXY_INTERCEPT_PUSHED_H

#include "proxy/fetch/fetch.h"
#include "proxy/intercept/path.h"

struct pushed;

/* The site's registry has answered with success. `points_to` is the digest that it has named, DIGEST_NONE if it has
 * not; NULL: the content was deleted. `done` runs on `loop`, later, once a request that begins then
 * finds the new state, or the index cannot be written. Everything is copied. */
struct pushed *pushed_begin(struct cache *cache, struct fetchers *fetchers, const struct site *site,
                            const struct path *what, const struct digest *points_to, void (*done)(void *arg), void *arg,
                            struct loop *loop);
/* `done` is not called any more. On the loop; not once `done` was called. */
void pushed_leave(struct pushed *p);

#endif
