/* What is stored from registries' answers: manifests, tags, links. */
#include "cache/private.h"

#include "base/clock.h"
#include "base/log.h"
#include "cache/index/link.h"

#include <stdio.h>

struct put {
    struct cache *cache;
    char *repo, *tag; /* tag may be NULL */
    struct digest digest;
    struct blob_row row;
    struct body *body;
    struct child *children;
    size_t count;
    struct tag_row tag_row;
    bool is_private;
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
        if (old.checked_ms > row.checked_ms && old.checked_ms <= clock_now_ms())
            return true; /* a later answer is stored already (one from the future: the clock was set back since) */
        if (digest_eq(&old.digest, &row.digest))
            row.changed_ms = old.changed_ms;
    }
    return rows_put_tag(t, repo, p->tag, &row, err);
}

/* A pull by digest holds the manifest when no tag and no index does: its "tag" is the digest itself. */
static bool hold_by_digest(struct index_txn *t, uint64_t repo, const struct put *p, struct err *err)
{
    char tag[REF_TAG_MAX + 1];

    return rows_references(t, &p->digest) > 0 ||
           rows_put_tag(t, repo, ref_digest_tag(&p->digest, tag), &p->tag_row, err);
}

static bool apply_put(struct index_txn *t, void *arg, struct err *err)
{
    struct put *p = arg;
    uint64_t repo;

    /* In one transaction: a private manifest never stands in a public repository. */
    if (!rows_intern_repo(t, p->repo, &repo, err) || (p->is_private && !rows_set_repo_private(t, repo, true, err)))
        return false;
    if (p->body && !rows_put_manifest(t, &p->digest, &p->row, p->children, p->count, err))
        return false;
    if (!rows_link(t, repo, &p->digest, p->body ? PROOF_BYTES : PROOF_HEAD, clock_now_s(), err))
        return false;
    if (!p->tag)
        return true;
    return p->tag[0] ? put_tag_row(t, repo, p, err) : hold_by_digest(t, repo, p, err);
}

struct unlisted {
    struct cache *cache;
    struct digest digest;
};

static void remove_unlisted(void *arg)
{
    struct unlisted *u = arg;

    store_remove_unlisted(u->cache->store, u->cache->index, &u->digest);
    leases_release(u->cache->leases, &u->digest);
    free(u);
}

static void end_put(void *arg, const struct err *err)
{
    struct put *p = arg;

    if (p->body && err) {
        struct unlisted *u = xmalloc(sizeof(*u));
        *u = (struct unlisted){p->cache, p->digest};
        leases_take(p->cache->leases, &p->digest);
        memory_drop(p->cache->memory, &p->digest);
        pool_run(p->cache->pool, remove_unlisted, u);
    }
    if (p->body && !err)
        touches_add_new(p->cache->touches, &p->digest);
    if (p->tag && !err)
        atomic_store(&p->cache->tags_changed, true);
    if (p->done)
        p->done(p->arg, err);
    else if (err)
        log_limited(LOG_LEVEL_ERROR, "put", "recording changes of %s: %s", p->repo, err->msg);
    if (p->body)
        leases_release(p->cache->leases, &p->digest);
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

    struct file_info info = {0};

    /* Written even if there is a file, which has not been verified lately. */
    if (!store_write_blob(c->store, &p->digest, p->body->data, p->body->len, p->is_private, &info, &p->err)) {
        loop_post(p->loop, fail_put, p);
        return;
    }
    p->row.ctime_ns = info.ctime_ns;
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
                        bool is_private, void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop)
{
    struct put *p = put_new(c, repo, tag, d);

    p->body = body_ref(body);
    p->is_private = is_private;
    p->row = (struct blob_row){.size = (int64_t)body->len, .flags = BLOB_MANIFEST, .cost_ms = cost_ms};
    p->row.flags |= is_private ? BLOB_PRIVATE : 0;
    p->row.created = p->row.used = clock_now_s();
    snprintf(p->row.media_type, sizeof(p->row.media_type), "%s", media_type);
    if (m) {
        p->children = manifest_children(m);
        p->count = m->count;
    }
    p->done = done;
    p->arg = arg;
    p->loop = loop;
    leases_take(c->leases, d);
    pool_run(c->pool, write_put, p);
}

