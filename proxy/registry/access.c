#include "proxy/registry/access.h"

#include "base/assert.h"

#include "proxy/registry/handlers.h"
#include "proxy/registry/identify.h"
#include "proxy/registry/peer.h"

#include "base/url.h"

#include <string.h>

void visitor_free(struct visitor *v)
{
    client_unref(v->client);
    site_unref(v->route.site);
    free(v);
}

static void access_client_gone(void *arg)
{
    struct visitor *v = arg;

    ON_LOOP(v->loop);
    v->req = NULL;
    if (v->wait)
        fetch_leave(v->wait);
    v->wait = NULL;
}

struct fetch_want visitor_want(const struct visitor *v, enum fetch_kind kind)
{
    return (struct fetch_want){
        .kind = kind,
        .site = v->route.site,
        .path = v->route.path,
        .name = v->route.name,
        .tag = v->route.tag,
        .digest = v->route.digest,
        .client = v->client,
        .is_private = v->by_grant,
        .hops = v->req ? note_of(v->req)->hops : 0,
        .have = v->req && note_of(v->req)->have,
        .named = v->req && note_of(v->req)->named,
        .size = v->req ? peer_size(v->req) : 0,
        .sent = {.fd = -1},
    };
}

void visitor_fetch(struct visitor *v, const struct fetch_want *want,
                   void (*done)(void *arg, struct fetch_result *result))
{
    ON_LOOP(v->loop);
    http_on_gone(v->req, access_client_gone, v);
    seen_detail_ask(note_of(v->req)->detail, http_micros(v->req));
    v->wait = fetch_begin(v->registry->fetchers, v->loop, want, done, v);
}

void visitor_fetch_page(struct visitor *v, const char *path, void (*done)(void *arg, struct fetch_result *res))
{
    _cleanup_buf_ struct buf listing = {0}, query = {0};
    struct fetch_want want = visitor_want(v, FETCH_LISTING);

    url_query_without(&query, http_query(v->req), "ns");
    buf_adds(&listing, path);
    if (query.len > 0)
        buf_addf(&listing, "?%s", query.data);
    want.listing = listing.data;
    visitor_fetch(v, &want, done);
}

struct http_request *visitor_return(struct visitor *v)
{
    struct http_request *req = v->req;

    ON_LOOP(v->loop);
    v->wait = NULL;
    if (req)
        http_on_gone(req, NULL, NULL);
    else
        visitor_free(v);
    return req;
}

/* ---- asking upstream about a client ---- */

/* The path that shows whether the client may read the repository. */
static char *probe_path(const struct route *r)
{
    char text[DIGEST_TEXT_MAX];

    switch (r->kind) {
    case ROUTE_MANIFEST:
        return xasprintf("manifests/%s", r->tag[0] ? r->tag : digest_format(&r->digest, text));
    case ROUTE_BLOB:
        return xasprintf("blobs/%s", digest_format(&r->digest, text));
    case ROUTE_REFERRERS:
        return fetch_referrers_path(&r->digest);
    default:
        return xstrdup("tags/list?n=1");
    }
}

/* An answer to an anonymous client came with the cache's own identity: the repository is public. */
static bool is_public(const struct visitor *v)
{
    return client_is_nobody(v->client) && !v->route.site->config->client_access;
}

/* Blobs under way may also be resumed with its identity, if another client's expires. */
static void access_admit(struct visitor *v)
{
    struct registry *p = v->registry;

    grants_add(p->grants, v->client->client_id, v->route.name);
    fetch_offer(p->fetchers, v->route.name, v->client);
}

static void access_answered(void *arg, struct fetch_result *res)
{
    struct visitor *v = arg;
    struct registry *p = v->registry;

    if (res->err.code == ERR_OK) {
        v->by_grant = !is_public(v);
        if (v->by_grant)
            access_admit(v);
        if (cache_is_private(p->cache, v->route.name) !=
            v->by_grant) /* one write for each repository, not for each client */
            cache_set_private(p->cache, v->route.name, v->by_grant);
    }
    if (!visitor_return(v))
        return;
    if (res->err.code == ERR_OK) {
        v->serve(v);
        return;
    }
    reply_failure(v->req, res, v->kind);
    visitor_free(v);
}

static void access_ask(struct visitor *v)
{
    struct fetch_want want;
    _cleanup_free_ char *path = probe_path(&v->route);

    v->asked = v->by_grant = true;
    want = visitor_want(v, FETCH_ADMIT);
    want.listing = path;
    visitor_fetch(v, &want, access_answered);
}

bool access_retry(struct visitor *v, const struct fetch_result *res)
{
    bool refused = res->err.code == ERR_DENIED || (res->err.code == ERR_NOT_FOUND && res->upstream_status == 404);

    if (!refused || v->asked || v->by_grant || client_is_nobody(v->client))
        return false;
    access_ask(v);
    return true;
}

/* ---- coming in ---- */

void access_enter(struct registry *reg, struct http_request *req, const struct route *r, enum note_kind kind,
                  void (*serve)(struct visitor *v))
{
    struct visitor *v = xcalloc(1, sizeof(*v));

    ON_LOOP(http_loop(req));
    *v = (struct visitor){
        .registry = reg, .loop = http_loop(req), .req = req, .route = *r, .kind = kind, .serve = serve};
    site_ref(r->site);
    v->client = client_at(identify_client(req, reg->login, reg->config, r), r->site);
    v->by_grant = r->site->config->client_access || cache_is_private(reg->cache, r->name);
    reply_note(req, r, kind);
    note_of(req)->unused_login = (uint8_t)v->client->unused;
    bool granted = v->by_grant && grants_has(reg->grants, v->client->client_id, r->name);
    if (granted)
        fetch_offer(reg->fetchers, r->name, v->client);
    if (!v->by_grant || granted)
        serve(v);
    else
        access_ask(v);
}
