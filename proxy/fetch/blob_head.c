/* HEAD of a blob that is not cached: whether the registry has it for this client, and its size. Nothing is stored. Of a
 * blob that arrives, or of which pieces are cached, both are known.
 *
 *   lookup ─▶ ask by HEAD ─┬ 200 with a length ───────────────────────────────────▶ deliver ─▶ done
 *                          └ no HEAD, no length, a page ─▶ ask by GET ─┬ 200, 206 ─▶ deliver
 *                                                                      ├ 416: without a range, once more
 *                                                                      └ a page ──▶ fail
 *   any ─▶ fail ─▶ done
 *
 * Clients need the size: oras and crane make a descriptor of it (distribution-spec end-2: "Content-Length"). A GET for
 * the first byte has it in Content-Range; its body is not read.
 */
#include "proxy/fetch/private.h"

#include "base/assert.h"

#include <string.h>

enum blob_head_way {
    BY_HEAD,
    BY_FIRST_BYTE,
    BY_GET, /* an empty blob has no first byte */
};

struct blob_head_fetch {
    struct fetch common; /* first: a struct fetch of this type is one of these */
    enum blob_head_way way;
};

static struct blob_head_fetch *blob_head_of(const struct fetch *f)
{
    IN_STATE(f->want.kind == FETCH_BLOB_HEAD);
    return (struct blob_head_fetch *)f;
}

static enum step blob_head_lookup(struct fetch *f)
{
    struct fetch_result *r = &f->result;

    r->how = HOW_BYPASS;
    r->digest = f->digest;
    fetch_find(f, NULL, &f->digest, &f->hit);
    if (f->hit.stored && cache_is_blob_of(&f->hit)) {
        r->how = HOW_HIT;
        r->size = f->hit.blob.size;
        return STEP_DONE;
    }
    r->size = f->hit.stored ? -1 : fetch_partial_size(f);
    if (r->size >= 0) {
        r->how = HOW_PARTIAL;
        return STEP_DONE;
    }
    if (!fetch_is_offline(f))
        return STEP_ASK;
    err_set(&r->err, ERR_NOT_FOUND, "a blob of %s: not in the cache, and %s", f->want.name, fetch_why_offline(f));
    r->how = HOW_ERROR;
    return STEP_DONE;
}

static bool is_good(const struct transfer_response *r)
{
    return r->status == 200 || r->status == 206;
}

/* The header is enough: the body of an answer to GET is not read. */
static bool blob_head_take_head(void *arg, const struct transfer_response *r)
{
    struct fetch *f = arg;

    f->response = *r;
    f->step = STEP_RECEIVE;
    return blob_head_of(f)->way == BY_HEAD || !is_good(r);
}

/* Whether a registry's 200 proves that the cached blob is this repository's; for private content only its bytes do. */
static bool is_proof(const struct fetch *f)
{
    return f->hit.stored && !fetch_needs_bytes(f, &f->hit);
}

/* The blob's size in bytes by this answer; -1: it does not say. */
static int64_t size_of(const struct fetch *f)
{
    const struct transfer_response *r = &f->response;

    if (is_proof(f))
        return f->hit.blob.size;
    if (blob_head_of(f)->way == BY_HEAD && r->content_length == 0)
        return -1; /* some servers send that with every answer to HEAD */
    return r->status == 206 ? r->range_total : r->content_length;
}

/* Whether another way of asking may bring more. */
static bool is_worth_more(const struct fetch *f)
{
    const struct transfer_response *r = &f->response;

    if (blob_head_of(f)->way == BY_HEAD)
        return fetch_proves_nothing(r) || fetch_is_page(f, r) || (r->status == 200 && size_of(f) < 0);
    return blob_head_of(f)->way == BY_FIRST_BYTE && (r->status == 416 || (r->status == 206 && size_of(f) < 0));
}

static void blob_head_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;

    f->call = NULL;
    f->response = *r;
    f->result.upstream_status = r->status;
    if (err && err->code == ERR_CANCELLED && is_good(r))
        err = NULL; /* by blob_head_take_head() */
    if (!err && is_worth_more(f)) {
        blob_head_of(f)->way++;
        fetch_run(f, STEP_ASK);
        return;
    }
    if (!err && is_good(r) && !fetch_is_page(f, r)) {
        fetch_run(f, STEP_DELIVER);
        return;
    }
    fetch_refused(f, r, err);
    fetch_run(f, STEP_FAIL);
}

static enum step blob_head_ask(struct fetch *f)
{
    _cleanup_free_ char *path = fetch_reference_path(f, "blobs", true);
    struct upstream_request req = {
        .method = blob_head_of(f)->way == BY_HEAD ? "HEAD" : "GET",
        .repository = f->want.path,
        .path = path,
        .range_first = blob_head_of(f)->way == BY_FIRST_BYTE ? 0 : -1,
        .range_last = 0,
        .lack_ms = f->tags.negative_ttl_ms,
        .optional = f->optional,
        .on_head = blob_head_take_head,
        .on_done = blob_head_take_end,
        .arg = f,
    };

    fetch_identify(f, &req);
    f->call = upstream_start(f->want.site->upstream, f->fetcher->engine, f->fetcher->loop, &req);
    return STEP_WAIT;
}

static enum step blob_head_deliver(struct fetch *f)
{
    f->result.upstream_status = f->response.status;
    f->result.size = size_of(f);
    if (is_proof(f))
        cache_link(fetch_cache(f), f->want.name, &f->digest, f->want.is_private);
    return STEP_DONE;
}

static enum step blob_head_fail(struct fetch *f UNUSED)
{
    return STEP_DONE;
}

const struct fetch_type BLOB_HEAD_FETCH = {
    .name = "blob-head",
    .size = sizeof(struct blob_head_fetch),
    .run =
        {
            [STEP_LOOKUP] = blob_head_lookup,
            [STEP_ASK] = blob_head_ask,
            [STEP_RECEIVE] = NULL, /* transfer callbacks */
            [STEP_DELIVER] = blob_head_deliver,
            [STEP_FAIL] = blob_head_fail,
        },
};
