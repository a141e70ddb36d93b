/* Rows about blobs on their way in:
 *
 *     size (8 bytes), length of the validator (1), validator, bitmap
 */
#include "cache/index/rows.h"

#include "base/mem.h"
#include "cache/index/rows_codec.h"

#include <string.h>

enum { INGEST_HEAD_LEN = 8 + 1 };

bool rows_put_ingest(struct index_txn *t, const struct digest *d, const struct ingest_row *row, struct err *err)
{
    size_t text = strnlen(row->validator, VALIDATOR_MAX);
    _cleanup_free_ uint8_t *v = xmalloc(INGEST_HEAD_LEN + text + row->bitmap_len);

    put_le64(v, row->size);
    v[8] = (uint8_t)text;
    memcpy(v + INGEST_HEAD_LEN, row->validator, text);
    memcpy(v + INGEST_HEAD_LEN + text, row->bitmap, row->bitmap_len);
    return txn_put(t, TABLE_INGEST, digest_key(d), digest_key_len(d), v, INGEST_HEAD_LEN + text + row->bitmap_len, err);
}

bool rows_get_ingest(struct index_txn *t, const struct digest *d, struct ingest_row *row)
{
    struct slice v;

    if (!txn_get(t, TABLE_INGEST, digest_key(d), digest_key_len(d), &v, NULL) || v.len < INGEST_HEAD_LEN)
        return false;
    const uint8_t *p = v.data;
    size_t text = p[8];
    if (v.len < INGEST_HEAD_LEN + text)
        return false;
    *row = (struct ingest_row){.size = get_le64(p)};
    memcpy(row->validator, p + INGEST_HEAD_LEN, text);
    row->bitmap = p + INGEST_HEAD_LEN + text;
    row->bitmap_len = v.len - INGEST_HEAD_LEN - text;
    return true;
}

struct ingest_visit {
    const struct digest *after;
    bool (*fn)(void *arg, const struct digest *d);
    void *arg;
};

static bool visit_ingest(void *arg, const struct slice *key, const struct slice *value UNUSED)
{
    struct ingest_visit *v = arg;
    struct digest d;

    if (!digest_from_key(&d, key->data, key->len) || (v->after && digest_eq(v->after, &d)))
        return true;
    return v->fn(v->arg, &d);
}

void rows_each_ingest(struct index_txn *t, const struct digest *after, bool (*fn)(void *arg, const struct digest *d),
                      void *arg)
{
    txn_each(t, TABLE_INGEST, after ? digest_key(after) : NULL, after ? digest_key_len(after) : 0, visit_ingest,
             &(struct ingest_visit){after, fn, arg});
}

bool rows_has_ingest(struct index_txn *t, const struct digest *d)
{
    return txn_has(t, TABLE_INGEST, digest_key(d), digest_key_len(d));
}

bool rows_drop_ingest(struct index_txn *t, const struct digest *d, struct err *err)
{
    return txn_del(t, TABLE_INGEST, digest_key(d), digest_key_len(d), NULL, 0, NULL, err);
}
