/* /v2/<name>/manifests/<tag|digest> */
#include "proxy/registry/access.h"
#include "proxy/registry/peer.h"
#include "proxy/registry/policy.h"

#include "base/clock.h"
#include "base/platform.h"

#include <string.h>
#include <strings.h>

enum { AHEAD_MAX_MS = 60000 };

/* ---- clients that do not take an index ---- */

/* RFC 9110 §12.5.1: without Accept, any type is acceptable. */
static bool takes_index(const struct http_request *req)
{
    static const char *const types[] = {"*/*", "application/*", "manifest.list.v2", "image.index.v1", NULL};

    return !http_header(req, "accept") || http_header_has(req, "accept", types);
}

/* Such a client (usually a script that looks for a config) gets what registries send it instead of an index: the image
 * for linux/amd64, if there is one. */
static bool choose_image(const struct body *body, struct digest *out)
{
    _cleanup_manifest_ struct manifest m = {0};
    int most = 0;

    if (!manifest_parse(&m, body->data, body->len, NULL) || m.kind != MANIFEST_INDEX)
        return false;
    for (size_t i = 0; i < m.count; i++) {
        int score = m.parts[i].role == PART_MANIFEST ? platform_score("linux/amd64", m.parts[i].platform) : 0;
        if (score <= most)
            continue;
        most = score;
        *out = m.parts[i].digest;
    }
    return most > 0;
}

static bool may_turn(const struct http_request *req, const struct route *r)
{
    return r->tag[0] && !takes_index(req);
}

/* The tag's manifest is an index, which the client does not accept: turns the request into one of an image by digest.
 */
static bool turn_to_image(const struct http_request *req, struct route *r, const struct body *body)
{
    if (!may_turn(req, r) || !choose_image(body, &r->digest))
        return false;
    r->tag[0] = '\0';
    return true;
}

/* ---- answers ---- */

static void release(const void *data UNUSED, size_t len UNUSED, void *arg)
{
    body_unref(arg);
}

/* Sets the headers for its digest. True: If-None-Match names it, no body is needed (RFC 9110 §13.1.2). */
static bool manifests_describe(struct http_request *req, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    if (d->alg == DIGEST_NONE)
        return false;
    seen_detail_answer(note_of(req)->detail, d);
    digest_format(d, text);
    http_reply_header(req, "Docker-Content-Digest", "%s", text);
    http_reply_header(req, "ETag", "\"%s\"", text);
    return http_is_known(req, text);
}

/* Sends a manifest; takes over the reference. */
static void manifests_send_manifest(struct http_request *req, const struct digest *d, const char *type,
                                    struct body *body)
{
    if (manifests_describe(req, d)) {
        http_reply_head(req, 304, NULL, -1);
        body_unref(body);
        return;
    }
    http_reply_ref(req, 200, type[0] ? type : "application/octet-stream", body->data, body->len, release, body);
}

static void manifests_send_head(struct http_request *req, const struct digest *d, const char *type, int64_t size)
{
    if (manifests_describe(req, d))
        http_reply_head(req, 304, NULL, -1);
    else
        http_reply_head(req, 200, type[0] ? type : "application/octet-stream", size);
}

/* Since its registry was asked about the tag. */
static int64_t manifests_age_ms(const struct visitor *v, const struct fetch_result *res)
{
    struct cache_hit hit;

    if (res->how != HOW_HIT)
        return res->age_s * 1000;
    cache_find(v->registry->cache, v->route.name, v->route.tag, &v->route.digest, &hit);
    return hit.tag_known ? clock_now_ms() - hit.tag.checked_ms : 0;
}

static void manifests_serve(struct visitor *v);

static void manifests_fetched(void *arg, struct fetch_result *res)
{
    struct visitor *v = arg;
    struct http_request *req = visitor_return(v);

    if (!req)
        return;
    if (res->err.code != ERR_OK) {
        if (access_retry(v, res))
            return;
        reply_failure(req, res, KIND_MANIFEST);
    } else if (res->how == HOW_STALE && note_of(req)->hops > 0) {
        http_error(req, 504, "UNAVAILABLE", "the registry cannot be asked: what is here is past fresh");
    } else if (policy_admit_found(v->registry, req, &v->route, &res->digest)) {
        if (v->route.tag[0])
            peer_vouch(v->registry, req, &res->digest, MAX(manifests_age_ms(v, res), (int64_t)0) / 1000);
        if (res->body && turn_to_image(req, &v->route, res->body)) {
            manifests_serve(v);
            return;
        }
        reply_status(req, res);
        if (res->body)
            manifests_send_manifest(req, &res->digest, res->media_type, body_ref(res->body));
        else
            manifests_send_head(req, &res->digest, res->media_type, res->size);
    }
    visitor_free(v);
}

