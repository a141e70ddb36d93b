/* Does the index agree with itself? Used by tests after crashes, and by whoever doubts. */
#include "cache/rows.h"
#include "cache/rows_codec.h"

#include <stdio.h>

struct check {
    struct index_txn *t;
    char *report;
    size_t room, used, wrong;
    struct totals seen;
};

static void complain(struct check *c, const char *what, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    c->wrong++;
    if (c->used >= c->room)
        return;
    int n = snprintf(c->report + c->used, c->room - c->used, "%s: %s\n", what, d ? digest_format(d, text) : "-");
    c->used += n > 0 ? (size_t)n : 0;
}

static bool check_blob(void *arg, const struct digest *d, const struct blob_row *row)
{
    struct check *c = arg;
    uint8_t key[IDLE_LEN_MAX];

    c->seen.blobs++;
    c->seen.bytes += row->size;
    c->seen.manifests += row->flags & BLOB_MANIFEST ? 1 : 0;
    const struct holding h = rows_holding(c->t, d);
    uint32_t place = rows_place_of(&h, row->flags), idle = 0, ranked = 0;
    if (txn_has(c->t, TABLE_IDLE, key, rows_idle_key(key, d, row->used)))
        idle = BLOB_IDLE;
    if (txn_has(c->t, TABLE_RANK, key, rows_rank_key(key, d, row->rank)))
        ranked = BLOB_RANKED;
    if ((row->flags & (BLOB_IDLE | BLOB_RANKED)) != place || (idle | ranked) != place)
        complain(c, "blob in the wrong place for GC", d);
    return true;
}

static bool check_idle(void *arg, int64_t used, const struct digest *d)
{
    struct check *c = arg;
    struct blob_row row;

    if (!rows_get_blob(c->t, d, &row) || row.used != used)
        complain(c, "idle row without its blob", d);
    return true;
}

static bool check_rank(void *arg, double rank, const struct digest *d)
{
    struct check *c = arg;
    struct blob_row row;

    if (!rows_get_blob(c->t, d, &row) || row.rank != rank)
        complain(c, "rank row without its image", d);
    return true;
}

static bool holds(struct check *c, const struct digest *d, const struct holder *h)
{
    uint8_t v[HOLDER_LEN_MAX + DIGEST_KEY_MAX];

    return txn_has_value(c->t, TABLE_PARENT, digest_key(d), digest_key_len(d), v, rows_encode_holder(v, h));
}

static bool check_child(void *arg, const struct slice *key, const struct slice *value)
{
    struct check *c = arg;
    struct holder h = {.kind = 'm'};
    struct child child;
    struct blob_row row;

    if (!digest_from_key(&h.manifest, key->data, key->len) || !rows_decode_child(value, &child)) {
        complain(c, "unreadable child row", NULL);
        return true;
    }
    bool stored = rows_get_blob(c->t, &h.manifest, &row);
    if (!stored && child.role != CHILD_REFERRER)
        complain(c, "child row of a manifest that is not stored", &h.manifest);
    if (child.role == CHILD_CONTENT && !holds(c, &child.digest, &h))
        complain(c, "child without a reference", &child.digest);
    if (child.role == CHILD_REFERRER && stored != holds(c, &child.digest, &h))
        complain(c, "referrer held wrongly", &child.digest);
    return true;
}

static bool check_parent(void *arg, const struct slice *key, const struct slice *value)
{
    struct check *c = arg;
    struct digest d;
    struct holder h;
    struct tag_row tag;
    struct blob_row row;

    if (!digest_from_key(&d, key->data, key->len) || !rows_decode_holder(value, &h)) {
        complain(c, "unreadable parent row", NULL);
        return true;
    }
    if (h.kind != 'm' && (!rows_get_tag(c->t, h.repo, h.tag, &tag) || !digest_eq(&tag.digest, &d)))
        complain(c, "held by a tag that does not point to it", &d);
    if (h.kind == 'm' && !rows_get_blob(c->t, &h.manifest, &row))
        complain(c, "held by a manifest that is not stored", &d);
    return true;
}

static bool check_tag(void *arg, uint64_t repo, const char *tag, const struct tag_row *row)
{
    struct check *c = arg;
    struct holder h = {.kind = 't', .repo = repo};
    char name[REF_NAME_MAX + 1];

    snprintf(h.tag, sizeof(h.tag), "%s", tag);
    if (!holds(c, &row->digest, &h))
        complain(c, "tag without a reference", &row->digest);
    if (!rows_repo_name(c->t, repo, name))
        complain(c, "tag of an unknown repository", &row->digest);
    return true;
}

size_t rows_check(struct index_txn *t, char *report, size_t room)
{
    struct check c = {.t = t, .report = report, .room = room};
    struct totals totals;

    if (room > 0)
        report[0] = '\0';
    rows_each_blob(t, NULL, check_blob, &c);
    rows_each_idle(t, check_idle, &c);
    rows_each_ranked(t, 0, NULL, check_rank, &c);
    txn_each(t, TABLE_CHILD, NULL, 0, check_child, &c);
    txn_each(t, TABLE_PARENT, NULL, 0, check_parent, &c);
    rows_each_tag(t, 0, check_tag, &c);
    rows_totals(t, &totals);
    if (totals.bytes != c.seen.bytes || totals.blobs != c.seen.blobs || totals.manifests != c.seen.manifests)
        complain(&c, "totals disagree with the blobs", NULL);
    return c.wrong;
}
