/* _catalog: the repositories that the cache knows. */
#include "proxy/registry/handlers.h"
#include "proxy/registry/page.h"

static bool add_repo(void *arg, const char *name)
{
    return page_add(arg, name);
}

void handle_catalog(struct registry *reg, struct http_request *req, const struct route *r)
{
    _cleanup_buf_ struct buf body = {0};
    struct page page = {0};

    if (!page_begin(&page, req))
        return;
    cache_each_repo(reg->cache, r->only, page.last ? page.last : "", add_repo, &page);
    buf_addf(&body, "{\"repositories\":[%s]}\n", page.text.data ? page.text.data : "");
    if (page.more)
        http_reply_header(req, "Link", "</v2/_catalog?n=%d&last=%s>; rel=\"next\"", page.n, page.next);
    http_reply(req, 200, "application/json", body.data, body.len);
    page_free(&page);
}
