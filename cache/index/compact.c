/* LMDB gives pages that are free to later transactions, never back to the disk: after a great collection the file stays
 * as large as it was. At a start with more than half of it free it is copied without that.
 *
 * A crash leaves the old file or the new one: the copy is made beside it, synced, and renamed over it.
 */
#include "cache/index/private.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static const int64_t WORTH_BYTES = 4 << 20; /* below that it is not worth the writing */

/* Pages that are free; the rows of LMDB's own table 0 are lists of them, each beginning with its length. */
static int count_free(MDB_txn *txn, size_t *pages)
{
    MDB_cursor *c;
    MDB_val k, v;
    int rc = mdb_cursor_open(txn, 0, &c);

    *pages = 0;
    if (rc != 0)
        return rc;
    while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0)
        if (v.mv_size >= sizeof(size_t))
            *pages += *(const size_t *)v.mv_data;
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static bool is_worth_it(struct index *index)
{
    MDB_envinfo info;
    MDB_stat stat;
    MDB_txn *txn;
    size_t unused = 0;

    mdb_env_info(index->env, &info);
    mdb_env_stat(index->env, &stat);
    if (mdb_txn_begin(index->env, NULL, MDB_RDONLY, &txn) != 0)
        return false;
    index_enter();
    int rc = count_free(txn, &unused);
    index_leave();
    mdb_txn_abort(txn);
    return rc == 0 && unused * 2 > info.me_last_pgno + 1 && (int64_t)(unused * stat.ms_psize) >= WORTH_BYTES;
}

static bool sync_path(const char *path, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

    return (fd >= 0 && fsync(fd) == 0) || err_errno(err, ERR_IO, "syncing %s", path);
}

static bool compact_copy(struct index *index, const char *fresh, struct err *err)
{
    _cleanup_close_ int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_errno(err, ERR_IO, "creating %s", fresh);
    index_enter();
    int rc = mdb_env_copyfd2(index->env, fd, MDB_CP_COMPACT);
    index_leave();
    if (rc != 0)
        return index_err(err, rc, "copying");
    return fsync(fd) == 0 || err_errno(err, ERR_IO, "syncing %s", fresh);
}

/* A copy counts its transactions from 1: the lock file, where LMDB has that number while anybody has the index open (a
 * dump, a backup), starts with the new one. A process that has the old one open keeps it. */
static bool replace(struct index *index, const char *fresh, const char *data, struct err *err)
{
    _cleanup_free_ char *lock = xasprintf("%s/lock.mdb", index->dir);

    if (unlink(lock) != 0 && errno != ENOENT)
        return err_errno(err, ERR_IO, "removing %s", lock);
    return rename(fresh, data) == 0 ? sync_path(index->dir, err) : err_errno(err, ERR_IO, "replacing %s", data);
}

bool index_compact(struct index *index, struct err *err)
{
    _cleanup_free_ char *data = xasprintf("%s/data.mdb", index->dir), *fresh = xasprintf("%s/data.mdb.new", index->dir);
    struct stat before, after;
    struct err why = {0};

    unlink(fresh); /* of a start that was cut off */
    if (!is_worth_it(index) || stat(data, &before) != 0)
        return true;
    bool copied = compact_copy(index, fresh, &why);
    mdb_env_close(index->env);
    index->env = NULL;
    bool replaced = copied && replace(index, fresh, data, &why);
    if (!replaced) {
        unlink(fresh);
        log_warn("the index stays as large as it is (%lld MiB): %s", (long long)before.st_size >> 20, why.msg);
    }
    if (!index_open_env(index, err))
        return false;
    if (replaced && stat(data, &after) == 0)
        log_info("index: %lld MiB were more than half unused: it has %lld MiB now", (long long)before.st_size >> 20,
                 (long long)after.st_size >> 20);
    return true;
}
