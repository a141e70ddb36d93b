/* What all types of fetches need: looking into the cache, and calling upstream with the right identity. */
#include "proxy/fetch/private.h"

#include "base/assert.h"

#include <string.h>

void fetch_find(const struct fetch *f, const char *tag, const struct digest *digest, struct cache_hit *hit)
{
    cache_find(f->fetcher->all->cache, f->want.name, tag, digest, hit);
    if (hit->repo_private && !f->want.is_private)
        hit->stored = hit->linked = hit->tag_known = false;
}

bool fetch_from_cache(struct fetch *f, const struct cache_hit *hit, bool body, struct fetch_result *r)
{
    struct err err = {0};

    if (!fetch_is_manifest(hit))
        return false;
    if (body) {
        r->body = cache_manifest(fetch_cache(f), &hit->digest, hit->blob.size, &err);
        if (!r->body)
            return false;
    }
    r->digest = hit->digest;
    r->size = hit->blob.size;
    memcpy(r->media_type, hit->blob.media_type, sizeof(r->media_type));
    return true;
}

void fetch_identify(const struct fetch *f, struct upstream_request *req)
{
    static const struct cred_identity nobody;
    const struct client *c = f->want.client;

    if (!f->want.is_private || !c)
        return;
    if (c->authorization) {
        req->authorization = c->authorization;
    } else if (client_is_for(c, f->want.site)) {
        req->identity = &c->id;
        req->client_id = c->client_id;
    } else if (f->want.site->config->client_access || !client_is_nobody(c)) {
        req->identity = &nobody;
        req->client_id = "nobody";
    }
}

void fetch_call_registry(struct fetch *f, const char *method, const char *path, const char *accept,
                         bool (*on_head)(void *arg, const struct transfer_response *r),
                         bool (*on_data)(void *arg, const void *data, size_t len),
                         void (*on_done)(void *arg, const struct transfer_response *r, const struct err *err))
{
    struct upstream_request req = {
        .method = method,
        .repository = f->want.path,
        .path = path,
        .accept = accept,
        .range_first = -1,
        .decode = true, /* everything but blobs goes this way */
        .bounded = true,
        .on_head = on_head,
        .on_data = on_data,
        .on_done = on_done,
        .arg = f,
    };

    ON_LOOP(f->fetcher->loop);
    req.optional = f->optional;
    req.lack_ms = f->tags.negative_ttl_ms;
    fetch_identify(f, &req);
    f->call = upstream_start(f->want.site->upstream, f->fetcher->engine, f->fetcher->loop, &req);
}

char *fetch_reference_path(const struct fetch *f, const char *kind, bool by_digest)
{
    char text[DIGEST_TEXT_MAX];

    return xasprintf("%s/%s", kind, by_digest ? digest_format(&f->digest, text) : f->want.tag);
}

#define REFERRERS "referrers/"

char *fetch_referrers_path(const struct digest *subject)
{
    char text[DIGEST_TEXT_MAX];

    return xasprintf(REFERRERS "%s", digest_format(subject, text));
}

const char *fetch_referrers_subject(const char *path)
{
    return strncmp(path, REFERRERS, strlen(REFERRERS)) == 0 ? path + strlen(REFERRERS) : NULL;
}

void fetchers_set_offline(struct fetchers *all, bool offline)
{
    atomic_store(&all->offline, offline);
}

bool fetchers_is_offline(const struct fetchers *all)
{
    return atomic_load(&all->offline);
}

bool fetchers_is_cut_off(const struct fetchers *all, const struct site *site)
{
    return !site->upstream || fetchers_is_offline(all);
}

uint64_t fetchers_mismatches(const struct fetchers *all)
{
    return atomic_load(&all->mismatches);
}
