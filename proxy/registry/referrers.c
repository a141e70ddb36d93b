/* referrers: the registry's own pages. While it cannot be asked, its last list with the referrers that were cached
 * since, else the cached ones alone. A registry without this API: 404, as it answers itself (proxy/fetch/listing.c). */
#include "proxy/registry/access.h"
#include "proxy/registry/handlers.h"
#include "proxy/registry/page.h"

#include "base/document.h"

#include <string.h>

#define INDEX_TYPE "application/vnd.oci.image.index.v1+json"

enum { REFERRERS_MAX = 256 }; /* found in the index, of one image */

struct referrers_found {
    struct digest list[REFERRERS_MAX];
    struct blob_row rows[REFERRERS_MAX];
    int count;
};

static bool add_referrer(void *arg, const struct digest *d, const struct blob_row *row)
{
    struct referrers_found *l = arg;

    l->list[l->count] = *d;
    l->rows[l->count++] = *row;
    return l->count < REFERRERS_MAX;
}

static json_t *read_manifest(struct cache *c, const struct digest *d, int64_t size)
{
    _cleanup_body_ struct body *body = cache_peek_manifest(c, d, size, NULL);

    return body ? document_read(body->data, body->len, NULL) : NULL;
}

/* A manifest's type and annotations go into its descriptor (distribution-spec, "Listing Referrers"). */
static json_t *referrers_describe(struct cache *c, const struct digest *d, const struct blob_row *row)
{
    char text[DIGEST_TEXT_MAX];
    json_t *doc = read_manifest(c, d, row->size);
    json_t *type = document_get(doc, "artifactType"), *notes = document_get(doc, "annotations");
    json_t *j = json_pack("{s:s, s:s, s:I}", "mediaType", row->media_type, "digest", digest_format(d, text), "size",
                          (json_int_t)row->size);

    if (!json_is_string(type) || !*json_string_value(type))
        type = document_get(document_get(doc, "config"), "mediaType");
    if (json_is_string(type))
        json_object_set(j, "artifactType", type);
    if (json_is_object(notes))
        json_object_set(j, "annotations", notes);
    json_decref(doc);
    return j;
}

/* Unless the list has it. */
static void add_descriptor(json_t *list, json_t *descriptor)
{
    const char *digest = document_text(descriptor, "digest"), *same;
    json_t *other;
    size_t i;

    if (!digest)
        return;
    json_array_foreach(list, i, other) {
        same = document_text(other, "digest");
        if (same && strcmp(same, digest) == 0)
            return;
    }
    json_array_append(list, descriptor);
}

/* The tag that takes the API's place at registries without it ("Referrers Tag Schema"). */
static void add_from_tag(struct cache *c, const struct route *r, json_t *list)
{
    char tag[REF_TAG_MAX + 1];
    struct cache_hit hit;
    json_t *entry;
    size_t i;

    cache_find(c, r->name, ref_referrers_tag(&r->digest, tag), NULL, &hit);
    json_t *doc = hit.stored && hit.linked ? read_manifest(c, &hit.digest, hit.blob.size) : NULL;
    json_array_foreach(document_get(doc, "manifests"), i, entry)
        add_descriptor(list, entry);
    json_decref(doc);
}

/* Whether the cache knows the repository, and the client may read it. */
static bool add_from_cache(const struct visitor *v, json_t *list, bool with_tag)
{
    struct cache *c = v->registry->cache;
    struct referrers_found *l = xcalloc(1, sizeof(*l));

    bool known = cache_each_referrer(c, v->route.name, v->by_grant, &v->route.digest, add_referrer, l);
    for (int i = 0; i < l->count; i++) {
        json_t *descriptor = referrers_describe(c, &l->list[i], &l->rows[i]);
        add_descriptor(list, descriptor);
        json_decref(descriptor);
    }
    free(l);
    if (with_tag && known)
        add_from_tag(c, &v->route, list);
    return known;
}

