/* What the removal of images would free. The index is only read, so that pulls need not wait for the answer. */
#include "gc/gc_private.h"

#include "base/assert.h"
#include "gc/refs.h"
#include "gc/tree.h"

#include <string.h>

enum { WEIGHED_AT_ONCE = 64 }; /* images: an old view of the index keeps its pages from being used again */

struct would {
    struct cache *cache;
    struct gc_report *report;
    const struct gc_name *names;
    size_t count, from;
    const struct gc_name **each; /* once */
    size_t each_count;
    struct weight all;
};

static int would_compare(const void *a, const void *b)
{
    const struct gc_name *x = *(const struct gc_name *const *)a, *y = *(const struct gc_name *const *)b;
    int by_repo = strcmp(x->repo, y->repo);

    return by_repo ? by_repo : strcmp(x->tag, y->tag);
}

static void would_list(struct would *w)
{
    w->each = xcalloc(w->count + 1, sizeof(const struct gc_name *));
    for (size_t i = 0; i < w->count; i++)
        w->each[i] = &w->names[i];
    qsort(w->each, w->count, sizeof(const struct gc_name *), would_compare);
    for (size_t i = 0; i < w->count; i++)
        if (i == 0 || would_compare(&w->each[i], &w->each[w->each_count - 1]) != 0)
            w->each[w->each_count++] = w->each[i];
}

/* All of them together. */
static void would_weigh_all(struct index_txn *t, void *arg)
{
    struct would *w = arg;
    struct tree_root *roots = xcalloc(w->each_count + 1, sizeof(*roots));
    struct tag_row row;
    size_t n = 0;

    for (size_t i = 0; i < w->each_count; i++) {
        uint64_t repo = rows_repo_id(t, w->each[i]->repo);
        if (rows_get_tag(t, repo, w->each[i]->tag, &row))
            roots[n++] = (struct tree_root){row.digest, rows_pinned(t, repo, w->each[i]->tag) ? 2 : 1};
    }
    tree_weigh_all(t, w->cache, roots, n, &w->all);
    free(roots);
}

/* Each of them alone, the others staying. */
static void would_weigh_some(struct index_txn *t, void *arg)
{
    struct would *w = arg;
    struct weight weight;
    struct tag_row row;
    char text[REF_TEXT_MAX];

    for (size_t i = w->from; i < MIN(w->from + WEIGHED_AT_ONCE, w->count); i++) {
        uint64_t repo = rows_repo_id(t, w->names[i].repo);
        if (!rows_get_tag(t, repo, w->names[i].tag, &row) || !refs_name(t, repo, w->names[i].tag, text))
            continue;
        tree_weigh_name(t, w->cache, repo, w->names[i].tag, &row.digest, &weight);
        gc_report_add(w->report, text, false, "asked for", weight.bytes);
    }
}

void gc_would_remove(struct gc *gc, const struct gc_name *names, size_t count, struct gc_report *report)
{
    struct would w = {gc->cache, report, names, count, .each = NULL};

    OFF_LOOPS;
    memset(report, 0, sizeof(*report));
    would_list(&w);
    for (; w.from < w.count; w.from += WEIGHED_AT_ONCE)
        cache_read(gc->cache, would_weigh_some, &w);
    cache_read(gc->cache, would_weigh_all, &w);
    report->freed_bytes = w.all.bytes;
    report->freed_blobs = (int64_t)w.all.blobs;
    free(w.each);
}
