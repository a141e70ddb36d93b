/* A large blob is uploaded in parts ("Uploading and copying objects using multipart upload", Amazon S3 User Guide), one
 * after the other.
 *
 *     POST ?uploads ─▶ PUT ?partNumber=1.. ─▶ POST ?uploadId= ┬ 200 ──────▶ written
 *           │                  │              If-None-Match: * └ 412, 409 ─▶ DELETE ?uploadId=, there
 *           └──────────────────┴─ any failure ─▶ DELETE ?uploadId=, failed */
#include "cluster/bucket_private.h"

#include "base/assert.h"
#include "base/url.h"

#include <string.h>

struct bucket_parts {
    struct bucket_upload *u;
    char id[BUCKET_ID_MAX];
    char *id_param; /* "uploadId=..." */
    int64_t size;   /* of a part; the last one is smaller */
    int done, count;
    struct buf list; /* XML: the parts so far */
    /* what is to be told when the upload has been aborted */
    enum bucket_outcome outcome;
    char why[200];
};

static void parts_send(struct bucket_parts *p);
static void parts_complete(struct bucket_parts *p);

static void parts_free(struct bucket_parts *p)
{
    buf_free(&p->list);
    free(p->id_param);
    free(p);
}

static void parts_ask(struct bucket_parts *p, struct bucket_ask *ask,
                      void (*on_done)(void *arg, const struct bucket_answer *a))
{
    struct bucket *b = p->u->b;

    ask->b = b;
    ask->loop = b->loop;
    ask->engine = b->engine;
    ask->path = p->u->path;
    ask->total_ms = BUCKET_CALL_MS + MAX(ask->size, (int64_t)0) * 1000 / BUCKET_RATE_MIN;
    ask->on_done = on_done;
    ask->arg = p;
    p->u->call = bucket_call_start(ask);
}

/* ---- the end that is none ---- */

static void parts_take_abort(void *arg, const struct bucket_answer *a UNUSED)
{
    struct bucket_parts *p = arg;
    struct bucket_upload *u = p->u;
    char why[sizeof(p->why)];

    u->call = NULL; /* if that failed, the bucket's own rules remove what there is */
    memcpy(why, p->why, sizeof(why));
    bucket_upload_end(u, p->outcome, why);
}

/* What was uploaded so far goes. */
static void parts_abort(struct bucket_parts *p, enum bucket_outcome outcome)
{
    p->outcome = outcome;
    parts_ask(p, &(struct bucket_ask){.method = "DELETE", .query = p->id_param, .size = -1}, parts_take_abort);
}

static void parts_fail(struct bucket_parts *p, const struct bucket_answer *a)
{
    /* Where nothing is reached, nothing can be aborted either; and a refusal is noted. */
    if (!p->id_param || (a->err && a->err->code == ERR_UNREACHABLE) || a->status == 403 || a->status == 507) {
        bucket_upload_fail(p->u, a);
        return;
    }
    bucket_answer_describe(p->u->b, a, p->why, sizeof(p->why));
    parts_abort(p, BUCKET_PUT_FAILED);
}

/* ---- parts ---- */

static void parts_take_part(void *arg, const struct bucket_answer *a)
{
    struct bucket_parts *p = arg;

    p->u->call = NULL;
    if (a->err || a->status / 100 != 2 || !a->r->etag[0] || strpbrk(a->r->etag, "<>&")) {
        parts_fail(p, a);
        return;
    }
    p->done++;
    buf_addf(&p->list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", p->done, a->r->etag);
    if (p->done < p->count) {
        parts_send(p);
        return;
    }
    buf_adds(&p->list, "</CompleteMultipartUpload>");
    parts_complete(p);
}

static size_t parts_give(void *arg, int64_t at, char *out, size_t cap)
{
    struct bucket_parts *p = arg;

    return bucket_upload_read(p->u, p->done * p->size + at, out, cap);
}

static void parts_send(struct bucket_parts *p)
{
    _cleanup_free_ char *query = xasprintf("partNumber=%d&%s", p->done + 1, p->id_param);
    int64_t left = p->u->size - p->done * p->size;

    parts_ask(p,
              &(struct bucket_ask){.method = "PUT", .query = query, .size = MIN(left, p->size), .on_send = parts_give},
              parts_take_part);
}

/* ---- all of it ---- */

static size_t parts_give_list(void *arg, int64_t at, char *out, size_t cap)
{
    struct bucket_parts *p = arg;
    size_t n = MIN(cap, p->list.len - (size_t)at);

    memcpy(out, p->list.data + at, n);
    return n;
}

static void parts_take_complete(void *arg, const struct bucket_answer *a)
{
    struct bucket_parts *p = arg;

    p->u->call = NULL;
    /* The head may be a 200 before the work is done: an error comes in the body ("CompleteMultipartUpload"). */
    if (!a->err && a->status / 100 == 2 && !strstr(a->body, "<Error>"))
        bucket_upload_end(p->u, BUCKET_PUT_WRITTEN, NULL);
    else if (!a->err && (a->status == 412 || a->status == 409) && !p->u->bare)
        parts_abort(p, BUCKET_PUT_THERE);
    else if (bucket_upload_is_bare(p->u, a))
        parts_complete(p);
    else
        parts_fail(p, a);
}

static void parts_complete(struct bucket_parts *p)
{
    parts_ask(p,
              &(struct bucket_ask){.method = "POST",
                                   .query = p->id_param,
                                   .line = {"Content-Type: application/xml", p->u->bare ? NULL : "If-None-Match: *"},
                                   .size = (int64_t)p->list.len,
                                   .on_send = parts_give_list},
              parts_take_complete);
}

/* ---- the start ---- */

static void parts_take_id(void *arg, const struct bucket_answer *a)
{
    struct bucket_parts *p = arg;
    _cleanup_buf_ struct buf param = {0};

    p->u->call = NULL;
    if (a->err || a->status / 100 != 2 || !s3_xml_text(a->body, "UploadId", p->id, sizeof(p->id))) {
        parts_fail(p, a);
        return;
    }
    buf_adds(&param, "uploadId=");
    url_encode(&param, p->id);
    p->id_param = xstrdup(param.data);
    parts_send(p);
}

void bucket_parts_start(struct bucket_upload *u)
{
    struct bucket_parts *p = u->parts = xcalloc(1, sizeof(*p));
    int64_t least = (u->size + BUCKET_PARTS_MAX - 1) / BUCKET_PARTS_MAX;

    ON_LOOP(u->b->loop);
    p->u = u;
    u->free_parts = parts_free;
    p->size = MAX((least + (1 << 20) - 1) >> 20 << 20, (int64_t)BUCKET_PART);
    p->count = (int)((u->size + p->size - 1) / p->size);
    buf_adds(&p->list, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    parts_ask(p,
              &(struct bucket_ask){
                  .method = "POST", .query = "uploads=", .line = {"Content-Type: application/octet-stream"}, .size = 0},
              parts_take_id);
}
