/* touch.h - when blobs were last used, until that is written to the index.
 *
 * A touch (last used now, one more use) is gathered in memory and written with all others in one transaction: every few
 * seconds, and before every collection. So a hit costs no write. A blob with a touch that is not written yet counts as
 * in use. Any thread.
 */
#ifndef ENTREPOT_CACHE_STORE_TOUCH_H
#define ENTREPOT_CACHE_STORE_TOUCH_H

#include "cache/index/index.h"

struct touches;

struct touches *touches_new(void);
void touches_free(struct touches *all);

/* One use of the blob, now. */
void touches_add(struct touches *all, const struct digest *d);
/* Whether it has a touch that is not written yet. */
bool touches_has(struct touches *all, const struct digest *d);
/* Writes the touches gathered so far; `done` (may be NULL) as for index_write(). */
void touches_flush(struct touches *all, struct index *index, void (*done)(void *arg, const struct err *err), void *arg,
                   struct loop *loop);

#endif
