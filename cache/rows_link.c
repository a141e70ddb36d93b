/* Which repositories have proved to contain a blob. */
#include "cache/rows.h"
#include "cache/rows_codec.h"

enum {
    LINK_DEPTH = 3, /* blob <- manifest <- index <- index */
    LINK_HOLDERS = 256,
    LINK_VALUE_LEN = 9, /* when, how */
};

static size_t link_key(uint8_t key[LINK_LEN_MAX], uint64_t repo, const struct digest *d)
{
    size_t len = put_digest(key, d);

    put_be64(key + len, repo);
    return len + ID_LEN;
}

static enum proof proof_of(const struct slice *v)
{
    return v->len == LINK_VALUE_LEN && ((const uint8_t *)v->data)[8] == PROOF_BYTES ? PROOF_BYTES : PROOF_WORD;
}

bool rows_link(struct index_txn *t, uint64_t repo, const struct digest *d, enum proof proof, int64_t now,
               struct err *err)
{
    uint8_t key[LINK_LEN_MAX], v[LINK_VALUE_LEN];
    struct slice old;

    if (txn_get(t, TABLE_LINK, key, link_key(key, repo, d), &old, NULL) && proof_of(&old) == PROOF_BYTES)
        proof = PROOF_BYTES;
    put_le64(v, now);
    v[8] = (uint8_t)proof;
    return txn_put(t, TABLE_LINK, key, link_key(key, repo, d), v, sizeof(v), err);
}

/* The manifests that hold a blob, at most LINK_HOLDERS. */
struct manifests {
    size_t count;
    struct digest list[LINK_HOLDERS];
};

static bool add_manifest_holder(void *arg, const struct holder *h)
{
    struct manifests *m = arg;

    if (h->kind == 'm')
        m->list[m->count++] = h->manifest;
    return m->count < LINK_HOLDERS;
}

static bool linked_within(struct index_txn *t, uint64_t repo, const struct digest *d, int depth)
{
    uint8_t key[LINK_LEN_MAX];
    bool found = txn_has(t, TABLE_LINK, key, link_key(key, repo, d));

    if (found || depth == 0)
        return found;
    struct manifests *m = xmalloc(sizeof(*m));
    m->count = 0;
    rows_each_holder(t, d, add_manifest_holder, m);
    for (size_t i = 0; i < m->count && !found; i++)
        found = linked_within(t, repo, &m->list[i], depth - 1);
    free(m);
    return found;
}

struct on_host {
    struct index_txn *t;
    const struct digest *d;
    const char *host;
    size_t host_len;
    bool found;
};

static bool look_at_link(void *arg, const struct slice *key, const struct slice *value)
{
    struct on_host *h = arg;
    size_t len = digest_key_len(h->d);
    char name[REF_NAME_MAX + 1];

    if (key->len != len + ID_LEN || memcmp(key->data, digest_key(h->d), len) != 0)
        return false;
    h->found = proof_of(value) == PROOF_BYTES &&
               rows_repo_name(h->t, get_be64((const uint8_t *)key->data + len), name) &&
               strncmp(name, h->host, h->host_len) == 0 && name[h->host_len] == '/';
    return !h->found;
}

static bool sent_by(struct index_txn *t, const char *host, size_t host_len, const struct digest *d)
{
    struct on_host h = {.t = t, .d = d, .host = host, .host_len = host_len};

    txn_each(t, TABLE_LINK, digest_key(d), digest_key_len(d), look_at_link, &h);
    return h.found;
}

bool rows_sent_by(struct index_txn *t, const char *host, const struct digest *d)
{
    return sent_by(t, host, strlen(host), d);
}

static bool private_linked(struct index_txn *t, uint64_t repo, const struct digest *d)
{
    uint8_t key[LINK_LEN_MAX];
    char name[REF_NAME_MAX + 1];
    struct slice v;

    if (!txn_get(t, TABLE_LINK, key, link_key(key, repo, d), &v, NULL))
        return false;
    return proof_of(&v) == PROOF_BYTES || (rows_repo_name(t, repo, name) && sent_by(t, name, strcspn(name, "/"), d));
}

bool rows_linked(struct index_txn *t, uint64_t repo, const struct digest *d)
{
    struct blob_row row;

    if (repo == 0)
        return false;
    if (rows_get_blob(t, d, &row) && row.flags & BLOB_PRIVATE)
        return private_linked(t, repo, d);
    return linked_within(t, repo, d, LINK_DEPTH);
}

struct link_list {
    const struct digest *d;
    size_t count;
    uint64_t repos[64];
};

static bool add_link(void *arg, const struct slice *key, const struct slice *value UNUSED)
{
    struct link_list *l = arg;
    size_t len = digest_key_len(l->d);

    if (key->len != len + ID_LEN || memcmp(key->data, digest_key(l->d), len) != 0)
        return false;
    l->repos[l->count++] = get_be64((const uint8_t *)key->data + len);
    return l->count < ARRAY_LEN(l->repos);
}

bool rows_drop_links(struct index_txn *t, const struct digest *d, struct err *err)
{
    struct link_list l = {.d = d};
    uint8_t key[LINK_LEN_MAX];

    do {
        l.count = 0;
        txn_each(t, TABLE_LINK, digest_key(d), digest_key_len(d), add_link, &l);
        for (size_t i = 0; i < l.count; i++)
            if (!txn_del(t, TABLE_LINK, key, link_key(key, l.repos[i], d), NULL, 0, NULL, err))
                return false;
    } while (l.count == ARRAY_LEN(l.repos));
    return true;
}

static bool find_within(struct index_txn *t, const struct digest *d, char name[REF_NAME_MAX + 1], int depth)
{
    struct link_list l = {.d = d};

    txn_each(t, TABLE_LINK, digest_key(d), digest_key_len(d), add_link, &l);
    for (size_t i = 0; i < l.count; i++)
        if (rows_repo_name(t, l.repos[i], name))
            return true;
    if (depth == 0)
        return false;
    struct manifests *m = xmalloc(sizeof(*m));
    bool found = false;
    m->count = 0;
    rows_each_holder(t, d, add_manifest_holder, m);
    for (size_t i = 0; i < m->count && !found; i++)
        found = find_within(t, &m->list[i], name, depth - 1);
    free(m);
    return found;
}

struct tagged {
    struct index_txn *t;
    char *name;
    bool found;
};

static bool look_at_tag(void *arg, const struct holder *h)
{
    struct tagged *tagged = arg;

    tagged->found = h->kind != 'm' && rows_repo_name(tagged->t, h->repo, tagged->name);
    return !tagged->found;
}

bool rows_find_repo(struct index_txn *t, const struct digest *d, char name[REF_NAME_MAX + 1])
{
    struct tagged tagged = {t, name, false};

    if (find_within(t, d, name, LINK_DEPTH))
        return true;
    rows_each_holder(t, d, look_at_tag, &tagged);
    return tagged.found;
}
