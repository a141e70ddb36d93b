/* Which schema an index has, and reading one that is too old to be opened. */
#include "cache/index/private.h"

uint32_t index_schema(const struct index *index)
{
    return index->schema;
}

bool index_set_schema(struct index_txn *t, struct err *err)
{
    const uint32_t ours = INDEX_SCHEMA;

    return txn_put(t, TABLE_META, "schema", 6, &ours, sizeof(ours), err);
}

static bool can_open(uint32_t schema, struct err *err)
{
    const uint32_t ours = INDEX_SCHEMA;

    if (schema > ours)
        return err_set(err, ERR_UNSUPPORTED,
                       "the index has schema %u of a newer version, this one knows %u: run the version that wrote it, "
                       "or move the index folder away, and it is rebuilt from the blobs",
                       schema, ours);
    return schema >= INDEX_SCHEMA_OLDEST ||
           err_set(err, ERR_OUTDATED, "the index has schema %u of an older version, this one knows %u to %u", schema,
                   (unsigned)INDEX_SCHEMA_OLDEST, ours);
}

bool index_look_at_schema(struct index *index, struct err *err)
{
    struct index_txn t = {.index = index};
    uint32_t schema = INDEX_SCHEMA; /* also of an index that is new */
    struct slice v;

    index_enter();
    int rc = mdb_txn_begin(index->env, NULL, MDB_RDONLY, &t.txn);
    if (rc == 0)
        rc = index_open_table(index, t.txn, TABLE_META, false);
    if (rc == 0 && txn_get(&t, TABLE_META, "schema", 6, &v, NULL)) {
        schema = 0;
        memcpy(&schema, v.data, MIN(v.len, sizeof(schema)));
    }
    if (t.txn)
        mdb_txn_abort(t.txn);
    index_leave();
    return rc == 0 || rc == MDB_NOTFOUND ? can_open(schema, err) : index_err(err, rc, "reading its schema");
}

bool index_check_schema(struct index_txn *t, void *arg UNUSED, struct err *err)
{
    struct slice v;

    t->index->schema = INDEX_SCHEMA;
    if (!txn_get(t, TABLE_META, "schema", 6, &v, NULL))
        return index_set_schema(t, err);
    t->index->schema = 0;
    memcpy(&t->index->schema, v.data, MIN(v.len, sizeof(t->index->schema)));
    return can_open(t->index->schema, err);
}

bool index_read_old(const char *dir, void (*fn)(struct index_txn *txn, void *arg), void *arg, struct err *err)
{
    static const enum index_table tables[] = {TABLE_REPO, TABLE_TAG, TABLE_PARENT, TABLE_META};
    struct index index = {0};
    struct index_txn t = {.index = &index};
    int rc = mdb_env_create(&index.env);

    if (rc != 0)
        return index_err(err, rc, "opening");
    rc = mdb_env_set_maxdbs(index.env, TABLE_COUNT);
    if (rc == 0)
        rc = mdb_env_open(index.env, dir, MDB_RDONLY | MDB_NOLOCK, 0600);
    if (rc == 0)
        rc = mdb_txn_begin(index.env, NULL, MDB_RDONLY, &t.txn);
    for (size_t i = 0; i < ARRAY_LEN(tables) && rc == 0; i++)
        rc = index_open_table(&index, t.txn, tables[i], false);
    if (rc == 0)
        fn(&t, arg);
    if (t.txn)
        mdb_txn_abort(t.txn);
    mdb_env_close(index.env);
    return rc == 0 || index_err(err, rc, "reading");
}
