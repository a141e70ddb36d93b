/* Writing behind: a blob that was stored is uploaded, unless it is there.
 *
 *     HEAD ┬ it is there, of the right size ────────────────────────────────▶ there
 *          └ it is not ─▶ PUT, or in parts (bucket_parts.c) ┬ 200 ──────────▶ written
 *                         If-None-Match: *                  ├ 412, 409 ─────▶ there
 *                                                           └ anything else ▶ failed: later again (bucket_queue.c)
 *
 * A store that does not implement the condition gets no condition from then on: the HEAD is what keeps it from being
 * sent everything again. Uploads that are refused (403), or for which there is no room (507), end all uploads for a
 * while. */
#include "cluster/bucket_private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <string.h>

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
    u->replace = is_there && (a->r->content_length != u->size || bucket_is_wrong(u->b, &u->name));
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
    u->path = s3_blob_path(&b->place, &u->name);
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

int64_t bucket_put_turn(struct bucket *b)
{
    struct bucket_upload *u;
    int64_t when;

    ON_LOOP(b->loop);
    while ((u = bucket_queue_take(b, &when)))
        upload_start(u);
    return when;
}
