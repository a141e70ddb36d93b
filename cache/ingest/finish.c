/* The end of an ingest, and what keeps it over a restart: hashing behind the prefix, verifying, publishing,
 * checkpoints.
 *
 * One io worker at a time hashes an ingest while its loop receives on. It looks at the prefix itself: the loop, which
 * it would have to wait for, is told only when it has caught up. When all is here and hashed, the loop compares the
 * digest.
 */
#include "cache/ingest/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#include <errno.h>
#include <sys/stat.h>

enum {
    HASH_CHUNK = 256 << 10, /* bytes; what was written a moment ago is still in the processor's cache */
    HASH_LEAST = 1 << 20,   /* bytes that a worker is woken for, before the end */
    HASH_TURN = 8 << 20,    /* bytes, after which other blobs have their turn */
};

/* ---- the last change of state ---- */

static void ingest_end(struct ingest *i, enum ingest_state state, const struct err *err)
{
    ON_LOOP(i->loop);
    IN_STATE(state == INGEST_STORED || state == INGEST_NOT_STORED ? i->state == INGEST_VERIFIED : i->over);
    pthread_mutex_lock(&i->lock);
    i->state = state;
    if (err)
        i->err = *err;
    ingest_wake(i);
    pthread_mutex_unlock(&i->lock);
    i->over = true;
    ingest_book_room(i, state);
    i->events.finished(i->events.arg, state, err);
}

/* ---- hashing what is in the part (io worker) ---- */

struct file_hashing {
    struct ingest *i;
    int64_t to;
    struct err err;
};

static void advance_after(void *arg)
{
    struct file_hashing *h = arg;
    struct ingest *i = h->i;

    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    i->hashing_file = false;
    pthread_mutex_unlock(&i->lock);
    if (h->err.code == ERR_OK)
        ingest_advance(i);
    else
        ingest_stop(i, &h->err, true);
    free(h);
    ingest_unref(i);
}

/* Whether there is enough for another turn. On the loop, or on the worker that has `hashed`. */
static bool hash_plan(struct file_hashing *h)
{
    struct ingest *i = h->i;

    pthread_mutex_lock(&i->lock);
    int64_t left = i->prefix - i->hashed;
    bool enough = left >= HASH_LEAST || (left > 0 && (i->prefix == i->size || i->relay));
    h->to = i->hashed + MIN(left, (int64_t)HASH_TURN);
    i->hashing_from = i->hashed;
    pthread_mutex_unlock(&i->lock);
    return enough && !atomic_load(&i->over);
}

static void hash_from_file(void *arg)
{
    struct file_hashing *h = arg;
    struct ingest *i = h->i;
    _cleanup_free_ char *chunk = xmalloc(HASH_CHUNK);

    OFF_LOOPS;
    IN_STATE(i->hashing_file); /* the loop alone writes it, and does not now: `hashed` is ours meanwhile */

    while (i->hashed < h->to) {
        ssize_t n = io_pread(i->fd, chunk, (size_t)MIN(h->to - i->hashed, (int64_t)HASH_CHUNK), i->hashed);
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            err_errno(&h->err, ERR_IO, "reading a part back");
            break;
        }
        hasher_update(i->hasher, chunk, (size_t)n);
        i->hashed += n;
    }
    if (h->err.code == ERR_OK && hash_plan(h))
        pool_run(i->all->pool, hash_from_file, h);
    else
        loop_post(i->loop, advance_after, h);
}

/* ---- checkpoint ---- */

struct checkpoint {
    struct ingest *i;
    int64_t size;
    uint8_t *bitmap;
    size_t len;
    char validator[VALIDATOR_MAX + 1];
    bool is_private, unvouched;
    SLIST_HEAD(, repo_name) repos; /* a copy */
    void (*then)(struct ingest *i);
    struct err sync_err;
};

