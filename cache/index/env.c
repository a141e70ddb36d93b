/* The environment of the index: opening it, and its tables. */
#include "cache/index/private.h"

#include <sys/stat.h>

bool index_make_tables(struct index *index, struct err *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(index->env, NULL, 0, &txn);

    if (rc != 0)
        return index_err(err, rc, "beginning a transaction");
    index_enter();
    rc = index_open_tables(index, txn, true);
    index_leave();
    if (rc != 0) {
        mdb_txn_abort(txn);
        return index_err(err, rc, "opening the tables");
    }
    rc = mdb_txn_commit(txn);
    return rc == 0 ? true : index_err(err, rc, "opening the tables");
}

bool index_open_env(struct index *index, struct err *err)
{
    size_t map_size = index->map_size;
    struct stat st;
    _cleanup_free_ char *data = xasprintf("%s/data.mdb", index->dir);

    /* The map is never smaller than the file, and leaves space to write before it must grow. */
    if (stat(data, &st) == 0)
        map_size = MAX(map_size, (size_t)st.st_size + (size_t)st.st_size / 2);
    int rc = mdb_env_create(&index->env);
    if (rc == 0)
        index_watch_assertions(index);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(index->env, TABLE_COUNT);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(index->env, 256);
    if (rc == 0)
        rc = mdb_env_set_mapsize(index->env, (map_size + 0xffff) & ~(size_t)0xffff);
    if (rc == 0)
        rc = mdb_env_open(index->env, index->dir, MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (rc != 0)
        return index_err(err, rc, "opening");
    return index_check_size(index, data, err);
}
