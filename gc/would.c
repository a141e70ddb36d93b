/* What the removal of images would free: it is done, and rolled back. */
#include "gc/gc_private.h"

#include "base/assert.h"
#include "gc/refs.h"
#include "gc/tree.h"
#include "cache/parts.h"

#include <string.h>

struct would {
    struct gc_report *report;
    const struct gc_name *names;
    size_t count;
    struct eviction go;
};

static bool would_drop(struct index_txn *t, struct would *w, const struct gc_name *name, struct err *err)
{
    uint64_t repo = rows_repo_id(t, name->repo);
    struct tag_row row;

    if (!rows_get_tag(t, repo, name->tag, &row))
        return true;
    return (!rows_pinned(t, repo, name->tag) || rows_pin(t, repo, name->tag, false, err)) &&
           rows_drop_tag(t, repo, name->tag, err) && refs_drop(t, &w->go, &row.digest, err);
}

static bool would_drop_all(struct index_txn *t, void *arg, struct err *err)
{
    struct would *w = arg;

    w->go.removed.count = 0;
    w->go.removed.bytes = 0;
    for (size_t i = 0; i < w->count; i++)
        if (!would_drop(t, w, &w->names[i], err))
            return false;
    return err_set(err, ERR_CANCELLED, "dry run"); /* so that it is rolled back */
}

/* Each of them alone, the others staying. */
static void would_weigh(struct index_txn *t, void *arg)
{
    struct would *w = arg;
    struct weight weight;
    struct tag_row row;
    char text[REF_TEXT_MAX];

    for (size_t i = 0; i < w->count; i++) {
        uint64_t repo = rows_repo_id(t, w->names[i].repo);
        if (!rows_get_tag(t, repo, w->names[i].tag, &row) || !refs_name(t, repo, w->names[i].tag, text))
            continue;
        tree_weigh_name(t, w->go.cache, repo, w->names[i].tag, &row.digest, &weight);
        gc_report_add(w->report, text, false, "asked for", weight.bytes);
    }
}

bool gc_would_remove(struct gc *gc, const struct gc_name *names, size_t count, struct gc_report *report,
                     struct err *err)
{
    struct would w = {report, names, count, {.cache = gc->cache, .cutoff = INT64_MAX, .entries = SIZE_MAX}};
    struct err own = {0};

    OFF_LOOPS;
    memset(report, 0, sizeof(*report));
    cache_read(gc->cache, would_weigh, &w);
    pthread_mutex_lock(&gc->collecting);
    bool ok = index_write_wait(cache_index(gc->cache), would_drop_all, &w, &own) || own.code == ERR_CANCELLED;
    pthread_mutex_unlock(&gc->collecting);
    report->freed_bytes = w.go.removed.bytes;
    report->freed_blobs = (int64_t)w.go.removed.count;
    free(w.go.removed.list);
    if (!ok)
        *err = own;
    return ok;
}
