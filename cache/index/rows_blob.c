/* Changes of a blob's row that have to keep its places (rows_place.c) and the totals true. */
#include "cache/index/rows.h"
#include "cache/index/rows_codec.h"

#include "base/clock.h"

#include <string.h>

bool rows_put_blob(struct index_txn *t, const struct digest *d, const struct blob_row *row, struct err *err)
{
    struct blob_row old, merged = *row;

    merged.flags &= BLOB_MANIFEST | BLOB_PRIVATE;
    merged.clock = rows_clock(t);
    merged.uses = MAX(merged.uses, 1u);
    if (rows_get_blob(t, d, &old)) {
        merged.created = old.created;
        merged.used = old.used;
        merged.uses = old.uses;
        merged.clock = old.clock;
        merged.rank = old.rank;
        if (!(old.flags & BLOB_PRIVATE)) /* what everybody may read stays so */
            merged.flags &= ~(uint32_t)BLOB_PRIVATE;
        merged.flags |= old.flags & ~(uint32_t)BLOB_PRIVATE;
        merged.cost_ms = MAX(merged.cost_ms, old.cost_ms);
        if (merged.ctime_ns == 0)
            merged.ctime_ns = old.ctime_ns;
        if (merged.media_type[0] == '\0')
            memcpy(merged.media_type, old.media_type, sizeof(merged.media_type));
        if (!rows_count_blob(t, &old, -1, err))
            return false;
    }
    return rows_count_blob(t, &merged, 1, err) && rows_write_blob(t, d, &merged, err) && rows_place(t, d, err);
}

bool rows_use_blob(struct index_txn *t, const struct digest *d, int64_t used, uint32_t uses, struct err *err)
{
    struct blob_row row;

    if (!rows_get_blob(t, d, &row))
        return true;
    int64_t before = row.used;
    row.used = MAX(row.used, used);
    row.uses = row.uses > UINT32_MAX - uses ? UINT32_MAX : row.uses + uses;
    row.clock = rows_clock(t);
    if (row.flags & BLOB_IDLE && row.used != before &&
        (!rows_idle_del(t, d, before, err) || !rows_idle_put(t, d, row.used, err)))
        return false;
    return rows_write_blob(t, d, &row, err);
}

bool rows_share_blob(struct index_txn *t, const struct digest *d, struct err *err)
{
    struct blob_row row;

    if (!rows_get_blob(t, d, &row) || !(row.flags & BLOB_PRIVATE))
        return true;
    row.flags &= ~(uint32_t)BLOB_PRIVATE;
    return rows_write_blob(t, d, &row, err);
}

bool rows_verified_blob(struct index_txn *t, const struct digest *d, int64_t ctime_ns, struct err *err)
{
    struct blob_row row;

    if (!rows_get_blob(t, d, &row) || row.ctime_ns == ctime_ns)
        return true;
    row.ctime_ns = ctime_ns;
    return rows_write_blob(t, d, &row, err);
}

bool rows_forget_blob(struct index_txn *t, const struct digest *d, struct err *err)
{
    struct blob_row row;

    return !rows_get_blob(t, d, &row) || (rows_unplace(t, d, &row, err) && rows_count_blob(t, &row, -1, err) &&
                                          txn_del(t, TABLE_BLOB, digest_key(d), digest_key_len(d), NULL, 0, NULL, err));
}
