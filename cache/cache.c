#include "cache/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/writable.h"
#include "cache/layout.h"
#include "cache/index/upgrade.h"

#include <stdio.h>
#include <sys/stat.h>

enum { MEMORY_BYTES = 8 << 20, LOST_CHILDREN = 128 };

/* Keeps a damaged index for inspection; what it knew is rebuilt. Returns its new path; the caller frees. */
static char *move_aside(const char *dir, const char *why, struct err *err)
{
    char *aside = xasprintf("%s.%s-%lld", dir, why, (long long)clock_now_s());

    if (rename(dir, aside) != 0) {
        err_errno(err, ERR_IO, "moving %s aside", dir);
        free(aside);
        return NULL;
    }
    log_error("moved to %s, which can be deleted later; the index is being rebuilt from the blobs, which takes a while",
              aside);
    return aside;
}

static struct index *open_current(const char *dir, const struct index_watcher *watcher, struct err *err)
{
    struct index *index = writable_make_folder(dir, 0700, err) ? index_open(dir, 0, watcher, err) : NULL;
    if (index && !upgrade_index(index, err)) {
        index_close(index);
        return NULL;
    }
    return index;
}

static struct index *open_index(struct cache *c, const char *dir, const struct index_watcher *watcher, struct err *err)
{
    struct index *index = open_current(dir, watcher, err);
    bool outdated = !index && err->code == ERR_OUTDATED;

    if (index || (!outdated && err->code != ERR_CORRUPT))
        return index;
    log_error("%s", err->msg);
    _cleanup_free_ char *aside = move_aside(dir, outdated ? "old" : "damaged", err);
    if (!aside)
        return NULL;
    atomic_store(&c->rebuilding, true);
    index = open_current(dir, watcher, err);
    if (index && outdated)
        upgrade_take_tags(index, aside);
    return index;
}

static void read_rebuilding(struct index_txn *t, void *arg)
{
    *(bool *)arg = rows_is_rebuilding(t);
}

static bool write_rebuilding(struct index_txn *t, void *arg, struct err *err)
{
    return rows_set_rebuilding(t, *(bool *)arg, err);
}

/* A rebuild that was interrupted is resumed. */
static bool note_rebuilding(struct cache *c, struct err *err)
{
    bool noted = false, now = true;

    index_read(c->index, read_rebuilding, &noted);
    if (noted)
        atomic_store(&c->rebuilding, true);
    return noted || !atomic_load(&c->rebuilding) || index_write_wait(c->index, write_rebuilding, &now, err);
}

bool cache_end_rebuilding(struct cache *c, struct err *err)
{
    bool now = false;

    if (!index_write_wait(c->index, write_rebuilding, &now, err))
        return false;
    atomic_store(&c->rebuilding, false);
    atomic_store(&c->tags_changed, true);
    return true;
}

struct cache *cache_open(const char *path, struct pool *pool, const struct index_watcher *watcher, struct err *err)
{
    struct cache *c = xcalloc(1, sizeof(*c));
    _cleanup_free_ char *index_dir = xasprintf("%s/index", path);
    struct totals totals;

    c->pool = pool;
    c->store = store_open(path, err);
    if (!c->store)
        goto fail;
    store_remove_leftovers(c->store);
    c->index = open_index(c, index_dir, watcher, err);
    if (!c->index)
        goto fail;
    c->memory = memory_new(MEMORY_BYTES);
    c->leases = leases_new();
    c->touches = touches_new();
    c->importing = importing_new(c->leases, c->index);
    c->ingests = ingests_new(c->index, c->store, c->leases, pool);
    cache_totals(c, &totals);
    if (totals.blobs == 0 && layout_load(c) > 0) /* lost or removed: there may be files nevertheless */
        atomic_store(&c->rebuilding, true);
    if (note_rebuilding(c, err))
        return c;
fail:
    cache_close(c);
    err_wrap(err, "opening the cache in %s", path);
    return NULL;
}

