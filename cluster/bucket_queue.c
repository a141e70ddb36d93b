/* The queue of blobs that are to be uploaded: bounded, two under way at a time, each tried three times. */
#include "cluster/bucket_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#include <string.h>

/* ---- the queue ---- */

static bool queue_has(struct bucket *b, const struct digest *name)
{
    const struct bucket_upload *u;

    HOLDS(&b->lock);
    TAILQ_FOREACH(u, &b->queue, entry)
        if (digest_eq(&u->name, name))
            return true;
    return false;
}

void bucket_name_private(const char *repository, const struct digest *d, struct digest *name)
{
    char digest[DIGEST_TEXT_MAX];
    _cleanup_free_ char *text = xasprintf("private %s %s", digest_format(d, digest), repository);

    digest_of(DIGEST_SHA256, text, strlen(text), name);
}

void bucket_offer(struct bucket *b, const struct digest *d, const struct digest *name, int64_t size)
{
    if (d->alg != DIGEST_SHA256 || size <= 0 || size > (int64_t)BUCKET_PARTS_MAX << 30)
        return;
    pthread_mutex_lock(&b->lock);
    if (b->stopping || queue_has(b, name)) {
        pthread_mutex_unlock(&b->lock);
        return;
    }
    bool full = b->queued >= BUCKET_QUEUE_MAX;
    if (full) {
        b->counted.dropped++;
    } else {
        struct bucket_upload *u = xcalloc(1, sizeof(*u));
        u->b = b;
        u->digest = *d;
        u->name = *name;
        u->size = size;
        u->fd = -1;
        TAILQ_INSERT_TAIL(&b->queue, u, entry);
        b->queued++;
        loop_post(b->loop, b->turn, b);
    }
    pthread_mutex_unlock(&b->lock);
    if (full)
        log_limited_about(LOG_LEVEL_WARN, "bucket-queue", b->name,
                          "%s: %d blobs wait for their upload: another one is not queued", b->name, BUCKET_QUEUE_MAX);
}

/* ---- the end of an upload ---- */

static void upload_close(struct bucket_upload *u)
{
    if (u->call)
        bucket_call_cancel(u->call);
    if (u->fd >= 0)
        close(u->fd);
    if (u->parts)
        u->free_parts(u->parts);
    free(u->path);
    u->call = NULL;
    u->parts = NULL;
    u->path = NULL;
    u->fd = -1;
}

void bucket_upload_end(struct bucket_upload *u, enum bucket_outcome outcome, const char *why)
{
    struct bucket *b = u->b;
    char text[DIGEST_TEXT_MAX];

    ON_LOOP(b->loop);
    upload_close(u);
    if (outcome == BUCKET_PUT_WRITTEN || outcome == BUCKET_PUT_THERE)
        bucket_note_there(b, &u->name);
    pthread_mutex_lock(&b->lock);
    b->active--;
    u->active = false;
    bool again = outcome == BUCKET_PUT_FAILED && ++u->tries < BUCKET_TRIES;
    u->due_ms = clock_mono_ms() + ((int64_t)BUCKET_RETRY_MS << (2 * MAX(u->tries - 1, 0)));
    if (outcome == BUCKET_PUT_WRITTEN) {
        b->counted.written += (uint64_t)u->size;
        b->write_refused = false;
        b->why_no_write[0] = '\0';
    }
    if (outcome == BUCKET_PUT_FAILED && !again)
        b->counted.failed++;
    TAILQ_REMOVE(&b->queue, u, entry);
    if (again)
        TAILQ_INSERT_TAIL(&b->queue, u, entry);
    else
        b->queued--;
    pthread_mutex_unlock(&b->lock);
    digest_format(&u->digest, text);
    if (outcome == BUCKET_PUT_FAILED)
        log_limited_about(LOG_LEVEL_WARN, "bucket-upload", b->name, "uploading %s%s: %s", text,
                          again ? ", which is tried again" : " is given up", why);
    else
        log_debug("%s: %s %s", b->name, text, outcome == BUCKET_PUT_WRITTEN ? "uploaded" : "needs no upload");
    if (!again)
        free(u);
    loop_post(b->loop, b->turn, b);
}

void bucket_upload_fail(struct bucket_upload *u, const struct bucket_answer *a)
{
    char why[200];
    bool refused = !a->err && (a->status == 401 || a->status == 403 || a->status == 507);
    bool gone =
        a->err ? a->err->code == ERR_UNREACHABLE || a->err->code == ERR_UPSTREAM : a->status >= 500 && a->status != 507;

    bucket_answer_describe(u->b, a, why, sizeof(why));
    if (refused)
        bucket_note_refused(u->b, why);
    else if (gone)
        bucket_note_bad(u->b, u->began_ms, why);
    bucket_upload_end(u, BUCKET_PUT_FAILED, why);
}

bool bucket_upload_is_bare(struct bucket_upload *u, const struct bucket_answer *a)
{
    if (u->bare || a->err || (a->status != 501 && !(a->status == 400 && strcmp(a->code, "NotImplemented") == 0)))
        return false;
    u->bare = u->b->no_conditions = true;
    return true;
}

size_t bucket_upload_read(struct bucket_upload *u, int64_t at, char *out, size_t cap)
{
    return (size_t)MAX(io_pread(u->fd, out, cap, at), (ssize_t)0);
}

/* ---- what is next ---- */

/* The next one that may start; NULL, and when there is one, or -1. */
static struct bucket_upload *queue_next(struct bucket *b, int64_t *when)
{
    int64_t now = clock_mono_ms();
    struct bucket_upload *u;

    *when = -1;
    if (b->active >= BUCKET_UPLOADS || b->queued == b->active)
        return NULL;
    if (b->write_refused && now < b->write_ms) {
        *when = b->write_ms;
        return NULL;
    }
    TAILQ_FOREACH(u, &b->queue, entry) {
        if (!u->active && u->due_ms <= now)
            return u;
        if (!u->active && (*when < 0 || u->due_ms < *when))
            *when = u->due_ms;
    }
    return NULL;
}

struct bucket_upload *bucket_queue_take(struct bucket *b, int64_t *when)
{
    pthread_mutex_lock(&b->lock);
    struct bucket_upload *u = queue_next(b, when);
    if (u) {
        u->active = true;
        b->active++;
    }
    pthread_mutex_unlock(&b->lock);
    return u;
}

void bucket_queue_stop(struct bucket *b)
{
    struct bucket_upload *u;

    ON_LOOP(b->loop);
    pthread_mutex_lock(&b->lock);
    while ((u = TAILQ_FIRST(&b->queue))) {
        TAILQ_REMOVE(&b->queue, u, entry);
        upload_close(u);
        free(u);
    }
    b->queued = b->active = 0;
    pthread_mutex_unlock(&b->lock);
}
