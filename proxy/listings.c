/* tags/list, referrers and _catalog: upstream's word where it can be had, else what the cache knows. */
#include "proxy/access.h"
#include "proxy/handlers.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_DEFAULT = 1000, PAGE_MAX = 10000 };

/* ---- what the cache knows ---- */

struct listing {
    struct index_txn *t;
    bool is_private; /* who asks has been let in */
    struct buf *out;
    const struct route *route;
    const char *last;
    int count, page;
    char next[REF_NAME_MAX + 1]; /* the last one given */
    bool more;
};

static bool add_tag(void *arg, uint64_t repo UNUSED, const char *tag, const struct tag_row *row UNUSED)
{
    struct listing *l = arg;

    if (strchr(tag, ':') || (l->last && strcmp(tag, l->last) <= 0))
        return true;
    if (l->count == l->page) {
        l->more = true;
        return false;
    }
    buf_addf(l->out, "%s\"%s\"", l->count++ ? "," : "", tag);
    snprintf(l->next, sizeof(l->next), "%s", tag);
    return true;
}

static void read_tags(struct index_txn *t, void *arg)
{
    struct listing *l = arg;
    bool is_private;
    uint64_t repo = rows_repo(t, l->route->name, &is_private);

    if (repo != 0 && (!is_private || l->is_private))
        rows_each_tag(t, repo, add_tag, l);
}

static void read_page(struct http_request *req, struct listing *l, char last[REF_NAME_MAX + 1])
{
    char n[16];

    l->page = http_query_get(req, "n", n, sizeof(n)) ? atoi(n) : PAGE_DEFAULT;
    l->page = MAX(MIN(l->page, (int)PAGE_MAX), 1);
    l->last = http_query_get(req, "last", last, REF_NAME_MAX + 1) ? last : NULL;
}

static bool tags_from_cache(struct worker *w, struct http_request *req, const struct route *r, bool is_private)
{
    _cleanup_buf_ struct buf body = {0};
    struct listing l = {.out = &body, .route = r, .is_private = is_private};
    char last[REF_NAME_MAX + 1];

    read_page(req, &l, last);
    buf_addf(&body, "{\"name\":\"%s\",\"tags\":[", r->path);
    index_read(w->proxy->cache->index, read_tags, &l);
    buf_adds(&body, "]}\n");
    if (l.count == 0 && !l.last)
        return false;
    if (l.more)
        http_reply_header(req, "Link", "</v2/%s/tags/list?n=%d&last=%s>; rel=\"next\"", r->asked, l.page, l.next);
    http_reply(req, 200, "application/json", body.data, body.len);
    return true;
}

/* ---- referrers the cache has (distribution-spec, "Listing Referrers") ---- */

struct referrers {
    bool is_private;
    struct cache *cache;
    const struct route *route;
    struct digest list[256];
    struct blob_row rows[256];
    int count;
    struct index_txn *t;
};

static bool add_referrer(void *arg, const struct child *c)
{
    struct referrers *l = arg;

    if (c->role == CHILD_REFERRER && rows_get_blob(l->t, &c->digest, &l->rows[l->count]))
        l->list[l->count++] = c->digest;
    return l->count < (int)ARRAY_LEN(l->list);
}

static void read_referrers(struct index_txn *t, void *arg)
{
    struct referrers *l = arg;
    bool is_private;

    l->t = t;
    if (rows_repo(t, l->route->name, &is_private) != 0 && (!is_private || l->is_private))
        rows_each_child(t, &l->route->digest, add_referrer, l);
}

static bool referrers_from_cache(struct worker *w, struct http_request *req, const struct route *r, bool is_private)
{
    struct referrers *l = xcalloc(1, sizeof(*l));
    _cleanup_buf_ struct buf body = {0};
    char text[DIGEST_TEXT_MAX];
    int n = 0;

    l->route = r;
    l->is_private = is_private;
    index_read(w->proxy->cache->index, read_referrers, l);
    buf_adds(&body, "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[");
    for (int i = 0; i < l->count; i++)
        if (cache_is_linked(w->proxy->cache, r->name, &l->list[i]))
            buf_addf(&body, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%lld}", n++ ? "," : "",
                     l->rows[i].media_type, digest_format(&l->list[i], text), (long long)l->rows[i].size);
    buf_adds(&body, "]}\n");
    free(l);
    if (n > 0)
        http_reply(req, 200, "application/vnd.oci.image.index.v1+json", body.data, body.len);
    return n > 0;
}

/* ---- upstream's word ---- */

