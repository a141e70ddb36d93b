#include "cache/index/rows.h"

#include "cache/index/rows_codec.h"

#include <stdio.h>

/* ---- meta ---- */

static int64_t meta_get(struct index_txn *t, const char *name)
{
    struct slice v;

    return txn_get(t, TABLE_META, name, strlen(name), &v, NULL) && v.len == 8 ? get_le64(v.data) : 0;
}

static bool meta_add(struct index_txn *t, const char *name, int64_t delta, struct err *err)
{
    uint8_t v[8];

    put_le64(v, meta_get(t, name) + delta);
    return txn_put(t, TABLE_META, name, strlen(name), v, sizeof(v), err);
}

bool rows_count_blob(struct index_txn *t, const struct blob_row *row, int sign, struct err *err)
{
    return meta_add(t, "bytes", sign * row->size, err) && meta_add(t, "blobs", sign, err) &&
           (!(row->flags & BLOB_MANIFEST) || meta_add(t, "manifests", sign, err));
}

double rows_clock(struct index_txn *t)
{
    struct slice v;

    return txn_get(t, TABLE_META, "clock", 5, &v, NULL) && v.len == 8 ? get_double(v.data) : 0;
}

bool rows_set_clock(struct index_txn *t, double clock, struct err *err)
{
    uint8_t v[8];

    put_double(v, clock);
    return txn_put(t, TABLE_META, "clock", 5, v, sizeof(v), err);
}

size_t rows_learned(struct index_txn *t, void *out, size_t room)
{
    struct slice v;

    if (!txn_get(t, TABLE_META, "learned", 7, &v, NULL) || v.len > room)
        return 0;
    memcpy(out, v.data, v.len);
    return v.len;
}

bool rows_set_learned(struct index_txn *t, const void *learned, size_t len, struct err *err)
{
    return txn_put(t, TABLE_META, "learned", 7, learned, len, err);
}

bool rows_is_rebuilding(struct index_txn *t)
{
    return meta_get(t, "rebuilding") != 0;
}

bool rows_set_rebuilding(struct index_txn *t, bool rebuilding, struct err *err)
{
    return meta_add(t, "rebuilding", rebuilding - meta_get(t, "rebuilding"), err);
}

void rows_totals(struct index_txn *t, struct totals *totals)
{
    totals->bytes = meta_get(t, "bytes");
    totals->blobs = meta_get(t, "blobs");
    totals->manifests = meta_get(t, "manifests");
}

bool rows_set_totals(struct index_txn *t, const struct totals *totals, struct err *err)
{
    return meta_add(t, "bytes", totals->bytes - meta_get(t, "bytes"), err) &&
           meta_add(t, "blobs", totals->blobs - meta_get(t, "blobs"), err) &&
           meta_add(t, "manifests", totals->manifests - meta_get(t, "manifests"), err);
}

/* ---- repo ---- */

static size_t repo_key(char key[REF_NAME_MAX + 2], const char *name)
{
    size_t len = strnlen(name, REF_NAME_MAX);

    key[0] = 'n';
    memcpy(key + 1, name, len);
    return len + 1;
}

enum { REPO_SHARED = 0, REPO_PRIVATE = 1 };

uint64_t rows_repo(struct index_txn *t, const char *name, bool *is_private)
{
    char key[REF_NAME_MAX + 2];
    struct slice v;

    *is_private = false;
    if (!txn_get(t, TABLE_REPO, key, repo_key(key, name), &v, NULL) || v.len < ID_LEN)
        return 0;
    *is_private = v.len == ID_LEN + 1 && ((const uint8_t *)v.data)[ID_LEN] == REPO_PRIVATE;
    return get_be64(v.data);
}

uint64_t rows_repo_id(struct index_txn *t, const char *name)
{
    bool is_private;

    return rows_repo(t, name, &is_private);
}

bool rows_intern_repo(struct index_txn *t, const char *name, uint64_t *id, struct err *err)
{
    char key[REF_NAME_MAX + 2];
    size_t len = repo_key(key, name);
    uint8_t value[ID_LEN + 1] = {0}, by_id[1 + ID_LEN] = {'i'};

    *id = rows_repo_id(t, name);
    if (*id != 0)
        return true;
    *id = (uint64_t)meta_get(t, "next_repo") + 1;
    put_be64(value, *id); /* the last byte is the visibility */
    put_be64(by_id + 1, *id);
    return meta_add(t, "next_repo", 1, err) && txn_put(t, TABLE_REPO, key, len, value, sizeof(value), err) &&
           txn_put(t, TABLE_REPO, by_id, sizeof(by_id), key + 1, len - 1, err);
}

/* The row of a repository's id: its name; by name: its id and, last, its visibility. */
static bool get_repo(struct index_txn *t, uint64_t id, char key[REF_NAME_MAX + 2], size_t *key_len, struct slice *v)
{
    char name[REF_NAME_MAX + 1];

    if (id == 0 || !rows_repo_name(t, id, name))
        return false;
    *key_len = repo_key(key, name);
    return txn_get(t, TABLE_REPO, key, *key_len, v, NULL) && v->len == ID_LEN + 1;
}

bool rows_repo_is_private(struct index_txn *t, uint64_t id)
{
    char key[REF_NAME_MAX + 2];
    struct slice v;
    size_t len;

    return get_repo(t, id, key, &len, &v) && ((const uint8_t *)v.data)[ID_LEN] == REPO_PRIVATE;
}

