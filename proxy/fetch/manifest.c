/* The life of a manifest's fetch:
 *
 *            ┌ here, fresh, the repository's ────────────────────────▶ deliver
 *   lookup ──┼ here, not known to be the repository's ─▶ prove ──────▶ deliver
 *            ├ a file that has to be verified first ─▶ verify ─▶ lookup
 *            ├ tag past fresh ─▶ revalidate ── unchanged, or here ───▶ deliver      (meanwhile: stale.c)
 *            │                        └ changed ─┐
 *            └ absent ───────────────────────────┴▶ ask ─▶ receive ─▶ store ─▶ deliver
 *
 *   any ─▶ fail: an older copy of the tag is better than none (stale.c), else the error. Then done.
 */
#include "proxy/fetch/manifest.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

enum { RATE_LIMITED_MS = 30000, SLOW_STORE_MS = 1000 };

static bool is_head(const struct fetch *f)
{
    return f->want.kind == FETCH_MANIFEST_HEAD;
}

static bool by_tag(const struct fetch *f)
{
    return f->want.tag[0] != '\0';
}

static enum step manifest_offline(struct fetch *f)
{
    err_set(&f->result.err, ERR_NOT_FOUND, "%s%s%s: not in the cache, and %s", f->want.name, by_tag(f) ? ":" : "",
            f->want.tag, fetch_why_offline(f));
    f->result.how = HOW_ERROR;
    return STEP_FAIL;
}

static enum step manifest_lookup(struct fetch *f)
{
    struct cache_hit *hit = &f->hit;

    f->result.how = HOW_HIT;
    fetch_find(f, by_tag(f) ? f->want.tag : NULL, by_tag(f) ? NULL : &f->digest, hit);
    if (!hit->stored && fetch_must_verify(f, &hit->digest))
        return STEP_VERIFY;
    if (fetch_needs_bytes(f, hit))
        hit->stored = false; /* nothing of it, not even its size, is shown to this repository yet */
    if (by_tag(f) && hit->tag_known) {
        bool fresh = cache_tag_is_fresh(&hit->tag, f->tags.ttl_ms) && !f->want.force;
        if (fresh && fetch_is_manifest(hit) && hit->linked) {
            f->digest = hit->digest;
            return STEP_DELIVER;
        }
        if (fetch_is_offline(f))
            return fetch_is_manifest(hit) && hit->linked ? STEP_FAIL : manifest_offline(f);
        if (manifest_may_be_stale(f, hit))
            return manifest_past_fresh(f);
        /* A tag that is known by a HEAD alone has no copy to compare with: ask for what it points to now. */
        return fetch_is_manifest(hit) ? STEP_REVALIDATE : STEP_ASK;
    }
    if (!by_tag(f) && fetch_is_manifest(hit))
        return hit->linked ? STEP_DELIVER : fetch_is_offline(f) ? manifest_offline(f) : STEP_PROVE;
    if (fetch_is_offline(f))
        return manifest_offline(f);
    /* What the tag is now, the registry says; what that is, another node may know, and a HEAD does not count. */
    return by_tag(f) && !is_head(f) && f->want.force && !f->want.refresh && fetch_has_home(f) ? STEP_REVALIDATE
                                                                                              : STEP_ASK;
}

/* ---- revalidate: Docker Hub does not count a HEAD as a pull ---- */

static void manifest_tag_put(void *arg, const struct err *err)
{
    struct fetch *f = arg;
    struct manifest_fetch *mf = manifest_of(f);

    if (err)
        log_limited(LOG_LEVEL_ERROR, "put", "recording the digest of %s:%s: %s", f->want.name, f->want.tag, err->msg);
    mf->putting = false;
    if (f->step == STEP_DONE)
        fetch_run(f, STEP_DONE);
}

/* Until the index has it, new requests must find this fetch: they would ask upstream again. */
static void manifest_put_tag(struct fetch *f, const struct digest *d)
{
    struct manifest_fetch *mf = manifest_of(f);

    mf->putting = true;
    cache_put_tag(fetch_cache(f), f->want.name, f->want.tag, d, clock_now_ms() - f->age_s * 1000, manifest_tag_put, f,
                  f->fetcher->loop);
}

