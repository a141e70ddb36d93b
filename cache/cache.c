#include "cache/cache.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <sys/stat.h>

enum { MEMORY_BYTES = 8 << 20 };

struct cache *cache_open(const char *path, struct pool *pool, struct err *err)
{
    struct cache *c = xcalloc(1, sizeof(*c));
    _cleanup_free_
    char *index_dir = xasprintf("%s/index", path);

    c->pool = pool;
    c->store = store_open(path, err);
    if (!c->store)
        goto fail;
    mkdir(index_dir, 0700);
    c->index = index_open(index_dir, 0, err);
    if (!c->index)
        goto fail;
    c->memory = memory_new(MEMORY_BYTES);
    c->use = use_new();
    c->ingests = ingests_new(c);
    return c;
fail:
    cache_close(c);
    err_wrap(err, "opening the cache in %s", path);
    return NULL;
}

void cache_close(struct cache *c)
{
    if (!c)
        return;
    if (c->ingests)
        ingests_free(c->ingests);
    if (c->index && c->use)
        use_flush(c->use, c->index, NULL, NULL, NULL);
    index_close(c->index);
    use_free(c->use);
    memory_free(c->memory);
    store_close(c->store);
    free(c);
}

/* ---- reading ---- */

struct find {
    const char *repo, *tag;
    struct cache_hit *hit;
};

static void find(struct index_txn *t, void *arg)
{
    struct find *f = arg;
    struct cache_hit *hit = f->hit;
    uint64_t repo = rows_repo_id(t, f->repo);

    if (f->tag) {
        hit->tag_known = rows_get_tag(t, repo, f->tag, &hit->tag);
        if (!hit->tag_known)
            return;
        hit->digest = hit->tag.digest;
    }
    hit->stored = rows_get_blob(t, &hit->digest, &hit->blob);
    /* A tag's row is itself what the repository says about the digest. */
    hit->linked = hit->stored && (hit->tag_known || rows_linked(t, repo, &hit->digest));
}

