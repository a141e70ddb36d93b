#include "gc/sweep.h"

#include "gc/tree.h"
#include "cache/parts.h"

#include <math.h>
#include <stdio.h>

void sweep_init(struct sweep *s, struct cache *cache, const struct policy *policy, const void *learned, bool dry_run)
{
    *s = (struct sweep){.store = cache_store(cache),
                        .policy = policy,
                        .learned = learned,
                        .dry_run = dry_run,
                        .looks = dry_run ? SIZE_MAX : SWEEP_LOOKS};
    s->go.cache = cache;
    s->go.entries = dry_run ? SIZE_MAX : SWEEP_ENTRIES;
}

void sweep_free(struct sweep *s)
{
    free(s->go.removed.list);
    gc_report_free(&s->report);
}

static void sweep_begin(struct sweep *s)
{
    s->go.removed.count = 0;
    s->go.removed.bytes = 0;
    s->go.more = s->more = s->found = s->pinned = false;
    s->next = s->from;
    s->parts_next = s->parts_from;
    gc_report_clear(&s->report);
}

/* A dry run ends in a failure of its own, so that the transaction is rolled back. */
static bool sweep_end(const struct sweep *s, struct err *err)
{
    return !s->dry_run || err_set(err, ERR_CANCELLED, "dry run");
}

/* ---- pass one: what nothing refers to ---- */

struct pick {
    struct sweep *s;
    size_t count;
    struct digest list[SWEEP_ENTRIES];
    int64_t used[SWEEP_ENTRIES];
};

static bool pick_unreferenced(void *arg, int64_t used, const struct digest *d)
{
    struct pick *p = arg;

    if (refs_is_recent(&p->s->go, used))
        return false; /* and so are those that follow, up to go.latest */
    if (!cache_is_in_use(p->s->go.cache, d)) {
        p->used[p->count] = used;
        p->list[p->count++] = *d;
    }
    return p->count < ARRAY_LEN(p->list);
}

/* A row of `idle` that contradicts its blob would be picked again and again. */
static bool drop_idle(struct index_txn *t, struct sweep *s, const struct digest *d, int64_t used, struct err *err)
{
    struct blob_row row;

    if (!rows_get_blob(t, d, &row) || row.used != used || rows_references(t, d) > 0)
        return rows_repair(t, &(struct finding){.kind = FINDING_IDLE, .digest = *d, .used = used}, err);
    return refs_drop(t, &s->go, d, err);
}

bool sweep_unreferenced(struct index_txn *t, void *arg, struct err *err)
{
    struct sweep *s = arg;
    struct pick *p = xmalloc(sizeof(*p));
    bool ok = true;

    sweep_begin(s);
    do {
        p->s = s;
        p->count = 0;
        rows_each_idle(t, 0, pick_unreferenced, p);
        if (p->count < ARRAY_LEN(p->list))
            rows_each_idle(t, s->go.latest + 1, pick_unreferenced, p);
        for (size_t i = 0; i < p->count && ok; i++)
            ok = drop_idle(t, s, &p->list[i], p->used[i], err);
    } while (ok && s->dry_run && p->count > 0);
    s->more = s->go.more || p->count == ARRAY_LEN(p->list);
    free(p);
    return ok && sweep_end(s, err);
}

/* ---- pass two: images, the lowest rank first ---- */

struct lowest {
    bool found;
    double rank;
    struct digest digest;
};

static bool take_lowest(void *arg, double rank, const struct digest *d)
{
    *(struct lowest *)arg = (struct lowest){true, rank, *d};
    return false;
}

/* What would free nothing is not worth evicting. */
static double sweep_rank(const struct sweep *s, const struct digest *d, const struct blob_row *row,
                         const struct weight *w)
{
    const struct policy_item item = tree_item(d, row, w);

    return w->bytes > 0 ? s->policy->rank(s->learned, &item) : INFINITY;
}

/* The part that was not used for longest goes, if it was not used since `before`. */
static bool choose_part(struct sweep *s, int64_t before)
{
    struct sweep_parts *next = &s->parts_next;
    const struct part_use *p = s->parts && next->count < s->parts->count ? &s->parts->list[next->count] : NULL;

    if (!p || p->used >= before || refs_is_recent(&s->go, p->used))
        return false;
    next->count++;
    next->bytes += p->bytes;
    return true;
}

/* The rank an image is listed under may be out of date: then it is listed again, and its turn may not have come. */
static bool consider(struct index_txn *t, struct sweep *s, const struct lowest *l, struct err *err)
{
    struct weight w;
    struct blob_row row;

    if (!rows_get_blob(t, &l->digest, &row) || row.rank != l->rank || !(row.flags & BLOB_RANKED))
        return rows_repair(t, &(struct finding){.kind = FINDING_RANK, .digest = l->digest, .rank = l->rank}, err);
    tree_weigh(t, s->go.cache, &l->digest, &w);
    double rank = sweep_rank(s, &l->digest, &row, &w);
    if (rank > l->rank)
        return rows_set_rank(t, &l->digest, rank, err);
    if (refs_is_recent(&s->go, row.used) || w.leased || isinf(rank)) {
        s->next.after = l->digest;
        s->next.rank = l->rank;
        return true;
    }
    if (choose_part(s, row.used))
        return true; /* perhaps that is enough */
    s->next.retired = true;
    double clock = rows_clock(t), after = s->policy->advance(clock, rank);
    return refs_retire(t, &s->go, &l->digest, &s->report, err) && (after == clock || rows_set_clock(t, after, err));
}

