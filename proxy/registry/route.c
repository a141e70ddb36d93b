#include "proxy/registry/route.h"

#include "base/url.h"

#include <string.h>
#include <strings.h>

enum { BUSY_RETRY_S = 2 };

static bool route_fail(struct route_error *e, int status, const char *code, const char *fmt, ...) PRINTF_LIKE(4, 5);

static bool route_fail(struct route_error *e, int status, const char *code, const char *fmt, ...)
{
    va_list ap;

    e->status = status;
    e->code = code;
    va_start(ap, fmt);
    vsnprintf(e->message, sizeof(e->message), fmt, ap);
    va_end(ap);
    return false;
}

/* The last "/<word>/" in the path: a repository may be called "blobs". */
static const char *find_last(const char *path, const char *word)
{
    const char *found = NULL;

    for (const char *p = strstr(path, word); p; p = strstr(p + 1, word))
        found = p;
    return found;
}

/* Splits "<name>/<kind>/<reference>". */
static bool route_split(struct route *r, const char *rest, const char **name_end, const char **reference)
{
    static const struct {
        const char *word;
        enum route_kind kind;
    } kinds[] = {{"/manifests/", ROUTE_MANIFEST},
                 {"/blobs/", ROUTE_BLOB},
                 {"/referrers/", ROUTE_REFERRERS},
                 {"/tags/", ROUTE_TAGS}};
    const char *best = NULL;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const char *p = find_last(rest, kinds[i].word);
        if (!p || p < best)
            continue;
        best = p;
        r->kind = kinds[i].kind;
        *reference = p + strlen(kinds[i].word);
    }
    *name_end = best;
    return best != NULL;
}

/* As much of the text as there is space for; returns how much that is. snprintf(3) would be a tenth of what a small
 * answer costs. */
static size_t route_copy(char *to, size_t cap, const char *from, size_t len)
{
    len = MIN(len, cap - 1);
    memcpy(to, from, len);
    to[len] = '\0';
    return len;
}

/* "%3A" and "%40": a client may encode the colon of a digest, and '@'. Any other escape is an error: no name has
 * one. */
static bool unescape(char *out, size_t cap, const char *in)
{
    for (const char *p = strchr(in, '%'); p; p = strchr(p + 1, '%'))
        if (strncasecmp(p, "%3a", 3) != 0 && strncmp(p, "%40", 3) != 0)
            return false;
    return url_decode(in, strlen(in), false, out, cap);
}

/* The name without its first component, if that is the registry's own host: containerd sends both ns= and the path of a
 * host with override_path (".../v2/ghcr.io"). */
static const char *without_host(const char *name, const char *site)
{
    char first[REF_HOST_MAX + 32];
    const char *slash = strchr(name, '/');

    if (!slash || !ref_is_host(name, (size_t)(slash - name)) || (size_t)(slash - name) >= sizeof(first))
        return name;
    route_copy(first, sizeof(first), name, (size_t)(slash - name));
    ref_canonical_host(first);
    return strcmp(first, site) == 0 ? slash + 1 : name;
}

/* On a listener of one upstream: ns= names that, or is absent. */
static bool is_for_only(const char *only, const struct http_request *req, struct site_view *view,
                        struct route_error *error)
{
    char host[REF_HOST_MAX + 32];

    if (!http_query_get(req, "ns", host, sizeof(host)) || !host[0])
        return true;
    ref_canonical_host(host);
    site_view_name_alias(view, host);
    return strcmp(host, only) == 0 ||
           route_fail(error, 404, "NAME_UNKNOWN", "this listener is for %.100s alone, not for %.100s", only, host);
}

