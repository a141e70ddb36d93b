/* loop.h - an event loop with a thread and a mailbox.
 *
 * Loops talk by posting closures to each other's mailbox; no lock is held while a closure runs. A closure posted by one
 * thread runs after those the same thread posted before. The loop's event_base may be used only on the loop's own
 * thread.
 */
#ifndef ENTREPOT_BASE_LOOP_H
#define ENTREPOT_BASE_LOOP_H

#include "base/err.h"

#include <stdint.h>

struct event_base;
struct loop;

/* `name` shows in thread listings (15 bytes at most). Errors: ERR_IO. */
struct loop *loop_new(const char *name, struct err *err);
struct event_base *loop_base(struct loop *loop);
const char *loop_name(const struct loop *loop);
/* Runs fn(arg) on the loop, soon. Any thread; also before loop_start(). */
void loop_post(struct loop *loop, void (*fn)(void *), void *arg);
/* Starts a thread that runs the loop until loop_stop(). */
bool loop_start(struct loop *loop, struct err *err);
/* Runs the loop on the calling thread until loop_stop(). */
void loop_run(struct loop *loop);
/* Asks the loop to end after what it is doing. Any thread. */
void loop_stop(struct loop *loop);
/* Waits for the thread of loop_start(); runs what is still in the mailbox on the caller's thread. */
void loop_join(struct loop *loop);
/* After the loop has ended: runs what is in its mailbox on the caller's thread, as if the loop did. Whether there was
 * anything. */
bool loop_settle(struct loop *loop);
/* Whether this thread may touch what belongs to the loop: it is the loop's, or the loop does not run. */
bool loop_may_touch(const struct loop *loop);
/* What a loop with many callbacks in a turn calls in each: there is progress, even if a turn takes long. On it. */
void loop_beat(struct loop *loop);
/* How often it did. Any thread. */
uint64_t loop_beats(const struct loop *loop);
/* Has the loop's thread write to stderr where it is, and waits for at most `ms`. False: it did not, or the loop does
 * not run. On one thread, which is not the loop's, and while the loop is not being stopped. */
bool loop_backtrace(const struct loop *loop, int ms);
/* Whether this thread runs a loop. */
bool loop_is_any(void);
void loop_free(struct loop *loop);

#endif
