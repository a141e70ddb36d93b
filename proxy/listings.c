/* tags/list, referrers and _catalog: upstream's word where it can be had, else what the cache knows. */
#include "proxy/access.h"
#include "proxy/handlers.h"

#include "base/log.h"

#include <jansson.h>
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

/* What a manifest says of itself goes into its descriptor (distribution-spec, "Listing Referrers"). */
static json_t *describe(struct cache *c, const struct digest *d, const struct blob_row *row)
{
    char text[DIGEST_TEXT_MAX];
    _cleanup_body_ struct body *body = cache_peek_manifest(c, d, row->size, NULL);
    json_t *doc = body ? json_loadb(body->data, body->len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_t *type = json_object_get(doc, "artifactType"), *notes = json_object_get(doc, "annotations");
    json_t *j = json_pack("{s:s, s:s, s:I}", "mediaType", row->media_type, "digest", digest_format(d, text), "size",
                          (json_int_t)row->size);

    if (!json_is_string(type) || !*json_string_value(type))
        type = json_object_get(json_object_get(doc, "config"), "mediaType");
    if (json_is_string(type))
        json_object_set(j, "artifactType", type);
    if (json_is_object(notes))
        json_object_set(j, "annotations", notes);
    json_decref(doc);
    return j;
}

static void add_descriptor(json_t *list, json_t *descriptor)
{
    const char *digest = json_string_value(json_object_get(descriptor, "digest"));
    json_t *other;
    size_t i;

    if (!digest)
        return;
    json_array_foreach(list, i, other)
        if (strcmp(json_string_value(json_object_get(other, "digest")), digest) == 0)
            return;
    json_array_append(list, descriptor);
}

/* The tag that stands in for the API where a registry does not have it ("Referrers Tag Schema"). */
static void add_from_tag(struct cache *c, const struct route *r, json_t *list)
{
    char tag[DIGEST_TEXT_MAX];
    struct cache_hit hit;
    json_t *entry;
    size_t i;

    digest_format(&r->digest, tag);
    *strchr(tag, ':') = '-';
    cache_find(c, r->name, tag, NULL, &hit);
    _cleanup_body_ struct body *body =
        hit.stored && hit.linked ? cache_peek_manifest(c, &hit.digest, hit.blob.size, NULL) : NULL;
    json_t *doc = body ? json_loadb(body->data, body->len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_array_foreach(json_object_get(doc, "manifests"), i, entry)
        add_descriptor(list, entry);
    json_decref(doc);
}

static bool referrers_from_cache(struct worker *w, struct http_request *req, const struct route *r, bool is_private)
{
    struct referrers *l = xcalloc(1, sizeof(*l));
    struct cache *c = w->proxy->cache;
    json_t *list = json_array();
    char asked[MEDIA_TYPE_MAX + 1];
    const char *wanted = http_query_get(req, "artifactType", asked, sizeof(asked)) ? asked : NULL;

    l->route = r;
    l->is_private = is_private;
    index_read(c->index, read_referrers, l);
    for (int i = 0; i < l->count; i++)
        if (cache_is_linked(c, r->name, &l->list[i])) {
            json_t *descriptor = describe(c, &l->list[i], &l->rows[i]);
            add_descriptor(list, descriptor);
            json_decref(descriptor);
        }
    if (is_private || !cache_is_private(c, r->name))
        add_from_tag(c, r, list);
    free(l);
    bool known = json_array_size(list) > 0;
    for (size_t i = json_array_size(list); wanted && i-- > 0;) {
        const char *type = json_string_value(json_object_get(json_array_get(list, i), "artifactType"));
        if (!type || strcmp(type, wanted) != 0)
            json_array_remove(list, i);
    }
    json_t *doc = json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType",
                            "application/vnd.oci.image.index.v1+json", "manifests", list);
    _cleanup_free_ char *text = json_dumps(doc, JSON_COMPACT);
    if (known && wanted)
        http_reply_header(req, "OCI-Filters-Applied", "artifactType");
    if (known)
        http_reply(req, 200, "application/vnd.oci.image.index.v1+json", text, strlen(text));
    json_decref(doc);
    return known;
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
        /* Or it does not have the API: what is here is more than nothing. */
        if (upstream_is_down(&res->err) || (v->kind == KIND_REFERRERS && res->err.code == ERR_NOT_FOUND)) {
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
    _cleanup_free_ char *listing =
        v->kind == KIND_TAGS
            ? xasprintf("tags/list%s%s", *query ? "?" : "", query)
            : xasprintf("referrers/%s%s%s", digest_format(&v->route.digest, text), *query ? "?" : "", query);
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
    const char *only = l->route->only;
    size_t host = only ? strlen(only) : 0;
    if (only && (strncmp(name, only, host) != 0 || name[host] != '/'))
        return true;
    if (only) /* as its own registry calls it */
        memmove(name, name + host + 1, strlen(name + host));
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

void handle_catalog(struct worker *w, struct http_request *req, const struct route *r)
{
    _cleanup_buf_ struct buf body = {0};
    struct listing l = {.out = &body, .route = r};
    char last[REF_NAME_MAX + 1];

    read_page(req, &l, last);
    buf_adds(&body, "{\"repositories\":[");
    index_read(w->proxy->cache->index, read_repos, &l);
    buf_adds(&body, "]}\n");
    if (l.more)
        http_reply_header(req, "Link", "</v2/_catalog?n=%d&last=%s>; rel=\"next\"", l.page, l.next);
    http_reply(req, 200, "application/json", body.data, body.len);
}