bool rows_set_repo_private(struct index_txn *t, uint64_t id, bool is_private, struct err *err)
{
    uint8_t value[ID_LEN + 1];
    char key[REF_NAME_MAX + 2];
    struct slice v;
    size_t len;

    if (!get_repo(t, id, key, &len, &v))
        return true;
    memcpy(value, v.data, sizeof(value));
    value[ID_LEN] = is_private ? REPO_PRIVATE : REPO_SHARED;
    return txn_put(t, TABLE_REPO, key, len, value, sizeof(value), err);
}

struct rows_repo_visit {
    bool (*fn)(void *arg, const char *name, uint64_t repo, bool is_private);
    void *arg;
};

static bool rows_visit_repo(void *arg, const struct slice *key, const struct slice *value)
{
    const char *p = key->data;
    const uint8_t *v = value->data;
    struct rows_repo_visit *r = arg;
    char name[REF_NAME_MAX + 1];

    if (key->len < 1 || p[0] != 'n')
        return false;
    if (key->len > REF_NAME_MAX + 1 || value->len < ID_LEN)
        return true;
    snprintf(name, sizeof(name), "%.*s", (int)key->len - 1, p + 1);
    return r->fn(r->arg, name, get_be64(v), value->len == ID_LEN + 1 && v[ID_LEN] == REPO_PRIVATE);
}

void rows_each_repo_from(struct index_txn *t, const char *name,
                         bool (*fn)(void *arg, const char *name, uint64_t repo, bool is_private), void *arg)
{
    char key[REF_NAME_MAX + 2];

    txn_each(t, TABLE_REPO, key, repo_key(key, name), rows_visit_repo, &(struct rows_repo_visit){fn, arg});
}

bool rows_repo_name(struct index_txn *t, uint64_t id, char name[REF_NAME_MAX + 1])
{
    uint8_t key[1 + ID_LEN] = {'i'};
    struct slice v;

    put_be64(key + 1, id);
    if (!txn_get(t, TABLE_REPO, key, sizeof(key), &v, NULL) || v.len > REF_NAME_MAX)
        return false;
    memcpy(name, v.data, v.len);
    name[v.len] = '\0';
    return true;
}

/* ---- blob ---- */

enum { BLOB_FIXED = 7 * 8 + 3 * 4 };

bool rows_decode_blob(const struct slice *v, struct blob_row *row)
{
    const uint8_t *p = v->data;

    if (v->len < BLOB_FIXED || v->len > BLOB_FIXED + MEDIA_TYPE_MAX)
        return false;
    memset(row, 0, sizeof(*row));
    row->size = get_le64(p);
    row->created = get_le64(p + 8);
    row->used = get_le64(p + 16);
    row->ctime_ns = get_le64(p + 24);
    row->clock = get_double(p + 32);
    row->rank = get_double(p + 40);
    /* 48: unused, was the spacing of uses that count */
    row->uses = get_le32(p + 56);
    row->cost_ms = get_le32(p + 60);
    row->flags = get_le32(p + 64);
    memcpy(row->media_type, p + BLOB_FIXED, v->len - BLOB_FIXED);
    return true;
}

bool rows_write_blob(struct index_txn *t, const struct digest *d, const struct blob_row *row, struct err *err)
{
    uint8_t v[BLOB_FIXED + MEDIA_TYPE_MAX];
    size_t type_len = strnlen(row->media_type, MEDIA_TYPE_MAX);

    put_le64(v, row->size);
    put_le64(v + 8, row->created);
    put_le64(v + 16, row->used);
    put_le64(v + 24, row->ctime_ns);
    put_double(v + 32, row->clock);
    put_double(v + 40, row->rank);
    put_double(v + 48, 0);
    put_le32(v + 56, row->uses);
    put_le32(v + 60, row->cost_ms);
    put_le32(v + 64, row->flags);
    memcpy(v + BLOB_FIXED, row->media_type, type_len);
    return txn_put(t, TABLE_BLOB, digest_key(d), digest_key_len(d), v, BLOB_FIXED + type_len, err);
}

bool rows_get_blob(struct index_txn *t, const struct digest *d, struct blob_row *row)
{
    struct slice v;

    return txn_get(t, TABLE_BLOB, digest_key(d), digest_key_len(d), &v, NULL) && rows_decode_blob(&v, row);
}

struct blob_visit {
    const struct digest *after;
    bool (*fn)(void *arg, const struct digest *d, const struct blob_row *row);
    void *arg;
};

static bool visit_blob(void *arg, const struct slice *key, const struct slice *value)
{
    struct blob_visit *v = arg;
    struct digest d;
    struct blob_row row;

    if (!digest_from_key(&d, key->data, key->len) || !rows_decode_blob(value, &row) ||
        (v->after && digest_eq(v->after, &d)))
        return true;
    return v->fn(v->arg, &d, &row);
}

void rows_each_blob(struct index_txn *t, const struct digest *after,
                    bool (*fn)(void *arg, const struct digest *d, const struct blob_row *row), void *arg)
{
    txn_each(t, TABLE_BLOB, after ? digest_key(after) : NULL, after ? digest_key_len(after) : 0, visit_blob,
             &(struct blob_visit){after, fn, arg});
}