/* A repository that has proved to contain the blob; its id. */
static bool enter_repo(struct index_txn *t, const struct repo_name *r, uint64_t *id, struct err *err)
{
    return rows_intern_repo(t, r->name, id, err) && (!r->is_private || rows_set_repo_private(t, *id, true, err));
}

static bool apply_checkpoint(struct index_txn *t, void *arg, struct err *err)
{
    struct checkpoint *c = arg;
    struct ingest_row row = {.size = c->size,
                             .is_private = c->is_private,
                             .unvouched = c->unvouched,
                             .bitmap = c->bitmap,
                             .bitmap_len = c->len};
    const struct repo_name *r;
    struct blob_row stored;
    uint64_t id;

    if (rows_get_blob(t, &c->i->digest, &stored) || atomic_load(&c->i->dropped))
        return true;
    memcpy(row.validator, c->validator, sizeof(row.validator));
    memcpy(row.repos, c->i->earlier, sizeof(row.repos));
    row.repo_count = c->i->earlier_count;
    SLIST_FOREACH(r, &c->repos, entry) {
        if (!enter_repo(t, r, &id, err))
            return false;
        rows_add_ingest_repo(&row, id, r->proof);
    }
    return rows_put_ingest(t, &c->i->digest, &row, err);
}

static void finish_paused(struct ingest *i)
{
    struct err why = i->worker_err;

    ON_LOOP(i->loop);
    ingest_end(i, INGEST_PAUSED, why.code == ERR_OK ? NULL : &why);
}

static void end_checkpoint(void *arg, const struct err *err)
{
    struct checkpoint *c = arg;
    struct repo_name *r;

    ON_LOOP(c->i->loop);
    if (err)
        log_limited(LOG_LEVEL_WARN, "checkpoint", "writing a checkpoint: %s", err->msg);
    c->i->checkpointing = false;
    if (c->then)
        c->then(c->i);
    else if (c->i->pausing)
        ingest_checkpoint(c->i, finish_paused);
    else if (atomic_load(&c->i->unsynced))
        ingest_stop(c->i, &c->sync_err, true);
    ingest_unref(c->i);
    while ((r = SLIST_FIRST(&c->repos))) {
        SLIST_REMOVE_HEAD(&c->repos, entry);
        free(r->name);
        free(r);
    }
    free(c->bitmap);
    free(c);
}

static void sync_checkpoint(void *arg)
{
    struct checkpoint *c = arg;

    if (fdatasync(c->i->fd) != 0) {
        err_errno(&c->sync_err, ERR_IO, "syncing a part");
        atomic_store(&c->i->unsynced, true);
    }
    if (atomic_load(&c->i->unsynced))
        c->len = 0; /* no segment is promised */
    index_write(c->i->all->index, apply_checkpoint, end_checkpoint, c, c->i->loop);
}

/* Whom it is for, as it is now. */
static void copy_repos(struct checkpoint *c, const struct ingest *i)
{
    const struct repo_name *r;

    SLIST_FOREACH(r, &i->repos, entry) {
        struct repo_name *copy = xcalloc(1, sizeof(*copy));
        *copy = *r;
        copy->name = xstrdup(r->name);
        SLIST_INSERT_HEAD(&c->repos, copy, entry);
    }
    c->is_private = !i->is_public;
}

void ingest_checkpoint(struct ingest *i, void (*then)(struct ingest *i))
{
    struct checkpoint *c = xcalloc(1, sizeof(*c));

    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    c->size = i->size;
    c->unvouched = i->unvouched;
    c->len = i->bitmap_len;
    c->bitmap = xmalloc(c->len + 1);
    if (c->len > 0) /* its size may not be known yet */
        memcpy(c->bitmap, i->bitmap, c->len);
    i->refs++;
    pthread_mutex_unlock(&i->lock);
    bool fits = strlen(i->validator) + ORIGIN_LEN <= VALIDATOR_MAX;
    snprintf(c->validator, sizeof(c->validator), "%08x%.*s", i->origin, VALIDATOR_MAX - ORIGIN_LEN,
             fits ? i->validator : "");
    copy_repos(c, i);
    c->i = i;
    c->then = then;
    i->checkpointing = true;
    i->since_checkpoint = 0;
    i->checkpoint_ms = clock_mono_ms();
    pool_run(i->all->pool, sync_checkpoint, c);
}