void cache_close(struct cache *c)
{
    struct err err = {0};

    if (!c)
        return;
    ingests_free(c->ingests);
    if (c->index && c->touches && !layout_save(c, &err))
        log_error("%s", err.msg);
    if (c->index && c->touches)
        cache_flush_touches(c, NULL, NULL, NULL);
    index_close(c->index);
    importing_free(c->importing);
    leases_free(c->leases);
    touches_free(c->touches);
    memory_free(c->memory);
    store_close(c->store);
    free(c);
}

/* ---- reading ---- */

struct cache_query {
    const char *repo, *tag;
    struct cache_hit *hit;
};

static void cache_read_hit(struct index_txn *t, void *arg)
{
    struct cache_query *f = arg;
    struct cache_hit *hit = f->hit;
    uint64_t repo = rows_repo(t, f->repo, &hit->repo_private);

    if (f->tag) {
        hit->tag_known = rows_get_tag(t, repo, f->tag, &hit->tag);
        if (!hit->tag_known)
            return;
        hit->digest = hit->tag.digest;
    }
    hit->stored = rows_get_blob(t, &hit->digest, &hit->blob);
    /* A tag's row is the repository's own statement about the digest; a statement alone opens nothing private. */
    hit->linked =
        hit->stored && ((hit->tag_known && !(hit->blob.flags & BLOB_PRIVATE)) || rows_linked(t, repo, &hit->digest));
}

void cache_find(struct cache *c, const char *repo, const char *tag, const struct digest *digest, struct cache_hit *hit)
{
    memset(hit, 0, sizeof(*hit));
    if (digest)
        hit->digest = *digest;
    index_read(c->index, cache_read_hit, &(struct cache_query){repo, tag, hit});
}

struct link_query {
    const char *repo;
    const struct digest *d;
    bool linked;
};

static void read_link(struct index_txn *t, void *arg)
{
    struct link_query *q = arg;

    q->linked = rows_linked(t, rows_repo_id(t, q->repo), q->d);
}

bool cache_is_linked(struct cache *c, const char *repo, const struct digest *d)
{
    struct link_query q = {.repo = repo, .d = d};

    index_read(c->index, read_link, &q);
    return q.linked;
}

struct visibility_query {
    const char *repo;
    bool is_known, is_private;
};

static void read_visibility(struct index_txn *t, void *arg)
{
    struct visibility_query *q = arg;

    q->is_known = rows_repo(t, q->repo, &q->is_private) != 0;
}

bool cache_is_private(struct cache *c, const char *repo)
{
    struct visibility_query q = {.repo = repo};

    index_read(c->index, read_visibility, &q);
    return q.is_private;
}

bool cache_is_public(struct cache *c, const char *repo)
{
    struct visibility_query q = {.repo = repo};

    index_read(c->index, read_visibility, &q);
    return q.is_known && !q.is_private;
}

struct host_query {
    const char *host;
    const struct digest *d;
    bool sent;
};

static void read_host(struct index_txn *t, void *arg)
{
    struct host_query *q = arg;

    q->sent = rows_sent_by(t, q->host, q->d);
}

bool cache_was_sent_by(struct cache *c, const char *host, const struct digest *d)
{
    struct host_query q = {.host = host, .d = d};

    index_read(c->index, read_host, &q);
    return q.sent;
}

struct pin_query {
    const char *repo, *tag;
    bool pinned;
};

static void read_pin(struct index_txn *t, void *arg)
{
    struct pin_query *q = arg;

    q->pinned = rows_pinned(t, rows_repo_id(t, q->repo), q->tag);
}

bool cache_is_pinned(struct cache *c, const char *repo, const char *tag)
{
    struct pin_query q = {.repo = repo, .tag = tag};

    index_read(c->index, read_pin, &q);
    return q.pinned;
}

