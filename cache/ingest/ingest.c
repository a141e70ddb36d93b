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

/* Whose bytes a part has, and of which size its segments are. A collision gains nothing that the digest does not
 * catch. */
static uint32_t origin_of(const char *host)
{
    _cleanup_free_ char *text = xasprintf("%s %d", host, INGEST_SEGMENT);

    return text_hash(text);
}

struct resume {
    struct ingest *i;
    const char *host;
    bool found, ours;
};

/* The hash in front of the validator may be another host's by chance, or by design; but a private part is served to
 * who may read its repositories, and theirs is the name. */
static bool is_of_host(struct index_txn *t, const struct ingest_row *row, const char *host)
{
    char name[REF_NAME_MAX + 1];
    size_t len = strlen(host);

    for (size_t i = 0; i < row->repo_count; i++)
        if (!rows_repo_name(t, row->repos[i].id, name) || strncmp(name, host, len) != 0 || name[len] != '/')
            return false;
    return !row->is_private || row->repo_count > 0;
}

static void ingest_read_row(struct index_txn *t, void *arg)
{
    struct resume *r = arg;
    struct ingest *i = r->i;
    struct ingest_row row = {.size = -1};
    char origin[ORIGIN_LEN + 1];

    r->found = rows_get_ingest(t, &i->digest, &row);
    snprintf(origin, sizeof(origin), "%08x", i->origin);
    r->ours = r->found && strncmp(row.validator, origin, ORIGIN_LEN) == 0 && is_of_host(t, &row, r->host);
    if (!r->ours)
        return;
    i->size = row.size;
    i->is_public = !row.is_private;
    i->unvouched = row.unvouched;
    i->unvouched_ms = clock_mono_ms();
    i->earlier_count = row.repo_count;
    memcpy(i->earlier, row.repos, sizeof(i->earlier));
    snprintf(i->validator, sizeof(i->validator), "%.*s", VALIDATOR_MAX - ORIGIN_LEN, row.validator + ORIGIN_LEN);
    ingest_choose_segment(i);
    i->bitmap_len = MIN(row.bitmap_len, (size_t)INGEST_SEGMENTS_MAX / 8);
    i->bitmap = xmalloc(MAX(i->bitmap_len, (size_t)1));
    memcpy(i->bitmap, row.bitmap, i->bitmap_len);
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

static void ingest_cleared(void *arg, const struct err *err)
{
    struct ingest *i = arg;

    ON_LOOP(i->loop);
    i->clearing = false;
    if (err)
        ingest_stop(i, err, true);
    else if (!i->over && !ingest_is_ahead(i))
        i->events.drained(i->events.arg);
    ingest_unref(i);
}

static bool ingest_apply_clear(struct index_txn *t, void *arg, struct err *err)
{
    return rows_drop_ingest(t, &((struct ingest *)arg)->digest, err);
}

/* The row of a part that is no more. Until it is gone the source waits: after a crash it would describe what is written
 * to the new part. With the lock held. */
static void ingest_clear_row(struct ingest *i)
{
    HOLDS(&i->lock);
    i->clearing = true;
    i->refs++;
    index_write(i->all->index, ingest_apply_clear, ingest_cleared, i, i->loop);
}

/* Takes up what an earlier ingest left, if both its row and its part are there. With the lock held. */
static bool ingest_open_part(struct ingest *i, const char *host, struct err *err)
{
    struct resume r = {.i = i, .host = host};

    HOLDS(&i->lock);
    index_read(i->all->index, ingest_read_row, &r);
    if (r.ours)
        i->fd = store_open_part(i->all->store, &i->digest, false, NULL);
    if (i->fd >= 0 && !is_long_enough(i)) {
        close(i->fd);
        i->fd = -1;
    }
    if (i->fd < 0 && r.found)
        ingest_clear_row(i);
    if (i->fd < 0) {
        i->size = -1;
        ingest_choose_segment(i);
        i->bitmap_len = i->earlier_count = 0;
        i->is_public = false;
        i->validator[0] = '\0';
        /* In a file of its own: followers of an ingest that has ended may still read from the old one. */
        if (store_remove_part(i->all->store, &i->digest, err))
            i->fd = store_open_part(i->all->store, &i->digest, true, err);
    }
    return i->fd >= 0;
}

struct ingest *ingest_begin(struct ingests *all, const struct digest *digest, const char *host, struct loop *loop,
                            const struct ingest_events *events, struct err *err)
{
    struct ingest *i = ingest_new(all, digest, loop);

    i->origin = origin_of(host);
    i->events = *events;
    leases_take(all->leases, digest);
    ingest_list(i); /* before its part is opened: ingests_forget() leaves it alone from here on */
    pthread_mutex_lock(&i->lock);
    bool opened = ingest_open_part(i, host, err);
    if (opened)
        ingest_count_received(i);
    pthread_mutex_unlock(&i->lock);
    if (!opened) {
        i->over = true; /* for ingest_cleared() */
        ingest_unref(i);
        return NULL;
    }
    i->hasher = hasher_new(digest->alg);
    i->resumed = i->received;
    if (i->resumed > 0) {
        ingest_note_partial(all, -1, -i->resumed);
        ingest_recall_came(i);
    }
    ingest_note_arrived(i, i->resumed);
    if (i->received > 0)
        ingest_advance(i); /* begins to hash what is there */
    return i;
}

void ingest_touch(struct ingest *i)
{
    ON_LOOP(i->loop);
    if (futimens(i->fd, NULL) != 0)
        log_limited(LOG_LEVEL_WARN, "touch", "noting that a part is used: %s", strerror(errno));
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
    bool fits = size < 0 || i->size >= 0 || ingest_set_size(i, size);
    ingest_wake(i);
    pthread_mutex_unlock(&i->lock);
    if (!fits)
        return err_set(err, ERR_CORRUPT, "upstream announces %lld bytes, and has sent more", (long long)size);
    if (validator)
        snprintf(i->validator, sizeof(i->validator), "%s", validator);
    if (i->size < 0)
        ingest_ask_ahead(i);
    if (i->size >= 0 && ingest_prefix(i) == i->size) /* an empty one, or its size became known after its bytes */
        ingest_advance(i);
    return true;
}

void ingest_need_room(struct ingest *i, int64_t bytes)
{
    ON_LOOP(i->loop);
    IN_STATE(i->size >= 0);
    i->need = MAX(i->need, MIN(bytes, i->size));
    ingest_ask_for_room(i);
}

/* One pwrite(2) of an aligned 64 KiB fills one large folio of the page cache: a third less work than the same bytes
 * anywhere. Folios that are larger still are often made of memory that the host of a virtual machine has to back. */
enum { WRITE_STEP = 64 << 10 };

static bool ingest_write_all(struct ingest *i, int64_t offset, const char *data, size_t len, struct err *err)
{
    if (i->window) {
        memcpy(i->window + offset, data, len);
        return true;
    }
    while (len > 0) {
        ssize_t n = pwrite(i->fd, data, MIN(len, (size_t)(WRITE_STEP - offset % WRITE_STEP)), offset);
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

/* A blob that is no larger than this is hashed as it comes: a worker would take longer to begin. A relay is, too: what
 * its window holds is freed once it has been hashed and taken. */
enum { HASH_AT_ONCE_MAX = 1 << 20 };

static bool hashes_at_once(const struct ingest *i)
{
    return !i->hashing_file && (i->relay || i->size <= HASH_AT_ONCE_MAX);
}

/* [offset, offset + len) is not here yet. */
static bool ingest_write_new(struct ingest *i, int64_t offset, const char *data, int64_t len, struct err *err)
{
    if (i->relay && !ingest_agrees(i, offset, data, (size_t)len, err))
        return false;
    if (i->size < 0 && !ingest_extend_room(i, offset + len, err))
        return false;
    if (!ingest_write_all(i, offset, data, (size_t)len, err))
        return false;
    if (!i->relay)
        ingest_note_arrived(i, len);
    i->since_checkpoint += len;
    if (hashes_at_once(i) && offset == i->hashed) { /* else `hashed` is a worker's */
        hasher_update(i->hasher, data, (size_t)len);
        i->hashed += len;
    }
    pthread_mutex_lock(&i->lock);
    ingest_note_written(i, offset, len);
    ingest_count_came(i, len);
    if (i->received == i->size)
        i->whole_ms = clock_mono_ms();
    ingest_wake(i);
    i->written_to = MAX(i->written_to, offset + len);
    if (i->relay)
        ingest_give_back(i);
    pthread_mutex_unlock(&i->lock);
    return true;
}

bool ingest_write(struct ingest *i, int64_t offset, const void *data, size_t len, struct err *err)
{
    const char *from = data;
    int64_t limit = i->size >= 0 ? i->size : INGEST_SIZE_MAX; /* its loop alone writes the size */
    int64_t end = offset + (int64_t)len, skip;

    ON_LOOP(i->loop);
    if (i->over)
        return err_set(err, ERR_CANCELLED, "the ingest is over");
    if (end > limit)
        return err_set(err, ERR_UPSTREAM, "upstream sent more than the %lld bytes it announced", (long long)limit);
    while (offset < end) {
        pthread_mutex_lock(&i->lock);
        int64_t n = ingest_writable(i, offset, end - offset, &skip);
        pthread_mutex_unlock(&i->lock);
        if (n > 0 && !ingest_write_new(i, offset + skip, from + skip, n, err))
            return false;
        offset += skip + n;
        from += skip + n;
    }
    ingest_ask_ahead(i);
    ingest_advance(i);
    bool due = !i->relay && ingest_is_somebodys(i) && i->since_checkpoint >= INGEST_CHECKPOINT &&
               clock_mono_ms() - i->checkpoint_ms >= INGEST_CHECKPOINT_MS;
    if (due && !i->over && i->size >= 0 && !i->checkpointing)
        ingest_checkpoint(i, NULL);
    return true;
}

void ingest_note_unvouched(struct ingest *i)
{
    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    i->unvouched_ms = i->unvouched ? i->unvouched_ms : clock_mono_ms();
    i->unvouched = true;
    pthread_mutex_unlock(&i->lock);
}

void ingest_note_sized(struct ingest *i)
{
    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    i->sized = true;
    pthread_mutex_unlock(&i->lock);
}

bool ingest_is_sized(struct ingest *i)
{
    pthread_mutex_lock(&i->lock);
    bool sized = i->sized;
    pthread_mutex_unlock(&i->lock);
    return sized;
}

void ingest_end_of_unknown(struct ingest *i)
{
    ON_LOOP(i->loop);
    pthread_mutex_lock(&i->lock);
    if (i->size < 0)
        ingest_note_end(i);
    ingest_wake(i);
    pthread_mutex_unlock(&i->lock);
    ingest_advance(i);
}