/* ---- the end: wrong ---- */

static bool apply_forget(struct index_txn *t, void *arg, struct err *err)
{
    struct ingest *i = arg;

    return i->relay || rows_drop_ingest(t, &i->digest, err);
}

static void end_discard(void *arg, const struct err *err)
{
    struct ingest *i = arg;

    ON_LOOP(i->loop);
    if (err)
        log_limited(LOG_LEVEL_WARN, "forget", "removing a part's row: %s", err->msg);
    ingest_end(i, INGEST_FAILED, &i->worker_err);
    ingest_unref(i);
}

/* One that stays is removed a day later (gc/repair/reconcile.h). */
static void remove_part(struct ingest *i)
{
    struct err err;

    if (!store_remove_part(i->all->store, &i->digest, &err))
        log_limited(LOG_LEVEL_WARN, "part", "%s", err.msg);
}

static void finish_discard(void *arg)
{
    struct ingest *i = arg;

    atomic_store(&i->dropped, true);
    if (!i->relay)
        remove_part(i);
    index_write(i->all->index, apply_forget, end_discard, i, i->loop);
}

void ingest_stop(struct ingest *i, const struct err *err, bool discard)
{
    ON_LOOP(i->loop);
    if (i->over)
        return;
    i->over = true;
    err_set(&i->worker_err, ERR_CANCELLED, "the download was paused: no client waits for it");
    if (err)
        i->worker_err = *err;
    if (discard || i->size < 0 || i->relay || !ingest_is_somebodys(i)) {
        /* Before the part is removed: followers read from its descriptor. */
        pthread_mutex_lock(&i->lock);
        i->state = INGEST_FAILED;
        i->err = i->worker_err;
        ingest_wake(i);
        pthread_mutex_unlock(&i->lock);
        pool_run(i->all->pool, finish_discard, ingest_ref(i));
        return;
    }
    pthread_mutex_lock(&i->lock);
    ingest_drop_fronts(i);
    pthread_mutex_unlock(&i->lock);
    i->pausing = true;
    if (!i->checkpointing) /* else when that has ended: an older row must not come last */
        ingest_checkpoint(i, finish_paused);
}

/* ---- the end: right ---- */

static bool apply_store(struct index_txn *t, void *arg, struct err *err)
{
    struct ingest *i = arg;
    struct blob_row row = {.size = i->size, .created = clock_now_s(), .used = clock_now_s()};
    struct repo_name *r;
    uint64_t repo;

    row.ctime_ns = i->published.ctime_ns;
    row.flags = i->is_public ? 0 : BLOB_PRIVATE;
    row.cost_ms = (uint32_t)MIN(clock_mono_ms() - i->started_ms, (int64_t)UINT32_MAX);
    if (!rows_put_blob(t, &i->digest, &row, err) || !rows_drop_ingest(t, &i->digest, err))
        return false;
    SLIST_FOREACH(r, &i->repos, entry)
        if (!enter_repo(t, r, &repo, err) || !rows_link(t, repo, &i->digest, r->proof, row.created, err))
            return false;
    for (size_t k = 0; k < i->earlier_count; k++)
        if (!rows_link(t, i->earlier[k].id, &i->digest, i->earlier[k].proof, row.created, err))
            return false;
    return true;
}

/* The followers get every byte, verified; only keeping the blob can still fail. */
static void not_kept(void *arg)
{
    struct ingest *i = arg;

    ON_LOOP(i->loop);
    if (!i->relay) { /* why there is a relay has been logged, and counted */
        log_limited(LOG_LEVEL_ERROR, "store", "storing a blob: %s; clients get it without caching", i->worker_err.msg);
        ingests_note_unstored(i->all, &i->worker_err);
    }
    ingest_end(i, INGEST_NOT_STORED, &i->worker_err);
    ingest_unref(i);
}

