/* Changes of references: manifests, what they name, and what holds that; tags. */
#include "cache/index/rows.h"

#include "base/array.h"
#include "cache/index/rows_codec.h"

#include <stdio.h>

/* ---- what a manifest names ---- */

static size_t encode_child(uint8_t out[CHILD_LEN_MAX], const struct child *c)
{
    out[0] = (uint8_t)c->role;
    size_t len = 1 + put_digest(out + 1, &c->digest);
    put_le64(out + len, c->size);
    return len + 8;
}

struct child_list {
    size_t count, cap;
    struct child *list;
};

static bool rows_refs_add_child(void *arg, const struct child *c)
{
    struct child_list *l = arg;

    *ARRAY_NEXT(l->list, l->count, l->cap) = *c;
    l->count++;
    return true;
}

static bool child_put(struct index_txn *t, const struct digest *manifest, const struct child *c, struct err *err)
{
    uint8_t v[CHILD_LEN_MAX];

    return txn_put(t, TABLE_CHILD, digest_key(manifest), digest_key_len(manifest), v, encode_child(v, c), err);
}

bool rows_unname(struct index_txn *t, const struct digest *manifest, const struct child *c, struct err *err)
{
    uint8_t v[CHILD_LEN_MAX];

    return txn_del(t, TABLE_CHILD, digest_key(manifest), digest_key_len(manifest), v, encode_child(v, c), NULL, err);
}

/* ---- what holds a blob ---- */

bool rows_hold(struct index_txn *t, const struct digest *d, const struct holder *h, struct err *err)
{
    uint8_t v[HOLDER_LEN_MAX + DIGEST_KEY_MAX];

    return txn_put(t, TABLE_PARENT, digest_key(d), digest_key_len(d), v, rows_encode_holder(v, h), err) &&
           rows_place(t, d, err);
}

/* Neither here nor wanted by anybody: nothing is known of it any more. */
static bool forget_unknown(struct index_txn *t, const struct digest *d, struct err *err)
{
    return txn_has(t, TABLE_BLOB, digest_key(d), digest_key_len(d)) || rows_references(t, d) > 0 ||
           rows_drop_links(t, d, err);
}

bool rows_release(struct index_txn *t, const struct digest *d, const struct holder *h, struct err *err)
{
    uint8_t v[HOLDER_LEN_MAX + DIGEST_KEY_MAX];

    return txn_del(t, TABLE_PARENT, digest_key(d), digest_key_len(d), v, rows_encode_holder(v, h), NULL, err) &&
           rows_place(t, d, err) && (h->kind != 'm' || rows_rank_again(t, d, err)) && forget_unknown(t, d, err);
}

/* ---- manifests: blob, child and parent together ---- */

/* The far side of a child row: content is held by the manifest; a subject knows its referrer, and holds it while the
 * subject itself is here. */
static bool tie(struct index_txn *t, const struct digest *manifest, const struct child *c, struct err *err)
{
    struct holder by_manifest = {.kind = 'm', .manifest = *manifest};

    if (child_is_content(c))
        return rows_hold(t, &c->digest, &by_manifest, err);
    struct holder by_subject = {.kind = 'm', .manifest = c->digest};
    if (c->role == CHILD_SUBJECT) {
        struct child back = {.role = CHILD_REFERRER, .digest = *manifest};
        struct blob_row subject;
        return child_put(t, &c->digest, &back, err) &&
               (!rows_get_blob(t, &c->digest, &subject) ||
                (rows_hold(t, manifest, &by_subject, err) && rows_link_child(t, &c->digest, manifest, err)));
    }
    return rows_hold(t, &c->digest, &by_manifest, err); /* a referrer that came before its subject */
}