void cache_find(struct cache *c, const char *repo, const char *tag, const struct digest *digest, struct cache_hit *hit)
{
    memset(hit, 0, sizeof(*hit));
    if (digest)
        hit->digest = *digest;
    index_read(c->index, find, &(struct find){repo, tag, hit});
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

static void read_totals(struct index_txn *t, void *arg)
{
    rows_totals(t, arg);
}

void cache_totals(struct cache *c, struct totals *totals)
{
    memset(totals, 0, sizeof(*totals));
    index_read(c->index, read_totals, totals);
}

static bool apply_lost(struct index_txn *t, void *arg, struct err *err)
{
    return rows_drop_blob(t, arg, err);
}

static void free_lost(void *arg, const struct err *err)
{
    if (err)
        log_error("dropping the entry of a lost blob: %s", err->msg);
    free(arg);
}

/* The file is not what the entry says: the entry goes, and the blob is fetched again. */
static void lost(struct cache *c, const struct digest *d, const struct err *why)
{
    char text[DIGEST_TEXT_MAX];
    struct digest *copy = xmalloc(sizeof(*copy));

    log_warn("%s is in the index but not whole on disk, it will be fetched again: %s", digest_format(d, text),
             why->msg);
    *copy = *d;
    memory_drop(c->memory, d);
    index_write(c->index, apply_lost, free_lost, copy, NULL);
}

struct body *cache_manifest(struct cache *c, const struct digest *d, int64_t size, struct err *err)
{
    struct body *b = memory_get(c->memory, d);
    _cleanup_buf_ struct buf text = {0};
    struct digest seen;
    struct err why = {0};

    if (b) {
        use_touch(c->use, d);
        return b;
    }
    bool ok = store_read_blob(c->store, d, MANIFEST_SIZE_MAX, &text, &why);
    if (ok) {
        /* It goes out from memory many times: once is a good time to look whether the disk kept it right. */
        digest_of(d->alg, text.data, text.len, &seen);
        if (!digest_eq(&seen, d) || (int64_t)text.len != size)
            ok = err_set(&why, ERR_CORRUPT, "the file does not match its digest");
    }
    if (!ok) {
        if (why.code == ERR_CORRUPT)
            store_remove_blob(c->store, d, NULL);
        if (why.code == ERR_CORRUPT || why.code == ERR_NOT_FOUND)
            lost(c, d, &why);
        if (err)
            *err = why;
        return NULL;
    }
    b = body_new(text.len);
    memcpy(b->data, text.data, text.len);
    memory_put(c->memory, d, b);
    use_touch(c->use, d);
    return b;
}

int cache_open_blob(struct cache *c, const struct digest *d, int64_t size, struct err *err)
{
    struct err why = {0};
    int64_t found = 0;

    use_lease(c->use, d);
    int fd = store_open_blob(c->store, d, &found, &why);
    if (fd >= 0 && found == size) {
        use_touch(c->use, d);
        return fd;
    }
    if (fd >= 0) {
        close(fd);
        store_remove_blob(c->store, d, NULL);
        err_set(&why, ERR_CORRUPT, "the file has %lld bytes, the index says %lld", (long long)found, (long long)size);
    }
    use_release(c->use, d);
    if (why.code == ERR_CORRUPT || why.code == ERR_NOT_FOUND)
        lost(c, d, &why);
    if (err)
        *err = why;
    return -1;
}

/* ---- writing ---- */

struct put {
    struct cache *cache;
    char *repo, *tag; /* tag may be NULL */
    struct digest digest;
    struct blob_row row;
    struct body *body;
    struct child *children;
    size_t count;
    struct tag_row tag_row;
    void (*done)(void *arg, const struct err *err);
    void *arg;
    struct loop *loop;
    struct err err;
};

static void put_free(struct put *p)
{
    free(p->repo);
    free(p->tag);
    free(p->children);
    body_unref(p->body);
    free(p);
}

static bool put_tag_row(struct index_txn *t, uint64_t repo, const struct put *p, struct err *err)
{
    struct tag_row row = p->tag_row, old;

    if (rows_get_tag(t, repo, p->tag, &old)) {
        if (old.checked_ms > row.checked_ms)
            return true; /* somebody asked later than we did */
        if (digest_eq(&old.digest, &row.digest))
            row.changed_ms = old.changed_ms;
    }
    return rows_put_tag(t, repo, p->tag, &row, err);
}

/* A pull by digest holds the manifest when no tag and no index does: its "tag" is the digest itself. */
static bool hold_by_digest(struct index_txn *t, uint64_t repo, const struct put *p, struct err *err)
{
    char tag[DIGEST_TEXT_MAX];

    if (rows_references(t, &p->digest) > 0)
        return true;
    digest_format(&p->digest, tag);
    tag[MIN(strlen(tag), (size_t)REF_TAG_MAX)] = '\0';
    return rows_put_tag(t, repo, tag, &p->tag_row, err);
}

static bool apply_put(struct index_txn *t, void *arg, struct err *err)
{
    struct put *p = arg;
    uint64_t repo;

    if (!rows_intern_repo(t, p->repo, &repo, err))
        return false;
    if (p->body && !rows_put_manifest(t, &p->digest, &p->row, p->children, p->count, err))
        return false;
    if (!rows_link(t, repo, &p->digest, clock_now_s(), err))
        return false;
    if (!p->tag)
        return true;
    return p->tag[0] ? put_tag_row(t, repo, p, err) : hold_by_digest(t, repo, p, err);
}

static void end_put(void *arg, const struct err *err)
{
    struct put *p = arg;

    if (p->done)
        p->done(p->arg, err);
    else if (err)
        log_error("recording what was learnt about %s: %s", p->repo, err->msg);
    if (p->body)
        use_release(p->cache->use, &p->digest);
    put_free(p);
}

static void fail_put(void *arg)
{
    struct put *p = arg;

    end_put(p, &p->err);
}

/* On an io worker: the file before the entry. */
static void write_put(void *arg)
{
    struct put *p = arg;
    struct cache *c = p->cache;

    if (!store_has_blob(c->store, &p->digest) &&
        !store_write_blob(c->store, &p->digest, p->body->data, p->body->len, &p->err)) {
        loop_post(p->loop, fail_put, p);
        return;
    }
    memory_put(c->memory, &p->digest, p->body);
    index_write(c->index, apply_put, end_put, p, p->loop);
}

static struct put *put_new(struct cache *c, const char *repo, const char *tag, const struct digest *d)
{
    struct put *p = xcalloc(1, sizeof(*p));

    p->cache = c;
    p->repo = xstrdup(repo);
    p->tag = tag ? xstrdup(tag) : NULL;
    p->digest = *d;
    p->tag_row = (struct tag_row){.digest = *d, .checked_ms = clock_now_ms(), .changed_ms = clock_now_ms()};
    return p;
}

void cache_put_manifest(struct cache *c, const char *repo, const char *tag, const struct digest *d,
                        const char *media_type, struct body *body, const struct manifest *m, uint32_t cost_ms,
                        void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop)
{
    struct put *p = put_new(c, repo, tag, d);

    p->body = body_ref(body);
    p->row = (struct blob_row){.size = (int64_t)body->len, .flags = BLOB_MANIFEST, .cost_ms = cost_ms};
    p->row.created = p->row.used = clock_now_s();
    snprintf(p->row.media_type, sizeof(p->row.media_type), "%s", media_type);
    if (m) {
        p->children = manifest_children(m);
        p->count = m->count;
    }
    p->done = done;
    p->arg = arg;
    p->loop = loop;
    use_lease(c->use, d);
    pool_run(c->pool, write_put, p);
}

void cache_put_tag(struct cache *c, const char *repo, const char *tag, const struct digest *d, int64_t checked_ms)
{
    struct put *p = put_new(c, repo, tag, d);

    p->tag_row.checked_ms = p->tag_row.changed_ms = checked_ms;
    index_write(c->index, apply_put, end_put, p, NULL);
}

void cache_link(struct cache *c, const char *repo, const struct digest *d)
{
    index_write(c->index, apply_put, end_put, put_new(c, repo, NULL, d), NULL);
}

static bool apply_drop_tag(struct index_txn *t, void *arg, struct err *err)
{
    struct put *p = arg;

    return rows_drop_tag(t, rows_repo_id(t, p->repo), p->tag, err);
}

void cache_drop_tag(struct cache *c, const char *repo, const char *tag)
{
    index_write(c->index, apply_drop_tag, end_put, put_new(c, repo, tag, &(struct digest){0}), NULL);
}