void cache_put_tag(struct cache *c, const char *repo, const char *tag, const struct digest *d, int64_t checked_ms,
                   void (*done)(void *arg, const struct err *err), void *arg, struct loop *loop)
{
    struct put *p = put_new(c, repo, tag, d);

    p->tag_row.checked_ms = p->tag_row.changed_ms = checked_ms;
    p->done = done;
    p->arg = arg;
    index_write(c->index, apply_put, end_put, p, loop);
}

bool cache_tag_is_fresh(const struct tag_row *row, int64_t ttl_ms)
{
    int64_t age = clock_now_ms() - row->checked_ms;

    return age < ttl_ms && age > -ttl_ms;
}

bool cache_set_tag(struct cache *c, const char *repo, const char *tag, const struct digest *d, struct err *err)
{
    struct put *p = put_new(c, repo, tag, d);

    p->tag_row.checked_ms = p->tag_row.changed_ms = clock_now_ms();
    bool ok = index_write_wait(c->index, apply_put, p, err);
    put_free(p);
    if (ok)
        atomic_store(&c->tags_changed, true);
    return ok;
}

static bool apply_visibility(struct index_txn *t, void *arg, struct err *err)
{
    struct put *p = arg;
    uint64_t repo;

    return rows_intern_repo(t, p->repo, &repo, err) && rows_set_repo_private(t, repo, p->is_private, err);
}

void cache_set_private(struct cache *c, const char *repo, bool is_private)
{
    struct put *p = put_new(c, repo, "", &(struct digest){0});

    p->is_private = is_private;
    index_write(c->index, apply_visibility, end_put, p, NULL);
}

void cache_link(struct cache *c, const char *repo, const struct digest *d, bool is_private)
{
    index_link(c->index, repo, d, is_private);
}

struct listed {
    const char *repo;
    const struct digest *digest;
    bool is_news;
};

static void look_at_listed(struct index_txn *t, void *arg)
{
    struct listed *l = arg;
    struct blob_row row;

    l->is_news = rows_get_blob(t, l->digest, &row) && !rows_linked_by_itself(t, rows_repo_id(t, l->repo), l->digest);
}

void cache_link_listed(struct cache *c, const char *repo, const struct digest *d, bool is_private)
{
    struct listed l = {repo, d, false};

    index_read(c->index, look_at_listed, &l);
    if (l.is_news)
        cache_link(c, repo, d, is_private);
}

static bool apply_drop_tag(struct index_txn *t, void *arg, struct err *err)
{
    struct put *p = arg;

    uint64_t repo = rows_repo_id(t, p->repo);
    /* What is pinned stays, whatever upstream does with its tag. */
    return rows_pinned(t, repo, p->tag) || rows_drop_tag(t, repo, p->tag, err);
}

void cache_drop_tag(struct cache *c, const char *repo, const char *tag)
{
    index_write(c->index, apply_drop_tag, end_put, put_new(c, repo, tag, &(struct digest){0}), NULL);
}

static bool apply_doubt_tag(struct index_txn *t, void *arg, struct err *err)
{
    struct put *p = arg;
    struct tag_row row;

    uint64_t repo = rows_repo_id(t, p->repo);
    if (!rows_get_tag(t, repo, p->tag, &row) || row.checked_ms <= p->tag_row.checked_ms)
        return true;
    row.checked_ms = p->tag_row.checked_ms;
    return rows_put_tag(t, repo, p->tag, &row, err);
}

void cache_doubt_tag(struct cache *c, const char *repo, const char *tag, int64_t checked_ms)
{
    struct put *p = put_new(c, repo, tag, &(struct digest){0});

    p->tag_row.checked_ms = checked_ms;
    index_write(c->index, apply_doubt_tag, end_put, p, NULL);
}

static bool apply_unlink(struct index_txn *t, void *arg, struct err *err)
{
    struct put *p = arg;
    uint64_t repo = rows_repo_id(t, p->repo);

    return repo == 0 || rows_unlink(t, repo, &p->digest, err);
}

void cache_unlink(struct cache *c, const char *repo, const struct digest *d)
{
    index_write(c->index, apply_unlink, end_put, put_new(c, repo, NULL, d), NULL);
}