/* Applies the request's artifactType, and sets the header for that. */
static void referrers_filter(struct http_request *req, json_t *list)
{
    char wanted[MEDIA_TYPE_MAX + 1];

    if (!http_query_get(req, "artifactType", wanted, sizeof(wanted)) || !*wanted)
        return;
    for (size_t i = json_array_size(list); i-- > 0;) {
        const char *type = document_text(json_array_get(list, i), "artifactType");
        if (!type || strcmp(type, wanted) != 0)
            json_array_remove(list, i);
    }
    http_reply_header(req, "OCI-Filters-Applied", "artifactType");
}

static void reply_index(struct http_request *req, json_t *doc)
{
    _cleanup_free_ char *text = json_dumps(doc, JSON_COMPACT);

    http_reply(req, 200, INDEX_TYPE, text, strlen(text));
}

/* The page as the registry sent it. */
static void reply_page(struct visitor *v, const struct fetch_result *res)
{
    if (res->next) {
        _cleanup_free_ char *path = fetch_referrers_path(&v->route.digest);
        page_link(v->req, &v->route, path, res->next->data);
    }
    if (res->filters[0])
        http_reply_header(v->req, "OCI-Filters-Applied", "%s", res->filters);
    http_reply(v->req, 200, INDEX_TYPE, res->body->data, res->body->len);
}

/* The registry's last list; referrers that were pulled since are added to its last page. */
static void reply_last_list(struct visitor *v, const struct fetch_result *res)
{
    json_t *doc = res->next || res->filters[0] ? NULL : document_read(res->body->data, res->body->len, NULL);
    json_t *list = document_get(doc, "manifests");

    reply_status(v->req, res);
    if (!doc) {
        reply_page(v, res);
        return;
    }
    if (!list) { /* null, i.e. empty */
        list = json_array();
        json_object_set_new(doc, "manifests", list);
    }
    add_from_cache(v, list, false);
    referrers_filter(v->req, list);
    reply_index(v->req, doc);
    json_decref(doc);
}

/* No list is cached. The cached referrers, if there are any; if the registry is cut off, also none. */
static bool reply_from_cache(struct visitor *v)
{
    json_t *list = json_array();
    json_t *doc = json_pack("{s:i, s:s, s:o}", "schemaVersion", 2, "mediaType", INDEX_TYPE, "manifests", list);
    bool known = add_from_cache(v, list, true);
    bool good = json_array_size(list) > 0 || (known && fetchers_is_cut_off(v->registry->fetchers, v->route.site));

    if (good) {
        reply_status(v->req, &(struct fetch_result){.how = HOW_STALE});
        referrers_filter(v->req, list);
        reply_index(v->req, doc);
    }
    json_decref(doc);
    return good;
}

static bool is_down(const struct visitor *v, const struct err *err)
{
    return err_is_passing(err) || (err->status == 0 && fetchers_is_cut_off(v->registry->fetchers, v->route.site));
}

static void referrers_fetched(void *arg, struct fetch_result *res)
{
    struct visitor *v = arg;
    struct http_request *req = visitor_return(v);

    if (!req)
        return;
    if (res->err.code == ERR_OK && res->how == HOW_STALE) {
        reply_last_list(v, res);
    } else if (res->err.code == ERR_OK) {
        reply_status(req, res);
        reply_page(v, res);
    } else if (res->no_api) {
        reply_status(req, res);
        /* Not NAME_UNKNOWN: clients take that for a repository that does not exist, and do not try the tag. */
        http_error(req, 404, "UNSUPPORTED", "%s", res->err.msg);
    } else if (access_retry(v, res)) {
        return;
    } else if (!is_down(v, &res->err) || !reply_from_cache(v)) {
        reply_failure(req, res, v->kind);
    }
    visitor_free(v);
}

static void referrers_serve(struct visitor *v)
{
    _cleanup_free_ char *path = fetch_referrers_path(&v->route.digest);

    visitor_fetch_page(v, path, referrers_fetched);
}

void handle_referrers(struct registry *reg, struct http_request *req, const struct route *r)
{
    access_enter(reg, req, r, KIND_REFERRERS, referrers_serve);
}