/* r->path and r->name of `path` at `host`. */
static bool name_repository(struct route *r, const char *host, const char *path, struct route_error *error)
{
    bool library = strcmp(host, REF_DEFAULT_HOST) == 0 && !strchr(path, '/');
    size_t before = library ? route_copy(r->path, sizeof(r->path), "library/", 8) : 0;
    size_t n = before + route_copy(r->path + before, sizeof(r->path) - before, path, strlen(path));
    size_t m = route_copy(r->name, sizeof(r->name) - 1, host, strlen(host));

    r->name[m++] = '/';
    m += route_copy(r->name + m, sizeof(r->name) - m, r->path, n);
    if (n < before + strlen(path) || m < strlen(host) + 1 + n)
        return route_fail(error, 400, "NAME_INVALID", "the repository name is too long");
    return ref_is_path(r->path, n) ||
           route_fail(error, 400, "NAME_INVALID",
                      "%.120s is not a repository name (lower-case letters, digits, '.', '_', '-', '/')%s", r->path,
                      strchr(r->path, ':') ? ": a registry with a port needs a name without one (docs/engines.md)"
                                           : "");
}

/* A host with a port cannot be a part of an image's name at this cache: such a registry needs a name without one. */
static bool explain_unknown(const struct config *c, const char *host, struct route_error *error)
{
    const char *colon = strrchr(host, ':');
    size_t len = strlen(host);

    for (int i = 0; !colon && i < c->upstream_count; i++)
        if (strncmp(c->upstreams[i].name, host, len) == 0 && c->upstreams[i].name[len] == ':')
            return route_fail(
                error, 404, "NAME_UNKNOWN",
                "%.80s is not one of the upstreams of this cache, %.80s is: give that an upstream with the name "
                "%.80s",
                host, c->upstreams[i].name, host);
    if (colon && host[0] != '[')
        return route_fail(
            error, 404, "NAME_UNKNOWN",
            "%.80s is not one of the upstreams of this cache; for a registry with a port configure a name without "
            "one: {name: %.*s, endpoints: [https://%.80s]}",
            host, (int)MIN(colon - host, 80), host, host);
    return route_fail(error, 404, "NAME_UNKNOWN", "%.100s is not one of the upstreams of this cache", host);
}

static bool fail_unknown(struct sites *sites, const char *host, struct route_error *error)
{
    const struct config *c = sites_config(sites);

    explain_unknown(c, host, error);
    config_unref(c);
    return false;
}

/* Too many hosts that do not answer are requested at once: a passing state. */
static bool fail_busy(const char *host, struct route_error *error)
{
    error->retry_after = BUSY_RETRY_S;
    return route_fail(error, 503, "TOOMANYREQUESTS",
                      "too many upstreams are in use at once: try %.100s again in a moment", host);
}

static bool choose_site(struct route *r, const struct http_request *req, struct site_view *view, const char *name,
                        struct route_error *error)
{
    char host[REF_HOST_MAX + 32];
    const char *path = name, *slash = strchr(name, '/');
    bool has_host = slash && ref_is_host(name, (size_t)(slash - name));
    bool says_ns = http_query_has(req, "ns"), readable = http_query_get(req, "ns", host, sizeof(host));

    if (says_ns && !readable)
        return route_fail(error, 400, "NAME_INVALID", "ns= cannot be read: badly escaped, or too long");
    if (r->only) {
        if (!is_for_only(r->only, req, view, error))
            return false;
        r->by = ROUTE_BY_LISTENER;
        route_copy(host, sizeof(host), r->only, strlen(r->only));
        bool intercepted = http_opened_host(req) || (http_is_forward(req) && http_is_absolute(req));
        path = intercepted ? name : without_host(name, host); /* its client takes us for the registry */
        r->site = site_view_find(view, host);
    } else if (says_ns && host[0]) {
        r->by = ROUTE_BY_NS;
        ref_canonical_host(host);
        path = without_host(name, host);
        site_view_name_alias(view, host);
        r->site = site_view_find(view, host);
    } else if (has_host) {
        r->by = ROUTE_BY_NAME;
        route_copy(host, sizeof(host), name, (size_t)(slash - name));
        ref_canonical_host(host);
        if (!ref_host_valid(host, strlen(host)))
            return route_fail(error, 400, "NAME_INVALID", "the name begins with something that is not a registry host");
        site_view_name_alias(view, host);
        path = slash + 1;
        r->site = site_view_find(view, host);
    } else {
        route_copy(host, sizeof(host), http_host(req), strlen(http_host(req)));
        r->site = site_view_find_configured(view, host);
        r->by = r->site ? ROUTE_BY_HOST : ROUTE_BY_NOTHING;
        if (!r->site) {
            strcpy(host, REF_DEFAULT_HOST);
            r->site = site_view_find(view, host);
        }
    }
    bool named = name_repository(r, host, path, error);
    if (!r->site && sites_is_upstream(view->sites, host))
        return fail_busy(host, error);
    if (!r->site && named && ref_host_valid(host, strlen(host)))
        r->site = sites_find_local(view->sites, r->name);
    if (!r->site)
        return fail_unknown(view->sites, host, error);
    return named;
}

