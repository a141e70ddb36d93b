/* Rows about blobs on their way in:
 *
 *     size (7 bytes), flags (1), length of the validator (1), validator, repositories, bitmap
 *
 * Repositories, with FLAG_REPOS: their number (1), and of each its id (8) and its proof (1).
 */
#include "cache/index/rows.h"

#include "base/mem.h"
#include "cache/index/rows_codec.h"

#include <string.h>

enum {
    INGEST_HEAD_LEN = 8 + 1,
    INGEST_REPO_LEN = ID_LEN + 1,
    FLAG_PRIVATE = 1,
    FLAG_REPOS = 2,
    FLAG_UNVOUCHED = 4,
    FLAGS_AT = 7
};

static size_t put_repos(uint8_t *out, const struct ingest_row *row)
{
    uint8_t *p = out;

    *p++ = (uint8_t)row->repo_count;
    for (size_t i = 0; i < row->repo_count; i++, p += INGEST_REPO_LEN) {
        put_be64(p, row->repos[i].id);
        p[ID_LEN] = (uint8_t)row->repos[i].proof;
    }
    return (size_t)(p - out);
}

/* Returns their length; 0 if they are not whole. */
static size_t get_repos(const uint8_t *p, size_t len, struct ingest_row *row)
{
    size_t count = len > 0 ? p[0] : 0;

    if (len < 1 + count * INGEST_REPO_LEN || count > INGEST_REPOS_MAX)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *one = p + 1 + i * INGEST_REPO_LEN;
        row->repos[i] = (struct ingest_repo){get_be64(one), one[ID_LEN] == PROOF_BYTES ? PROOF_BYTES : PROOF_HEAD};
    }
    row->repo_count = count;
    return 1 + count * INGEST_REPO_LEN;
}

bool rows_put_ingest(struct index_txn *t, const struct digest *d, const struct ingest_row *row, struct err *err)
{
    size_t text = strnlen(row->validator, VALIDATOR_MAX);
    _cleanup_free_ uint8_t *v =
        xmalloc(INGEST_HEAD_LEN + text + 1 + row->repo_count * INGEST_REPO_LEN + row->bitmap_len);

    put_le64(v, row->size);
    v[FLAGS_AT] = (uint8_t)(FLAG_REPOS | (row->is_private ? FLAG_PRIVATE : 0) | (row->unvouched ? FLAG_UNVOUCHED : 0));
    v[8] = (uint8_t)text;
    uint8_t *p = v + INGEST_HEAD_LEN;
    memcpy(p, row->validator, text);
    p += text;
    p += put_repos(p, row);
    memcpy(p, row->bitmap, row->bitmap_len);
    p += row->bitmap_len;
    return txn_put(t, TABLE_INGEST, digest_key(d), digest_key_len(d), v, (size_t)(p - v), err);
}

bool rows_get_ingest(struct index_txn *t, const struct digest *d, struct ingest_row *row)
{
    struct slice v;

    if (!txn_get(t, TABLE_INGEST, digest_key(d), digest_key_len(d), &v, NULL) || v.len < INGEST_HEAD_LEN)
        return false;
    const uint8_t *p = v.data, *end = p + v.len;
    uint8_t flags = p[FLAGS_AT];
    size_t text = p[8], repos = 0;
    if (v.len < INGEST_HEAD_LEN + text)
        return false;
    *row = (struct ingest_row){.size = get_le64(p) & (INT64_MAX >> 7),
                               .is_private = flags & FLAG_PRIVATE,
                               .unvouched = flags & FLAG_UNVOUCHED};
    p += INGEST_HEAD_LEN;
    memcpy(row->validator, p, text);
    p += text;
    if (flags & FLAG_REPOS && (repos = get_repos(p, (size_t)(end - p), row)) == 0)
        return false;
    row->bitmap = p + repos;
    row->bitmap_len = (size_t)(end - row->bitmap);
    return true;
}

void rows_add_ingest_repo(struct ingest_row *row, uint64_t id, enum proof proof)
{
    size_t i = 0;

    while (i < row->repo_count && row->repos[i].id != id)
        i++;
    if (i == INGEST_REPOS_MAX || (i < row->repo_count && proof != PROOF_BYTES))
        return;
    row->repos[i] = (struct ingest_repo){id, proof};
    row->repo_count = MAX(row->repo_count, i + 1);
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
