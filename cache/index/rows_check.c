/* Does the index agree with itself? And if not, it is made to. */
#include "cache/index/rows.h"
#include "cache/index/rows_codec.h"

#include <stdio.h>

const char *finding_text(const struct finding *f)
{
    static const char *const texts[] = {
        [FINDING_PLACE] = "is not where the collector looks for it",
        [FINDING_IDLE] = "is listed as unreferenced and is not stored, or not so",
        [FINDING_RANK] = "is listed as an image and is not stored, or not so",
        [FINDING_CHILD] = "names children and is not stored",
        [FINDING_UNHELD] = "is named by a manifest or a tag that is not counted as a reference",
        [FINDING_HELD] = "has a reference that nothing accounts for",
        [FINDING_TOTALS] = "the totals are not the sum of all blobs",
        [FINDING_REPOSITORY] = "has a tag of an unknown repository",
        [FINDING_LINK] = "is named by a manifest, and not known to be in all repositories that have the manifest",
        [FINDING_UNREADABLE] = "has a row that cannot be read",
    };

    return texts[f->kind];
}

/* ---- looking ---- */

struct row_check {
    struct index_txn *t;
    void (*found)(void *arg, const struct finding *f);
    void *arg;
    size_t wrong;
    struct totals seen;
};

static void complain(struct row_check *c, const struct finding *f)
{
    c->wrong++;
    if (c->found)
        c->found(c->arg, f);
}

static bool rows_check_blob(void *arg, const struct digest *d, const struct blob_row *row)
{
    struct row_check *c = arg;
    uint8_t key[IDLE_LEN_MAX];
    const struct holding h = rows_holding(c->t, d);
    uint32_t place = rows_place_of(&h, row->flags), found = 0;

    c->seen.blobs++;
    c->seen.bytes += row->size;
    c->seen.manifests += row->flags & BLOB_MANIFEST ? 1 : 0;
    if (txn_has(c->t, TABLE_IDLE, key, rows_idle_key(key, d, row->used)))
        found |= BLOB_IDLE;
    if (txn_has(c->t, TABLE_RANK, key, rows_rank_key(key, d, row->rank)))
        found |= BLOB_RANKED;
    if ((row->flags & (BLOB_IDLE | BLOB_RANKED)) != place || found != place)
        complain(c, &(struct finding){.kind = FINDING_PLACE, .digest = *d});
    return true;
}

static bool check_idle(void *arg, int64_t used, const struct digest *d)
{
    struct row_check *c = arg;
    struct blob_row row;

    if (!rows_get_blob(c->t, d, &row) || row.used != used)
        complain(c, &(struct finding){.kind = FINDING_IDLE, .digest = *d, .used = used});
    return true;
}

static bool check_rank(void *arg, double rank, const struct digest *d)
{
    struct row_check *c = arg;
    struct blob_row row;

    if (!rows_get_blob(c->t, d, &row) || row.rank != rank)
        complain(c, &(struct finding){.kind = FINDING_RANK, .digest = *d, .rank = rank});
    return true;
}

/* The reference that a child row stands for; false if it stands for none. */
static bool reference_of(struct index_txn *t, const struct digest *manifest, const struct child *child)
{
    struct blob_row row;

    return child->role != CHILD_SUBJECT && rows_get_blob(t, manifest, &row);
}

static bool check_child(void *arg, const struct slice *key, const struct slice *value)
{
    struct row_check *c = arg;
    struct finding f = {.holder = {.kind = 'm'}};
    struct blob_row row;

    if (!digest_from_key(&f.holder.manifest, key->data, key->len) || !rows_decode_child(value, &f.child)) {
        complain(c, &(struct finding){.kind = FINDING_UNREADABLE});
        return true;
    }
    f.digest = f.holder.manifest;
    f.kind = FINDING_CHILD;
    bool stored = rows_get_blob(c->t, &f.holder.manifest, &row);
    if (!stored && f.child.role != CHILD_REFERRER)
        complain(c, &f);
    f.digest = f.child.digest;
    f.kind = FINDING_UNHELD;
    if (reference_of(c->t, &f.holder.manifest, &f.child) && !rows_holds(c->t, &f.digest, &f.holder))
        complain(c, &f);
    f.kind = FINDING_LINK;
    if (reference_of(c->t, &f.holder.manifest, &f.child) && !rows_child_is_linked(c->t, &f.holder.manifest, &f.digest))
        complain(c, &f);
    return true;
}

/* Whether something accounts for this holder: a child row of a stored manifest, a tag. */
static bool is_accounted_for(struct index_txn *t, const struct digest *d, const struct holder *h)
{
    struct tag_row tag;
    struct blob_row row;

    if (h->kind != 'm')
        return rows_get_tag(t, h->repo, h->tag, &tag) && digest_eq(&tag.digest, d);
    return rows_get_blob(t, &h->manifest, &row) && rows_names(t, &h->manifest, d);
}

