/* importing.h - leases on what is being imported, however long that takes.
 *
 * An import sends its blobs one after the other and enters its images at the end; until then nothing refers to them,
 * and a collection would take those that are older than gc.grace. So each blob that an import has sent, or has found
 * here, holds one lease (lease.h), however many pieces it comes in: until something that is entered refers to it, or
 * no import has been active for IMPORTING_IDLE_MS.
 *
 * Any thread.
 */
#ifndef ENTREPOT_CACHE_IMPORTING_H
#define ENTREPOT_CACHE_IMPORTING_H

#include "cache/index/index.h"
#include "cache/store/lease.h"

enum { IMPORTING_IDLE_MS = 60000 };

struct importing;

struct importing *importing_new(struct leases *leases, struct index *index);
void importing_free(struct importing *all);
/* Around each request of an import: it is active. */
void importing_begin(struct importing *all);
void importing_end(struct importing *all);
/* An import needs the blob. */
void importing_hold(struct importing *all, const struct digest *d);
/* Around the writing of a batch: one at a time writes, so that what two of them have is written once. Blocks. */
void importing_lock_writing(struct importing *all);
void importing_unlock_writing(struct importing *all);
/* Images have been entered: what they refer to needs no lease any more. */
void importing_release_entered(struct importing *all);
/* Before a collection: releases all leases if no import has been active for a while. */
void importing_expire(struct importing *all);

#endif
