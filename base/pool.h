/* pool.h - io workers: threads for what may block (fdatasync, rename, unlink, hashing of bulk data). Any thread may
 * hand in work; jobs begin in order. */
#ifndef ENTREPOT_BASE_POOL_H
#define ENTREPOT_BASE_POOL_H

#include "base/err.h"

struct pool;

struct pool *pool_new(const char *name, int threads, struct err *err);
void pool_run(struct pool *pool, void (*fn)(void *), void *arg);
/* Waits until nothing is waiting or being worked on; whether anything was handed in since the last call. */
bool pool_settle(struct pool *pool);
/* Finishes what was handed in, then ends the threads. Who hands in work has ended before. */
void pool_free(struct pool *pool);

#endif