static void manifest_revalidated(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;
    struct cache_hit now;

    f->call = NULL;
    if (!err && (fetch_proves_nothing(r) || (r->status == 200 && r->digest.alg == DIGEST_NONE))) {
        fetch_run(f, STEP_ASK); /* a registry whose HEAD has no digest */
        return;
    }
    if (err || r->status != 200) {
        fetch_refused(f, r, err);
        fetch_run(f, STEP_FAIL);
        return;
    }
    f->result.upstream_status = r->status;
    f->response = *r;
    f->digest = r->digest;
    manifest_of(f)->tag_by_node = f->by_node;
    fetch_find(f, NULL, &r->digest, &now);
    /* The tag keeps its old copy until the new one is here: it may have to be served as stale. */
    bool here = fetch_is_manifest(&now) && !fetch_needs_bytes(f, &now);
    if (here || !fetch_is_manifest(&f->hit))
        manifest_put_tag(f, &r->digest);
    if (!here && is_head(f) && fetch_is_manifest(&f->hit))
        f->want.kind =
            FETCH_MANIFEST; /* the tag has moved: a client that asks where to will request that manifest next */
    if (f->patience)
        fetch_be_patient(f);
    f->hit = now;
    f->hit.stored = here;
    f->result.how = HOW_REVALIDATED;
    fetch_run(f, here || is_head(f) ? STEP_DELIVER : STEP_ASK);
}

static enum step manifest_revalidate(struct fetch *f)
{
    _cleanup_free_ char *path = fetch_reference_path(f, "manifests", false);

    fetch_call(f, "HEAD", path, MANIFEST_ACCEPT, NULL, NULL, manifest_revalidated);
    return STEP_WAIT;
}

/* ---- ask and receive ---- */

static bool manifest_take_head(void *arg, const struct transfer_response *r)
{
    struct fetch *f = arg;

    f->response = *r;
    f->step = STEP_RECEIVE;
    f->too_large = r->status == 200 && r->content_length > MANIFEST_SIZE_MAX;
    return !f->too_large;
}

static bool manifest_take_data(void *arg, const void *data, size_t len)
{
    struct fetch *f = arg;

    if (f->response.status != 200)
        return true; /* an error page: not read */
    f->too_large = f->received.len + len > MANIFEST_SIZE_MAX;
    if (f->too_large)
        return false;
    buf_add(&f->received, data, len);
    return true;
}

static void manifest_take_end(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;
    struct err large = {0};

    f->call = NULL;
    f->response = *r;
    if (err && f->too_large) {
        err_set(&large, ERR_UPSTREAM, "the manifest has more than %d bytes", (int)MANIFEST_SIZE_MAX);
        err = &large;
    }
    if (!err && r->status == 404 && manifest_of(f)->tag_by_node && !f->no_nodes) {
        f->no_nodes = true; /* another node has named something that there is not */
        f->digest = (struct digest){0};
        f->hit.stored = false;
        fetch_run(f, STEP_ASK);
        return;
    }
    if (err || r->status != 200) {
        bool moved = f->result.how == HOW_REVALIDATED;
        fetch_refused(f, r, err);
        if (f->result.err.code == ERR_NOT_FOUND && moved)
            f->result.err.code = ERR_UPSTREAM; /* its HEAD contradicts that: an older copy may be served */
        if (f->result.err.code == ERR_NOT_FOUND && by_tag(f) && f->digest.alg == DIGEST_NONE && !f->tags.keep_deleted)
            cache_drop_tag(fetch_cache(f), f->want.name, f->want.tag);
        fetch_run(f, STEP_FAIL);
        return;
    }
    f->result.upstream_status = r->status;
    fetch_run(f, STEP_STORE);
}

/* Whether a type may be that of a manifest: a known one, or one of the many of artifacts. Servers that do not know the
 * type of what they serve send text/html, application/json or octet-stream. */
static bool is_plausible_type(const char *type)
{
    return manifest_is_type(type) || strncmp(type, "application/vnd.", 16) == 0;
}

/* Clients make a descriptor from the answer to a HEAD (oras, crane), so they need its digest, type and size. */
static bool says_enough(const struct fetch *f, const struct transfer_response *r)
{
    return (r->digest.alg != DIGEST_NONE || !by_tag(f)) && is_plausible_type(r->content_type) && r->content_length > 0;
}

static void take_answer_to_head(void *arg, const struct transfer_response *r, const struct err *err)
{
    struct fetch *f = arg;

    f->call = NULL;
    f->response = *r;
    if (!err && (fetch_proves_nothing(r) || (r->status == 200 && !says_enough(f, r)))) {
        _cleanup_free_ char *path = fetch_reference_path(f, "manifests", !by_tag(f));
        fetch_call(f, "GET", path, MANIFEST_ACCEPT, manifest_take_head, manifest_take_data, manifest_take_end);
        return;
    }
    if (err || r->status != 200) {
        fetch_refused(f, r, err);
        fetch_run(f, STEP_FAIL);
        return;
    }
    if (by_tag(f) && manifest_is_type(r->content_type)) {
        f->digest = r->digest;
        manifest_put_tag(f, &r->digest);
        if (!digest_eq(&f->hit.digest, &r->digest))
            f->hit.stored = false;
    }
    f->result.how = HOW_BYPASS;
    f->result.upstream_status = r->status;
    fetch_run(f, STEP_DELIVER);
}

