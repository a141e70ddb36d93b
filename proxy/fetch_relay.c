/* What is passed on and not stored: tags/list, referrers, and HEAD of a blob that is not here.
 *
 *   lookup ─▶ ask ─▶ receive ─▶ deliver ─▶ done        any ─▶ fail ─▶ done
 */
#include "proxy/fetch_private.h"

#include <string.h>

enum { LISTING_MAX = 4 << 20 };

static enum step lookup(struct fetch *f)
{
    const struct fetch_result *said =
        f->kind == FETCH_LISTING && !f->anew ? fetch_find_listing(f->fetcher, f->key) : NULL;

    if (said) {
        f->result = *said;
        body_ref(f->result.body);
        f->result.how = HOW_HIT;
        return STEP_DONE;
    }
    f->result.how = HOW_BYPASS;
    if (f->kind == FETCH_BLOB_HEAD) {
        fetch_find(f, NULL, &f->digest, &f->hit);
        if (f->hit.stored && f->hit.linked) {
            f->result.how = HOW_HIT;
            f->result.digest = f->digest;
            f->result.size = f->hit.blob.size;
            return STEP_DONE;
        }
    }
    if (!fetch_is_offline(f))
        return STEP_ASK;
    err_set(&f->result.err, ERR_NOT_FOUND, "%s: not in the cache, and %s", f->name, fetch_why_offline(f));
    f->result.how = HOW_ERROR;
    return STEP_DONE;
}

static bool take_head(void *arg, const struct transfer_response *r)
{
    struct fetch *f = arg;

    f->response = *r;
    f->step = STEP_RECEIVE;
    return !f->begun_anew || r->status != 200; /* a GET in place of a HEAD: its body is not read */
}

static bool take_data(void *arg, const void *data, size_t len)
{
    struct fetch *f = arg;

    if (f->response.status != 200)
        return true;
    if (f->received.len + len > LISTING_MAX)
        return false;
    buf_add(&f->received, data, len);
    return true;
}

static void take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;

    f->call = NULL;
    f->response = *r;
    f->result.upstream_status = r->status;
    bool no_word = !err && fetch_is_no_word(r);
    if (no_word && f->kind == FETCH_BLOB_HEAD && !f->begun_anew) { /* no HEAD, or a wrong one */
        f->begun_anew = true;
        fetch_run(f, STEP_ASK);
        return;
    }
    if (f->begun_anew && r->status == 200 && err && err->code == ERR_CANCELLED)
        err = NULL;
    if (err || r->status != 200) {
        fetch_refused(f, r, err);
        fetch_run(f, STEP_FAIL);
        return;
    }
    fetch_run(f, STEP_DELIVER);
}

static enum step ask(struct fetch *f)
{
    if (f->kind == FETCH_BLOB_HEAD) {
        _cleanup_free_ char *path = fetch_reference_path(f, "blobs", true);
        fetch_call(f, f->begun_anew ? "GET" : "HEAD", path, NULL, take_head, NULL, take_end);
    } else {
        fetch_call(f, "GET", f->listing, "application/json, application/vnd.oci.image.index.v1+json", take_head,
                   take_data, take_end);
    }
    return STEP_WAIT;
}

static enum step deliver(struct fetch *f)
{
    struct fetch_result *r = &f->result;

    snprintf(r->media_type, sizeof(r->media_type), "%s", f->response.content_type);
    memcpy(r->link, f->response.link, sizeof(r->link));
    memcpy(r->filters, f->response.oci_filters, sizeof(r->filters));
    if (f->kind == FETCH_BLOB_HEAD) {
        r->digest = f->digest;
        r->size = f->response.content_length;
        if (f->hit.stored)
            cache_link(fetch_cache(f), f->name, &f->digest, f->is_private);
        return STEP_DONE;
    }
    r->body = body_new(f->received.len);
    if (f->received.len > 0)
        memcpy(r->body->data, f->received.data, f->received.len);
    r->size = (int64_t)f->received.len;
    return STEP_DONE;
}

static enum step fail(struct fetch *f UNUSED)
{
    return STEP_DONE;
}

const struct fetch_steps RELAY_STEPS = {
    "relay",
    {
        [STEP_LOOKUP] = lookup,
        [STEP_ASK] = ask,
        [STEP_RECEIVE] = NULL, /* transfer callbacks */
        [STEP_DELIVER] = deliver,
        [STEP_FAIL] = fail,
    },
};
