/* Where an endpoint has what: what its configured URL says goes before /v2/ (scheme, host, Artifactory's path), and into
 * the repository's name after it (a Harbor project, a prefix of ECR), in the URL and in a token's scope alike:
 *
 *     https://host/artifactory/api/docker/NAME   ─▶  https://host/artifactory/api/docker/NAME/v2/library/nginx/…
 *     https://host/v2/hub                        ─▶  https://host/v2/hub/library/nginx/…, repository:hub/library/nginx:pull
 */
#include "upstream/registry_private.h"

#include "upstream/url.h"

#include <string.h>

void endpoint_set_url(struct endpoint *e, const char *url)
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
}

void endpoint_clear_url(struct endpoint *e)
{
    free(e->url);
    free(e->base);
    free(e->prefix);
}

char *endpoint_url(const struct endpoint *e, const char *repository, const char *path)
{
    return xasprintf("%s/v2/%s%s/%s", e->base, e->prefix, repository, path);
}

char *endpoint_scope(const struct endpoint *e, const char *repository)
{
    return xasprintf("repository:%s%s:pull", e->prefix, repository);
}
