/* Which repositories have proved to contain a blob. One row for a repository and a digest, however many manifests hold
 * the blob: whatever a manifest names is linked to each repository that the manifest is linked to, when either comes
 * (PROOF_NAMED, PROOF_DELETED). A link exists while its blob is stored or something holds it.
 */
#include "cache/index/rows.h"

#include "base/array.h"
#include "cache/index/rows_codec.h"

enum { LINK_VALUE_LEN = 9 /* when, how */ };

static size_t link_key(uint8_t key[LINK_LEN_MAX], uint64_t repo, const struct digest *d)
{
    size_t len = put_digest(key, d);

    put_be64(key + len, repo);
    return len + ID_LEN;
}

static enum proof proof_of(const struct slice *v)
{
    uint8_t how = v->len == LINK_VALUE_LEN ? ((const uint8_t *)v->data)[8] : PROOF_HEAD;

    return how == PROOF_BYTES || how == PROOF_NAMED || how == PROOF_DELETED ? (enum proof)how : PROOF_HEAD;
}

static int strength(enum proof p)
{
    return p == PROOF_BYTES ? 2 : p == PROOF_HEAD ? 1 : 0;
}

static bool write_link(struct index_txn *t, uint64_t repo, const struct digest *d, enum proof proof, int64_t now,
                       struct err *err)
{
    uint8_t key[LINK_LEN_MAX], v[LINK_VALUE_LEN];

    put_le64(v, now);
    v[8] = (uint8_t)proof;
    return txn_put(t, TABLE_LINK, key, link_key(key, repo, d), v, sizeof(v), err);
}

/* Links it unless it is linked as well already; *fresh: it was not linked at all. */
static bool put_link(struct index_txn *t, uint64_t repo, const struct digest *d, enum proof proof, int64_t now,
                     bool *fresh, struct err *err)
{
    uint8_t key[LINK_LEN_MAX];
    struct slice old;

    *fresh = !txn_get(t, TABLE_LINK, key, link_key(key, repo, d), &old, NULL);
    return (!*fresh && strength(proof_of(&old)) >= strength(proof)) || write_link(t, repo, d, proof, now, err);
}

/* ---- what manifests name ---- */

struct link_names {
    size_t count, cap;
    struct digest *list;
};

static void add_named(struct link_names *n, const struct digest *d)
{
    *ARRAY_NEXT(n->list, n->count, n->cap) = *d;
    n->count++;
}

static bool name_child(void *arg, const struct child *c)
{
    if (c->role != CHILD_SUBJECT)
        add_named(arg, &c->digest);
    return true;
}

/* Links to the repository what is in the list, and whatever that names in turn. What was linked before has been through
 * here. Leaves the list empty. */
static bool link_named(struct index_txn *t, uint64_t repo, struct link_names *n, int64_t now, struct err *err)
{
    bool ok = true, fresh;

    while (n->count > 0 && ok) {
        struct digest d = n->list[--n->count];
        ok = put_link(t, repo, &d, PROOF_NAMED, now, &fresh, err);
        if (ok && fresh)
            rows_each_child(t, &d, name_child, n);
    }
    return ok;
}

bool rows_link(struct index_txn *t, uint64_t repo, const struct digest *d, enum proof proof, int64_t now,
               struct err *err)
{
    struct link_names n = {0};
    bool fresh, ok = put_link(t, repo, d, proof, now, &fresh, err);

    if (ok && fresh)
        rows_each_child(t, d, name_child, &n);
    ok = ok && link_named(t, repo, &n, now, err);
    free(n.list);
    return ok;
}

/* ---- visiting the links of a blob ---- */

struct link_list {
    const struct digest *d;
    uint64_t from; /* repositories are visited in the order of their ids */
    size_t count;
    struct {
        uint64_t repo;
        int64_t when;
        enum proof proof;
    } list[64];
};

static bool add_link(void *arg, const struct slice *key, const struct slice *value)
{
    struct link_list *l = arg;
    size_t len = digest_key_len(l->d);

    if (key->len != len + ID_LEN || memcmp(key->data, digest_key(l->d), len) != 0)
        return false;
    l->list[l->count].repo = get_be64((const uint8_t *)key->data + len);
    l->list[l->count].when = value->len == LINK_VALUE_LEN ? get_le64(value->data) : 0;
    l->list[l->count++].proof = proof_of(value);
    return l->count < ARRAY_LEN(l->list);
}

/* The next of them; false if there is none left. Between two calls rows may be written. */
static bool next_links(struct index_txn *t, struct link_list *l)
{
    uint8_t key[LINK_LEN_MAX];

    l->count = 0;
    txn_each(t, TABLE_LINK, key, link_key(key, l->from, l->d), add_link, l);
    if (l->count > 0)
        l->from = l->list[l->count - 1].repo + 1;
    return l->count > 0;
}

bool rows_link_children(struct index_txn *t, const struct digest *manifest, struct err *err)
{
    struct link_list l = {.d = manifest};
    struct link_names n = {0};
    bool ok = true;

    while (ok && next_links(t, &l))
        for (size_t i = 0; i < l.count && ok; i++) {
            rows_each_child(t, manifest, name_child, &n);
            ok = link_named(t, l.list[i].repo, &n, l.list[i].when, err);
        }
    free(n.list);
    return ok;
}