/* In the last tenth of its freshness a tag is served, and revalidated meanwhile: no later client has to wait. */
static void manifests_refresh(struct registry *reg, struct loop *loop, const struct route *r)
{
    const struct fetch_want want = {
        .kind = FETCH_MANIFEST,
        .site = r->site,
        .path = r->path,
        .name = r->name,
        .tag = r->tag,
        .digest = r->digest,
        .sent = {.fd = -1},
    };

    if (!fetchers_is_offline(reg->fetchers))
        fetch_refresh(reg->fetchers, loop, &want);
}

/* Answers from the cache alone, if it can. */
static bool manifests_answer_now(struct registry *reg, struct http_request *req, const struct route *r, bool by_grant)
{
    struct config_tags tags = {0};
    struct cache_hit hit;

    cache_find(reg->cache, r->name, r->tag[0] ? r->tag : NULL, &r->digest, &hit);
    if (!hit.stored || !hit.linked || !(hit.blob.flags & BLOB_MANIFEST) || (hit.repo_private && !by_grant))
        return false;
    if (r->tag[0] && r->site->upstream) {
        tags = config_tags_for(reg->config, r->site->config, r->name, r->tag);
        int64_t left = hit.tag.checked_ms + tags.ttl_ms - clock_now_ms();
        if (!cache_tag_is_fresh(&hit.tag, tags.ttl_ms))
            return false;
        if (left < MIN(tags.ttl_ms / 10, (int64_t)AHEAD_MAX_MS) && !by_grant)
            manifests_refresh(reg, http_loop(req), r);
    }
    if (!policy_admit_found(reg, req, r, &hit.digest))
        return true;
    if (r->tag[0])
        peer_vouch(reg, req, &hit.digest, MAX(clock_now_ms() - hit.tag.checked_ms, (int64_t)0) / 1000);
    if (http_method(req) == HTTP_METHOD_HEAD && (r->tag[0] == '\0' || takes_index(req))) {
        cache_touch(reg->cache, &hit.digest);
        reply_hit(req);
        manifests_send_head(req, &hit.digest, hit.blob.media_type, hit.blob.size);
        return true;
    }
    struct body *body = cache_manifest(reg->cache, &hit.digest, hit.blob.size, NULL);
    if (!body)
        return false;
    if (may_turn(req, r)) {
        struct route image = *r;
        if (turn_to_image(req, &image, body)) {
            body_unref(body);
            return manifests_answer_now(reg, req, &image, by_grant); /* by digest: once */
        }
    }
    reply_hit(req);
    manifests_send_manifest(req, &hit.digest, hit.blob.media_type, body);
    return true;
}

static void manifests_serve(struct visitor *v)
{
    bool head = http_method(v->req) == HTTP_METHOD_HEAD;

    if (manifests_answer_now(v->registry, v->req, &v->route, v->by_grant)) {
        visitor_free(v);
        return;
    }
    if (note_of(v->req)->have) {
        http_error(v->req, 404, "MANIFEST_UNKNOWN", "it is not here, and this is all that was asked");
        visitor_free(v);
        return;
    }
    bool whole = !head || (v->route.tag[0] && !takes_index(v->req)); /* its type has to be known */
    const struct fetch_want want = visitor_want(v, whole ? FETCH_MANIFEST : FETCH_MANIFEST_HEAD);
    visitor_fetch(v, &want, manifests_fetched);
}

void handle_manifest(struct registry *reg, struct http_request *req, const struct route *r)
{
    reply_note(req, r, KIND_MANIFEST);
    /* Public content that is cached needs no check of access. */
    if (r->site->config->client_access || !manifests_answer_now(reg, req, r, false))
        access_enter(reg, req, r, KIND_MANIFEST, manifests_serve);
}
