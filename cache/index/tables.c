/* Which tables there are. */
#include "cache/index/private.h"

#include <errno.h>

static const struct {
    const char *name;
    unsigned flags;
} TABLES[TABLE_COUNT] = {
    [TABLE_REPO] = {"repo", 0},
    [TABLE_BLOB] = {"blob", 0},
    [TABLE_TAG] = {"tag", 0},
    [TABLE_CHILD] = {"child", MDB_DUPSORT},
    [TABLE_PARENT] = {"parent", MDB_DUPSORT},
    [TABLE_LINK] = {"link", 0},
    [TABLE_IDLE] = {"idle", 0},
    [TABLE_RANK] = {"rank", 0},
    [TABLE_INGEST] = {"ingest", 0},
    [TABLE_META] = {"meta", 0},
};

const char *index_table_name(enum index_table table)
{
    return TABLES[table].name;
}

bool index_table_has_many(enum index_table table)
{
    return TABLES[table].flags & MDB_DUPSORT;
}

bool index_err(struct err *err, int rc, const char *what)
{
    enum err_code code = rc == MDB_NOTFOUND                                ? ERR_NOT_FOUND
                         : rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND  ? ERR_CORRUPT
                         : rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH ? ERR_CORRUPT
                         : rc == ENOSPC || rc == EDQUOT                    ? ERR_NO_SPACE
                                                                           : ERR_IO;
    return err_set(err, code, "%s: %s", what, mdb_strerror(rc));
}

int index_open_table(struct index *index, MDB_txn *txn, enum index_table table, bool create)
{
    return mdb_dbi_open(txn, TABLES[table].name, (create ? MDB_CREATE : 0u) | TABLES[table].flags,
                        &index->tables[table]);
}

int index_open_tables(struct index *index, MDB_txn *txn, bool create)
{
    int rc = 0;

    for (int i = 0; i < TABLE_COUNT && rc == 0; i++)
        rc = index_open_table(index, txn, (enum index_table)i, create);
    return rc;
}
