/* /v2/<name>/manifests/<tag|digest> */
#include "proxy/handlers.h"

#include "base/clock.h"

#include <string.h>
#include <strings.h>

/* A request that waits for a fetch loop. */
struct pending {
    struct http_request *req; /* NULL: the client is gone */
};

static void client_gone(void *arg)
{
    ((struct pending *)arg)->req = NULL;
}

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
    struct pending *p = arg;
    struct http_request *req = p->req;

    free(p);
    if (!req)
        return;
    if (res->err.code != ERR_OK) {
        reply_failure(req, res, KIND_MANIFEST);
        return;
    }
    reply_status(req, res);
    if (res->body)
        send_manifest(req, &res->digest, res->media_type, body_ref(res->body));
    else
        send_head(req, &res->digest, res->media_type, res->size);
}

/* What can be answered from what is here, without asking anybody. */
static bool answer_now(struct worker *w, struct http_request *req, const struct route *r)
{
    const struct config *c = w->proxy->config;
    int64_t ttl = r->site->config->tags_ttl_ms >= 0 ? r->site->config->tags_ttl_ms : c->tags_ttl_ms;
    struct cache_hit hit;

    cache_find(w->proxy->cache, r->name, r->tag[0] ? r->tag : NULL, &r->digest, &hit);
    if (!hit.stored || !hit.linked || !(hit.blob.flags & BLOB_MANIFEST))
        return false;
    if (r->tag[0] && clock_now_ms() - hit.tag.checked_ms >= ttl)
        return false;
    if (http_method(req) == HTTP_METHOD_HEAD) {
        use_touch(w->proxy->cache->use, &hit.digest);
        reply_hit(req);
        send_head(req, &hit.digest, hit.blob.media_type, hit.blob.size);
        return true;
    }
    struct body *body = cache_manifest(w->proxy->cache, &hit.digest, hit.blob.size, NULL);
    if (!body)
        return false;
    reply_hit(req);
    send_manifest(req, &hit.digest, hit.blob.media_type, body);
    return true;
}

void handle_manifest(struct worker *w, struct http_request *req, const struct route *r)
{
    bool head = http_method(req) == HTTP_METHOD_HEAD;
    const struct fetch_request ask = {
        head ? FETCH_MANIFEST_HEAD : FETCH_MANIFEST, r->site, r->path, r->name, r->tag, &r->digest, NULL, {.fd = -1}};

    reply_note(req, r, KIND_MANIFEST);
    if (answer_now(w, req, r))
        return;
    struct pending *p = xcalloc(1, sizeof(*p));
    p->req = req;
    http_on_gone(req, client_gone, p);
    fetch_begin(w->proxy->fetchers, w->loop, &ask, fetched, p);
}
