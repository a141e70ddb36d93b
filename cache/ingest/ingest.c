#include "cache/ingest/private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "cache/index/link.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- begin ---- */

struct resume {
    struct ingest *i;
    bool found, ours;
};

static void ingest_read_row(struct index_txn *t, void *arg)
{
    struct resume *r = arg;
    struct ingest *i = r->i;
    size_t cap = (size_t)(INGEST_SIZE_MAX / INGEST_SEGMENT / 8), len = 0;

    i->bitmap = xmalloc(cap);
    char kept[VALIDATOR_MAX + 1], origin[ORIGIN_LEN + 1];
    r->found = rows_get_ingest(t, &i->digest, &i->size, kept, i->bitmap, cap, &len);
    snprintf(origin, sizeof(origin), "%08x", i->origin);
    r->ours = r->found && strncmp(kept, origin, ORIGIN_LEN) == 0;
    if (r->ours)
        snprintf(i->validator, sizeof(i->validator), "%s", kept + ORIGIN_LEN);
    i->bitmap_len = len;
    i->bitmap = xrealloc(i->bitmap, MAX(len, (size_t)1));
}

/* Whether the part is as long as its bitmap says. */
static bool is_long_enough(const struct ingest *i)
{
    int64_t last = (int64_t)i->bitmap_len * 8 - 1;
    struct stat st;

    while (last >= 0 && !ingest_has_segment(i, last))
        last--;
    return fstat(i->fd, &st) == 0 && st.st_size >= ingest_segment_end(i, last);
}

static void free_digest(void *arg, const struct err *err UNUSED)
{
    free(arg);
}

/* Takes up what an earlier ingest left, if both its row and its part are there. With the lock held. */
static bool ingest_open_part(struct ingest *i, struct err *err)
{
    struct resume r = {.i = i};

    HOLDS(&i->lock);
    index_read(i->all->index, ingest_read_row, &r);
    if (r.ours)
        i->fd = store_open_part(i->all->store, &i->digest, false, NULL);
    if (i->fd >= 0 && !is_long_enough(i)) {
        close(i->fd);
        i->fd = -1;
    }
    if (i->fd < 0 && r.found) { /* of a part that is no more: nothing may be resumed by it */
        struct digest *d = xmalloc(sizeof(*d));
        *d = i->digest;
        index_write(i->all->index, ingest_apply_forgotten, free_digest, d, NULL);
    }
    if (i->fd < 0) {
        i->size = -1;
        i->bitmap_len = 0;
        i->validator[0] = '\0';
        i->fd = store_open_part(i->all->store, &i->digest, true, err);
        if (i->fd >= 0 && ftruncate(i->fd, 0) != 0)
            return err_errno(err, ERR_IO, "emptying an old part");
    }
    return i->fd >= 0;
}

struct ingest *ingest_begin(struct ingests *all, const struct digest *digest, const char *host, struct loop *loop,
                            void (*finished)(void *arg, enum ingest_state state, const struct err *err),
                            void (*deserted)(void *arg), void (*drained)(void *arg), void *arg, struct err *err)
{
    struct ingest *i = ingest_new(all, digest, loop);

    i->origin = text_hash(host); /* a collision gains nothing that the digest does not catch */
    i->finished = finished;
    i->deserted = deserted;
    i->drained = drained;
    i->arg = arg;
    leases_take(all->leases, digest);
    ingest_list(i); /* before its part is opened: ingests_forget() leaves it alone from here on */
    pthread_mutex_lock(&i->lock);
    bool opened = ingest_open_part(i, err);
    if (opened)
        ingest_count_received(i);
    pthread_mutex_unlock(&i->lock);
    if (!opened) {
        ingest_unref(i);
        return NULL;
    }
    i->hasher = hasher_new(digest->alg);
    i->resumed = i->received;
    ingests_note_parked(all, -i->resumed);
    ingest_note_arrived(i, i->resumed);
    if (i->received > 0)
        ingest_advance(i); /* begins to hash what is there */
    return i;
}

bool ingest_is_public(const struct ingest *i)
{
    ON_LOOP(i->loop);
    return i->is_public;
}

void ingest_also_link(struct ingest *i, const char *repo, enum proof proof, bool is_private)
{
    struct repo_name *r;

    ON_LOOP(i->loop);
    if (i->over) { /* the list is the index writer's now */
        index_link(i->all->index, repo, &i->digest, is_private);
        return;
    }
    i->is_public = i->is_public || !is_private;
    SLIST_FOREACH(r, &i->repos, entry)
        if (strcmp(r->name, repo) == 0) {
            r->proof = proof == PROOF_BYTES ? proof : r->proof;
            return;
        }
    r = xcalloc(1, sizeof(*r));
    r->name = xstrdup(repo);
    r->proof = proof;
    r->is_private = is_private;
    SLIST_INSERT_HEAD(&i->repos, r, entry);
}

/* ---- receiving ---- */

