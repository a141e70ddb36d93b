/* A file that the index does not know, or that has changed since its digest was verified, is hashed on an io worker
 * before it is served. If its digest is not that of its name, it is removed. */
#include "proxy/fetch/private.h"

#include "base/assert.h"
#include "base/log.h"
#include "cache/verify.h"

struct verification {
    struct fetch *f;
    struct digest digest;
    enum verified result;
    struct err err;
};

bool fetch_must_verify(const struct fetch *f, const struct digest *d)
{
    return !f->verified && d->alg != DIGEST_NONE && cache_look(f->fetcher->all->cache, d) == FILE_UNVERIFIED;
}

static void verified(void *arg)
{
    struct verification *v = arg;
    struct fetch *f = v->f;

    if (v->result == VERIFIED_FAILED)
        log_limited(LOG_LEVEL_WARN, "verify", "verifying a blob of %s: %s", f->want.name, v->err.msg);
    free(v);
    if (f->fetcher->stopping) {
        err_set(&f->result.err, ERR_CANCELLED, "the cache is being stopped");
        f->result.how = HOW_ERROR;
        fetch_run(f, STEP_DONE);
        return;
    }
    f->verified = true;
    fetch_run(f, STEP_LOOKUP);
}

static bool is_stopping(void *arg)
{
    return atomic_load(&((struct fetchers *)arg)->stopping);
}

static void work(void *arg)
{
    struct verification *v = arg;
    struct fetcher *fr = v->f->fetcher;
    const struct verify_pace pace = {.stop = is_stopping, .arg = fr->all};

    v->result = cache_verify(fr->all->cache, &v->digest, &pace, NULL, &v->err);
    loop_post(fr->loop, verified, v);
}

enum step fetch_verify(struct fetch *f)
{
    struct verification *v = xcalloc(1, sizeof(*v));

    ON_LOOP(f->fetcher->loop);
    v->f = f;
    v->digest = f->hit.digest.alg != DIGEST_NONE ? f->hit.digest : f->digest;
    cache_run(f->fetcher->all->cache, work, v);
    return STEP_WAIT;
}

bool fetch_needs_bytes(const struct fetch *f, const struct cache_hit *hit)
{
    return hit->stored && !hit->linked && hit->blob.flags & BLOB_PRIVATE &&
           !cache_was_sent_by(f->fetcher->all->cache, f->want.site->host, &hit->digest);
}
