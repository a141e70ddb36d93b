#include "base/latch.h"

#include "base/assert.h"

void latch_init(struct latch *l)
{
    *l = (struct latch){0};
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->opened, NULL);
}

void latch_open(void *latch, const struct err *err)
{
    struct latch *l = latch;

    pthread_mutex_lock(&l->lock);
    IN_STATE(!l->is_open);
    l->failed = err != NULL;
    if (err)
        l->err = *err;
    l->is_open = true;
    pthread_cond_signal(&l->opened);
    pthread_mutex_unlock(&l->lock); /* the waiter returns after this, and may free the latch */
}

bool latch_wait(struct latch *l, struct err *err)
{
    pthread_mutex_lock(&l->lock);
    while (!l->is_open)
        pthread_cond_wait(&l->opened, &l->lock);
    pthread_mutex_unlock(&l->lock);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->opened);
    if (l->failed && err)
        *err = l->err;
    return !l->failed;
}