bool rows_link_child(struct index_txn *t, const struct digest *manifest, const struct digest *child, struct err *err)
{
    struct link_list l = {.d = manifest};
    struct link_names n = {0};
    bool ok = true;

    while (ok && next_links(t, &l))
        for (size_t i = 0; i < l.count && ok; i++) {
            add_named(&n, child);
            ok = link_named(t, l.list[i].repo, &n, l.list[i].when, err);
        }
    free(n.list);
    return ok;
}

bool rows_child_is_linked(struct index_txn *t, const struct digest *manifest, const struct digest *child)
{
    struct link_list l = {.d = manifest};
    uint8_t key[LINK_LEN_MAX];

    while (next_links(t, &l))
        for (size_t i = 0; i < l.count; i++)
            if (!txn_has(t, TABLE_LINK, key, link_key(key, l.list[i].repo, child)))
                return false;
    return true;
}

bool rows_drop_links(struct index_txn *t, const struct digest *d, struct err *err)
{
    struct link_list l = {.d = d};
    bool held = rows_references(t, d) > 0;
    uint8_t key[LINK_LEN_MAX];

    while (next_links(t, &l))
        for (size_t i = 0; i < l.count; i++)
            if (held ? l.list[i].proof != PROOF_DELETED &&
                           !write_link(t, l.list[i].repo, d, PROOF_NAMED, l.list[i].when, err)
                     : !txn_del(t, TABLE_LINK, key, link_key(key, l.list[i].repo, d), NULL, 0, NULL, err))
                return false;
    return true;
}

struct still_named {
    struct index_txn *t;
    uint64_t repo;
    const struct digest *d;
    bool found;
};

static bool look_at_linked_namer(void *arg, const struct holder *h)
{
    struct still_named *n = arg;
    uint8_t key[LINK_LEN_MAX];

    n->found = h->kind == 'm' && rows_contains(n->t, &h->manifest, n->d) &&
               txn_has(n->t, TABLE_LINK, key, link_key(key, n->repo, &h->manifest));
    return !n->found;
}

bool rows_unlink(struct index_txn *t, uint64_t repo, const struct digest *d, struct err *err)
{
    struct still_named n = {t, repo, d, false};
    uint8_t key[LINK_LEN_MAX];
    struct slice v;

    if (!txn_get(t, TABLE_LINK, key, link_key(key, repo, d), &v, NULL))
        return true;
    int64_t when = v.len == LINK_VALUE_LEN ? get_le64(v.data) : 0;
    rows_each_holder(t, d, look_at_linked_namer, &n);
    return n.found ? write_link(t, repo, d, PROOF_DELETED, when, err)
                   : txn_del(t, TABLE_LINK, key, link_key(key, repo, d), NULL, 0, NULL, err);
}

/* ---- questions ---- */

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

/* That a manifest names a private blob proves nothing: anybody can write one. */
static bool opens_private(struct index_txn *t, uint64_t repo, const struct digest *d, const struct slice *link)
{
    char name[REF_NAME_MAX + 1];

    return proof_of(link) == PROOF_BYTES ||
           (proof_of(link) == PROOF_HEAD && rows_repo_name(t, repo, name) && sent_by(t, name, strcspn(name, "/"), d));
}

bool rows_linked(struct index_txn *t, uint64_t repo, const struct digest *d)
{
    uint8_t key[LINK_LEN_MAX];
    struct blob_row row;
    struct slice v;

    if (repo == 0 || !txn_get(t, TABLE_LINK, key, link_key(key, repo, d), &v, NULL) || proof_of(&v) == PROOF_DELETED)
        return false;
    const struct slice link = v;
    return !rows_get_blob(t, d, &row) || !(row.flags & BLOB_PRIVATE) || opens_private(t, repo, d, &link);
}

struct naming {
    struct index_txn *t;
    uint64_t repo;
    const struct digest *d;
    bool found;
};

static bool look_at_namer(void *arg, const struct holder *h)
{
    struct naming *n = arg;

    n->found = h->kind == 'm' && rows_contains(n->t, &h->manifest, n->d) && rows_linked(n->t, n->repo, &h->manifest);
    return !n->found;
}

bool rows_linked_by_itself(struct index_txn *t, uint64_t repo, const struct digest *d)
{
    struct naming n = {t, repo, d, false};
    uint8_t key[LINK_LEN_MAX];
    struct slice v;

    if (!rows_linked(t, repo, d) || !txn_get(t, TABLE_LINK, key, link_key(key, repo, d), &v, NULL))
        return false;
    if (proof_of(&v) != PROOF_NAMED)
        return true;
    rows_each_holder(t, d, look_at_namer, &n);
    return n.found;
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
    struct link_list l = {.d = d};

    while (next_links(t, &l))
        for (size_t i = 0; i < l.count; i++)
            if (rows_repo_name(t, l.list[i].repo, name))
                return true;
    rows_each_holder(t, d, look_at_tag, &tagged);
    return tagged.found;
}
