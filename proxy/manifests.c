/* /v2/<name>/manifests/<tag|digest> */
#include "proxy/access.h"
#include "proxy/handlers.h"

#include "base/clock.h"

#include <string.h>
#include <strings.h>

enum { AHEAD_MAX_MS = 60000 };

static void release(const void *data UNUSED, size_t len UNUSED, void *arg)
{
    body_unref(arg);
}

/* Digest, size and type as headers; an If-None-Match that names the digest needs no body (RFC 9110 §13.1.2). */
static bool describe(struct http_request *req, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    const char *known = http_header(req, "if-none-match");

    if (d->alg == DIGEST_NONE)
        return false;
    digest_format(d, text);
    http_reply_header(req, "Docker-Content-Digest", "%s", text);
    http_reply_header(req, "ETag", "\"%s\"", text);
    return known && strstr(known, text);
}

/* Sends a manifest; takes over the reference. */
static void send_manifest(struct http_request *req, const struct digest *d, const char *type, struct body *body)
{
    if (describe(req, d)) {
        http_reply_head(req, 304, NULL, -1);
        body_unref(body);
        return;
    }
    http_reply_ref(req, 200, type[0] ? type : "application/octet-stream", body->data, body->len, release, body);
}

static void send_head(struct http_request *req, const struct digest *d, const char *type, int64_t size)
{
    describe(req, d);
    http_reply_head(req, 200, type[0] ? type : "application/octet-stream", size);
}

static void fetched(void *arg, struct fetch_result *res)
{
    struct visitor *v = arg;
    struct http_request *req = v->req;

    if (req)
        http_on_gone(req, NULL, NULL);
    if (req && res->err.code != ERR_OK) {
        if (access_retry(v, res))
            return;
        reply_failure(req, res, KIND_MANIFEST);
    } else if (req) {
        reply_status(req, res);
        if (res->body)
            send_manifest(req, &res->digest, res->media_type, body_ref(res->body));
        else
            send_head(req, &res->digest, res->media_type, res->size);
    }
    visitor_free(v);
}

/* In the last tenth of its freshness a tag is served, and checked meanwhile: the next client need not wait. */
static void refresh(struct worker *w, const struct route *r)
{
    const struct fetch_request ask = {
        .kind = FETCH_MANIFEST,
        .site = r->site,
        .path = r->path,
        .name = r->name,
        .tag = r->tag,
        .digest = &r->digest,
        .sent = {.fd = -1},
    };

    if (!fetchers_is_offline(w->proxy->fetchers))
        fetch_refresh(w->proxy->fetchers, w->loop, &ask);
}

/* What can be answered from what is here, without asking anybody. */
static bool answer_now(struct worker *w, struct http_request *req, const struct route *r, bool is_private)
{
    struct proxy *p = w->proxy;
    struct config_tags tags = {0};
    struct cache_hit hit;

    cache_find(p->cache, r->name, r->tag[0] ? r->tag : NULL, &r->digest, &hit);
    if (!hit.stored || !hit.linked || !(hit.blob.flags & BLOB_MANIFEST) || (hit.repo_private && !is_private))
        return false;
    if (r->tag[0]) {
        tags = config_tags_for(p->config, r->site->config, r->name, r->tag);
        int64_t left = hit.tag.checked_ms + tags.ttl_ms - clock_now_ms();
        if (left <= 0)
            return false;
        if (left < MIN(tags.ttl_ms / 10, (int64_t)AHEAD_MAX_MS) && !is_private)
            refresh(w, r);
    }
    if (http_method(req) == HTTP_METHOD_HEAD) {
        use_touch(p->cache->use, &hit.digest);
        reply_hit(req);
        send_head(req, &hit.digest, hit.blob.media_type, hit.blob.size);
        return true;
    }
    struct body *body = cache_manifest(p->cache, &hit.digest, hit.blob.size, NULL);
    if (!body)
        return false;
    reply_hit(req);
    send_manifest(req, &hit.digest, hit.blob.media_type, body);
    return true;
}

static void serve(struct visitor *v)
{
    bool head = http_method(v->req) == HTTP_METHOD_HEAD;

    if (answer_now(v->worker, v->req, &v->route, v->is_private)) {
        visitor_free(v);
        return;
    }
    const struct fetch_request ask = visitor_ask(v, head ? FETCH_MANIFEST_HEAD : FETCH_MANIFEST);
    access_gone(v);
    fetch_begin(v->worker->proxy->fetchers, v->worker->loop, &ask, fetched, v);
}

void handle_manifest(struct worker *w, struct http_request *req, const struct route *r)
{
    reply_note(req, r, KIND_MANIFEST);
    /* What is here and everybody's, without further questions. */
    if (r->site->config->client_access || !answer_now(w, req, r, false))
        access_enter(w, req, r, KIND_MANIFEST, serve);
}
