/* tags/list: the registry's own pages; cached pages while it cannot be asked (proxy/fetch/listing_cache.c). The tags
 * that are cached are not a registry's list, and are never served as one, but for this case: the registry is cut off
 * and no page is cached. */
#include "proxy/registry/access.h"
#include "proxy/registry/handlers.h"
#include "proxy/registry/page.h"

static bool add_tag(void *arg, const char *tag)
{
    return page_add(arg, tag);
}

/* The tags that are cached. Whether the request has been answered. */
static bool tags_from_cache(struct visitor *v)
{
    _cleanup_buf_ struct buf body = {0};
    struct page page = {0};

    if (!page_begin(&page, v->req))
        return true;
    bool known =
        cache_each_tag(v->registry->cache, v->route.name, v->by_grant, page.last ? page.last : "", add_tag, &page);
    if (known) {
        buf_addf(&body, "{\"name\":\"%s\",\"tags\":[%s]}\n", v->route.path, page.text.data ? page.text.data : "");
        if (page.more) {
            _cleanup_free_ char *query = xasprintf("n=%d&last=%s", page.n, page.next);
            page_link(v->req, &v->route, "tags/list", query);
        }
        reply_hit(v->req);
        http_reply(v->req, 200, "application/json", body.data, body.len);
    }
    page_free(&page);
    return known;
}

static void tags_fetched(void *arg, struct fetch_result *res)
{
    struct visitor *v = arg;
    struct http_request *req = visitor_return(v);

    if (!req)
        return;
    if (res->err.code == ERR_OK) {
        reply_status(req, res);
        if (res->next)
            page_link(req, &v->route, "tags/list", res->next->data);
        http_reply(req, 200, res->media_type, res->body->data, res->body->len);
    } else if (access_retry(v, res)) {
        return;
    } else if (res->upstream_status == 400) {
        reply_status(req, res);
        http_error(req, 400, "PAGINATION_NUMBER_INVALID", "%s does not take these parameters", v->route.site->host);
    } else if (!fetchers_is_cut_off(v->registry->fetchers, v->route.site) || !tags_from_cache(v)) {
        reply_failure(req, res, v->kind);
    }
    visitor_free(v);
}

static void tags_serve(struct visitor *v)
{
    visitor_fetch_page(v, "tags/list", tags_fetched);
}

void handle_tags(struct registry *reg, struct http_request *req, const struct route *r)
{
    access_enter(reg, req, r, KIND_TAGS, tags_serve);
}
