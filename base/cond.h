/* cond.h - condition variables with a time-out of monotonic time, which a wall clock that is set back does not prolong.
 * Any thread. */
#ifndef ENTREPOT_BASE_COND_H
#define ENTREPOT_BASE_COND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* For cond_wait_until(); destroyed by pthread_cond_destroy(). */
void cond_init(pthread_cond_t *cond);
/* With `lock` held: waits for a signal until clock_mono_ms() is `until_ms`; false when it is. May return true without a
 * signal, as pthread_cond_wait(). */
bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms);

#endif