static bool check_parent(void *arg, const struct slice *key, const struct slice *value)
{
    struct row_check *c = arg;
    struct finding f = {.kind = FINDING_HELD};

    if (!digest_from_key(&f.digest, key->data, key->len) || !rows_decode_holder(value, &f.holder)) {
        complain(c, &(struct finding){.kind = FINDING_UNREADABLE});
        return true;
    }
    if (!is_accounted_for(c->t, &f.digest, &f.holder))
        complain(c, &f);
    return true;
}

static bool check_tag(void *arg, uint64_t repo, const char *tag, const struct tag_row *row)
{
    struct row_check *c = arg;
    struct finding f = {.digest = row->digest, .holder = {.kind = 't', .repo = repo}};
    char name[REF_NAME_MAX + 1];

    snprintf(f.holder.tag, sizeof(f.holder.tag), "%s", tag);
    f.kind = FINDING_UNHELD;
    if (!rows_holds(c->t, &row->digest, &f.holder))
        complain(c, &f);
    f.kind = FINDING_REPOSITORY;
    if (!rows_repo_name(c->t, repo, name))
        complain(c, &f);
    return true;
}

size_t rows_check(struct index_txn *t, void (*found)(void *arg, const struct finding *f), void *arg)
{
    struct row_check c = {.t = t, .found = found, .arg = arg};
    struct totals totals;

    rows_each_blob(t, NULL, rows_check_blob, &c);
    rows_each_idle(t, 0, check_idle, &c);
    rows_each_ranked(t, 0, NULL, check_rank, &c);
    txn_each(t, TABLE_CHILD, NULL, 0, check_child, &c);
    txn_each(t, TABLE_PARENT, NULL, 0, check_parent, &c);
    rows_each_tag(t, 0, check_tag, &c);
    rows_totals(t, &totals);
    if (totals.bytes != c.seen.bytes || totals.blobs != c.seen.blobs || totals.manifests != c.seen.manifests)
        complain(&c, &(struct finding){.kind = FINDING_TOTALS});
    return c.wrong;
}

/* ---- repairing ---- */

static bool count_blob(void *arg, const struct digest *d UNUSED, const struct blob_row *row)
{
    struct totals *t = arg;

    t->blobs++;
    t->bytes += row->size;
    t->manifests += row->flags & BLOB_MANIFEST ? 1 : 0;
    return true;
}

static bool repair_totals(struct index_txn *t, struct err *err)
{
    struct totals seen = {0};

    rows_each_blob(t, NULL, count_blob, &seen);
    return rows_set_totals(t, &seen, err);
}

static bool repair_place(struct index_txn *t, const struct digest *d, struct err *err)
{
    struct blob_row row;

    if (!rows_get_blob(t, d, &row))
        return true;
    row.flags |= BLOB_IDLE | BLOB_RANKED; /* both rows go, be they there or not */
    if (!rows_unplace(t, d, &row, err))
        return false;
    row.flags &= ~(uint32_t)(BLOB_IDLE | BLOB_RANKED);
    return rows_write_blob(t, d, &row, err) && rows_place(t, d, err);
}

static bool repair_listed(struct index_txn *t, const struct finding *f, struct err *err)
{
    uint8_t key[IDLE_LEN_MAX];
    enum index_table table = f->kind == FINDING_IDLE ? TABLE_IDLE : TABLE_RANK;
    size_t len =
        f->kind == FINDING_IDLE ? rows_idle_key(key, &f->digest, f->used) : rows_rank_key(key, &f->digest, f->rank);

    return txn_del(t, table, key, len, NULL, 0, NULL, err) && repair_place(t, &f->digest, err);
}

bool rows_repair(struct index_txn *t, const struct finding *f, struct err *err)
{
    struct blob_row row;

    switch (f->kind) {
    case FINDING_PLACE:
        return repair_place(t, &f->digest, err);
    case FINDING_IDLE:
    case FINDING_RANK:
        return repair_listed(t, f, err);
    case FINDING_CHILD:
        return rows_get_blob(t, &f->holder.manifest, &row) || (rows_unname(t, &f->holder.manifest, &f->child, err) &&
                                                               rows_release(t, &f->child.digest, &f->holder, err));
    case FINDING_UNHELD:
        if (f->holder.kind == 'm' && !reference_of(t, &f->holder.manifest, &f->child))
            return true;
        return rows_hold(t, &f->digest, &f->holder, err);
    case FINDING_LINK:
        return !reference_of(t, &f->holder.manifest, &f->child) ||
               rows_link_child(t, &f->holder.manifest, &f->digest, err);
    case FINDING_HELD:
        return is_accounted_for(t, &f->digest, &f->holder) || rows_release(t, &f->digest, &f->holder, err);
    case FINDING_TOTALS:
        return repair_totals(t, err);
    case FINDING_REPOSITORY:
        return rows_drop_tag(t, f->holder.repo, f->holder.tag, err);
    default:
        return true;
    }
}
