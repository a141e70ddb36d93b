/* The content is cached, and not known to be this repository's: one HEAD shows whether the repository contains it.
 *
 *   prove ─┬ 200 ─────────────────────────────▶ linked: deliver (manifests), done (blobs: served from the store)
 *          ├ no HEAD, or a wrong one ─────────▶ ask: the bytes are the proof
 *          ├ no answer, and the index is being rebuilt ─▶ after a moment, lookup: a manifest that names it may have
 *          │                                             been found among the files by then
 *          └ else ────────────────────────────▶ fail
 */
#include "proxy/fetch/private.h"

#include "base/assert.h"
#include "base/clock.h"

#include <event2/event.h>

enum { LOOK_AGAIN_MS = 200, LOOK_MOST_MS = 10000 };

static bool is_manifest(const struct fetch *f)
{
    return f->want.kind == FETCH_MANIFEST || f->want.kind == FETCH_MANIFEST_HEAD;
}

static void look_again(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    fetch_run(arg, STEP_LOOKUP);
}

static bool may_become_known(const struct fetch *f, const struct err *err)
{
    return err && (err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_UPSTREAM) &&
           !f->fetcher->stopping && cache_is_rebuilding(fetch_cache(f)) &&
           clock_mono_ms() - f->started_ms < LOOK_MOST_MS;
}

static void proved(void *arg, const struct transfer_response *r, const struct err *err)
{
    const struct timeval moment = {.tv_usec = LOOK_AGAIN_MS * 1000};
    struct fetch *f = arg;

    f->call = NULL;
    if (!err && (fetch_proves_nothing(r) || fetch_is_page(f, r))) {
        fetch_run(f, STEP_ASK);
    } else if (may_become_known(f, err)) {
        if (!f->again)
            f->again = event_new(loop_base(f->fetcher->loop), -1, 0, look_again, f);
        event_add(f->again, &moment);
    } else if (err || r->status != 200 || fetch_is_page(f, r)) {
        fetch_refused(f, r, err);
        fetch_run(f, STEP_FAIL);
    } else {
        f->result.upstream_status = r->status;
        cache_link(fetch_cache(f), f->want.name, &f->digest, f->want.is_private);
        f->result.how = HOW_REVALIDATED;
        f->result.size = f->hit.blob.size;
        fetch_run(f, is_manifest(f) ? STEP_DELIVER : STEP_DONE);
    }
}

enum step fetch_prove(struct fetch *f)
{
    _cleanup_free_ char *path = fetch_reference_path(f, is_manifest(f) ? "manifests" : "blobs", true);

    ON_LOOP(f->fetcher->loop);
    fetch_call(f, "HEAD", path, is_manifest(f) ? MANIFEST_ACCEPT : NULL, NULL, NULL, proved);
    return STEP_WAIT;
}