static void read_totals(struct index_txn *t, void *arg)
{
    rows_totals(t, arg);
}

void cache_totals(struct cache *c, struct totals *totals)
{
    memset(totals, 0, sizeof(*totals));
    index_read(c->index, read_totals, totals);
}

struct lost_children {
    size_t count;
    struct digest list[LOST_CHILDREN];
};

static bool touch_child(void *arg, const struct child *child)
{
    struct lost_children *l = arg;

    if (child_is_content(child))
        l->list[l->count++] = child->digest;
    return l->count < LOST_CHILDREN;
}

/* Noted before the entry is dropped, which takes with it where the blob came from. */
static void note_lost(struct cache *c, struct index_txn *t, const struct digest *d, uint32_t flags)
{
    char repo[REF_NAME_MAX + 1];

    store_note_lost(c->store, d, flags & BLOB_MANIFEST, rows_find_repo(t, d, repo) ? repo : "");
}

bool cache_drop_lost(struct cache *c, struct index_txn *t, const struct digest *d, struct err *err)
{
    struct lost_children children = {0};
    struct blob_row row = {0};

    if (store_has_blob(c->store, d))
        return true;
    bool known = rows_get_blob(t, d, &row);
    if (known || rows_references(t, d) > 0)
        note_lost(c, t, d, row.flags);
    if (!known)
        return true;
    rows_each_child(t, d, touch_child, &children);
    if (!rows_drop_blob(t, d, err))
        return false;
    for (size_t i = 0; i < children.count; i++)
        if (!rows_use_blob(t, &children.list[i], clock_now_s(), 0, err))
            return false;
    return true;
}

struct lost_blob {
    struct cache *cache;
    struct digest digest;
};

static bool apply_lost(struct index_txn *t, void *arg, struct err *err)
{
    struct lost_blob *l = arg;

    return cache_drop_lost(l->cache, t, &l->digest, err);
}

static void free_lost(void *arg, const struct err *err)
{
    if (err)
        log_limited(LOG_LEVEL_ERROR, "lost", "dropping the entry of a lost blob: %s", err->msg);
    free(arg);
}

/* There is no file: the entry is dropped, and the blob is fetched again when it is requested. */
static void cache_drop_entry(struct cache *c, const struct digest *d, const struct err *why)
{
    char text[DIGEST_TEXT_MAX];
    struct lost_blob *l = xcalloc(1, sizeof(*l));

    log_warn("%s is in the index but not on disk, it will be fetched again: %s", digest_format(d, text), why->msg);
    *l = (struct lost_blob){c, *d};
    memory_drop(c->memory, d);
    index_write(c->index, apply_lost, free_lost, l, NULL);
}

struct row_query {
    const struct digest *d;
    bool found;
    struct blob_row row;
};

static void cache_read_row(struct index_txn *t, void *arg)
{
    struct row_query *q = arg;

    q->found = rows_get_blob(t, q->d, &q->row);
}

static bool is_as_known(const struct row_query *q, const struct file_info *info)
{
    return q->found && info->size == q->row.size && info->ctime_ns == q->row.ctime_ns;
}

enum cache_file cache_look(struct cache *c, const struct digest *d)
{
    struct row_query q = {.d = d};
    struct file_info info;

    if (!store_stat_blob(c->store, d, &info, NULL))
        return FILE_MISSING;
    index_read(c->index, cache_read_row, &q);
    return is_as_known(&q, &info) ? FILE_KNOWN : FILE_UNVERIFIED;
}

/* It is served from memory many times: the one read is the time to check it. */
static bool cache_read_manifest(struct cache *c, const struct digest *d, int64_t size, struct buf *text,
                                struct err *why)
{
    struct digest seen;
    struct file_info info;

