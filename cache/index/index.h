/* index.h - what the cache knows: an LMDB environment with the tables below.
 *
 * Layout. Keys that carry a digest carry its key form (algorithm byte + raw bytes, base/digest.h); numbers in keys are
 * big-endian so that they sort; rows are packed little-endian. One transaction keeps every table true at once:
 *
 *     repo    'n' name -> id, visibility;  'i' id -> name
 *     blob    digest -> struct blob_row (rows.h)
 *     tag     repo id, tag -> digest, checked, changed
 *     child   manifest digest -> role, digest, size        (many)  role: 'c' content, 'f' foreign layer, 's' subject,
 *                                                                 'r' referrer
 *     parent  child digest -> holder                       (many)  'm' manifest digest | 't', 'p' repo id, tag
 *     link    digest, repo id -> proved when, how
 *     idle    last used, digest -> nothing                 what nothing refers to, in the order in which GC looks
 *     rank    rank, manifest digest -> nothing             images, in the order in which they are evicted
 *     ingest  digest -> size, validator, segment bitmap
 *     meta    schema, bytes, blobs, manifests, next repo id, policy, clock, what the policy has learned
 *
 * Invariants: a row in `parent` exists exactly for each 'c', 'f' and 'r' row of `child` of a stored manifest, each row
 * of `tag` and each pin of one, so the reference count of a blob is the number of its parents; `idle` has one row for
 * each stored blob without parents, `rank` one for each stored manifest that a tag holds and no pin; whatever a stored
 * manifest holds has a row in `link` for each one that the manifest has; meta's bytes are the sum over `blob`.
 *
 * Threads: one writer thread makes all write transactions, as group commits: it drains its queue into one
 * transaction, syncs once, then completes every caller. What an operator waits for (index_write_first()) is the next
 * commit by itself, whatever is queued. Readers may be on any thread; each keeps a read transaction that is reset and
 * renewed. A crash loses nothing that was completed: LMDB's commit is atomic and synced. */
#ifndef ENTREPOT_CACHE_INDEX_INDEX_H
#define ENTREPOT_CACHE_INDEX_INDEX_H

#include "base/digest.h"
#include "base/loop.h"

struct index;
struct index_txn;

/* Changes with every change of a row's form or of an invariant; upgrade.c makes each one from the one before. */
enum { INDEX_SCHEMA = 3, INDEX_SCHEMA_OLDEST = 2 };

/* `damaged` is called once, on any thread, when the index is found to be damaged; a restart rebuilds it. Handed over
 * with the opening, since the first thread that reads may find the damage. */
struct index_watcher {
    void (*damaged)(void *arg);
    void *arg;
};

/* Opens (creates) the index in `dir`; `map_size` in bytes is where the map begins, it grows as needed; 0: a default.
 * More than half of it unused: it is compacted first. Errors: ERR_IO, ERR_CORRUPT (not an index, or damaged:
 * it can be rebuilt), ERR_OUTDATED (of a schema before INDEX_SCHEMA_OLDEST: index_read_old()), ERR_UNSUPPORTED (of a
 * newer schema). `watcher` is copied; NULL: none. */
struct index *index_open(const char *dir, size_t map_size, const struct index_watcher *watcher, struct err *err);
/* The schema that it had when it was opened; of an index that is new, INDEX_SCHEMA. */
uint32_t index_schema(const struct index *index);
/* Inside a change: it has INDEX_SCHEMA from now on. */
bool index_set_schema(struct index_txn *txn, struct err *err);
/* Reads an index of an outdated schema that is not open. Only `repo`, `tag`, `parent` and `meta` are there. */
bool index_read_old(const char *dir, void (*fn)(struct index_txn *txn, void *arg), void *arg, struct err *err);
/* Waits until every change that was queued is in the index, or has failed, and its `done` was called or posted; whether
 * anything was queued since the last call. One caller. */
bool index_settle(struct index *index);
/* Finishes what is queued. What `done` of that may post to is there until it returns. */
void index_close(struct index *index);

/* Refills the ballast, after space was freed on the disk. */
void index_restock(struct index *index);

/* Queues a change. `apply` runs on the writer thread inside the transaction and may run more than once (the transaction
 * is repeated when the map grows or when a neighbour fails), so it must be idempotent. `done` gets NULL, or why
 * nothing of this change was written; it runs on `loop`, or on the writer thread when `loop` is NULL; it may be NULL.
 * Any thread. */
void index_write(struct index *index, bool (*apply)(struct index_txn *txn, void *arg, struct err *err),
                 void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop);
/* Changes nothing: `done` when everything that was queued before is in the index, or has failed. */
void index_barrier(struct index *index, void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop);
/* A change as by index_write(), waiting for the commit: on any thread but a loop's and the writer's. */
bool index_write_wait(struct index *index, bool (*apply)(struct index_txn *txn, void *arg, struct err *err), void *arg,
                      struct err *err);

/* The same, ahead of what is queued: for a command at a terminal. It may see the index without what has been
 * queued before it. */
bool index_write_first(struct index *index, bool (*apply)(struct index_txn *txn, void *arg, struct err *err), void *arg,
                       struct err *err);

/* Runs fn with a read transaction of the calling thread: one consistent view. Calls do not nest, and fn must be short:
 * an old view keeps pages from being used again. */
void index_read(struct index *index, void (*fn)(struct index_txn *txn, void *arg), void *arg);

/* ---- inside this room: tables on a transaction, for rows*.c ---- */

enum index_table {
    TABLE_REPO,
    TABLE_BLOB,
    TABLE_TAG,
    TABLE_CHILD,
    TABLE_PARENT,
    TABLE_LINK,
    TABLE_IDLE,
    TABLE_RANK,
    TABLE_INGEST,
    TABLE_META,
    TABLE_COUNT,
};

struct slice {
    const void *data;
    size_t len;
};

/* False with ERR_NOT_FOUND if there is no such row. The value is borrowed until the transaction's next write. */
bool txn_get(struct index_txn *txn, enum index_table table, const void *key, size_t key_len, struct slice *value,
             struct err *err);
bool txn_has(struct index_txn *txn, enum index_table table, const void *key, size_t key_len);
bool txn_put(struct index_txn *txn, enum index_table table, const void *key, size_t key_len, const void *value,
             size_t value_len, struct err *err);
/* Deletes a row, in tables with many values the one given (or all: value NULL); true also if there was none, and *gone,
 * when not NULL, says whether there was one. */
bool txn_del(struct index_txn *txn, enum index_table table, const void *key, size_t key_len, const void *value,
             size_t value_len, bool *gone, struct err *err);
/* Whether this key has this very value, in tables with many. */
bool txn_has_value(struct index_txn *txn, enum index_table table, const void *key, size_t key_len, const void *value,
                   size_t value_len);
/* The first value of this key that is not below `from`, in tables with many; false if there is none. */
bool txn_value_from(struct index_txn *txn, enum index_table table, const void *key, size_t key_len, const void *from,
                    size_t from_len, struct slice *value);
/* Number of values of a key in tables with many. */
size_t txn_count(struct index_txn *txn, enum index_table table, const void *key, size_t key_len);
/* Visits the rows from `from` (NULL: the first) as long as fn returns true; fn must not write. */
void txn_each(struct index_txn *txn, enum index_table table, const void *from, size_t from_len,
              bool (*fn)(void *arg, const struct slice *key, const struct slice *value), void *arg);
/* Visits the values of one key. */
void txn_each_value(struct index_txn *txn, enum index_table table, const void *key, size_t key_len,
                    bool (*fn)(void *arg, const struct slice *key, const struct slice *value), void *arg);

#endif
