/* The map of the index, when it grows, or has to be opened again: LMDB allows no transaction meanwhile, so the writer
 * takes every reader's lock. */
#include "cache/index/private.h"

#include "base/assert.h"
#include "base/log.h"

#include <errno.h>
#include <sys/mman.h>

static void lock_readers(struct index *index)
{
    struct reader *r;

    pthread_mutex_lock(&index->readers_lock);
    SLIST_FOREACH(r, &index->readers, entry)
        pthread_mutex_lock(&r->lock);
}

static void unlock_readers(struct index *index)
{
    struct reader *r;

    SLIST_FOREACH(r, &index->readers, entry)
        pthread_mutex_unlock(&r->lock);
    pthread_mutex_unlock(&index->readers_lock);
}

/* With the readers locked. */
static bool reopen_env(struct index *index, struct err *err)
{
    struct reader *r;

    HOLDS(&index->readers_lock);
    SLIST_FOREACH(r, &index->readers, entry) {
        if (r->txn)
            mdb_txn_abort(r->txn);
        r->txn = NULL;
    }
    if (index->env)
        mdb_env_close(index->env);
    index->env = NULL;
    bool ok = index_open_env(index, err) && index_make_tables(index, err);
    if (!ok && index->env) {
        mdb_env_close(index->env);
        index->env = NULL;
    }
    return ok || err_wrap(err, "opening the index again");
}

/* After a failed write of its head, LMDB wants the environment to be opened again. */
bool index_reopen(struct index *index, struct err *err)
{
    lock_readers(index);
    bool ok = reopen_env(index, err);
    unlock_readers(index);
    return ok;
}

/* Whether there are so many bytes of addresses. A limit on them (RLIMIT_AS), or 32 bits, may not have them. */
static int try_to_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return errno;
    munmap(p, bytes);
    return 0;
}

/* Doubles the map. LMDB wants no transaction of this process open meanwhile, so every reader is held off. It unmaps
 * before it maps, and has no map at all when that fails: so it is tried first, beside the old one, which stays. Should
 * the addresses have been taken since, the environment is opened again. */
bool index_grow(struct index *index, struct err *err)
{
    MDB_envinfo info;

    mdb_env_info(index->env, &info);
    int rc = try_to_map(info.me_mapsize * 2);
    if (rc != 0)
        return index_err(err, rc, "growing the index's map");
    lock_readers(index);
    rc = mdb_env_set_mapsize(index->env, info.me_mapsize * 2);
    bool has_map = rc == 0 || reopen_env(index, err);
    unlock_readers(index);
    if (rc != 0)
        return has_map ? index_err(err, rc, "growing the index's map") : false;
    log_info("index: map grown to %zu MiB", info.me_mapsize * 2 >> 20);
    return true;
}
