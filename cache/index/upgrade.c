#include "cache/index/upgrade.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "cache/index/rows.h"
#include "cache/index/rows_codec.h"

#include <ctype.h>
#include <stdio.h>

/* ---- in place ---- */

struct upgrade_digests {
    size_t count, cap;
    struct digest *list;
    bool sound;
};

/* Early builds wrote shorter rows under the same number; read as today's, their flags are a piece of a media type. */
static bool is_sound(const struct slice *value, struct blob_row *row)
{
    const uint32_t flags = BLOB_MANIFEST | BLOB_IDLE | BLOB_RANKED | BLOB_PRIVATE;

    if (!rows_decode_blob(value, row) || row->flags & ~flags || row->size < 0)
        return false;
    for (const char *p = row->media_type; *p; p++)
        if (!isgraph((unsigned char)*p))
            return false;
    return true;
}

static bool look_at_blob(void *arg, const struct slice *key, const struct slice *value)
{
    struct upgrade_digests *m = arg;
    struct digest d;
    struct blob_row row;

    m->sound = digest_from_key(&d, key->data, key->len) && is_sound(value, &row);
    if (!m->sound || !(row.flags & BLOB_MANIFEST))
        return m->sound;
    *ARRAY_NEXT(m->list, m->count, m->cap) = d;
    m->count++;
    return true;
}

/* What a manifest names gets its links. */
static bool from_2(struct index_txn *t, struct err *err)
{
    struct upgrade_digests m = {.sound = true};
    bool ok = true;

    txn_each(t, TABLE_BLOB, NULL, 0, look_at_blob, &m);
    if (!m.sound)
        ok = err_set(err, ERR_OUTDATED, "the index has schema 2, as an early build wrote it");
    for (size_t i = 0; i < m.count && ok; i++)
        ok = rows_link_children(t, &m.list[i], err);
    free(m.list);
    return ok;
}

static bool apply_upgrade(struct index_txn *t, void *arg, struct err *err)
{
    static bool (*const steps[INDEX_SCHEMA])(struct index_txn * t, struct err * err) = {[2] = from_2};

    for (uint32_t schema = *(uint32_t *)arg; schema < INDEX_SCHEMA; schema++)
        if (!steps[schema](t, err))
            return false;
    return index_set_schema(t, err);
}

bool upgrade_index(struct index *index, struct err *err)
{
    uint32_t schema = index_schema(index);

    if (schema == INDEX_SCHEMA)
        return true;
    if (!index_write_wait(index, apply_upgrade, &schema, err))
        return err->code == ERR_OUTDATED
                   ? false
                   : err_wrap(err, "bringing the index from schema %u to %u", schema, INDEX_SCHEMA);
    log_info("the index was brought from schema %u to %u", schema, INDEX_SCHEMA);
    return true;
}

/* ---- from before that ---- */

struct old_tag {
    char repo[REF_NAME_MAX + 1], tag[REF_TAG_MAX + 1];
    struct tag_row row;
    bool pinned, is_private;
};

struct old_tags {
    struct index_txn *t;
    size_t count, cap, from, taken;
    struct old_tag *list;
};

enum { TAKE_BATCH = 256 };

static bool read_tag(void *arg, uint64_t repo, const char *tag, const struct tag_row *row)
{
    struct old_tags *o = arg;
    struct old_tag now = {.row = *row};

    if (!rows_repo_name(o->t, repo, now.repo))
        return true;
    snprintf(now.tag, sizeof(now.tag), "%s", tag);
    now.is_private = rows_repo_is_private(o->t, repo);
    now.pinned = rows_pinned(o->t, repo, tag) || txn_has_value(o->t, TABLE_PARENT, digest_key(&row->digest),
                                                               digest_key_len(&row->digest), "p", 1); /* schema 1 */
    *ARRAY_NEXT(o->list, o->count, o->cap) = now;
    o->count++;
    return true;
}

static void upgrade_read_tags(struct index_txn *t, void *arg)
{
    struct old_tags *o = arg;

    o->t = t;
    rows_each_tag(t, 0, read_tag, o);
}

/* A tag may rest on another registry's answer alone, for what is private here: bytes have to prove it again. */
static bool take_tag(struct index_txn *t, const struct old_tag *o, struct err *err)
{
    uint64_t repo;

    return rows_intern_repo(t, o->repo, &repo, err) && rows_put_tag(t, repo, o->tag, &o->row, err) &&
           rows_link(t, repo, &o->row.digest, PROOF_HEAD, clock_now_s(), err) &&
           (!o->pinned || rows_pin(t, repo, o->tag, true, err)) &&
           (!o->is_private || rows_set_repo_private(t, repo, true, err));
}

static bool apply_tags(struct index_txn *t, void *arg, struct err *err)
{
    struct old_tags *o = arg;

    o->taken = 0;
    while (o->taken < TAKE_BATCH && o->from + o->taken < o->count)
        if (!take_tag(t, &o->list[o->from + o->taken++], err))
            return false;
    return true;
}

size_t upgrade_take_tags(struct index *index, const char *old)
{
    struct old_tags o = {0};
    struct err err = {0};
    size_t pins = 0;

    bool ok = index_read_old(old, upgrade_read_tags, &o, &err);
    while (ok && o.from < o.count) {
        ok = index_write_wait(index, apply_tags, &o, &err);
        o.from += o.taken;
    }
    for (size_t i = 0; i < o.count; i++)
        pins += o.list[i].pinned;
    if (!ok)
        log_error("taking tags and pins from %s: %s", old, err.msg);
    else
        log_warn(
            "%zu tags and %zu pins were taken from the old index; lost are how often images were used and which other "
            "repositories have a blob, which is checked with registries again",
            o.count, pins);
    free(o.list);
    return ok ? o.count : 0;
}
