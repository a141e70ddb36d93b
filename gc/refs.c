#include "gc/refs.h"

#include "base/array.h"
#include "base/clock.h"

#include <stdio.h>

enum { HOLDERS = 256, AHEAD_S = 3600 /* and gc.grace: how far a true time may be ahead of the clock */ };

void refs_set_times(struct eviction *g, int64_t grace_ms)
{
    g->cutoff = clock_now_s() - grace_ms / 1000;
    g->latest = clock_now_s() + grace_ms / 1000 + AHEAD_S;
}

bool refs_name(struct index_txn *t, uint64_t repo, const char *tag, char out[REF_TEXT_MAX])
{
    char name[REF_NAME_MAX + 1];

    if (!rows_repo_name(t, repo, name))
        return false;
    ref_join(name, tag, out);
    return true;
}

static void note_removed(struct removed *r, const struct digest *d, int64_t size)
{
    *ARRAY_NEXT(r->list, r->count, r->cap) = *d;
    r->count++;
    r->bytes += size;
}

/* ---- dropping what nothing holds ---- */

struct refs_todo {
    struct digest *list;
    size_t count, cap;
};

static void refs_push(struct refs_todo *q, const struct digest *d)
{
    *ARRAY_NEXT(q->list, q->count, q->cap) = *d;
    q->count++;
}

static bool push_child(void *arg, const struct child *c)
{
    if (c->role != CHILD_SUBJECT)
        refs_push(arg, &c->digest);
    return true;
}

bool refs_drop(struct index_txn *t, struct eviction *g, const struct digest *root, struct err *err)
{
    struct refs_todo q = {0};
    struct blob_row row;
    bool ok = true;

    refs_push(&q, root);
    for (size_t i = 0; i < q.count && ok; i++) {
        struct digest d = q.list[i];
        if (g->removed.count >= g->entries) {
            g->more = true; /* what is left has no holder: pass one finds it */
            break;
        }
        if (rows_references(t, &d) > 0 || !rows_get_blob(t, &d, &row) || refs_is_recent(g, row.used) ||
            cache_is_in_use(g->cache, &d))
            continue;
        if (row.flags & BLOB_MANIFEST)
            rows_each_child(t, &d, push_child, &q);
        ok = rows_drop_blob(t, &d, err);
        note_removed(&g->removed, &d, row.size);
    }
    free(q.list);
    return ok;
}

/* ---- retiring an image ---- */

struct refs_tags {
    size_t count;
    struct holder list[HOLDERS];
};

static bool refs_add_tag(void *arg, const struct holder *h)
{
    struct refs_tags *tags = arg;

    if (h->kind == 't')
        tags->list[tags->count++] = *h;
    return tags->count < ARRAY_LEN(tags->list);
}

bool refs_retire(struct index_txn *t, struct eviction *g, const struct digest *d, struct gc_report *report,
                 struct err *err)
{
    struct refs_tags *tags = xmalloc(sizeof(*tags));
    int64_t before = g->removed.bytes;
    size_t first = report->count;
    char name[REF_TEXT_MAX];
    bool ok = true;

    do {
        tags->count = 0;
        rows_each_holder(t, d, refs_add_tag, tags);
        for (size_t i = 0; i < tags->count && ok; i++) {
            if (refs_name(t, tags->list[i].repo, tags->list[i].tag, name))
                gc_report_add(report, name, true, "room is needed", 0);
            ok = rows_drop_tag(t, tags->list[i].repo, tags->list[i].tag, err);
        }
    } while (ok && tags->count == ARRAY_LEN(tags->list));
    free(tags);
    ok = ok && refs_drop(t, g, d, err);
    if (report->count > first)
        report->images[first].bytes = g->removed.bytes - before;
    return ok;
}
