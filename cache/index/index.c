#include "cache/index/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/latch.h"
#include "base/log.h"

#include <errno.h>

enum {
    MAP_DEFAULT = 64 << 20,
    BATCH_MAX = 1024,  /* changes in one group commit */
    READERS_MS = 1000, /* between two looks for dead readers */
};

struct op {
    STAILQ_ENTRY(op) entry;
    bool (*apply)(struct index_txn *txn, void *arg, struct err *err);
    void (*done)(void *arg, const struct err *err);
    void *arg;
    struct loop *loop;
    struct err err; /* code ERR_OK unless it failed */
};

/* ---- readers ---- */

static void reader_free(void *arg)
{
    struct reader *r = arg;

    pthread_mutex_lock(&r->index->readers_lock);
    SLIST_REMOVE(&r->index->readers, r, reader, entry);
    pthread_mutex_unlock(&r->index->readers_lock);
    if (r->txn)
        mdb_txn_abort(r->txn);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct reader *own_reader(struct index *index)
{
    struct reader *r = pthread_getspecific(index->reader_key);

    if (r)
        return r;
    r = xcalloc(1, sizeof(*r));
    r->index = index;
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_lock(&index->readers_lock);
    SLIST_INSERT_HEAD(&index->readers, r, entry);
    pthread_mutex_unlock(&index->readers_lock);
    pthread_setspecific(index->reader_key, r);
    return r;
}

void index_read(struct index *index, void (*fn)(struct index_txn *txn, void *arg), void *arg)
{
    struct reader *r = own_reader(index);

    pthread_mutex_lock(&r->lock);
    index_enter();
    int rc = !index->env ? MDB_PANIC
             : r->txn    ? mdb_txn_renew(r->txn)
                         : mdb_txn_begin(index->env, NULL, MDB_RDONLY, &r->txn);
    if (rc == 0) {
        struct index_txn t = {.index = index, .txn = r->txn};
        fn(&t, arg);
        mdb_txn_reset(r->txn);
    } else {
        index_check(index, rc);
        log_limited(LOG_LEVEL_ERROR, "index read", "index: beginning a read transaction: %s", mdb_strerror(rc));
    }
    index_leave();
    pthread_mutex_unlock(&r->lock);
}

/* ---- the writer ---- */

/* A full disk: once there is something to give up for it. A broken environment: once it can be opened again. */
static bool can_try_again(struct index *index, int rc, struct err *err)
{
    if (rc == ENOSPC || rc == EDQUOT)
        return index_drop_ballast(index);
    if (rc == MDB_MAP_FULL)
        return index_grow(index, err);
    index_check(index, rc);
    return false;
}

/* Tries the batch as one transaction. False with *again set when it is worth another try: the map grew, or a change
 * failed by itself and now carries its error. */
static bool try_batch(struct index *index, struct ops *batch, bool *again, struct err *err)
{
    struct index_txn t = {.index = index};
    struct op *op;
    int rc = index->env ? mdb_txn_begin(index->env, NULL, 0, &t.txn) : MDB_PANIC;

    *again = false;
    if (rc == MDB_PANIC && !index_reopen(index, err))
        return false;
    if (rc == MDB_PANIC)
        rc = mdb_txn_begin(index->env, NULL, 0, &t.txn);
    if (rc != 0) {
        index_err(err, rc, "beginning a transaction");
        *again = can_try_again(index, rc, err);
        return false;
    }
    STAILQ_FOREACH(op, batch, entry) {
        if (op->err.code != ERR_OK || op->apply(&t, op->arg, &op->err))
            continue;
        mdb_txn_abort(t.txn);
        *again = true;
        if (!t.full)
            return false;
        op->err = (struct err){0};
        *again = index_grow(index, err);
        return false;
    }
    rc = index_why(index, mdb_txn_commit(t.txn));
    if (rc == 0)
        return true;
    index_err(err, rc, "committing");
    *again = can_try_again(index, rc, err);
    return false;
}

static void commit_batch(struct index *index, struct ops *batch)
{
    struct err err = {0};
    bool again = true, committed = false;
    struct op *op;

    index_enter();
    while (again && !committed)
        committed = try_batch(index, batch, &again, &err);
    index_leave();
    if (!committed)
        log_limited(LOG_LEVEL_ERROR, "index write", "index: %s", err.msg);
    STAILQ_FOREACH(op, batch, entry)
        if (!committed && op->err.code == ERR_OK)
            op->err = err;
}

/* A completion on its way to the loop that asked. */
static void complete(void *arg)
{
    struct op *op = arg;

    op->done(op->arg, op->err.code == ERR_OK ? NULL : &op->err);
    free(op);
}

static void finish_batch(struct ops *batch)
{
    while (!STAILQ_EMPTY(batch)) {
        struct op *op = STAILQ_FIRST(batch);
        STAILQ_REMOVE_HEAD(batch, entry);
        if (!op->done) {
            if (op->err.code != ERR_OK)
                log_limited(LOG_LEVEL_ERROR, "index write", "index: %s", op->err.msg);
            free(op);
        } else if (op->loop)
            loop_post(op->loop, complete, op);
        else
            complete(op);
    }
}

/* A process that was killed in the middle of reading (a dump, a backup) would keep every page that was in use then from
 * being used again, and the file would grow with every change. */
static void forget_dead_readers(struct index *index)
{
    int64_t now = clock_mono_ms();
    int dead = 0;

    if (!index->env || now - index->readers_checked_ms < READERS_MS)
        return;
    index->readers_checked_ms = now;
    if (mdb_reader_check(index->env, &dead) == 0 && dead > 0)
        log_info("index: %d dead reader%s forgotten", dead, dead == 1 ? "" : "s");
}

/* With the lock held. */
static bool is_queue_empty(const struct index *index)
{
    HOLDS(&index->lock);
    return STAILQ_EMPTY(&index->first) && STAILQ_EMPTY(&index->queue);
}

/* The same: the next batch. */
static void take_batch(struct index *index, struct ops *batch)
{
    struct ops *from = STAILQ_EMPTY(&index->first) ? &index->queue : &index->first;

    HOLDS(&index->lock);
    for (int n = 0; n < BATCH_MAX && !STAILQ_EMPTY(from); n++) {
        struct op *op = STAILQ_FIRST(from);
        STAILQ_REMOVE_HEAD(from, entry);
        STAILQ_INSERT_TAIL(batch, op, entry);
    }
}

static void *write_thread(void *arg)
{
    struct index *index = arg;

    pthread_setname_np(pthread_self(), "index-writer");
    for (;;) {
        struct ops batch = STAILQ_HEAD_INITIALIZER(batch);
        pthread_mutex_lock(&index->lock);
        index->busy = false;
        pthread_cond_signal(&index->idle);
        while (is_queue_empty(index) && !index->closing)
            pthread_cond_wait(&index->more, &index->lock);
        take_batch(index, &batch);
        index->busy = !STAILQ_EMPTY(&batch);
        pthread_mutex_unlock(&index->lock);
        if (STAILQ_EMPTY(&batch))
            return NULL;
        forget_dead_readers(index);
        commit_batch(index, &batch);
        finish_batch(&batch);
    }
}

static void enqueue(struct index *index, struct ops *queue,
                    bool (*apply)(struct index_txn *txn, void *arg, struct err *err),
                    void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop)
{
    struct op *op = xcalloc(1, sizeof(*op));

    op->apply = apply;
    op->done = done;
    op->arg = arg;
    op->loop = loop;
    pthread_mutex_lock(&index->lock);
    STAILQ_INSERT_TAIL(queue, op, entry);
    index->disturbed = true;
    pthread_cond_signal(&index->more);
    pthread_mutex_unlock(&index->lock);
}

void index_write(struct index *index, bool (*apply)(struct index_txn *txn, void *arg, struct err *err),
                 void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop)
{
    enqueue(index, &index->queue, apply, done, arg, loop);
}

static bool apply_nothing(struct index_txn *txn UNUSED, void *arg UNUSED, struct err *err UNUSED)
{
    return true;
}

void index_barrier(struct index *index, void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop)
{
    index_write(index, apply_nothing, done, arg, loop);
}

/* A change whose caller waits: an op has one `arg` for both of its functions. */
struct index_waiter {
    struct latch written;
    bool (*apply)(struct index_txn *txn, void *arg, struct err *err);
    void *arg;
};

static bool apply_for_waiter(struct index_txn *txn, void *arg, struct err *err)
{
    struct index_waiter *w = arg;

    return w->apply(txn, w->arg, err);
}

static void wake_waiter(void *arg, const struct err *err)
{
    latch_open(&((struct index_waiter *)arg)->written, err);
}

static bool write_and_wait(struct index *index, struct ops *queue,
                           bool (*apply)(struct index_txn *txn, void *arg, struct err *err), void *arg, struct err *err)
{
    struct index_waiter w = {.apply = apply, .arg = arg};

    OFF_LOOPS;
    latch_init(&w.written);
    enqueue(index, queue, apply_for_waiter, wake_waiter, &w, NULL);
    return latch_wait(&w.written, err);
}

bool index_write_wait(struct index *index, bool (*apply)(struct index_txn *txn, void *arg, struct err *err), void *arg,
                      struct err *err)
{
    return write_and_wait(index, &index->queue, apply, arg, err);
}

bool index_write_first(struct index *index, bool (*apply)(struct index_txn *txn, void *arg, struct err *err), void *arg,
                       struct err *err)
{
    return write_and_wait(index, &index->first, apply, arg, err);
}

/* ---- open and close ---- */

struct index *index_open(const char *dir, size_t map_size, const struct index_watcher *watcher, struct err *err)
{
    struct index *index = xcalloc(1, sizeof(*index));

    pthread_mutex_init(&index->lock, NULL);
    pthread_mutex_init(&index->readers_lock, NULL);
    pthread_cond_init(&index->more, NULL);
    pthread_cond_init(&index->idle, NULL);
    STAILQ_INIT(&index->first);
    STAILQ_INIT(&index->queue);
    SLIST_INIT(&index->readers);
    pthread_key_create(&index->reader_key, reader_free);
    index->dir = xstrdup(dir);
    index->mark = xasprintf("%s/damaged", dir);
    index->ballast = xasprintf("%s/ballast", dir);
    index->map_size = map_size ? map_size : MAP_DEFAULT;
    if (watcher)
        index->watcher = *watcher;
    index_watch_faults(index);
    if (index_is_marked(dir)) {
        err_set(err, ERR_CORRUPT, "it was found to be damaged when it was used last");
        goto fail;
    }
    if (!index_open_env(index, err) || !index_look_at_schema(index, err) || !index_compact(index, err) ||
        !index_make_tables(index, err))
        goto fail;
    int rc = pthread_create(&index->writer, NULL, write_thread, index);
    if (rc != 0) {
        errno = rc;
        err_errno(err, ERR_IO, "starting the index writer");
        goto fail;
    }
    index->writing = true;
    if (index_write_wait(index, index_check_schema, NULL, err)) {
        index_restock(index);
        return index;
    }
fail:
    index_close(index);
    err_wrap(err, "index %s", dir);
    return NULL;
}

bool index_wait_written(struct index *index)
{
    OFF_LOOPS;
    pthread_mutex_lock(&index->lock);
    while (index->busy || !is_queue_empty(index))
        pthread_cond_wait(&index->idle, &index->lock);
    bool any = index->disturbed;
    index->disturbed = false;
    pthread_mutex_unlock(&index->lock);
    return any;
}

void index_close(struct index *index)
{
    OFF_LOOPS;
    if (!index)
        return;
    if (index->writing) {
        pthread_mutex_lock(&index->lock);
        index->closing = true;
        pthread_cond_signal(&index->more);
        pthread_mutex_unlock(&index->lock);
        pthread_join(index->writer, NULL);
    }
    /* By now the threads that read are gone, or will not come again. */
    pthread_key_delete(index->reader_key);
    while (!SLIST_EMPTY(&index->readers))
        reader_free(SLIST_FIRST(&index->readers));
    if (index->env)
        mdb_env_close(index->env);
    index_unwatch_faults();
    free(index->dir);
    free(index->mark);
    free(index->ballast);
    pthread_cond_destroy(&index->idle);
    pthread_cond_destroy(&index->more);
    pthread_mutex_destroy(&index->readers_lock);
    pthread_mutex_destroy(&index->lock);
    free(index);
}