bool sweep_images(struct index_txn *t, void *arg, struct err *err)
{
    struct sweep *s = arg;
    struct totals totals;
    bool ok = true;
    size_t looks = 0;

    sweep_begin(s);
    for (;; looks++) {
        struct lowest l = {0};
        rows_totals(t, &totals);
        if (!ok || totals.bytes - s->parts_next.bytes <= s->target)
            break;
        if (looks == s->looks || s->go.more || s->go.removed.count >= s->go.entries) {
            s->more = true;
            break;
        }
        rows_each_ranked(t, s->next.rank, s->next.after.alg != DIGEST_NONE ? &s->next.after : NULL, take_lowest, &l);
        if (!l.found && !s->next.retired && !choose_part(s, INT64_MAX))
            break;
        if (!l.found && !s->next.retired)
            continue;
        if (l.found)
            ok = consider(t, s, &l, err);
        else
            s->next = (struct sweep_place){0};
    }
    return ok && sweep_end(s, err);
}

/* ---- what was ranked before the policy learned better ---- */

struct ranked {
    size_t count;
    struct digest list[SWEEP_LOOKS];
    double ranks[SWEEP_LOOKS];
};

static bool pick_ranked(void *arg, double rank, const struct digest *d)
{
    struct ranked *r = arg;

    r->list[r->count] = *d;
    r->ranks[r->count++] = rank;
    return r->count < ARRAY_LEN(r->list);
}

/* An image that is listed too low is found when its turn comes; one that is listed too high would not be. */
bool sweep_rank_again(struct index_txn *t, void *arg, struct err *err)
{
    struct sweep *s = arg;
    struct ranked *r = xcalloc(1, sizeof(*r));
    struct blob_row row;
    struct weight w;
    bool ok = true;

    sweep_begin(s);
    s->ranked_next = s->ranked;
    rows_each_ranked(t, s->ranked.rank, s->ranked.after.alg != DIGEST_NONE ? &s->ranked.after : NULL, pick_ranked, r);
    for (size_t i = 0; i < r->count && ok; i++) {
        s->ranked_next = (struct sweep_place){.rank = r->ranks[i], .after = r->list[i]};
        if (!rows_get_blob(t, &r->list[i], &row))
            continue; /* pass two repairs it */
        tree_weigh(t, s->go.cache, &r->list[i], &w);
        double rank = sweep_rank(s, &r->list[i], &row, &w);
        ok = rank >= r->ranks[i] || rows_set_rank(t, &r->list[i], rank, err);
    }
    s->more = r->count == ARRAY_LEN(r->list);
    free(r);
    return ok;
}

/* ---- pass three: tags of nothing; but those of a manifest that was lost are for verify --repair ---- */

struct empties {
    struct index_txn *t;
    struct sweep *s;
    size_t looks, count;
    uint64_t repo;
    char tag[REF_TAG_MAX + 1];
    struct {
        uint64_t repo;
        char tag[REF_TAG_MAX + 1];
    } list[SWEEP_ENTRIES];
};

static bool pick_empty(void *arg, uint64_t repo, const char *tag, const struct tag_row *row)
{
    struct empties *e = arg;
    struct blob_row blob;

    e->repo = repo;
    snprintf(e->tag, sizeof(e->tag), "%s", tag);
    if (row->checked_ms / 1000 <= e->s->go.cutoff && !rows_get_blob(e->t, &row->digest, &blob) &&
        !rows_pinned(e->t, repo, tag) && !store_is_lost(e->s->store, &row->digest)) {
        e->list[e->count].repo = repo;
        snprintf(e->list[e->count++].tag, sizeof(e->list[0].tag), "%s", tag);
    }
    return ++e->looks < ARRAY_LEN(e->list);
}

bool sweep_empty_tags(struct index_txn *t, void *arg, struct err *err)
{
    struct sweep *s = arg;
    struct empties *e = xcalloc(1, sizeof(*e));
    bool ok = true;

    sweep_begin(s);
    e->t = t;
    e->s = s;
    rows_each_tag_from(t, s->tag_repo, s->tag, pick_empty, e);
    for (size_t i = 0; i < e->count && ok; i++)
        ok = rows_drop_tag(t, e->list[i].repo, e->list[i].tag, err);
    s->more = e->looks == ARRAY_LEN(e->list);
    s->tag_repo = s->more ? e->repo : 0;
    snprintf(s->tag, sizeof(s->tag), "%s", s->more ? e->tag : "");
    free(e);
    return ok && sweep_end(s, err);
}

/* ---- one image, by its name ---- */

bool sweep_one_tag(struct index_txn *t, void *arg, struct err *err)
{
    struct sweep *s = arg;
    struct tag_row row;
    uint64_t repo = rows_repo_id(t, s->repo_name);
    char name[REF_TEXT_MAX];

    sweep_begin(s);
    if (!rows_get_tag(t, repo, s->tag_name, &row))
        return true;
    s->found = true;
    s->pinned = rows_pinned(t, repo, s->tag_name);
    if (s->pinned)
        return true;
    if (!rows_drop_tag(t, repo, s->tag_name, err) || !refs_drop(t, &s->go, &row.digest, err))
        return false;
    if (refs_name(t, repo, s->tag_name, name))
        gc_report_add(&s->report, name, true, "asked for", s->go.removed.bytes);
    return true;
}
