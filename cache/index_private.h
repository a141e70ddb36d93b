/* index_private.h - shared by index.c and index_txn.c only. */
#ifndef ENTREPOT_CACHE_INDEX_PRIVATE_H
#define ENTREPOT_CACHE_INDEX_PRIVATE_H

#include "cache/index.h"

#include <lmdb.h>
#include <pthread.h>
#include <sys/queue.h>

struct op;
STAILQ_HEAD(ops, op);

/* A thread's read transaction. The lock is the thread's own in all but one case: the writer takes every reader's lock
 * while it changes the size of the map, when LMDB allows no transaction. */
struct reader {
    SLIST_ENTRY(reader) entry;
    struct index *index;
    pthread_mutex_t lock;
    MDB_txn *txn;
};

struct index {
    /* set once */
    MDB_env *env;
    MDB_dbi tables[TABLE_COUNT];
    pthread_key_t reader_key;
    pthread_t writer;
    bool writing;
    /* shared, under lock */
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct ops queue;
    bool closing;
    /* shared, under readers_lock */
    pthread_mutex_t readers_lock;
    SLIST_HEAD(, reader) readers;
};

struct index_txn {
    struct index *index;
    MDB_txn *txn;
    bool full; /* a put hit the end of the map */
};

/* Opens (creates) the tables in a write transaction; returns LMDB's code. */
int index_open_tables(struct index *index, MDB_txn *txn);
bool index_err(struct err *err, int rc, const char *what);

#endif