static bool read_reference(struct route *r, const char *text, struct route_error *error)
{
    size_t len = strlen(text);

    if (r->kind == ROUTE_TAGS)
        return strcmp(text, "list") == 0 || route_fail(error, 404, "UNSUPPORTED", "no such page");
    if (digest_parse(&r->digest, text, len))
        return true;
    if (r->kind != ROUTE_MANIFEST || memchr(text, ':', len))
        return route_fail(error, 400, "DIGEST_INVALID",
                          "not a digest: sha256:<64 hex> or sha512:<128 hex>, lower case");
    if (!ref_is_tag(text, len))
        return route_fail(error, 400, "TAG_INVALID", "the tag does not follow the grammar");
    route_copy(r->tag, sizeof(r->tag), text, len);
    return true;
}

static bool route_v2(struct route *r, const struct http_request *req, const char *rest, struct site_view *view,
                     struct route_error *error)
{
    char path[HTTP_TARGET_MAX + 1], name[HTTP_TARGET_MAX + 1];
    const char *name_end = NULL, *reference = "";

    if (!unescape(path, sizeof(path), rest))
        return route_fail(error, 400, "NAME_INVALID", "the path is badly escaped");
    if (!route_split(r, path, &name_end, &reference))
        return route_fail(error, 404, "UNSUPPORTED", "no such page");
    size_t len = route_copy(name, sizeof(name), path, (size_t)(name_end - path));
    if (route_copy(r->asked, sizeof(r->asked), name, len) < len)
        return route_fail(error, 400, "NAME_INVALID", "the repository name is too long");
    return choose_site(r, req, view, name, error) && read_reference(r, reference, error);
}

bool route_parse(struct route *r, const struct http_request *req, struct site_view *view, const char *only,
                 struct route_error *error)
{
    static const struct {
        const char *path;
        enum route_kind kind;
    } fixed[] = {{"/v2/", ROUTE_BASE},     {"/v2", ROUTE_BASE},         {"/v2/_catalog", ROUTE_CATALOG},
                 {"/token", ROUTE_TOKEN},  {"/metrics", ROUTE_METRICS}, {"/healthz", ROUTE_HEALTH},
                 {"/readyz", ROUTE_READY}, {"/", ROUTE_PAGE},           {"/status.json", ROUTE_FIGURES},
                 {"/events", ROUTE_EVENTS}};
    const char *path = http_path(req);

    r->kind = ROUTE_NONE;
    r->by = only ? ROUTE_BY_LISTENER : ROUTE_BY_NOTHING;
    r->only = only;
    r->site = NULL;
    error->retry_after = 0;
    r->tag[0] = r->path[0] = r->name[0] = r->asked[0] = '\0';
    memset(&r->digest, 0, sizeof(r->digest));
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (strcmp(path, fixed[i].path) == 0) {
            r->kind = fixed[i].kind;
            return true;
        }
    if (strncmp(path, "/v2/", 4) != 0)
        return route_fail(error, 404, "UNSUPPORTED", "no such page; the registry API is under /v2/");
    if (route_v2(r, req, path + 4, view, error))
        return true;
    site_unref(r->site);
    r->site = NULL;
    return false;
}
