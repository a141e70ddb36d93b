/* assert.h - contracts of functions, checked in every build, released ones too: a process that ends and is restarted is
 * better than a corrupt cache. Never for input from outside.
 *
 *     ON_LOOP(loop)  on the loop's thread; or on any before the loop starts and after it has ended
 *     OFF_LOOPS      this thread runs no loop: the function blocks
 *     HOLDS(lock)    this thread has locked the mutex
 *     IN_STATE(cond) of the object: the order in which its functions may be called
 */
#ifndef ENTREPOT_BASE_ASSERT_H
#define ENTREPOT_BASE_ASSERT_H

#include "base/loop.h"

#include <pthread.h>

/* Reports what does not hold, and aborts. */
_Noreturn void assert_failed(const char *what, const char *function, const char *file, int line);
bool assert_is_mine(const pthread_mutex_t *lock);

#define ASSERT_THAT(ok, what) ((ok) ? (void)0 : assert_failed(what, __func__, __FILE__, __LINE__))
#define ON_LOOP(loop)         ASSERT_THAT(loop_may_touch(loop), "ON_LOOP(" #loop ")")
#define OFF_LOOPS             ASSERT_THAT(!loop_is_any(), "OFF_LOOPS")
#define HOLDS(lock)           ASSERT_THAT(assert_is_mine(lock), "HOLDS(" #lock ")")
#define IN_STATE(condition)   ASSERT_THAT(condition, "IN_STATE(" #condition ")")

#endif
