/* break_index CACHE schema N | parent | total: damages an index as no crash does, for tests of what notices. While no
 * daemon runs. schema: says it is of that version; parent: forgets one reference; total: adds one to the sum of bytes.
 */
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(int rc, const char *what)
{
    if (rc != 0) {
        printf("%s: %s\n", what, mdb_strerror(rc));
        exit(1);
    }
}

static void change_meta(MDB_txn *txn, const char *key, int64_t value, int64_t add, size_t len)
{
    MDB_val k = {strlen(key), (void *)key}, v;
    int64_t now = 0;
    MDB_dbi meta;

    need(mdb_dbi_open(txn, "meta", 0, &meta), "meta");
    need(mdb_get(txn, meta, &k, &v), key);
    memcpy(&now, v.mv_data, v.mv_size < sizeof(now) ? v.mv_size : sizeof(now));
    now = add ? now + add : value;
    v = (MDB_val){len, &now};
    need(mdb_put(txn, meta, &k, &v, 0), key);
}

static void forget_parent(MDB_txn *txn)
{
    MDB_cursor *c;
    MDB_dbi parent;
    MDB_val k, v;

    need(mdb_dbi_open(txn, "parent", MDB_DUPSORT, &parent), "parent");
    need(mdb_cursor_open(txn, parent, &c), "cursor");
    need(mdb_cursor_get(c, &k, &v, MDB_FIRST), "first");
    need(mdb_cursor_del(c, 0), "delete");
    mdb_cursor_close(c);
}

int main(int argc, char **argv)
{
    char dir[4096];
    MDB_env *env;
    MDB_txn *txn;

    if (argc < 3)
        return 2;
    snprintf(dir, sizeof(dir), "%s/index", argv[1]);
    need(mdb_env_create(&env), "create");
    mdb_env_set_maxdbs(env, 32);
    mdb_env_set_mapsize(env, 1 << 30);
    need(mdb_env_open(env, dir, 0, 0600), dir);
    need(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    if (strcmp(argv[2], "schema") == 0 && argc == 4)
        change_meta(txn, "schema", atoi(argv[3]), 0, 4);
    else if (strcmp(argv[2], "parent") == 0)
        forget_parent(txn);
    else if (strcmp(argv[2], "total") == 0)
        change_meta(txn, "bytes", 0, 1, 8);
    else
        return 2;
    need(mdb_txn_commit(txn), "commit");
    mdb_env_close(env);
    return 0;
}
