#include "proxy/sites.h"

#include "base/log.h"
#include "cache/cache.h"
#include "upstream/reach.h"
#include "upstream/url.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct sites {
    const struct config *config;
    struct cred_workers *workers;
    struct cache *cache;
    struct config_upstream any; /* for upstreams_any, and the local site */
    struct site local;
    pthread_mutex_t lock; /* for adding; sites do not change once they are counted */
    atomic_int count;
    struct upstream_room room;
    struct site *list[SITES_MAX];
};

struct sites *sites_new(const struct config *config, struct cred_workers *workers, struct cache *cache)
{
    struct sites *all = xcalloc(1, sizeof(*all));

    all->config = config;
    all->workers = workers;
    all->cache = cache;
    all->any = (struct config_upstream){
        .made_up = true, .tags = CONFIG_TAGS_UNSAID, .connect_timeout_ms = 10000, .stall_timeout_ms = 30000};
    all->local = (struct site){.id = SITE_LOCAL, .host = "local", .config = &all->any};
    pthread_mutex_init(&all->lock, NULL);
    /* Those that are named outright are there from the start, so that metrics and status show them. */
    for (int i = 0; i < config->upstream_count; i++)
        if (!strchr(config->upstreams[i].name, '*'))
            sites_find(all, config->upstreams[i].name);
    return all;
}

void sites_free(struct sites *all)
{
    if (!all)
        return;
    for (int i = 0; i < all->count; i++) {
        upstream_free(all->list[i]->upstream);
        free(all->list[i]);
    }
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static const struct site *look(struct sites *all, const char *host)
{
    int count = atomic_load_explicit(&all->count, memory_order_acquire);

    for (int i = 0; i < count; i++)
        if (strcmp(all->list[i]->host, host) == 0)
            return all->list[i];
    return NULL;
}

enum { NAMED_MAX = CONFIG_ENDPOINTS_MAX + CONFIG_TRUSTED_MAX };

/* What the configuration names: the endpoints, unless they are what a client made up (upstreams_any), and
 * trusted_hosts. */
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

void sites_name_alias(const struct sites *all, char *host)
{
    const char *colon = strrchr(host, ':');
    char authority[256];

    if (!colon || config_find_upstream(all->config, host))
        return;
    for (int i = 0; i < all->config->upstream_count; i++) {
        const struct config_upstream *u = &all->config->upstreams[i];
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

const char *sites_name_of_endpoint(const struct sites *all, const char *host)
{
    for (int i = 0; i < all->config->upstream_count; i++)
        if (has_endpoint(&all->config->upstreams[i], host))
            return all->config->upstreams[i].name;
    return NULL;
}

/* A realm that is the name, or an endpoint, of another upstream, and not one of this site's own, is another registry:
 * names that only a pattern of another matches are not its, "*.example.com" has all kinds of hosts. */
static bool may_have_password(void *arg, const char *url)
{
    const struct site *s = arg;
    char authority[256];

    if (reach_is_named(url, (const char *const *)s->config->trusted_hosts))
        return true;
    if (!url_authority(url, authority, sizeof(authority)))
        return false;
    if (strcmp(authority, s->host) == 0 || has_endpoint(s->config, authority))
        return true;
    for (int i = 0; i < s->all->upstream_count; i++) {
        const struct config_upstream *u = &s->all->upstreams[i];
        if (u != s->config && (strcmp(u->name, authority) == 0 || has_endpoint(u, authority)))
            return false;
    }
    return true;
}

static struct site *make(struct sites *all, const char *host, const struct config_upstream *u)
{
    struct site *s = xcalloc(1, sizeof(*s));
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
        .room = &all->room,
        .workers = all->workers,
        .trust = &u->trust,
        .named = named,
        .trusted_hosts = (const char *const *)u->trusted_hosts,
        .insecure = u->insecure,
        .connect_timeout_ms = u->connect_timeout_ms,
        .stall_timeout_ms = u->stall_timeout_ms,
        .may_have_password = may_have_password,
        .arg = s,
    };

    name_hosts(named, hosts, u == &all->any ? NULL : o.endpoints, u);
    s->id = all->count;
    s->config = u;
    s->all = all->config;
    snprintf(s->host, sizeof(s->host), "%s", host);
    s->upstream = upstream_new(&o);
    return s;
}

const struct site *sites_find(struct sites *all, const char *host)
{
    const struct site *s = look(all, host);

    if (s)
        return s;
    const struct config_upstream *u = config_find_upstream(all->config, host);
    if (!u && all->config->upstreams_any && ref_host_valid(host, strlen(host)))
        u = &all->any;
    if (!u || strlen(host) > REF_HOST_MAX)
        return NULL;
    pthread_mutex_lock(&all->lock);
    s = look(all, host);
    if (!s && all->count < SITES_MAX) {
        s = all->list[all->count] = make(all, host, u);
        atomic_fetch_add_explicit(&all->count, 1, memory_order_release);
    }
    pthread_mutex_unlock(&all->lock);
    if (!s)
        log_limited(LOG_LEVEL_WARN, "too many upstreams", "more than %d upstreams: %s is refused", (int)SITES_MAX,
                    host);
    return s;
}

const struct site *sites_find_local(struct sites *all, const char *name)
{
    return cache_is_public(all->cache, name) ? &all->local : NULL;
}

void sites_set_room(struct sites *all, int requests)
{
    atomic_store(&all->room.most, requests);
}

int sites_count(struct sites *all)
{
    return atomic_load_explicit(&all->count, memory_order_acquire);
}

const struct site *sites_at(struct sites *all, int id)
{
    return id == SITE_LOCAL ? &all->local : all->list[id];
}

int sites_next(struct sites *all, int id)
{
    return id == SITE_LOCAL ? -1 : id + 1 < sites_count(all) ? id + 1 : SITE_LOCAL;
}

const struct config *sites_config(const struct sites *all)
{
    return all->config;
}
