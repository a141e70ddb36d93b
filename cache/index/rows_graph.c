/* Reading references: what a manifest names (`child`), and what holds a blob (`parent`). */
#include "cache/index/rows.h"
#include "cache/index/rows_codec.h"

/* ---- child ---- */

bool rows_decode_child(const struct slice *v, struct child *c)
{
    const uint8_t *p = v->data;
    size_t took = v->len > 1 ? digest_from_key(&c->digest, p + 1, v->len - 1) : 0;

    if (took == 0 || v->len != 1 + took + 8)
        return false;
    c->role = p[0];
    c->size = get_le64(p + 1 + took);
    return true;
}

struct child_visit {
    bool (*fn)(void *arg, const struct child *c);
    void *arg;
};

static bool visit_child(void *arg, const struct slice *key UNUSED, const struct slice *value)
{
    struct child_visit *v = arg;
    struct child c;

    return !rows_decode_child(value, &c) || v->fn(v->arg, &c);
}

void rows_each_child(struct index_txn *t, const struct digest *d, bool (*fn)(void *arg, const struct child *c),
                     void *arg)
{
    txn_each_value(t, TABLE_CHILD, digest_key(d), digest_key_len(d), visit_child, &(struct child_visit){fn, arg});
}

static bool has_child(struct index_txn *t, const struct digest *manifest, char role, const struct digest *child)
{
    uint8_t want[CHILD_LEN_MAX] = {(uint8_t)role};
    size_t len = 1 + put_digest(want + 1, child);
    struct slice v;

    return txn_value_from(t, TABLE_CHILD, digest_key(manifest), digest_key_len(manifest), want, len, &v) &&
           v.len >= len && memcmp(v.data, want, len) == 0;
}

bool rows_contains(struct index_txn *t, const struct digest *manifest, const struct digest *child)
{
    return has_child(t, manifest, CHILD_CONTENT, child) || has_child(t, manifest, CHILD_FOREIGN, child);
}

bool rows_names(struct index_txn *t, const struct digest *manifest, const struct digest *child)
{
    return rows_contains(t, manifest, child) || has_child(t, manifest, CHILD_REFERRER, child);
}

/* ---- parent ---- */

size_t rows_encode_holder(uint8_t out[HOLDER_LEN_MAX + DIGEST_KEY_MAX], const struct holder *h)
{
    out[0] = (uint8_t)h->kind;
    if (h->kind == 'm')
        return 1 + put_digest(out + 1, &h->manifest);
    size_t len = strnlen(h->tag, REF_TAG_MAX);
    put_be64(out + 1, h->repo);
    memcpy(out + 1 + ID_LEN, h->tag, len);
    return 1 + ID_LEN + len;
}

bool rows_decode_holder(const struct slice *v, struct holder *h)
{
    const uint8_t *p = v->data;

    memset(h, 0, sizeof(*h));
    if (v->len == 0)
        return false;
    h->kind = (char)p[0];
    if (h->kind == 'm')
        return digest_from_key(&h->manifest, p + 1, v->len - 1) == v->len - 1;
    if (v->len < 1 + ID_LEN || v->len > 1 + ID_LEN + REF_TAG_MAX)
        return false;
    h->repo = get_be64(p + 1);
    memcpy(h->tag, p + 1 + ID_LEN, v->len - 1 - ID_LEN);
    return true;
}

struct holder_visit {
    bool (*fn)(void *arg, const struct holder *h);
    void *arg;
};

static bool visit_holder(void *arg, const struct slice *key UNUSED, const struct slice *value)
{
    struct holder_visit *v = arg;
    struct holder h;

    return !rows_decode_holder(value, &h) || v->fn(v->arg, &h);
}

void rows_each_holder(struct index_txn *t, const struct digest *d, bool (*fn)(void *arg, const struct holder *h),
                      void *arg)
{
    txn_each_value(t, TABLE_PARENT, digest_key(d), digest_key_len(d), visit_holder, &(struct holder_visit){fn, arg});
}

size_t rows_references(struct index_txn *t, const struct digest *d)
{
    return txn_count(t, TABLE_PARENT, digest_key(d), digest_key_len(d));
}
