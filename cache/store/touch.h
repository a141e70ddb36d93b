/* touch.h - when blobs were last used, until that is written to the index.
 *
 * A touch (last used now, one more use) is gathered in memory and written with all others in one transaction: every few
 * seconds, and before every collection. So a hit costs no write. A blob with a touch that is not written yet counts as
 * in use. What was written is kept for the collector, which learns from it. Any thread.
 */
#ifndef ENTREPOT_CACHE_STORE_TOUCH_H
#define ENTREPOT_CACHE_STORE_TOUCH_H

#include "cache/index/index.h"

struct touches;

struct touches *touches_new(void);
void touches_free(struct touches *all);

/* One use of the blob, now. */
void touches_add(struct touches *all, const struct digest *d);
/* The blob has come in, now, because it was requested: a use that its row has counted already. */
void touches_add_new(struct touches *all, const struct digest *d);
/* Whether it has a touch that is not written yet. */
bool touches_has(struct touches *all, const struct digest *d);
/* Writes the touches gathered so far; `done` (may be NULL) as for index_write(). */
void touches_flush(struct touches *all, struct index *index, void (*done)(void *arg, const struct err *err), void *arg,
                   struct loop *loop);

/* How often a blob was requested, be it that it was here or that it had to be fetched. */
struct requested {
    struct digest digest;
    uint32_t times;
};
/* Hands over what was written since the last call, in the order in which it was first requested; the caller frees the
 * list. At most TOUCHES_KEPT blobs: what exceeds them is not reported. */
enum { TOUCHES_KEPT = 4096 };
size_t touches_take(struct touches *all, struct requested **list);

#endif
