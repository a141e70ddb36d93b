#include "gc/sweep.h"

#include "base/clock.h"

enum { CANDIDATES = 64, HOLDERS = 256 };

void sweep_free(struct sweep *s)
{
    free(s->removed);
    buf_free(&s->images);
}

static void begin(struct sweep *s)
{
    s->count = 0;
    s->bytes = 0;
    s->more = s->found = false;
    buf_clear(&s->images);
}

/* A dry run ends in a failure of its own, so that the transaction is taken back. */
static bool end(const struct sweep *s, struct err *err)
{
    return !s->dry_run || err_set(err, ERR_CANCELLED, "dry run");
}

static void note_removed(struct sweep *s, const struct digest *d, int64_t size)
{
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 64;
        s->removed = xrealloc(s->removed, s->room * sizeof(*s->removed));
    }
    s->removed[s->count++] = *d;
    s->bytes += size;
}

/* ---- removing a blob and what only it held ---- */

struct todo {
    struct digest *list;
    size_t count, room;
};

static void push(struct todo *q, const struct digest *d)
{
    if (q->count == q->room) {
        q->room = q->room ? 2 * q->room : 64;
        q->list = xrealloc(q->list, q->room * sizeof(*q->list));
    }
    q->list[q->count++] = *d;
}

static bool push_child(void *arg, const struct child *c)
{
    if (c->role != CHILD_SUBJECT)
        push(arg, &c->digest);
    return true;
}

/* What does not fit into this transaction is left without a reference, for the next pass. */
static bool drop_tree(struct index_txn *t, struct sweep *s, const struct digest *root, struct err *err)
{
    struct todo q = {0};
    struct blob_row row;
    bool ok = true;

    push(&q, root);
    for (size_t i = 0; i < q.count && ok; i++) {
        struct digest d = q.list[i];
        if (s->count >= s->entries) {
            s->more = true;
            break;
        }
        if (rows_references(t, &d) > 0 || !rows_get_blob(t, &d, &row) || use_is_leased(s->cache->use, &d))
            continue;
        rows_each_child(t, &d, push_child, &q);
        ok = rows_drop_blob(t, &d, err);
        note_removed(s, &d, row.size);
    }
    free(q.list);
    return ok;
}

/* ---- pass one: what nothing refers to ---- */

struct pick {
    struct index_txn *t;
    struct sweep *s;
    size_t count;
    struct digest list[SWEEP_ENTRIES];
};

static bool pick_unreferenced(void *arg, int64_t used, const struct digest *d)
{
    struct pick *p = arg;

    if (used > p->s->cutoff)
        return false; /* and so are all that follow */
    if (rows_references(p->t, d) == 0 && !use_is_leased(p->s->cache->use, d))
        p->list[p->count++] = *d;
    return p->count < ARRAY_LEN(p->list);
}

bool sweep_unreferenced(struct index_txn *t, void *arg, struct err *err)
{
    struct sweep *s = arg;
    struct pick *p = xmalloc(sizeof(*p));
    bool ok = true;

    begin(s);
    do {
        p->t = t;
        p->s = s;
        p->count = 0;
        rows_each_idle(t, pick_unreferenced, p);
        for (size_t i = 0; i < p->count && ok; i++)
            ok = drop_tree(t, s, &p->list[i], err);
    } while (ok && s->dry_run && p->count == ARRAY_LEN(p->list));
    s->more = s->more || p->count == ARRAY_LEN(p->list);
    free(p);
    return ok && end(s, err);
}

/* ---- pass two: the least recently used images ---- */

struct tags {
    size_t count;
    bool pinned, held; /* by a pin; by another manifest */
    struct holder list[HOLDERS];
};

static bool add_holder(void *arg, const struct holder *h)
{
    struct tags *tags = arg;

    if (h->kind == 't')
        tags->list[tags->count++] = *h;
    tags->pinned = tags->pinned || h->kind == 'p';
    tags->held = tags->held || h->kind == 'm';
    return tags->count < ARRAY_LEN(tags->list);
}

static bool pick_image(void *arg, int64_t used, const struct digest *d)
{
    struct pick *p = arg;
    struct blob_row row;

    if (used > p->s->cutoff)
        return false;
    if (rows_get_blob(p->t, d, &row) && row.flags & BLOB_MANIFEST && rows_references(p->t, d) > 0 &&
        !use_is_leased(p->s->cache->use, d))
        p->list[p->count++] = *d;
    return p->count < CANDIDATES;
}

static void note_image(struct index_txn *t, struct sweep *s, const struct holder *h)
{
    char name[REF_NAME_MAX + 1];

    if (rows_repo_name(t, h->repo, name))
        buf_addf(&s->images, "%s%c%s\n", name, strchr(h->tag, ':') ? '@' : ':', h->tag);
}

static bool retire(struct index_txn *t, struct sweep *s, const struct digest *d, struct err *err)
{
    struct tags *tags = xcalloc(1, sizeof(*tags));
    bool ok = true;

    rows_each_holder(t, d, add_holder, tags);
    if (!tags->pinned && !(tags->count == 0 && tags->held)) {
        for (size_t i = 0; i < tags->count && ok; i++) {
            note_image(t, s, &tags->list[i]);
            ok = rows_drop_tag(t, tags->list[i].repo, tags->list[i].tag, err);
        }
        ok = ok && drop_tree(t, s, d, err);
    }
    free(tags);
    return ok;
}

bool sweep_images(struct index_txn *t, void *arg, struct err *err)
{
    struct sweep *s = arg;
    struct pick *p = xmalloc(sizeof(*p));
    struct totals totals;
    bool ok = true;
    size_t before;

    begin(s);
    do {
        before = s->count;
        p->t = t;
        p->s = s;
        p->count = 0;
        rows_each_idle(t, pick_image, p);
        for (size_t i = 0; i < p->count && ok && s->count < s->entries; i++) {
            rows_totals(t, &totals);
            if (totals.bytes <= s->target)
                break;
            ok = retire(t, s, &p->list[i], err);
        }
        rows_totals(t, &totals);
    } while (ok && s->dry_run && totals.bytes > s->target && s->count > before);
    s->more = totals.bytes > s->target && s->count > 0;
    free(p);
    return ok && end(s, err);
}

/* ---- one image, at somebody's wish ---- */

bool sweep_one_tag(struct index_txn *t, void *arg, struct err *err)
{
    struct sweep *s = arg;
    struct tag_row row;
    uint64_t repo = rows_repo_id(t, s->repo);

    begin(s);
    if (!rows_get_tag(t, repo, s->tag, &row))
        return true;
    s->found = true;
    buf_addf(&s->images, "%s%c%s\n", s->repo, strchr(s->tag, ':') ? '@' : ':', s->tag);
    return rows_drop_tag(t, repo, s->tag, err) && drop_tree(t, s, &row.digest, err);
}
