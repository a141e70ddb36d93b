/* Whether upstream lets a client read a repository: one exchange for each client and repository, however many requests
 * of it wait. Nothing is cached, and nothing but the status is passed on.
 *
 *   lookup ─▶ ask ─▶ receive ─▶ done        any ─▶ fail ─▶ done
 */
#include "proxy/fetch/private.h"

#include "base/assert.h"

#include <string.h>

struct admit_fetch {
    struct fetch common; /* first: a struct fetch of this type is one of these */
    bool asked_again;    /* in another way, since the first answer was not about the client */
};

static struct admit_fetch *admit_of(const struct fetch *f)
{
    IN_STATE(f->want.kind == FETCH_ADMIT);
    return (struct admit_fetch *)f;
}

static enum step admit_lookup(struct fetch *f)
{
    f->result.how = HOW_BYPASS;
    if (!fetch_is_offline(f))
        return STEP_ASK;
    err_set(&f->result.err, ERR_DENIED, "%s is private, and %s: its registry cannot be asked whether you may read it",
            f->want.name, fetch_why_offline(f));
    f->result.err.status = 403;
    f->result.how = HOW_DENIED;
    return STEP_DONE;
}

/* Only the status is needed: a body is not read. */
static bool admit_take_head(void *arg, const struct transfer_response *r)
{
    struct fetch *f = arg;

    f->response = *r;
    f->step = STEP_RECEIVE;
    return r->status != 200;
}

static void admit_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;
    bool yes = r->status == 200 && !fetch_is_page(f, r) && (!err || err->code == ERR_CANCELLED);

    f->call = NULL;
    /* A registry without HEAD for this path. */
    if (!yes && (!err || fetch_is_page(f, r)) && (fetch_proves_nothing(r) || fetch_is_page(f, r)) &&
        !admit_of(f)->asked_again) {
        admit_of(f)->asked_again = true;
        fetch_run(f, STEP_ASK);
        return;
    }
    if (!yes)
        fetch_refused(f, r, fetch_is_page(f, r) ? NULL : err);
    f->result.upstream_status = r->status;
    fetch_run(f, yes ? STEP_DONE : STEP_FAIL);
}

static enum step admit_ask(struct fetch *f)
{
    const char *subject = fetch_referrers_subject(f->want.listing);
    bool manifest = strncmp(f->want.listing, "manifests/", 10) == 0,
         head = manifest || strncmp(f->want.listing, "blobs/", 6) == 0;

    /* A registry without the referrers API answers 404 to every client: ask for the subject's manifest instead. */
    if (subject && admit_of(f)->asked_again) {
        _cleanup_free_ char *path = xasprintf("manifests/%s", subject);
        fetch_call(f, "HEAD", path, MANIFEST_ACCEPT, admit_take_head, NULL, admit_take_end);
        return STEP_WAIT;
    }
    fetch_call(f, head && !admit_of(f)->asked_again ? "HEAD" : "GET", f->want.listing,
               manifest ? MANIFEST_ACCEPT : NULL, admit_take_head, NULL, admit_take_end);
    return STEP_WAIT;
}

static enum step admit_fail(struct fetch *f UNUSED)
{
    return STEP_DONE;
}

const struct fetch_type ADMIT_FETCH = {
    .name = "admit",
    .size = sizeof(struct admit_fetch),
    .run =
        {
            [STEP_LOOKUP] = admit_lookup,
            [STEP_ASK] = admit_ask,
            [STEP_RECEIVE] = NULL, /* transfer callbacks */
            [STEP_FAIL] = admit_fail,
        },
};