/* On an io worker. Followers have the descriptor. */
static void drop_not_stored(void *arg)
{
    struct ingest *i = arg;
    struct err err;

    atomic_store(&i->dropped, true);
    if (!i->relay) {
        remove_part(i);
        store_remove_unlisted(i->all->store, i->all->index, &i->digest);
        if (!index_write_wait(i->all->index, apply_forget, i, &err))
            log_limited(LOG_LEVEL_WARN, "forget", "removing a part's row: %s", err.msg);
    }
    loop_post(i->loop, not_kept, i);
}

static void end_store(void *arg, const struct err *err)
{
    struct ingest *i = arg;

    ON_LOOP(i->loop);
    if (err) { /* the file is in its place, and has no entry */
        i->worker_err = *err;
        pool_run(i->all->pool, drop_not_stored, i);
        return;
    }
    ingest_note_stored(i);
    ingest_end(i, INGEST_STORED, NULL);
    ingest_unref(i);
}

static void finish_publish(void *arg)
{
    struct ingest *i = arg;

    atomic_store(&i->dropped, true); /* a checkpoint that is under way writes no row behind apply_store()'s */
    if (atomic_load(&i->unsynced))
        err_set(&i->worker_err, ERR_IO, "syncing its part failed");
    else if (store_publish_part(i->all->store, &i->digest, i->fd, !i->is_public, &i->published, &i->worker_err)) {
        index_write(i->all->index, apply_store, end_store, i, i->loop);
        return;
    }
    drop_not_stored(i);
}

static void finish_keep(struct ingest *i)
{
    ON_LOOP(i->loop);
    if (i->relay) {
        err_set(&i->worker_err, ERR_IO, "it was relayed without caching");
        loop_post(i->loop, not_kept, i);
    } else {
        pool_run(i->all->pool, finish_publish, i);
    }
}

/* Its digest is right. */
static void set_verified(struct ingest *i)
{
    struct ingests *all = i->all;

    ON_LOOP(i->loop);
    pthread_mutex_lock(&all->lock);
    pthread_mutex_lock(&i->lock);
    IN_STATE(i->state == INGEST_RECEIVING);
    i->verified = ++all->verified;
    i->state = INGEST_VERIFIED;
    ingest_wake(i);
    pthread_mutex_unlock(&i->lock);
    pthread_mutex_unlock(&all->lock);
}

static void finish_verify(struct ingest *i)
{
    char want[DIGEST_TEXT_MAX], got[DIGEST_TEXT_MAX];

    ON_LOOP(i->loop);
    hasher_final(i->hasher, &i->computed);
    ingest_note_wait(i, INGEST_WAIT_HASH, i->whole_ms);
    if (!digest_eq(&i->computed, &i->digest)) {
        struct err err = {0};
        err_set(&err, ERR_DIGEST, "upstream sent bytes that hash to %s in place of %s",
                digest_format(&i->computed, got), digest_format(&i->digest, want));
        ingest_stop(i, &err, true);
        return;
    }
    i->over = true;
    set_verified(i);
    finish_keep(ingest_ref(i));
}

void ingest_advance(struct ingest *i)
{
    struct file_hashing plan = {.i = i}, *h;

    ON_LOOP(i->loop);
    if (i->over || i->hashing_file)
        return;
    if (i->size >= 0 && i->hashed == i->size) {
        finish_verify(i);
    } else if (hash_plan(&plan)) {
        h = xmalloc(sizeof(*h));
        *h = plan;
        ingest_ref(i);
        pthread_mutex_lock(&i->lock);
        i->hashing_file = true;
        pthread_mutex_unlock(&i->lock);
        pool_run(i->all->pool, hash_from_file, h);
    }
}