static enum step manifest_ask(struct fetch *f)
{
    /* A digest that is known already, even of a tag, is asked for by digest: the answer can be checked. */
    bool known = f->digest.alg != DIGEST_NONE;
    _cleanup_free_ char *path = fetch_reference_path(f, "manifests", known);

    buf_clear(&f->received);
    f->too_large = false;
    if (is_head(f))
        fetch_call(f, "HEAD", path, MANIFEST_ACCEPT, NULL, NULL, take_answer_to_head);
    else
        fetch_call(f, "GET", path, MANIFEST_ACCEPT, manifest_take_head, manifest_take_data, manifest_take_end);
    return STEP_WAIT;
}

/* ---- store ---- */

/* Wrong bytes are an error, wherever they come from. */
static bool check_digest(struct fetch *f, struct digest *computed, struct err *err)
{
    char want[DIGEST_TEXT_MAX], got[DIGEST_TEXT_MAX];
    struct digest expected = f->digest;

    if (expected.alg == DIGEST_NONE)
        expected = f->response.digest;
    digest_of(expected.alg != DIGEST_NONE ? expected.alg : DIGEST_SHA256, f->received.data ? f->received.data : "",
              f->received.len, computed);
    if (expected.alg == DIGEST_NONE || digest_eq(&expected, computed))
        return true;
    atomic_fetch_add(&f->fetcher->all->mismatches, 1);
    return err_set(err, ERR_DIGEST, "%s: upstream sent a manifest that hashes to %s instead of %s", f->want.name,
                   digest_format(computed, got), digest_format(&expected, want));
}

/* Clients wait for that, since the index decides about what they ask for next. It is not upstream that is slow then. */
static void note_slow_store(const struct fetch *f)
{
    int64_t took_ms = clock_mono_ms() - manifest_of(f)->storing_ms;

    if (took_ms >= SLOW_STORE_MS)
        log_limited(LOG_LEVEL_WARN, "slow", "the disk took %lld ms to sync a manifest of %s; clients wait for that",
                    (long long)took_ms, f->want.name);
}

static void manifest_stored(void *arg, const struct err *err)
{
    struct fetch *f = arg;

    note_slow_store(f);
    if (f->age_s > 0 && by_tag(f))
        cache_doubt_tag(fetch_cache(f), f->want.name, f->want.tag, clock_now_ms() - f->age_s * 1000);
    if (err) {
        log_limited(LOG_LEVEL_ERROR, "keep", "storing a manifest of %s: %s; it is served without caching", f->want.name,
                    err->msg);
        ingests_note_unstored(cache_ingests(fetch_cache(f)), err);
        f->result.how = HOW_BYPASS;
    }
    fetch_run(f, STEP_DELIVER);
}

static enum step bad_answer(struct fetch *f, const struct err *why)
{
    f->result.err = *why;
    f->result.how = HOW_ERROR;
    return STEP_FAIL;
}

/* The time that fetching it again would take. A pull that counts against a rate limit costs a part of that, too: Docker
 * Hub gives anonymous clients 100 in six hours, one in 216 s. */
static uint32_t cost_ms(const struct fetch *f)
{
    return (uint32_t)(clock_mono_ms() - f->started_ms) + (f->response.ratelimit_remaining >= 0 ? RATE_LIMITED_MS : 0);
}

/* Upstream's Content-Type if it is a manifest's, else the document's own mediaType, else by its form: OCI manifests
 * need not have one (image-spec manifest.md, "mediaType"), Docker's do. */
static const char *type_of(const struct fetch *f, const struct manifest *m)
{
    const char *declared = f->response.content_type;

    if (manifest_is_type(declared) || (is_plausible_type(declared) && !m->media_type[0]))
        return declared;
    if (m->media_type[0])
        return m->media_type;
    if (m->kind == MANIFEST_IMAGE)
        return "application/vnd.oci.image.manifest.v1+json";
    return m->kind == MANIFEST_INDEX ? "application/vnd.oci.image.index.v1+json" : declared;
}

/* Whether it is certainly a manifest: by its digest, its type, or its content. Other JSON is served without caching: it
 * may be a gateway's error page. */
static bool is_to_be_kept(const struct fetch *f, const struct manifest *m)
{
    bool vouched = f->digest.alg != DIGEST_NONE || f->response.digest.alg != DIGEST_NONE;

    if (m->kind == MANIFEST_SCHEMA1 || (m->kind == MANIFEST_OTHER && m->unread))
        return false; /* its digest is not that of its bytes, or its references are not understood */
    return vouched || manifest_is_type(f->response.content_type) || manifest_is_likely(m);
}

