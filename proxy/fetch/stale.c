/* A cached tag that is past fresh: how long a client waits for upstream to confirm it.
 *
 *   upstream is well     ask; after PATIENCE_MS clients get the copy, and upstream's answer is for the next client
 *   rate limit is short  the copy, at once; once a minute upstream is asked meanwhile, to learn what is left
 *   it answered 429      the copy, at once; upstream is not asked
 *   it is down           the copy, at once; upstream is asked meanwhile if a probe is due (endpoint.c)
 *
 * So a dead upstream costs one client PATIENCE_MS, and the others nothing.
 */
#include "proxy/fetch/manifest.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

static bool manifest_is_pinned(const struct fetch *f)
{
    return cache_is_pinned(fetch_cache(f), f->want.name, f->want.tag);
}

bool manifest_may_be_stale(const struct fetch *f, const struct cache_hit *hit)
{
    int64_t age = clock_now_ms() - hit->tag.checked_ms;

    return hit->tag_known && fetch_is_manifest(hit) && hit->linked &&
           (age <= f->tags.max_stale_ms + f->tags.ttl_ms || fetch_is_offline(f) || manifest_is_pinned(f));
}

static void give_early(struct fetch *f, struct fetch_waiter *w)
{
    fetch_answer_one(w, &manifest_of(f)->early, NULL);
}

/* Serves the copy to the present waiters, and to requests that join later. */
static void manifest_answer_early(struct fetch *f)
{
    struct manifest_fetch *mf = manifest_of(f);
    struct cache_hit hit;

    fetch_find(f, f->want.tag, NULL, &hit);
    if (mf->answered_early || !manifest_may_be_stale(f, &hit) || !fetch_from_cache(f, &hit, true, &mf->early))
        return;
    int64_t past = clock_now_ms() - hit.tag.checked_ms - f->tags.ttl_ms;
    mf->answered_early = true;
    mf->early.how = past >= 0 ? HOW_STALE : HOW_HIT;
    mf->early.ttl_s = MAX(past / 1000, (int64_t)0);
    fetch_part_with(f, fetch_takes_old, give_early);
}

void manifest_lose_patience(struct fetch *f)
{
    ON_LOOP(f->fetcher->loop);
    if (f->call)
        upstream_doubt(f->call);
    manifest_answer_early(f);
}

enum step manifest_past_fresh(struct fetch *f)
{
    const struct absence *gone = fetch_find_absence(f->fetcher, f->key);
    struct upstream_request asker = {0};

    ON_LOOP(f->fetcher->loop);
    if (gone && !f->want.force) { /* deleted upstream, as of a moment ago; the copy is kept */
        fetch_recall_absence(gone, &f->result.err);
        f->result.upstream_status = 404;
        return STEP_FAIL;
    }
    fetch_identify(f, &asker);
    f->optional = STAILQ_EMPTY(&f->waiters) || !f->want.force;
    switch (upstream_health(f->want.site->upstream, &asker)) {
    case UPSTREAM_LIMITED:
        return STEP_FAIL;
    case UPSTREAM_SHORT:
        if (f->optional && !upstream_take_probe(f->want.site->upstream))
            return STEP_FAIL;
        manifest_answer_early(f);
        return STEP_REVALIDATE;
    case UPSTREAM_DOWN:
        manifest_answer_early(f);
        return STEP_REVALIDATE;
    default:
        fetch_be_patient(f);
        return STEP_REVALIDATE;
    }
}

/* Whether an old copy may be served after this error: upstream cannot answer, or the copy is kept although upstream has
 * deleted the tag. */
static bool manifest_is_reason(const struct fetch *f)
{
    const struct err *e = &f->result.err;

    switch (e->code) {
    case ERR_OK: /* upstream was not asked */
    case ERR_DIGEST:
        return true;
    case ERR_NOT_FOUND:
        return f->tags.keep_deleted || manifest_is_pinned(f);
    case ERR_DENIED: /* Docker Hub answers so for a repository that does not exist; an imported image need not exist */
        return !f->want.is_private && manifest_is_pinned(f);
    default:
        return err_is_passing(e);
    }
}

/* Upstream cannot be asked, and has answered before that there is no such list or signature. Clients request those of
 * all images, most of which have none: an error would end the copying or checking of an image that is all here. */
static bool is_still_absent(struct fetch *f)
{
    const struct absence *a =
        ref_is_statement_tag(f->want.tag) && !f->want.force ? fetch_find_old_absence(f->fetcher, f->key) : NULL;

    if (!a || f->result.err.code == ERR_NOT_FOUND || f->result.err.code == ERR_DENIED)
        return false;
    fetch_recall_absence(a, &f->result.err);
    f->result.upstream_status = 0; /* it has not answered now */
    return true;
}

enum step manifest_fail(struct fetch *f)
{
    struct manifest_fetch *mf = manifest_of(f);
    struct cache_hit old;

    ON_LOOP(f->fetcher->loop);
    if (f->want.tag[0] == '\0' || !manifest_is_reason(f))
        return STEP_DONE;
    fetch_find(f, f->want.tag, NULL, &old);
    if (!manifest_may_be_stale(f, &old) && is_still_absent(f))
        return STEP_DONE;
    if (!manifest_may_be_stale(f, &old) ||
        !fetch_from_cache(f, &old, f->want.kind != FETCH_MANIFEST_HEAD, &f->result)) {
        if (f->result.err.code != ERR_OK)
            return STEP_DONE;
        /* Upstream was not asked, and the copy is missing. */
        err_set(&f->result.err, ERR_CORRUPT, "the cached copy of %s:%s was damaged", f->want.name, f->want.tag);
        f->result.how = HOW_ERROR;
        if (mf->refetched || fetch_is_offline(f))
            return STEP_DONE;
        f->result.err.code = ERR_OK;
        mf->refetched = true;
        f->optional = f->hit.stored = false;
        return STEP_ASK;
    }
    int64_t age = clock_now_ms() - old.tag.checked_ms;
    if (f->result.err.code != ERR_OK && (mf->answered_early || !STAILQ_EMPTY(&f->waiters)))
        log_limited_about(LOG_LEVEL_WARN, "stale", f->want.site->host, "%s; serving the copy of %lld s ago",
                          f->result.err.msg, (long long)(age / 1000));
    fetch_note_absence(f);
    f->result.err.code = ERR_OK;
    f->result.how = HOW_STALE;
    f->result.ttl_s = MAX((age - f->tags.ttl_ms) / 1000, (int64_t)0);
    return STEP_DONE;
}
