/* _catalog: the repositories that the cache knows. */
#include "proxy/registry/listings.h"

#include <string.h>

struct repos {
    struct index_txn *t;
    const char *only; /* of this upstream alone; NULL: of all */
    struct page page;
};

static bool note_tag(void *arg, uint64_t repo UNUSED, const char *tag UNUSED, const struct tag_row *row UNUSED)
{
    *(bool *)arg = true;
    return false;
}

/* The name of a repository outlives its images. */
static bool has_images(struct index_txn *t, uint64_t repo)
{
    bool found = false;

    rows_each_tag(t, repo, note_tag, &found);
    return found;
}

/* What is private has no name for who has not been let in. */
static bool add_repo(void *arg, const char *name, uint64_t repo, bool is_private)
{
    struct repos *l = arg;
    size_t host = l->only ? strlen(l->only) : 0;

    if (l->only && (strncmp(name, l->only, host) != 0 || name[host] != '/'))
        return false; /* they stand together */
    if (is_private || !has_images(l->t, repo))
        return true;
    return page_add(&l->page, l->only ? name + host + 1 : name); /* as its own registry calls it */
}

static void read_repos(struct index_txn *t, void *arg)
{
    struct repos *l = arg;
    const char *last = l->page.last ? l->page.last : "";
    _cleanup_free_ char *from = l->only ? xasprintf("%s/%s", l->only, last) : xstrdup(last);

    l->t = t;
    rows_each_repo_from(t, from, add_repo, l);
}

void handle_catalog(struct registry *reg, struct http_request *req, const struct route *r)
{
    _cleanup_buf_ struct buf body = {0};
    struct repos l = {.only = r->only};

    if (!page_begin(&l.page, req))
        return;
    cache_read(reg->cache, read_repos, &l);
    buf_addf(&body, "{\"repositories\":[%s]}\n", l.page.text.data ? l.page.text.data : "");
    if (l.page.more)
        http_reply_header(req, "Link", "</v2/_catalog?n=%d&last=%s>; rel=\"next\"", l.page.n, l.page.next);
    http_reply(req, 200, "application/json", body.data, body.len);
    page_free(&l.page);
}
