/* Writing behind: blobs that were stored are uploaded, two at a time, from a queue.
 *
 *     offered ─▶ queued ─▶ HEAD ┬ it is there, of the right size ──────────────────────────▶ done
 *                  ▲            └ it is not ─▶ PUT, or in parts (bucket_parts.c) ┬ 200 ─────▶ done
 *                  │                           If-None-Match: *                  ├ 412, 409 ▶ done: it is there
 *                  └──────── later, three times in all ◀── failed ───────────────┘
 *
 * A store that does not implement the condition gets no condition from then on: the HEAD is what keeps it from being
 * sent everything again. Uploads that are refused (403), or for which there is no room (507), end all uploads for a
 * while. */
#include "cluster/bucket_private.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#include <string.h>

/* ---- the queue ---- */

static void put_wake(void *arg)
{
    bucket_turn(arg);
}

static bool put_is_queued(struct bucket *b, const struct digest *d)
{
    const struct bucket_upload *u;

    HOLDS(&b->lock);
    TAILQ_FOREACH(u, &b->queue, entry)
        if (digest_eq(&u->digest, d))
            return true;
    return false;
}

void bucket_offer(struct bucket *b, const struct digest *d, int64_t size)
{
    if (d->alg != DIGEST_SHA256 || size <= 0 || size > (int64_t)BUCKET_PARTS_MAX << 30)
        return;
    pthread_mutex_lock(&b->lock);
    if (b->stopping || put_is_queued(b, d)) {
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
        u->size = size;
        u->fd = -1;
        TAILQ_INSERT_TAIL(&b->queue, u, entry);
        b->queued++;
        loop_post(b->loop, put_wake, b);
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
        bucket_parts_free(u->parts);
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
        bucket_note_there(b, &u->digest);
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
    loop_post(b->loop, put_wake, b);
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

/* ---- one PUT ---- */

static void upload_put(struct bucket_upload *u);

static void upload_take_put(void *arg, const struct bucket_answer *a)
{
    struct bucket_upload *u = arg;

    u->call = NULL;
    if (!a->err && a->status / 100 == 2)
        bucket_upload_end(u, BUCKET_PUT_WRITTEN, NULL);
    else if (!a->err && (a->status == 412 || a->status == 409) && !u->bare)
        bucket_upload_end(u, BUCKET_PUT_THERE, NULL);
    else if (bucket_upload_is_bare(u, a))
        upload_put(u);
    else
        bucket_upload_fail(u, a);
}

static size_t upload_send(void *arg, int64_t at, char *out, size_t cap)
{
    return bucket_upload_read(arg, at, out, cap);
}

static void upload_put(struct bucket_upload *u)
{
    const struct bucket_ask ask = {
        .b = u->b,
        .loop = u->b->loop,
        .engine = u->b->engine,
        .method = "PUT",
        .path = u->path,
        .line = {"Content-Type: application/octet-stream", u->bare ? NULL : "If-None-Match: *"},
        .whole = &u->digest,
        .size = u->size,
        .total_ms = BUCKET_CALL_MS + u->size * 1000 / BUCKET_RATE_MIN,
        .on_send = upload_send,
        .on_done = upload_take_put,
        .arg = u};

    u->call = bucket_call_start(&ask);
}

/* ---- whether it is there ---- */

static void upload_take_head(void *arg, const struct bucket_answer *a)
{
    struct bucket_upload *u = arg;

    u->call = NULL;
    /* 403: the key may not list, so the store does not tell what is not there. */
    if (a->err || (a->status != 200 && a->status != 404 && a->status != 403)) {
        bucket_upload_fail(u, a);
        return;
    }
    bool is_there = a->status == 200;
    u->replace = is_there && (a->r->content_length != u->size || bucket_is_wrong(u->b, &u->digest));
    if (is_there && !u->replace) {
        bucket_upload_end(u, BUCKET_PUT_THERE, NULL);
        return;
    }
    u->bare = u->replace || u->b->no_conditions;
    if (u->size > BUCKET_PART)
        bucket_parts_start(u);
    else
        upload_put(u);
}

static void upload_start(struct bucket_upload *u)
{
    struct bucket *b = u->b;
    int64_t size = -1;

    u->began_ms = clock_mono_ms();
    u->fd = b->files.open(b->files.arg, &u->digest, &size);
    if (u->fd < 0 || size != u->size) {
        bucket_upload_end(u, BUCKET_PUT_GONE, NULL);
        return;
    }
    u->path = s3_blob_path(&b->place, &u->digest);
    u->call = bucket_call_start(&(struct bucket_ask){.b = b,
                                                     .loop = b->loop,
                                                     .engine = b->engine,
                                                     .method = "HEAD",
                                                     .path = u->path,
                                                     .size = -1,
                                                     .total_ms = BUCKET_CALL_MS,
                                                     .on_done = upload_take_head,
                                                     .arg = u});
}

/* ---- turns ---- */

/* The next one that may start; NULL, and when there is one, or -1. */
static struct bucket_upload *put_next(struct bucket *b, int64_t *when)
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

int64_t bucket_put_turn(struct bucket *b)
{
    struct bucket_upload *u;
    int64_t when;

    ON_LOOP(b->loop);
    do {
        pthread_mutex_lock(&b->lock);
        u = put_next(b, &when);
        if (u) {
            u->active = true;
            b->active++;
        }
        pthread_mutex_unlock(&b->lock);
        if (u)
            upload_start(u);
    } while (u);
    return when;
}

void bucket_put_stop(struct bucket *b)
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
