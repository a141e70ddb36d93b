/* Tables on a transaction. */
#include "cache/index/private.h"

#include "base/log.h"

static MDB_val val(const void *data, size_t len)
{
    return (MDB_val){.mv_size = len, .mv_data = (void *)data};
}

static bool txn_fail(struct index_txn *t, int rc, enum index_table table, struct err *err)
{
    if (rc == MDB_MAP_FULL)
        t->full = true;
    index_check(t->index, rc);
    return index_err(err, rc, index_table_name(table));
}

bool txn_get(struct index_txn *t, enum index_table table, const void *key, size_t key_len, struct slice *value,
             struct err *err)
{
    MDB_val k = val(key, key_len), v;
    int rc = mdb_get(t->txn, t->index->tables[table], &k, &v);

    if (rc != 0)
        return txn_fail(t, rc, table, err);
    *value = (struct slice){v.mv_data, v.mv_size};
    return true;
}

bool txn_has(struct index_txn *t, enum index_table table, const void *key, size_t key_len)
{
    struct slice ignored;

    return txn_get(t, table, key, key_len, &ignored, NULL);
}

bool txn_put(struct index_txn *t, enum index_table table, const void *key, size_t key_len, const void *value,
             size_t value_len, struct err *err)
{
    MDB_val k = val(key, key_len), v = val(value, value_len);
    int rc = mdb_put(t->txn, t->index->tables[table], &k, &v, index_table_has_many(table) ? MDB_NODUPDATA : 0);

    if (rc == 0 || (rc == MDB_KEYEXIST && index_table_has_many(table)))
        return true;
    return txn_fail(t, rc, table, err);
}

bool txn_del(struct index_txn *t, enum index_table table, const void *key, size_t key_len, const void *value,
             size_t value_len, bool *gone, struct err *err)
{
    MDB_val k = val(key, key_len), v = val(value, value_len);
    int rc = mdb_del(t->txn, t->index->tables[table], &k, value ? &v : NULL);

    if (gone)
        *gone = rc == 0;
    if (rc == 0 || rc == MDB_NOTFOUND)
        return true;
    return txn_fail(t, rc, table, err);
}

static MDB_cursor *cursor(struct index_txn *t, enum index_table table)
{
    MDB_cursor *c = NULL;
    int rc = index_check(t->index, mdb_cursor_open(t->txn, t->index->tables[table], &c));

    if (rc != 0 && rc != MDB_BAD_TXN) /* which failed before, and was reported then */
        log_error("index: opening a cursor on %s: %s", index_table_name(table), mdb_strerror(rc));
    return rc == 0 ? c : NULL;
}

bool txn_has_value(struct index_txn *t, enum index_table table, const void *key, size_t key_len, const void *value,
                   size_t value_len)
{
    MDB_val k = val(key, key_len), v = val(value, value_len);
    MDB_cursor *c = cursor(t, table);

    if (!c)
        return false;
    int rc = index_check(t->index, mdb_cursor_get(c, &k, &v, MDB_GET_BOTH));
    mdb_cursor_close(c);
    return rc == 0;
}

bool txn_value_from(struct index_txn *t, enum index_table table, const void *key, size_t key_len, const void *from,
                    size_t from_len, struct slice *value)
{
    MDB_val k = val(key, key_len), v = val(from, from_len);
    MDB_cursor *c = cursor(t, table);

    if (!c)
        return false;
    int rc = index_check(t->index, mdb_cursor_get(c, &k, &v, MDB_GET_BOTH_RANGE));
    mdb_cursor_close(c);
    *value = (struct slice){v.mv_data, v.mv_size};
    return rc == 0;
}

size_t txn_count(struct index_txn *t, enum index_table table, const void *key, size_t key_len)
{
    MDB_val k = val(key, key_len), v;
    MDB_cursor *c = cursor(t, table);
    size_t count = 0;

    if (!c)
        return 0;
    if (index_check(t->index, mdb_cursor_get(c, &k, &v, MDB_SET)) == 0)
        index_check(t->index, mdb_cursor_count(c, &count));
    mdb_cursor_close(c);
    return count;
}

static void txn_visit(struct index_txn *t, enum index_table table, MDB_val k, MDB_cursor_op first, MDB_cursor_op next,
                      bool (*fn)(void *arg, const struct slice *key, const struct slice *value), void *arg)
{
    MDB_val v;
    MDB_cursor *c = cursor(t, table);

    if (!c)
        return;
    int rc;
    for (rc = mdb_cursor_get(c, &k, &v, first); rc == 0; rc = mdb_cursor_get(c, &k, &v, next)) {
        const struct slice key = {k.mv_data, k.mv_size}, value = {v.mv_data, v.mv_size};
        if (!fn(arg, &key, &value))
            break;
    }
    index_check(t->index, rc);
    mdb_cursor_close(c);
}

void txn_each(struct index_txn *t, enum index_table table, const void *from, size_t from_len,
              bool (*fn)(void *arg, const struct slice *key, const struct slice *value), void *arg)
{
    txn_visit(t, table, val(from, from_len), from ? MDB_SET_RANGE : MDB_FIRST, MDB_NEXT, fn, arg);
}

void txn_each_value(struct index_txn *t, enum index_table table, const void *key, size_t key_len,
                    bool (*fn)(void *arg, const struct slice *key, const struct slice *value), void *arg)
{
    txn_visit(t, table, val(key, key_len), MDB_SET_KEY, MDB_NEXT_DUP, fn, arg);
}
