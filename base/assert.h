/* assert.h - what a function may rely on, said in code. In every build: a wrong thread ends the process in a test,
 * where it would corrupt something in the field. Never for input from outside.
 *
 *     ON_LOOP(loop)  this is the loop's thread; or nobody's yet or any more, before it starts and after it has ended
 *     HOLDS(lock)    this thread has locked the mutex
 *     OFF_LOOPS      this thread runs no loop: the function blocks
 *     IN_STATE(cond) of the object: the order in which its functions may be called
 */
#ifndef ENTREPOT_BASE_ASSERT_H
#define ENTREPOT_BASE_ASSERT_H

#include "base/loop.h"

#include <pthread.h>

/* Says what did not hold, and aborts. */
_Noreturn void assert_failed(const char *what, const char *function, const char *file, int line);
bool assert_is_mine(pthread_mutex_t *lock);

#define ASSERT_THAT(ok, what) ((ok) ? (void)0 : assert_failed(what, __func__, __FILE__, __LINE__))
#define ON_LOOP(loop)         ASSERT_THAT(loop_may_touch(loop), "ON_LOOP(" #loop ")")
#define OFF_LOOPS             ASSERT_THAT(!loop_is_any(), "OFF_LOOPS")
#define HOLDS(lock)           ASSERT_THAT(assert_is_mine(lock), "HOLDS(" #lock ")")
#define IN_STATE(condition)   ASSERT_THAT(condition, "IN_STATE(" #condition ")")

#endif
