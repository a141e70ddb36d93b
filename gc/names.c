/* Images by name: pins, and the check of all names of a request before anything is done. */
#include "gc/gc_private.h"

#include "base/clock.h"
#include "cache/parts.h"

#include <string.h>

struct gc_named {
    const char *repo, *tag;
    const struct digest *digest;
    enum gc_wish wish;
};

static bool fail_absent(const struct gc_named *n, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "%s%c%s is not in the cache%s", n->repo, strchr(n->tag, ':') ? '@' : ':', n->tag,
                   n->wish == GC_PIN ? ": pull it first" : "");
}

/* By digest, and known by another name: it may get this one too. */
static bool may_be_named(struct index_txn *t, uint64_t repo, const struct gc_named *n)
{
    struct blob_row blob;

    return n->wish == GC_PIN && n->digest && rows_linked(t, repo, n->digest) && rows_get_blob(t, n->digest, &blob) &&
           (blob.flags & BLOB_MANIFEST);
}

static bool look_for(struct index_txn *t, const struct gc_named *n, struct err *err)
{
    uint64_t repo = rows_repo_id(t, n->repo);
    struct tag_row row;

    if (!rows_get_tag(t, repo, n->tag, &row) && !may_be_named(t, repo, n))
        return fail_absent(n, err);
    if (n->wish == GC_REMOVE && rows_pinned(t, repo, n->tag))
        return err_set(err, ERR_INVALID, "%s%c%s is pinned: entrepot unpin it first", n->repo,
                       strchr(n->tag, ':') ? '@' : ':', n->tag);
    return true;
}

struct name_look {
    const struct gc_named *named;
    struct err *err;
    bool ok;
};

static void read_named(struct index_txn *t, void *arg)
{
    struct name_look *l = arg;

    l->ok = look_for(t, l->named, l->err);
}

bool gc_check(struct gc *gc, enum gc_wish wish, const char *repo, const char *tag, const struct digest *digest,
              struct err *err)
{
    const struct gc_named n = {repo, tag, digest, wish};
    struct name_look l = {&n, err, false};

    cache_read(gc->cache, read_named, &l);
    return l.ok;
}

static bool apply_pin(struct index_txn *t, void *arg, struct err *err)
{
    const struct gc_named *n = arg;
    uint64_t repo = rows_repo_id(t, n->repo);
    struct tag_row row;

    if (!look_for(t, n, err))
        return false;
    if (!rows_get_tag(t, repo, n->tag, &row)) {
        row = (struct tag_row){*n->digest, clock_now_ms(), clock_now_ms()};
        if (!rows_put_tag(t, repo, n->tag, &row, err))
            return false;
    }
    return rows_pin(t, repo, n->tag, n->wish == GC_PIN, err);
}

bool gc_pin(struct gc *gc, const char *repo, const char *tag, const struct digest *digest, bool pin, struct err *err)
{
    struct gc_named n = {repo, tag, digest, pin ? GC_PIN : GC_UNPIN};

    return index_write_first(cache_index(gc->cache), apply_pin, &n, err);
}
