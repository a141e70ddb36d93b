/* Where GC looks: `idle` for what nothing refers to, `rank` for images that may be retired. */
#include "cache/index/rows.h"
#include "cache/index/rows_codec.h"

enum { RESET_BATCH = 256, CLIMB_MAX = 4 };

/* ---- idle ---- */

size_t rows_idle_key(uint8_t key[IDLE_LEN_MAX], const struct digest *d, int64_t used)
{
    put_be64(key, (uint64_t)used);
    return 8 + put_digest(key + 8, d);
}

bool rows_idle_put(struct index_txn *t, const struct digest *d, int64_t used, struct err *err)
{
    uint8_t key[IDLE_LEN_MAX];

    return txn_put(t, TABLE_IDLE, key, rows_idle_key(key, d, used), "", 0, err);
}

bool rows_idle_del(struct index_txn *t, const struct digest *d, int64_t used, struct err *err)
{
    uint8_t key[IDLE_LEN_MAX];

    return txn_del(t, TABLE_IDLE, key, rows_idle_key(key, d, used), NULL, 0, NULL, err);
}

struct idle_visit {
    bool (*fn)(void *arg, int64_t used, const struct digest *d);
    void *arg;
};

static bool visit_idle(void *arg, const struct slice *key, const struct slice *value UNUSED)
{
    struct idle_visit *v = arg;
    struct digest d;

    if (key->len <= 8 || !digest_from_key(&d, (const uint8_t *)key->data + 8, key->len - 8))
        return true;
    return v->fn(v->arg, (int64_t)get_be64(key->data), &d);
}

void rows_each_idle(struct index_txn *t, bool (*fn)(void *arg, int64_t used, const struct digest *d), void *arg)
{
    txn_each(t, TABLE_IDLE, NULL, 0, visit_idle, &(struct idle_visit){fn, arg});
}

/* ---- rank ---- */

/* The bits of doubles that are not negative sort as the numbers do. */
size_t rows_rank_key(uint8_t key[IDLE_LEN_MAX], const struct digest *d, double rank)
{
    uint64_t bits;

    memcpy(&bits, &rank, sizeof(bits));
    put_be64(key, bits);
    return 8 + put_digest(key + 8, d);
}

static bool rank_put(struct index_txn *t, const struct digest *d, double rank, struct err *err)
{
    uint8_t key[IDLE_LEN_MAX];

    return txn_put(t, TABLE_RANK, key, rows_rank_key(key, d, rank), "", 0, err);
}

static bool rank_del(struct index_txn *t, const struct digest *d, double rank, struct err *err)
{
    uint8_t key[IDLE_LEN_MAX];

    return txn_del(t, TABLE_RANK, key, rows_rank_key(key, d, rank), NULL, 0, NULL, err);
}

bool rows_set_rank(struct index_txn *t, const struct digest *d, double rank, struct err *err)
{
    struct blob_row row;

    if (!rows_get_blob(t, d, &row) || !(row.flags & BLOB_RANKED) || row.rank == rank)
        return true;
    if (!rank_del(t, d, row.rank, err))
        return false;
    row.rank = rank;
    return rank_put(t, d, rank, err) && rows_write_blob(t, d, &row, err);
}

struct only {
    struct digest manifest;
    bool found;
};

static bool take_manifest(void *arg, const struct holder *h)
{
    struct only *o = arg;

    o->found = h->kind == 'm';
    o->manifest = h->manifest;
    return false;
}

bool rows_rank_again(struct index_txn *t, const struct digest *d, struct err *err)
{
    struct only o = {.manifest = *d};
    struct blob_row row;

    for (int climbed = 0; climbed < CLIMB_MAX; climbed++) {
        struct digest at = o.manifest;
        if (rows_get_blob(t, &at, &row) && row.flags & BLOB_RANKED)
            return rows_set_rank(t, &at, row.clock, err);
        o.found = false;
        if (rows_references(t, &at) == 1)
            rows_each_holder(t, &at, take_manifest, &o);
        if (!o.found)
            break;
    }
    return true;
}

struct rank_visit {
    const struct digest *after;
    bool (*fn)(void *arg, double rank, const struct digest *d);
    void *arg;
};