/* Upstream's next page is asked for through us, under the name the client used. */
static void pass_link(struct http_request *req, const struct route *r, const char *link)
{
    const char *query = strchr(link, '?'), *end = strchr(link, '>');

    if (query && end && query < end && strstr(end, "rel=\"next\""))
        http_reply_header(req, "Link", "</v2/%s/tags/list%.*s>; rel=\"next\"", r->asked, (int)(end - query), query);
}

static bool upstream_is_down(const struct err *err)
{
    return err->code == ERR_UPSTREAM || err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT ||
           err->code == ERR_RATE_LIMIT || err->status == 0;
}

static void fetched(void *arg, struct fetch_result *res)
{
    struct visitor *v = arg;
    struct http_request *req = v->req;

    if (req)
        http_on_gone(req, NULL, NULL);
    if (req && res->err.code == ERR_OK) {
        reply_status(req, res);
        if (v->kind == KIND_TAGS)
            pass_link(req, &v->route, res->link);
        if (res->filters[0])
            http_reply_header(req, "OCI-Filters-Applied", "%s", res->filters);
        http_reply(req, 200, res->media_type[0] ? res->media_type : "application/json", res->body->data,
                   res->body->len);
    } else if (req) {
        struct fetch_result stale = {.how = HOW_STALE};
        bool answered = false;
        if (access_retry(v, res))
            return;
        if (upstream_is_down(&res->err)) {
            reply_status(req, &stale);
            answered = v->kind == KIND_TAGS ? tags_from_cache(v->worker, req, &v->route, v->is_private)
                                            : referrers_from_cache(v->worker, req, &v->route, v->is_private);
        }
        if (!answered) {
            http_reply_reset(req);
            reply_failure(req, res, v->kind);
        }
    }
    visitor_free(v);
}

static void serve(struct visitor *v)
{
    char text[DIGEST_TEXT_MAX];
    const char *query = http_query(v->req);
    _cleanup_free_
    char *listing = v->kind == KIND_TAGS ? xasprintf("tags/list%s%s", *query ? "?" : "", query)
                                         : xasprintf("referrers/%s%s%s", digest_format(&v->route.digest, text),
                                                     *query ? "?" : "", query);
    struct fetch_request ask = visitor_ask(v, FETCH_LISTING);

    ask.listing = listing;
    access_gone(v);
    fetch_begin(v->worker->proxy->fetchers, v->worker->loop, &ask, fetched, v);
}

void handle_tags(struct worker *w, struct http_request *req, const struct route *r)
{
    access_enter(w, req, r, KIND_TAGS, serve);
}

void handle_referrers(struct worker *w, struct http_request *req, const struct route *r)
{
    access_enter(w, req, r, KIND_REFERRERS, serve);
}

/* ---- what is here at all ---- */

/* What is private has no name for who has not been let in. */
static bool add_repo(void *arg, const struct slice *key, const struct slice *value UNUSED)
{
    struct listing *l = arg;
    char name[REF_NAME_MAX + 1];
    const char *p = key->data;

    if (key->len < 2 || key->len > REF_NAME_MAX || p[0] != 'n')
        return key->len > 0 && p[0] < 'n';
    snprintf(name, sizeof(name), "%.*s", (int)key->len - 1, p + 1);
    bool is_private;
    if (rows_repo(l->t, name, &is_private) == 0 || is_private)
        return true;
    if (l->last && strcmp(name, l->last) <= 0)
        return true;
    if (l->count == l->page) {
        l->more = true;
        return false;
    }
    buf_addf(l->out, "%s\"%s\"", l->count++ ? "," : "", name);
    snprintf(l->next, sizeof(l->next), "%s", name);
    return true;
}

static void read_repos(struct index_txn *t, void *arg)
{
    ((struct listing *)arg)->t = t;
    txn_each(t, TABLE_REPO, "n", 1, add_repo, arg);
}

void handle_catalog(struct worker *w, struct http_request *req)
{
    _cleanup_buf_ struct buf body = {0};
    struct listing l = {.out = &body};
    char last[REF_NAME_MAX + 1];

    read_page(req, &l, last);
    buf_adds(&body, "{\"repositories\":[");
    index_read(w->proxy->cache->index, read_repos, &l);
    buf_adds(&body, "]}\n");
    if (l.more)
        http_reply_header(req, "Link", "</v2/_catalog?n=%d&last=%s>; rel=\"next\"", l.page, l.next);
    http_reply(req, 200, "application/json", body.data, body.len);
}
