/* use.h - who is using what, in memory: touches and leases.
 *
 * A touch (last used, one more use) is gathered here and written to the index in one transaction every few seconds and
 * before every collection, so that a hit costs no write. A lease holds a blob that is being served or brought in; GC
 * passes it over. Any thread.
 */
#ifndef ENTREPOT_CACHE_USE_H
#define ENTREPOT_CACHE_USE_H

#include "cache/index/index.h"

struct use;

struct use *use_new(void);
void use_free(struct use *u);

/* One use of the blob, now. */
void use_touch(struct use *u, const struct digest *d);
void use_lease(struct use *u, const struct digest *d);
void use_release(struct use *u, const struct digest *d);
bool use_is_leased(struct use *u, const struct digest *d);

/* Writes the touches gathered so far; `done` as for index_write(). */
void use_flush(struct use *u, struct index *index, void (*done)(void *arg, const struct err *err), void *arg,
               struct loop *loop);

#endif
