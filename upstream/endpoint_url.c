/* URLs at an endpoint: its configured URL gives what goes before /v2/ (scheme, host, Artifactory's path), and what goes
 * in front of a repository's name after it (a Harbor project, a prefix of ECR), in the URL and in a token's scope
 * alike:
 *
 *     https://host/artifactory/api/docker/NAME   ─▶  https://host/artifactory/api/docker/NAME/v2/library/nginx/…
 *     https://cache, of ghcr.io, with ns         ─▶  https://cache/v2/org/app/…?ns=ghcr.io
 *     the same, of its repository ghcr.io/app    ─▶  https://cache/v2/ghcr.io/ghcr.io/app/…?ns=ghcr.io
 *     https://host/v2/hub                        ─▶  https://host/v2/hub/library/nginx/…, scope hub/library/nginx
 */
#include "upstream/registry_private.h"

#include "base/ref.h"
#include "base/url.h"

#include <string.h>

void endpoint_set_url(struct endpoint *e, const char *url, enum upstream_ns ns)
{
    size_t base_len;
    const char *prefix = url_split_v2(url, &base_len);

    e->url = xstrdup(url);
    while (*e->url && e->url[strlen(e->url) - 1] == '/')
        e->url[strlen(e->url) - 1] = '\0';
    e->base = xasprintf("%.*s", (int)base_len, url);
    size_t len = strlen(prefix);
    while (len > 0 && prefix[len - 1] == '/')
        len--;
    e->prefix = xasprintf("%.*s%s", (int)len, prefix, len > 0 ? "/" : "");
    /* A prefix names the registry (".../v2/ghcr.io"), possibly by a different name. */
    atomic_init(&e->ns, ns == UPSTREAM_NS_AUTO && len > 0 ? UPSTREAM_NS_OFF : ns);
}

void endpoint_clear_url(struct endpoint *e)
{
    free(e->url);
    free(e->base);
    free(e->prefix);
}

/* Whether another entrepot would take the first component of the name for the registry's, beside ns=, and leave it out:
 * what is requested would be another repository than the one that a policy here has been asked about. */
static bool begins_with_host(const char *repository, const char *ns)
{
    size_t len = strcspn(repository, "/");
    char first[REF_HOST_MAX + 1], host[REF_HOST_MAX + 1];

    if (!repository[len] || len > REF_HOST_MAX || !ref_is_host(repository, len))
        return false;
    snprintf(first, sizeof(first), "%.*s", (int)len, repository);
    snprintf(host, sizeof(host), "%s", ns);
    ref_canonical_host(first);
    ref_canonical_host(host);
    return strcmp(first, host) == 0;
}

char *endpoint_url(const struct endpoint *e, const char *repository, const char *path, const char *ns)
{
    size_t len = strcspn(path, "?");
    struct buf url = {0};

    buf_addf(&url, "%s/v2/%s", e->base, e->prefix);
    if (ns && !e->prefix[0] && begins_with_host(repository, ns))
        buf_addf(&url, "%.*s/", (int)strcspn(repository, "/"), repository);
    buf_addf(&url, "%s/%.*s", repository, (int)len, path);
    if (ns) { /* before the client's own query, which may have another ns= */
        buf_adds(&url, "?ns=");
        url_encode(&url, ns);
    }
    if (path[len])
        buf_addf(&url, "%c%s", ns ? '&' : '?', path + len + 1);
    return url.data;
}

char *endpoint_scope(const struct endpoint *e, const char *repository)
{
    return xasprintf("repository:%s%s:pull", e->prefix, repository);
}
