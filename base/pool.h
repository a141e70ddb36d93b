/* pool.h - worker threads for what may block (fdatasync, rename, unlink, hashing of bulk data). Any thread may queue
 * jobs; they begin in order. */
#ifndef ENTREPOT_BASE_POOL_H
#define ENTREPOT_BASE_POOL_H

#include "base/err.h"

#include <stdint.h>

struct pool;

struct pool *pool_new(const char *name, int threads, struct err *err);
/* The job is known in the log by the name of its function. */
#define pool_run(pool, fn, arg) pool_run_named(pool, #fn, fn, arg)
void pool_run_named(struct pool *pool, const char *name, void (*fn)(void *), void *arg);
/* The log names each job that has been running for longer than `ms`, once. Now and then, on one thread. */
void pool_look(struct pool *pool, int64_t ms);
/* How many of its threads have a job, and how many jobs wait. Any thread. */
struct pool_load {
    const char *name;
    int threads, busy, queued;
};
struct pool_load pool_load(struct pool *pool);
/* Waits until no job is queued or running; returns whether one was queued since the last call. */
bool pool_settle(struct pool *pool);
/* Finishes the queued jobs, then ends the threads. Other threads queue no more jobs by then. */
void pool_free(struct pool *pool);

#endif