bool ingest_describe(struct ingest *i, int64_t size, const char *validator, struct err *err)
{
    ON_LOOP(i->loop);
    if (size > INGEST_SIZE_MAX)
        return err_set(err, ERR_TOO_LARGE, "a blob of %lld bytes is larger than the cache accepts", (long long)size);
    if (i->size >= 0 && size >= 0 && size != i->size)
        return err_set(err, ERR_CORRUPT, "upstream announces %lld bytes, the part on disk is of %lld", (long long)size,
                       (long long)i->size);
    if (i->relay && size > 0 && !i->window && !ingest_map_window(i, size, err))
        return false;
    pthread_mutex_lock(&i->lock);
    if (size >= 0)
        i->size = size;
    pthread_mutex_unlock(&i->lock);
    snprintf(i->validator, sizeof(i->validator), "%s", validator);
    if (i->size > 0)
        ingest_ask_for_room(i);
    else if (i->size < 0)
        ingest_ask_ahead(i);
    if (size == 0)
        ingest_advance(i);
    return true;
}

static bool ingest_write_all(struct ingest *i, int64_t offset, const char *data, size_t len, struct err *err)
{
    if (i->window) {
        memcpy(i->window + offset, data, len);
        return true;
    }
    while (len > 0) {
        ssize_t n = pwrite(i->fd, data, len, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            log_limited(LOG_LEVEL_ERROR, "write", "writing a blob to the cache: %s", strerror(errno));
            return err_errno(err, ERR_IO, "writing a part");
        }
        data += n;
        offset += n;
        len -= (size_t)n;
    }
    return true;
}

/* Notes that [offset, offset+len) has been written. With the lock held. */
static int note_written(struct ingest *i, int64_t offset, int64_t len)
{
    int completed = 0;

    HOLDS(&i->lock);
    if (i->front != offset || i->frontier == i->front) {
        i->received -= i->front - i->frontier; /* a segment given up half way */
        i->frontier = offset;
    }
    i->front = offset + len;
    i->received += len;
    while (i->front > i->frontier) {
        int64_t segment = i->frontier / INGEST_SEGMENT;
        int64_t end = ingest_segment_end(i, segment);
        if (i->front < end)
            break;
        ingest_set_segment(i, segment);
        i->frontier = end;
        completed++;
    }
    return completed;
}

bool ingest_write(struct ingest *i, int64_t offset, const void *data, size_t len, struct err *err)
{
    ON_LOOP(i->loop);
    if (i->over)
        return err_set(err, ERR_CANCELLED, "the ingest is over");
    if (len == 0)
        return true;
    /* A segment that broke off is requested from its beginning. What followers have read of it, and the hasher, stays
     * as it is: another answer may not put other bytes in its place. */
    int64_t again = offset >= i->frontier && offset < i->front ? MIN((int64_t)len, i->front - offset) : 0;
    offset += again;
    data = (const char *)data + again;
    len -= (size_t)again;
    if (len == 0)
        return true;
    int64_t limit = i->size >= 0 ? i->size : INGEST_SIZE_MAX; /* its loop alone writes the size */
    if (offset + (int64_t)len > limit)
        return err_set(err, ERR_UPSTREAM, "upstream sent more than the %lld bytes it announced", (long long)limit);
    if (i->relay && !ingest_agrees(i, offset, data, len, err))
        return false;
    if (i->size < 0 && !ingest_extend_room(i, offset + (int64_t)len, err))
        return false;
    if (!ingest_write_all(i, offset, data, len, err))
        return false;
    if (!i->relay)
        ingest_note_arrived(i, (int64_t)len);
    /* In order, and no worker is reading back: the bytes are in memory. */
    if (!i->hashing_file && offset == i->hashed) {
        hasher_update(i->hasher, data, len);
        i->hashed += (int64_t)len;
    }
    pthread_mutex_lock(&i->lock);
    i->since_checkpoint += note_written(i, offset, (int64_t)len);
    ingest_wake(i);
    if (i->relay)
        ingest_give_back(i);
    pthread_mutex_unlock(&i->lock);
    ingest_ask_ahead(i);
    ingest_advance(i);
    bool due = !i->relay && i->is_public && i->since_checkpoint >= INGEST_CHECKPOINT &&
               clock_mono_ms() - i->checkpoint_ms >= INGEST_CHECKPOINT_MS;
    if (due && !i->over && i->size >= 0 && !i->checkpointing)
        ingest_checkpoint(i, NULL);
    return true;
}

void ingest_end_of_unknown(struct ingest *i)
{
    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    if (i->size < 0) {
        i->size = i->front;
        if (i->front > i->frontier) {
            ingest_set_segment(i, i->frontier / INGEST_SEGMENT);
            i->frontier = i->front;
        }
        ingest_count_received(i);
    }
    ingest_wake(i);
    pthread_mutex_unlock(&i->lock);
    ingest_advance(i);
}
