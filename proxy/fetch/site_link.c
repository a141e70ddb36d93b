/* From the configuration of an upstream to the upstream; and the hosts that it goes by. */
#include "proxy/fetch/sites_private.h"

#include "base/assert.h"
#include "base/url.h"
#include "upstream/reach.h"

#include <string.h>

enum { NAMED_MAX = CONFIG_ENDPOINTS_MAX + CONFIG_TRUSTED_MAX };

/* The hosts that the configuration names: trusted_hosts, and the endpoints, except of upstreams_any, where the client
 * names the host. */
static void name_hosts(const char *named[NAMED_MAX + 1], char hosts[CONFIG_ENDPOINTS_MAX][256],
                       const char *const *endpoints, const struct config_upstream *u)
{
    int n = 0;

    for (int i = 0; endpoints && endpoints[i]; i++)
        if (url_host(endpoints[i], hosts[n], sizeof(hosts[n]))) {
            named[n] = hosts[n];
            n++;
        }
    for (int i = 0; u->trusted_hosts[i]; i++)
        named[n++] = u->trusted_hosts[i];
    named[n] = NULL;
}

static bool has_endpoint(const struct config_upstream *u, const char *authority)
{
    char own[256];

    for (int i = 0; u->endpoints[i]; i++)
        if (url_authority(u->endpoints[i], own, sizeof(own)) && strcmp(own, authority) == 0)
            return true;
    return false;
}

void sites_name_alias(struct sites *all, char *host)
{
    if (!strchr(host, ':'))
        return;
    pthread_mutex_lock(&all->lock);
    config_name_alias(all->config, host);
    pthread_mutex_unlock(&all->lock);
}

char *sites_name_of_endpoint(struct sites *all, const char *host)
{
    char *found = NULL;

    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < all->config->upstream_count && !found; i++)
        if (has_endpoint(&all->config->upstreams[i], host))
            found = xstrdup(all->config->upstreams[i].name);
    pthread_mutex_unlock(&all->lock);
    return found;
}

/* A realm that is the name, or an endpoint, of another upstream, and not this site's own, is another registry. A name
 * that only matches the pattern of another upstream is not: "*.example.com" has all kinds of hosts. */
static bool may_send_to(const struct config *c, const char *host, const char *url)
{
    const struct config_upstream *own = config_find_upstream(c, host);
    char authority[256];

    if (own && reach_is_named(url, (const char *const *)own->trusted_hosts))
        return true;
    if (!url_authority(url, authority, sizeof(authority)))
        return false;
    if (strcmp(authority, host) == 0 || (own && has_endpoint(own, authority)))
        return true;
    for (int i = 0; i < c->upstream_count; i++) {
        const struct config_upstream *u = &c->upstreams[i];
        if (u != own && (strcmp(u->name, authority) == 0 || has_endpoint(u, authority)))
            return false;
    }
    return true;
}

/* As the configuration says now. */
static bool may_have_password(void *arg, const char *url)
{
    const struct site_link *link = arg;
    struct sites *all = link->sites;

    pthread_mutex_lock(&all->lock);
    bool may = may_send_to(all->config, link->host, url);
    pthread_mutex_unlock(&all->lock);
    return may;
}

struct site_link *site_link_new(struct sites *all, const char *host, const struct config_upstream *u)
{
    struct site_link *link = xcalloc(1, sizeof(*link));
    _cleanup_free_ char *own = xasprintf("https://%s", host);
    const char *const implied[] = {own, NULL};
    char hosts[CONFIG_ENDPOINTS_MAX][256];
    const char *named[NAMED_MAX + 1];
    struct upstream_options o = {
        .name = host,
        .endpoints = u->endpoints[0] ? (const char *const *)u->endpoints : implied,
        .ns = u->endpoints[0] ? u->endpoint_ns : NULL,
        .logins = u->endpoints[0] ? u->endpoint_logins : NULL,
        .credentials = u->credentials,
        .credentials_count = u->credentials_count,
        .rate_reserve = u->rate_reserve,
        .waiting_max = all->config->limits.misses,
        .slots = &all->slots,
        .ledger = all->ledger,
        .workers = all->workers,
        .trust = &u->trust,
        .named = named,
        .trusted_hosts = (const char *const *)u->trusted_hosts,
        .insecure = u->insecure,
        .connect_timeout_ms = u->connect_timeout_ms,
        .stall_timeout_ms = u->stall_timeout_ms,
        .may_have_password = may_have_password,
        .arg = link,
    };

    HOLDS(&all->lock);
    name_hosts(named, hosts, u == &all->any ? NULL : o.endpoints, u);
    link->sites = all;
    snprintf(link->host, sizeof(link->host), "%s", host);
    link->upstream = upstream_new(&o);
    return link;
}