static bool untie(struct index_txn *t, const struct digest *manifest, const struct child *c, struct err *err)
{
    struct holder by_manifest = {.kind = 'm', .manifest = *manifest};

    if (c->role == CHILD_SUBJECT) {
        struct holder by_subject = {.kind = 'm', .manifest = c->digest};
        struct child back = {.role = CHILD_REFERRER, .digest = *manifest};
        return rows_unname(t, &c->digest, &back, err) && rows_release(t, manifest, &by_subject, err);
    }
    return rows_release(t, &c->digest, &by_manifest, err);
}

bool rows_put_manifest(struct index_txn *t, const struct digest *d, const struct blob_row *row,
                       const struct child *children, size_t count, struct err *err)
{
    struct child_list waiting = {0};
    bool ok = rows_put_blob(t, d, row, err);

    for (size_t i = 0; i < count && ok; i++)
        ok = child_put(t, d, &children[i], err) && tie(t, d, &children[i], err);
    /* Referrers that are here already are held from now on. */
    if (ok)
        rows_each_child(t, d, rows_refs_add_child, &waiting);
    for (size_t i = 0; i < waiting.count && ok; i++)
        if (waiting.list[i].role == CHILD_REFERRER)
            ok = tie(t, d, &waiting.list[i], err);
    free(waiting.list);
    return ok && rows_link_children(t, d, err);
}

bool rows_drop_blob(struct index_txn *t, const struct digest *d, struct err *err)
{
    struct child_list children = {0};
    bool ok = rows_forget_blob(t, d, err) && rows_drop_links(t, d, err);

    rows_each_child(t, d, rows_refs_add_child, &children);
    for (size_t i = 0; i < children.count && ok; i++) {
        const struct child *c = &children.list[i];
        /* The 'r' rows stay: the referrers still say what their subject is. */
        ok = untie(t, d, c, err) && (c->role == CHILD_REFERRER || rows_unname(t, d, c, err));
    }
    free(children.list);
    return ok;
}

/* ---- tag ---- */

static size_t tag_key(uint8_t key[ID_LEN + REF_TAG_MAX], uint64_t repo, const char *tag)
{
    size_t len = strnlen(tag, REF_TAG_MAX);

    put_be64(key, repo);
    memcpy(key + ID_LEN, tag, len);
    return ID_LEN + len;
}

static struct holder tag_holder(char kind, uint64_t repo, const char *tag)
{
    struct holder h = {.kind = kind, .repo = repo};

    snprintf(h.tag, sizeof(h.tag), "%s", tag);
    return h;
}

bool rows_holds(struct index_txn *t, const struct digest *d, const struct holder *h)
{
    uint8_t v[HOLDER_LEN_MAX + DIGEST_KEY_MAX];

    return txn_has_value(t, TABLE_PARENT, digest_key(d), digest_key_len(d), v, rows_encode_holder(v, h));
}

static bool rows_decode_tag(const struct slice *v, struct tag_row *row)
{
    size_t took = v->len > 0 ? digest_from_key(&row->digest, v->data, v->len) : 0;

    if (took == 0 || v->len != took + 16)
        return false;
    row->checked_ms = get_le64((const uint8_t *)v->data + took);
    row->changed_ms = get_le64((const uint8_t *)v->data + took + 8);
    return true;
}

bool rows_get_tag(struct index_txn *t, uint64_t repo, const char *tag, struct tag_row *row)
{
    uint8_t key[ID_LEN + REF_TAG_MAX];
    struct slice v;

    return repo != 0 && txn_get(t, TABLE_TAG, key, tag_key(key, repo, tag), &v, NULL) && rows_decode_tag(&v, row);
}

