/* Finds upstreams in a configuration, by hosts. */
#include "config/config.h"

#include "base/ref.h"
#include "base/url.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* A `*` stands for one character or more; upstreams.c bounds how many there are. */
bool config_host_matches(const char *pattern, const char *host)
{
    for (; *pattern; pattern++, host++) {
        if (*pattern == '*') {
            for (const char *rest = host; *rest; rest++)
                if (config_host_matches(pattern + 1, rest + 1))
                    return true;
            return false;
        }
        if (tolower((unsigned char)*pattern) != tolower((unsigned char)*host))
            return false;
    }
    return *host == '\0';
}

/* Whether the host may match, since it ends as the pattern does: nearly none has to be looked at more closely. */
static bool ends_alike(const char *pattern, const char *host)
{
    const char *star = strrchr(pattern, '*');
    size_t len = strlen(host), tail = star ? strlen(star + 1) : 0;

    return star && len > tail && strcasecmp(host + len - tail, star + 1) == 0;
}

const struct config_upstream *config_find_upstream(const struct config *c, const char *host)
{
    for (int i = 0; i < c->upstream_count; i++)
        if (strcasecmp(c->upstreams[i].name, host) == 0)
            return &c->upstreams[i];
    /* "evil.example/.pkg.dev" ends like *.pkg.dev, and https://evil.example/.pkg.dev would be sent its credentials. */
    if (!ref_host_valid(host, strlen(host)))
        return NULL;
    for (int i = 0; i < c->upstream_count; i++)
        if (ends_alike(c->upstreams[i].name, host) && config_host_matches(c->upstreams[i].name, host))
            return &c->upstreams[i];
    return NULL;
}

void config_name_alias(const struct config *c, char *host)
{
    const char *colon = strrchr(host, ':');
    char authority[256];

    if (!colon || config_find_upstream(c, host))
        return;
    for (int i = 0; i < c->upstream_count; i++) {
        const struct config_upstream *u = &c->upstreams[i];
        size_t len = strlen(u->name);
        if (len != (size_t)(colon - host) || strncmp(u->name, host, len) != 0)
            continue;
        for (int k = 0; u->endpoints[k]; k++) {
            const char *path = strchr(strstr(u->endpoints[k], "://") + 3, '/');
            bool whole = !path || path[strspn(path, "/")] == '\0';
            if (whole && url_authority(u->endpoints[k], authority, sizeof(authority)) && strcmp(authority, host) == 0) {
                host[len] = '\0';
                return;
            }
        }
    }
}
