/* tags/list and referrers: one page of them.
 *
 *   lookup ─┬ kept, and fresh ───────────▶ done
 *           └ ask ─▶ receive ─▶ deliver ─▶ done           any ─▶ fail ─▶ done
 *
 * If upstream cannot be asked, the last list is served (listing_cache.c), within `max_stale`.
 *
 * A registry without the referrers API answers 404, and so does the cache, warm, cold and offline: clients then use the
 * tag that takes its place (distribution-spec, "Unavailable Referrers API"), which is cached and revalidated like any
 * tag. Answering 200 instead would do harm: a client that pushes a signature uses this page to learn whether the
 * registry maintains the list, and then does not update the tag.
 *
 * While it can be asked, it is asked about every image: some registries answer 404 for images without referrers, and
 * that must not hide the signatures of others.
 */
#include "proxy/fetch/private.h"

#include "base/document.h"
#include "base/url.h"

#include <string.h>

enum { LISTING_MAX = 16 << 20 }; /* bytes; there are registries that have all tags on one page: half a million */

static bool is_referrers(const struct fetch *f)
{
    return fetch_referrers_subject(f->want.listing) != NULL;
}

static enum step listing_refuse_api(struct fetch *f)
{
    struct fetch_result *r = &f->result;

    err_set(&r->err, ERR_NOT_FOUND,
            "%s has no referrers API: the tag <algorithm>-<hex> of the image's digest lists its referrers",
            f->want.name);
    r->err.status = r->upstream_status = 404;
    r->how = HOW_ERROR;
    r->no_api = true;
    return STEP_DONE;
}

static enum step listing_lookup(struct fetch *f)
{
    f->result.how = HOW_BYPASS;
    if (!f->want.force && fetch_use_listing(f))
        return STEP_DONE;
    if (!fetch_is_offline(f))
        return STEP_ASK;
    err_set(&f->result.err, ERR_NOT_FOUND, "%s: the list is not in the cache, and %s", f->want.name,
            fetch_why_offline(f));
    f->result.how = HOW_ERROR;
    return STEP_FAIL;
}

static bool listing_take_head(void *arg, const struct transfer_response *r)
{
    struct fetch *f = arg;

    f->response.status = r->status;
    f->step = STEP_RECEIVE;
    return true;
}

static bool listing_take_data(void *arg, const void *data, size_t len)
{
    struct fetch *f = arg;

    f->too_large = f->received.len + len > LISTING_MAX;
    if (f->too_large)
        return false;
    buf_add(&f->received, data, len);
    return true;
}

/* Whether the error is about this repository, or this image: then the registry has the API. */
static bool names_something_unknown(const struct transfer_response *r)
{
    return strcmp(r->code, "NAME_UNKNOWN") == 0 || strcmp(r->code, "MANIFEST_UNKNOWN") == 0;
}

/* Whether the registry has listed referrers of this repository before: then any other answer (a gateway's page, 400) is
 * a failure, not a sign that there is no API. */
static bool had_api(const struct fetch *f)
{
    return fetch_has_listing(f) || fetch_api_is_known(f);
}

/* How registries without the API answer; 400 or 406 may be about this request alone. */
static bool has_no_api(struct fetch *f, const struct transfer_response *r)
{
    if (!is_referrers(f))
        return false;
    if ((r->status == 404 && !names_something_unknown(r)) || r->status == 405 || r->status == 501) {
        fetch_note_api(f, true);
        return true;
    }
    return (r->status == 400 || r->status == 406) && !had_api(f);
}

struct body *fetch_next_query(const char *target)
{
    const char *query = strchr(target, '?');
    _cleanup_buf_ struct buf text = {0};

    if (!query)
        return NULL;
    _cleanup_free_ char *all = xstrndup(query + 1, strcspn(query + 1, "#"));
    url_query_without(&text, all, "ns");
    struct body *b = body_new(text.len + 1);
    memcpy(b->data, text.data ? text.data : "", text.len + 1);
    return b;
}

static void listing_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;
    struct err unfit = {0};

    f->call = NULL;
    f->response = *r;
    f->response.next_page = NULL; /* the transfer's */
    f->result.upstream_status = r->status;
    if (!err && has_no_api(f, r)) {
        fetch_forget_listing(f);
        fetch_run(f, listing_refuse_api(f));
        return;
    }
    if (!err && r->status == 200 && r->next_page)
        f->result.next = fetch_next_query(r->next_page);
    if (!err && r->status == 200 && r->next_page && !f->result.next) {
        err_set(&unfit, ERR_UPSTREAM, "the list goes on at %.200s, which has no query", r->next_page);
        err = &unfit;
    } else if (err && f->too_large) {
        err_set(&unfit, ERR_UPSTREAM, "a page of the list has more than %d bytes", (int)LISTING_MAX);
        err = &unfit;
    }
    if (err || r->status != 200) {
        fetch_refused(f, r, err);
        fetch_run(f, STEP_FAIL);
        return;
    }
    fetch_run(f, STEP_DELIVER);
}

