/* What is passed on and not stored: HEAD of a blob that is not here.
 *
 *   lookup ─▶ ask ─▶ receive ─▶ deliver ─▶ done        any ─▶ fail ─▶ done
 */
#include "proxy/fetch_private.h"

#include <string.h>

static enum step lookup(struct fetch *f)
{
    f->result.how = HOW_BYPASS;
    fetch_find(f, NULL, &f->digest, &f->hit);
    if (f->hit.stored && f->hit.linked) {
        f->result.how = HOW_HIT;
        f->result.digest = f->digest;
        f->result.size = f->hit.blob.size;
        return STEP_DONE;
    }
    if (!fetch_is_offline(f))
        return STEP_ASK;
    err_set(&f->result.err, ERR_NOT_FOUND, "%s: not in the cache, and the cache is offline", f->name);
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

static void take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;

    f->call = NULL;
    f->response = *r;
    f->result.upstream_status = r->status;
    bool no_word = !err && fetch_is_no_word(r);
    if (no_word && !f->begun_anew) { /* no HEAD, or a wrong one */
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
    _cleanup_free_ char *path = fetch_reference_path(f, "blobs", true);

    fetch_call(f, f->begun_anew ? "GET" : "HEAD", path, NULL, take_head, NULL, take_end);
    return STEP_WAIT;
}

static enum step deliver(struct fetch *f)
{
    struct fetch_result *r = &f->result;

    snprintf(r->media_type, sizeof(r->media_type), "%s", f->response.content_type);
    r->digest = f->digest;
    r->size = f->response.content_length;
    if (f->hit.stored)
        cache_link(fetch_cache(f), f->name, &f->digest, f->is_private);
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