/* Parses the received bytes, and computes their digest. */
static bool manifest_look_at(struct fetch *f, struct manifest *m, struct digest *computed, struct err *err)
{
    if (!manifest_parse(m, f->received.data ? f->received.data : "", f->received.len, err)) {
        err->code = err->code == ERR_INVALID ? ERR_UPSTREAM : err->code;
        return err_wrap(err, "%s: upstream sent something that is not a manifest", f->want.name);
    }
    *computed = f->response.digest;
    return m->kind == MANIFEST_SCHEMA1 || check_digest(f, computed, err);
}

static enum step manifest_store(struct fetch *f)
{
    _cleanup_manifest_ struct manifest m = {0};
    struct err err = {0};
    struct digest computed;

    if (!manifest_look_at(f, &m, &computed, &err)) {
        if (!f->by_node)
            return bad_answer(f, &err);
        log_limited(LOG_LEVEL_ERROR, "wrong manifest", "%s: of another node of the cluster; its registry is asked",
                    err.msg);
        f->no_nodes = true;
        f->response.digest = (struct digest){0};
        return STEP_ASK;
    }
    f->result.body = body_new(f->received.len);
    if (f->received.data)
        memcpy(f->result.body->data, f->received.data, f->received.len);
    f->result.size = (int64_t)f->received.len;
    f->result.digest = computed;
    const char *type = type_of(f, &m);
    snprintf(f->result.media_type, sizeof(f->result.media_type), "%s", type);
    if (!is_to_be_kept(f, &m)) {
        f->result.how = HOW_BYPASS;
        return STEP_DELIVER;
    }
    f->result.how = f->by_node ? HOW_PEER : HOW_MISS;
    manifest_of(f)->storing_ms = clock_mono_ms();
    cache_put_manifest(fetch_cache(f), f->want.name, f->want.tag, &computed, type, f->result.body, &m, cost_ms(f),
                       f->want.is_private, manifest_stored, f, f->fetcher->loop);
    return STEP_WAIT;
}

/* ---- deliver ---- */

static enum step manifest_deliver(struct fetch *f)
{
    struct manifest_fetch *mf = manifest_of(f);

    f->result.age_s = f->age_s;
    if (f->result.body || fetch_from_cache(f, &f->hit, !is_head(f), &f->result))
        return STEP_DONE;
    if (is_head(f) && f->response.status == 200) { /* from upstream's answer to HEAD */
        f->result.digest = f->response.digest.alg != DIGEST_NONE ? f->response.digest : f->digest;
        f->result.size = f->response.content_length;
        snprintf(f->result.media_type, sizeof(f->result.media_type), "%s", f->response.content_type);
        return STEP_DONE;
    }
    if (mf->refetched || fetch_is_offline(f))
        return bad_answer(f, &(struct err){.code = ERR_CORRUPT, .msg = "the cached copy was damaged"});
    mf->refetched = true; /* the file is missing: fetch it */
    f->hit.stored = false;
    f->digest = f->hit.digest;
    return STEP_ASK;
}

/* ---- the last answers ---- */

/* One more client waits. */
static void manifest_join(struct fetch *f, struct fetch_waiter *w)
{
    const struct manifest_fetch *mf = manifest_of(f);

    if (w->want.hops > 0)
        fetch_leave_home(f, w->want.hops);
    if (mf->answered_early && !w->want.force)
        fetch_answer_one(w, &mf->early, NULL);
    else
        fetch_wait(f, w);
}

static bool manifest_is_wanted(const struct fetch *f)
{
    return manifest_of(f)->answered_early;
}

/* The waiters have their answer; the fetch stays until the index has the tag, and answers requests that come before. */
static bool manifest_stays(struct fetch *f)
{
    struct manifest_fetch *mf = manifest_of(f);

    if (!mf->putting)
        return false;
    fetch_result_clear(&mf->early);
    mf->early = f->result;
    if (mf->early.body)
        body_ref(mf->early.body);
    mf->answered_early =
        f->result.err.code == ERR_OK && (mf->early.body || fetch_from_cache(f, &f->hit, true, &mf->early));
    return true;
}

static void manifest_clear(struct fetch *f)
{
    fetch_result_clear(&manifest_of(f)->early);
}

const struct fetch_type MANIFEST_FETCH = {
    .name = "manifest",
    .size = sizeof(struct manifest_fetch),
    .run =
        {
            [STEP_LOOKUP] = manifest_lookup,
            [STEP_VERIFY] = fetch_verify,
            [STEP_PROVE] = fetch_prove,
            [STEP_REVALIDATE] = manifest_revalidate,
            [STEP_ASK] = manifest_ask,
            [STEP_RECEIVE] = NULL, /* transfer callbacks: manifest_take_head, _take_data, _take_end */
            [STEP_STORE] = manifest_store,
            [STEP_DELIVER] = manifest_deliver,
            [STEP_FAIL] = manifest_fail,
        },
    .join = manifest_join,
    .lose_patience = manifest_lose_patience,
    .is_wanted = manifest_is_wanted,
    .stays = manifest_stays,
    .clear = manifest_clear,
};