bool rows_put_tag(struct index_txn *t, uint64_t repo, const char *tag, const struct tag_row *row, struct err *err)
{
    uint8_t key[ID_LEN + REF_TAG_MAX], v[DIGEST_KEY_MAX + 16];
    const struct holder h = tag_holder('t', repo, tag), pin = tag_holder('p', repo, tag);
    struct tag_row old;

    if (rows_get_tag(t, repo, tag, &old) && !digest_eq(&old.digest, &row->digest)) {
        bool pinned = rows_holds(t, &old.digest, &pin);
        /* The new one is held before the old one is released. */
        if ((pinned && !rows_hold(t, &row->digest, &pin, err)) || !rows_release(t, &old.digest, &pin, err) ||
            !rows_release(t, &old.digest, &h, err))
            return false;
    }
    size_t len = put_digest(v, &row->digest);
    put_le64(v + len, row->checked_ms);
    put_le64(v + len + 8, row->changed_ms);
    return txn_put(t, TABLE_TAG, key, tag_key(key, repo, tag), v, len + 16, err) && rows_hold(t, &row->digest, &h, err);
}

bool rows_drop_tag(struct index_txn *t, uint64_t repo, const char *tag, struct err *err)
{
    uint8_t key[ID_LEN + REF_TAG_MAX];
    const struct holder h = tag_holder('t', repo, tag), pin = tag_holder('p', repo, tag);
    struct tag_row old;

    if (!rows_get_tag(t, repo, tag, &old))
        return true;
    return rows_release(t, &old.digest, &pin, err) && rows_release(t, &old.digest, &h, err) &&
           txn_del(t, TABLE_TAG, key, tag_key(key, repo, tag), NULL, 0, NULL, err);
}

bool rows_pin(struct index_txn *t, uint64_t repo, const char *tag, bool pin, struct err *err)
{
    const struct holder h = tag_holder('p', repo, tag);
    struct tag_row row;

    if (!rows_get_tag(t, repo, tag, &row))
        return err_set(err, ERR_NOT_FOUND, "no such tag");
    return pin ? rows_hold(t, &row.digest, &h, err) : rows_release(t, &row.digest, &h, err);
}

bool rows_pinned(struct index_txn *t, uint64_t repo, const char *tag)
{
    const struct holder h = tag_holder('p', repo, tag);
    struct tag_row row;

    return rows_get_tag(t, repo, tag, &row) && rows_holds(t, &row.digest, &h);
}

struct rows_tag_visit {
    uint64_t repo;
    bool (*fn)(void *arg, uint64_t repo, const char *tag, const struct tag_row *row);
    void *arg;
};

static bool rows_refs_visit_tag(void *arg, const struct slice *key, const struct slice *value)
{
    struct rows_tag_visit *v = arg;
    char tag[REF_TAG_MAX + 1] = {0};
    struct tag_row row;

    if (key->len < ID_LEN || key->len > ID_LEN + REF_TAG_MAX || !rows_decode_tag(value, &row))
        return true;
    uint64_t repo = get_be64(key->data);
    if (v->repo != 0 && repo != v->repo)
        return false;
    memcpy(tag, (const uint8_t *)key->data + ID_LEN, key->len - ID_LEN);
    return v->fn(v->arg, repo, tag, &row);
}

void rows_each_tag(struct index_txn *t, uint64_t repo,
                   bool (*fn)(void *arg, uint64_t repo, const char *tag, const struct tag_row *row), void *arg)
{
    rows_each_tag_of(t, repo, "", fn, arg);
}

void rows_each_tag_of(struct index_txn *t, uint64_t repo, const char *tag,
                      bool (*fn)(void *arg, uint64_t repo, const char *tag, const struct tag_row *row), void *arg)
{
    uint8_t from[ID_LEN + REF_TAG_MAX];

    txn_each(t, TABLE_TAG, from, tag_key(from, repo, tag), rows_refs_visit_tag,
             &(struct rows_tag_visit){repo, fn, arg});
}

void rows_each_tag_from(struct index_txn *t, uint64_t repo, const char *tag,
                        bool (*fn)(void *arg, uint64_t repo, const char *tag, const struct tag_row *row), void *arg)
{
    uint8_t from[ID_LEN + REF_TAG_MAX];

    txn_each(t, TABLE_TAG, from, tag_key(from, repo, tag), rows_refs_visit_tag, &(struct rows_tag_visit){0, fn, arg});
}
