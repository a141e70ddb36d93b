/* private.h - shared by the files about the index itself: tables.c ◀ damage.c ◀ txn.c, env.c ◀ schema.c, map.c,
 * compact.c ◀ index.c, each of which uses those before it. The rows (rows*.c) use index.h alone. */
#ifndef ENTREPOT_CACHE_INDEX_PRIVATE_H
#define ENTREPOT_CACHE_INDEX_PRIVATE_H

#include "cache/index/index.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
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
    char *dir, *mark, *ballast;
    size_t map_size;
    struct index_watcher watcher;
    atomic_bool damaged;
    /* set once, and when the environment has to be opened again (under all readers' locks, by the writer) */
    MDB_env *env; /* NULL: it could not be */
    MDB_dbi tables[TABLE_COUNT];
    pthread_key_t reader_key;
    pthread_t writer;
    bool writing;
    uint32_t schema;            /* when it was opened */
    int64_t readers_checked_ms; /* the writer's; monotonic */
    /* shared, under lock */
    pthread_mutex_t lock;
    pthread_cond_t more, idle;
    struct ops first, queue; /* each is taken by itself, `first` first */
    bool busy;               /* the writer has a batch */
    bool disturbed;          /* since the last index_wait_written() */
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

/* ---- tables.c ---- */

const char *index_table_name(enum index_table table);
/* Whether a key may have many values (MDB_DUPSORT). */
bool index_table_has_many(enum index_table table);
/* Opens the tables; creates them (in a write transaction) if they may be. Returns LMDB's code. */
int index_open_tables(struct index *index, MDB_txn *txn, bool create);
int index_open_table(struct index *index, MDB_txn *txn, enum index_table table, bool create);
bool index_err(struct err *err, int rc, const char *what);

/* ---- env.c ---- */

/* Opens the environment in index->dir. Errors: as index_open(). */
bool index_open_env(struct index *index, struct err *err);
/* The tables, in a transaction of their own. Errors: as index_open(). */
bool index_make_tables(struct index *index, struct err *err);

/* ---- schema.c, map.c, compact.c ---- */

/* schema.c: whether its schema is one that this version knows; nothing is changed. Errors: ERR_UNSUPPORTED,
 * ERR_OUTDATED, ERR_CORRUPT, ERR_IO. */
bool index_look_at_schema(struct index *index, struct err *err);
/* map.c: the writer's. Doubles the map; if it cannot be, what there is stays as it is. Errors: ERR_IO. */
bool index_grow(struct index *index, struct err *err);
/* Closes the environment and opens it. Errors: as index_open(); it is closed then. */
bool index_reopen(struct index *index, struct err *err);
/* schema.c */
bool index_check_schema(struct index_txn *t, void *arg, struct err *err);
/* compact.c: before there is a writer or a reader. Errors: as index_open(); not being able to is none. */
bool index_compact(struct index *index, struct err *err);
/* ---- damage.c ---- */

bool index_is_marked(const char *dir);
/* Whether everything that is in use is there, after opening. Errors: ERR_IO, ERR_CORRUPT. */
bool index_check_size(struct index *index, const char *data, struct err *err);
/* Every code that LMDB returns goes through here: one that says that the file is not what it should be marks the index
 * and calls its watcher, once. Returns the code. */
int index_check(struct index *index, int rc);
/* Around everything that reads the map: a fault in between is the index's. */
void index_enter(void);
void index_leave(void);
void index_watch_faults(struct index *index);
/* LMDB's own assertions about its pages; of index->env, before it is opened. */
void index_watch_assertions(struct index *index);
void index_unwatch_faults(void);
/* Gives the disk some room back, once. */
bool index_drop_ballast(struct index *index);
/* A commit's error: of a disk that takes a part of a write because it is full, LMDB says EIO; then ENOSPC. What others
 * have given back since may have made a little room again. */
int index_why(const struct index *index, int rc);

#endif