static enum step listing_ask(struct fetch *f)
{
    if (fetch_has_listing(f)) { /* as with a tag that is past fresh (stale.c) */
        f->optional = !f->want.force;
        fetch_be_patient(f);
    }
    fetch_call(f, "GET", f->want.listing, "application/json, application/vnd.oci.image.index.v1+json",
               listing_take_head, listing_take_data, listing_take_end);
    return STEP_WAIT;
}

/* Some registries send null for an empty list, and clients read it so. */
bool fetch_is_listing(const void *data, size_t len, bool referrers, bool *empty)
{
    const char *key = referrers ? "manifests" : "tags";
    json_t *doc = len > 0 ? document_read(data, len, NULL) : NULL;
    const json_t *list = document_get(doc, key);
    bool good = json_is_array(list) || json_is_null(json_object_get(doc, key));

    *empty = json_array_size(list) == 0;
    json_decref(doc);
    return good;
}

/* Referrers that are cached from another repository are now known to be this one's, too. */
static void note_listed(const struct fetch *f)
{
    json_t *doc = document_read(f->received.data, f->received.len, NULL), *one;
    struct digest d;
    size_t i;

    json_array_foreach(document_get(doc, "manifests"), i, one) {
        const char *text = document_text(one, "digest");
        if (text && digest_parse(&d, text, strlen(text)))
            cache_link_listed(fetch_cache(f), f->want.name, &d, f->want.is_private);
    }
    json_decref(doc);
}

static enum step listing_deliver(struct fetch *f)
{
    struct fetch_result *r = &f->result;
    bool empty;

    if (!fetch_is_listing(f->received.data, f->received.len, is_referrers(f), &empty)) {
        if (is_referrers(f) && !had_api(f))
            return listing_refuse_api(f);
        err_set(&r->err, ERR_UPSTREAM, "%s from %s: the answer is not a list of %s", f->want.name, f->want.site->host,
                is_referrers(f) ? "referrers" : "tags");
        r->how = HOW_ERROR;
        return STEP_FAIL;
    }
    snprintf(r->media_type, sizeof(r->media_type), "%s",
             is_referrers(f) ? "application/vnd.oci.image.index.v1+json" : "application/json");
    memcpy(r->filters, f->response.oci_filters, sizeof(r->filters));
    r->body = body_new(f->received.len);
    memcpy(r->body->data, f->received.data, f->received.len);
    r->size = (int64_t)f->received.len;
    if (is_referrers(f)) {
        fetch_note_api(f, false);
        note_listed(f);
    }
    fetch_note_listing(f, is_referrers(f) && empty);
    return STEP_DONE;
}

/* Whether the last list may be served: upstream could not be asked. A refusal is passed on; a 400 or the like to a
 * request that was answered before counts as a failure. */
static bool listing_is_reason(const struct fetch *f)
{
    return (fetch_is_offline(f) && f->result.upstream_status == 0) || err_is_passing(&f->result.err);
}

/* A request that insists on the present list (a pull for a place without network) gets the error. */
static bool listing_insists(const struct fetch *f UNUSED, const struct fetch_waiter *w)
{
    return w->want.force;
}

static enum step listing_fail(struct fetch *f)
{
    if (!listing_is_reason(f)) {
        if (f->result.err.code == ERR_NOT_FOUND || f->result.err.code == ERR_DENIED)
            fetch_forget_listing(f);
        return STEP_DONE;
    }
    if (!fetch_is_offline(f))
        fetch_part_with(f, listing_insists, fetch_answer_own);
    if (fetch_use_old_listing(f))
        return STEP_DONE;
    return is_referrers(f) && fetch_api_is_missing(f) ? listing_refuse_api(f) : STEP_DONE;
}

const struct fetch_type LISTING_FETCH = {
    .name = "list",
    .size = sizeof(struct fetch),
    .run =
        {
            [STEP_LOOKUP] = listing_lookup,
            [STEP_ASK] = listing_ask,
            [STEP_RECEIVE] = NULL, /* transfer callbacks */
            [STEP_DELIVER] = listing_deliver,
            [STEP_FAIL] = listing_fail,
        },
    .lose_patience = fetch_answer_old_listing,
};
