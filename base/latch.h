/* latch.h - waits for something that ends on another thread.
 *
 *     struct latch l;
 *     latch_init(&l);
 *     begin_something(latch_open, &l);     its callback, with the error or NULL
 *     return latch_wait(&l, err);          waits, and frees what latch_init() made
 *
 * For threads that may block, not for loops.
 */
#ifndef ENTREPOT_BASE_LATCH_H
#define ENTREPOT_BASE_LATCH_H

#include "base/err.h"

#include <pthread.h>

struct latch {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool is_open;
    bool failed;
    struct err err;
};

void latch_init(struct latch *l);
/* `latch` is a struct latch, `err` the error (NULL: success; copied). Once. Any thread. */
void latch_open(void *latch, const struct err *err);
/* Returns whether it succeeded, and else sets *err (may be NULL). Once, on the thread that made it. */
bool latch_wait(struct latch *l, struct err *err);

#endif
