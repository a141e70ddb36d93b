/* Why images stay, for the report of a collection. */
#include "gc/gc_private.h"

#include "base/lookup.h"
#include "gc/refs.h"
#include "gc/tree.h"
#include "cache/parts.h"

struct kept_look {
    struct gc *gc;
    struct index_txn *t;
    struct gc_report *report;
    struct text_set gone;
    struct eviction times;
};

static bool kept_explain(void *arg, uint64_t repo, const char *tag, const struct tag_row *row)
{
    struct kept_look *l = arg;
    char name[REF_TEXT_MAX];
    struct blob_row blob;
    struct weight w;

    if (!rows_get_blob(l->t, &row->digest, &blob) || !refs_name(l->t, repo, tag, name) || text_set_has(&l->gone, name))
        return true;
    tree_weigh_name(l->t, l->gc->cache, repo, tag, &row->digest, &w);
    const char *why = rows_pinned(l->t, repo, tag)           ? "pinned"
                      : w.leased                             ? "in use"
                      : refs_is_recent(&l->times, blob.used) ? "recent"
                      : w.shared                             ? "shared"
                                                             : "there is room";
    gc_report_add(l->report, name, false, why, w.bytes);
    return true;
}

static void read_kept(struct index_txn *t, void *arg)
{
    struct kept_look *l = arg;

    l->t = t;
    rows_each_tag(t, 0, kept_explain, l);
}

void report_kept(struct gc *gc, struct gc_report *report)
{
    struct kept_look l = {.gc = gc, .report = report};

    for (size_t i = 0; i < report->count; i++)
        text_set_add(&l.gone, report->images[i].reference);
    refs_set_times(&l.times, gc_settings(gc).grace_ms);
    cache_read(gc->cache, read_kept, &l);
    text_set_free(&l.gone);
}
