/* lease.h - which blobs are being served or brought in.
 *
 * A lease keeps a blob from being collected, whether it is in the index yet or not. Leases are counted, in memory only:
 * after a restart there are none. Any thread.
 */
#ifndef ENTREPOT_CACHE_STORE_LEASE_H
#define ENTREPOT_CACHE_STORE_LEASE_H

#include "base/digest.h"

struct leases;

struct leases *leases_new(void);
void leases_free(struct leases *all);

/* Each lease that is taken is released once. */
void leases_take(struct leases *all, const struct digest *d);
void leases_release(struct leases *all, const struct digest *d);
bool leases_has(struct leases *all, const struct digest *d);

#endif