    if (!store_read_blob(c->store, d, MANIFEST_SIZE_MAX, text, why)) {
        if (why->code != ERR_TOO_LARGE)
            return false;
        why->code = ERR_CORRUPT;
    } else {
        digest_of(d->alg, text->data ? text->data : "", text->len, &seen);
        if (digest_eq(&seen, d) && (int64_t)text->len == size)
            return true;
        err_set(why, ERR_CORRUPT, "the file does not match its digest");
    }
    struct err kept;
    if (store_stat_blob(c->store, d, &info, NULL) && !store_quarantine_blob(c->store, d, info.inode, &kept))
        log_limited(LOG_LEVEL_ERROR, "quarantine", "a damaged file stays where it is: %s", kept.msg);
    return false;
}

struct body *cache_manifest_at_hand(struct cache *c, const struct digest *d)
{
    return memory_get(c->memory, d);
}

struct body *cache_load_manifest(struct cache *c, const struct digest *d, int64_t size, bool keep, struct err *err)
{
    struct body *b = memory_get(c->memory, d);
    _cleanup_buf_ struct buf text = {0};
    struct err why = {0};

    if (b)
        return b;
    if (cache_read_manifest(c, d, size, &text, &why)) {
        b = body_new(text.len);
        memcpy(b->data, text.data, text.len);
    } else if (why.code == ERR_CORRUPT || why.code == ERR_NOT_FOUND) {
        cache_drop_entry(c, d, &why);
    }
    if (!b && err)
        *err = why;
    if (b && keep)
        memory_put(c->memory, d, b);
    return b;
}

struct body *cache_manifest(struct cache *c, const struct digest *d, int64_t size, struct err *err)
{
    struct body *b = cache_load_manifest(c, d, size, true, err);

    if (b)
        touches_add(c->touches, d);
    return b;
}

int cache_open_blob(struct cache *c, const struct digest *d, int64_t *size, struct err *err)
{
    struct row_query q = {.d = d};
    struct file_info info;
    struct err why = {0};

    leases_take(c->leases, d);
    int fd = store_open_blob(c->store, d, &info, &why);
    index_read(c->index, cache_read_row, &q);
    if (fd >= 0 && is_as_known(&q, &info)) {
        touches_add(c->touches, d);
        *size = info.size;
        return fd;
    }
    if (fd >= 0) {
        close(fd);
        err_set(&why, ERR_UNVERIFIED, "the file has changed since its digest was verified");
    }
    leases_release(c->leases, d);
    if (why.code == ERR_NOT_FOUND && q.found)
        cache_drop_entry(c, d, &why);
    if (err)
        *err = why;
    return -1;
}

static bool cache_is_wanted(struct cache *c, const struct digest *d)
{
    struct row_query q = {.d = d};

    index_read(c->index, cache_read_row, &q);
    return q.found || cache_is_in_use(c, d);
}

void cache_discard(struct cache *c, const struct digest *d)
{
    struct err err;

    OFF_LOOPS;
    memory_drop(c->memory, d);
    if (cache_is_wanted(c, d))
        return;
    if (!store_trash_blob(c->store, d, &err))
        log_limited(LOG_LEVEL_ERROR, "discard", "%s", err.msg);
    /* A fetch that has begun meanwhile holds a lease, or has made an entry: the same bytes, back to their place. */
    if (cache_is_wanted(c, d))
        store_untrash_blob(c->store, d);
}

static bool apply_suspicion(struct index_txn *t, void *arg, struct err *err)
{
    return rows_verified_blob(t, &((struct lost_blob *)arg)->digest, 0, err);
}

void cache_suspect(struct cache *c, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    struct lost_blob *l = xcalloc(1, sizeof(*l));

    log_limited(LOG_LEVEL_ERROR, "read", "%s could not be read while it was served: it is verified before it is again",
                digest_format(d, text));
    ingests_note_unreadable(c->ingests, "a blob could not be read while it was served");
    *l = (struct lost_blob){c, *d};
    index_write(c->index, apply_suspicion, free_lost, l, NULL);
}