static bool visit_rank(void *arg, const struct slice *key, const struct slice *value UNUSED)
{
    struct rank_visit *v = arg;
    struct digest d;
    double rank;

    if (key->len <= 8 || !digest_from_key(&d, (const uint8_t *)key->data + 8, key->len - 8) ||
        (v->after && digest_eq(v->after, &d)))
        return true;
    uint64_t bits = get_be64(key->data);
    memcpy(&rank, &bits, sizeof(rank));
    return v->fn(v->arg, rank, &d);
}

void rows_each_ranked(struct index_txn *t, double rank, const struct digest *after,
                      bool (*fn)(void *arg, double rank, const struct digest *d), void *arg)
{
    uint8_t from[IDLE_LEN_MAX];
    size_t len = after ? rows_rank_key(from, after, rank) : 0;

    txn_each(t, TABLE_RANK, after ? from : NULL, len, visit_rank, &(struct rank_visit){after, fn, arg});
}

struct reset {
    size_t count;
    struct digest list[RESET_BATCH];
};

static bool pick_reset(void *arg, double rank, const struct digest *d)
{
    struct reset *r = arg;

    if (rank != 0)
        r->list[r->count++] = *d;
    return r->count < RESET_BATCH;
}

static bool reset_ranks(struct index_txn *t, struct err *err)
{
    struct reset *r = xmalloc(sizeof(*r));
    bool ok = true;

    do {
        r->count = 0;
        rows_each_ranked(t, 0, NULL, pick_reset, r);
        for (size_t i = 0; i < r->count && ok; i++)
            ok = rows_set_rank(t, &r->list[i], 0, err);
    } while (ok && r->count > 0);
    free(r);
    return ok;
}

bool rows_set_policy(struct index_txn *t, const char *name, struct err *err)
{
    struct slice v;

    if (txn_get(t, TABLE_META, "policy", 6, &v, NULL) && v.len == strlen(name) && memcmp(v.data, name, v.len) == 0)
        return true;
    return txn_put(t, TABLE_META, "policy", 6, name, strlen(name), err) && rows_set_learned(t, "", 0, err) &&
           reset_ranks(t, err);
}

/* ---- which of them ---- */

static bool has_kind(struct index_txn *t, const struct digest *d, char kind)
{
    struct slice v;

    return txn_value_from(t, TABLE_PARENT, digest_key(d), digest_key_len(d), &kind, 1, &v) && v.len > 0 &&
           *(const char *)v.data == kind;
}

struct holding rows_holding(struct index_txn *t, const struct digest *d)
{
    struct holding h = {.any = txn_has(t, TABLE_PARENT, digest_key(d), digest_key_len(d))};

    if (h.any) {
        h.tagged = has_kind(t, d, 't');
        h.pinned = has_kind(t, d, 'p');
    }
    return h;
}

/* Where a blob with these holders belongs. */
uint32_t rows_place_of(const struct holding *h, uint32_t flags)
{
    return !h->any ? BLOB_IDLE : h->tagged && !h->pinned && flags & BLOB_MANIFEST ? BLOB_RANKED : 0;
}

bool rows_place(struct index_txn *t, const struct digest *d, struct err *err)
{
    struct blob_row row;
    bool ok = true;

    if (!rows_get_blob(t, d, &row))
        return true;
    const struct holding h = rows_holding(t, d);
    uint32_t place = rows_place_of(&h, row.flags);
    if ((row.flags & (BLOB_IDLE | BLOB_RANKED)) == place)
        return true;
    ok = rows_unplace(t, d, &row, err);
    row.flags = (row.flags & ~(uint32_t)(BLOB_IDLE | BLOB_RANKED)) | place;
    if (place == BLOB_IDLE)
        ok = ok && rows_idle_put(t, d, row.used, err);
    if (place == BLOB_RANKED) {
        row.rank = row.clock; /* at least; GC finds out when it comes by */
        ok = ok && rank_put(t, d, row.rank, err);
    }
    return ok && rows_write_blob(t, d, &row, err);
}

bool rows_unplace(struct index_txn *t, const struct digest *d, const struct blob_row *row, struct err *err)
{
    return (!(row->flags & BLOB_IDLE) || rows_idle_del(t, d, row->used, err)) &&
           (!(row->flags & BLOB_RANKED) || rank_del(t, d, row->rank, err));
}
