#include "proxy/fetch/sites.h"

#include "base/assert.h"
#include "base/log.h"
#include "cache/cache.h"
#include "upstream/reach.h"
#include "base/url.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct sites {
    const struct config *config;
    struct cred_workers *workers;
    struct cache *cache;
    struct config_upstream any; /* for upstreams_any, and the local site */
    struct site local;
    struct upstream_slots slots;
    void (*on_leave)(void *arg, const struct site *s);
    void *leave_arg;
    int fixed; /* so many of `list` are configured by name: these do not change */
    /* shared, under lock */
    pthread_mutex_t lock;
    uint64_t uses;
    struct site *list[SITES_MAX]; /* behind `fixed`: NULL, or lent */
};

static struct site *make(struct sites *all, int id, const char *host, const struct config_upstream *u);

static struct site *look(struct sites *all, int from, int to, const char *host)
{
    for (int i = from; i < to; i++)
        if (all->list[i] && strcmp(all->list[i]->host, host) == 0)
            return all->list[i];
    return NULL;
}

static void site_free(struct site *s)
{
    if (!s)
        return;
    upstream_free(s->upstream);
    free(s);
}

struct sites *sites_new(const struct config *config, struct cred_workers *workers, struct cache *cache)
{
    struct sites *all = xcalloc(1, sizeof(*all));

    all->config = config;
    all->workers = workers;
    all->cache = cache;
    all->any = (struct config_upstream){.ad_hoc = true,
                                        .parallel = 4,
                                        .fetch = CONFIG_FETCH_UNSET,
                                        .tags = CONFIG_TAGS_UNSET,
                                        .connect_timeout_ms = 10000,
                                        .stall_timeout_ms = 30000};
    all->local = (struct site){.id = SITE_LOCAL, .group = GROUP_LOCAL, .host = "local", .config = &all->any};
    pthread_mutex_init(&all->lock, NULL);
    /* Those configured by name exist from the start, so that metrics and status show them. */
    for (int i = 0; i < config->upstream_count; i++) {
        const struct config_upstream *u = &config->upstreams[i];
        if (strchr(u->name, '*') || strlen(u->name) > REF_HOST_MAX || look(all, 0, all->fixed, u->name))
            continue;
        all->list[all->fixed] = make(all, all->fixed, u->name, u);
        all->fixed++;
    }
    return all;
}

void sites_free(struct sites *all)
{
    if (!all)
        return;
    for (int i = 0; i < SITES_MAX; i++)
        site_free(all->list[i]);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

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

/* A realm that is the name, or an endpoint, of another upstream, and not this site's own, is another registry. A name
 * that only matches the pattern of another upstream is not: "*.example.com" has all kinds of hosts. */
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

static struct site *make(struct sites *all, int id, const char *host, const struct config_upstream *u)
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
        .slots = &all->slots,
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
    s->id = id;
    s->group = u == &all->any ? GROUP_OTHER : (int)(u - all->config->upstreams);
    s->config = u;
    s->all = all->config;
    snprintf(s->host, sizeof(s->host), "%s", host);
    s->upstream = upstream_new(&o);
    return s;
}

/* ---- lending ---- */

const struct site *site_ref(const struct site *s)
{
    if (s->lent)
        atomic_fetch_add(&((struct site *)s)->users, 1);
    return s;
}

void site_unref(const struct site *s)
{
    if (s && s->lent)
        atomic_fetch_sub(&((struct site *)s)->users, 1);
}

/* With the lock held it stays so: references come from sites_find() or a holder, and only holders make calls. */
static bool is_unused(const struct site *s)
{
    return atomic_load(&s->users) == 0 && upstream_is_idle(s->upstream);
}

bool site_is_proven(const struct site *s)
{
    return !s->lent || upstream_is_registry(s->upstream);
}

/* A place for one more, with the lock held; -1: there is none. */
static int choose_place(struct sites *all)
{
    int oldest[2] = {-1, -1}, empty = -1, unproven = 0; /* the oldest of the unproven, of the proven */

    HOLDS(&all->lock);
    for (int i = all->fixed; i < SITES_MAX; i++) {
        const struct site *s = all->list[i];
        if (!s) {
            empty = empty < 0 ? i : empty;
            continue;
        }
        bool proven = site_is_proven(s);
        unproven += !proven;
        if ((oldest[proven] < 0 || s->used < all->list[oldest[proven]]->used) && is_unused(s))
            oldest[proven] = i;
    }
    if (empty >= 0 && unproven < SITES_UNPROVEN_MAX)
        return empty;
    if (oldest[0] >= 0)
        return oldest[0];
    return unproven < SITES_UNPROVEN_MAX ? oldest[1] : -1;
}

static void clear_place(struct sites *all, int i)
{
    struct site *s = all->list[i];

    HOLDS(&all->lock);
    if (!s)
        return;
    IN_STATE(s->lent && is_unused(s));
    if (all->on_leave)
        all->on_leave(all->leave_arg, s);
    all->list[i] = NULL;
    site_free(s);
}

static const struct site *lend(struct sites *all, struct site *s)
{
    HOLDS(&all->lock);
    s->used = ++all->uses;
    return site_ref(s);
}

/* The configuration of a host; NULL: it is not an upstream. */
static const struct config_upstream *configured(const struct sites *all, const char *host)
{
    const struct config_upstream *u = config_find_upstream(all->config, host);

    if (strlen(host) > REF_HOST_MAX)
        return NULL;
    return !u && all->config->upstreams_any && ref_host_valid(host, strlen(host)) ? &all->any : u;
}

bool sites_is_upstream(const struct sites *all, const char *host)
{
    return configured(all, host) != NULL;
}

const struct site *sites_find(struct sites *all, const char *host)
{
    const struct config_upstream *u;
    const struct site *found = look(all, 0, all->fixed, host);
    struct site *s;

    if (found || !(u = configured(all, host)))
        return found;
    pthread_mutex_lock(&all->lock);
    s = look(all, all->fixed, SITES_MAX, host);
    int place = s ? s->id : choose_place(all);
    if (!s && place >= 0) {
        clear_place(all, place);
        s = all->list[place] = make(all, place, host, u);
        s->lent = true;
    }
    if (s)
        found = lend(all, s);
    pthread_mutex_unlock(&all->lock);
    if (!found)
        log_limited(LOG_LEVEL_WARN, "too many upstreams", "too many upstreams are in use at once: %s is refused", host);
    return found;
}

/* ---- for metrics and status ---- */

const char *sites_group_name(const struct sites *all, int group)
{
    if (group == GROUP_LOCAL || group == GROUP_OTHER)
        return group == GROUP_LOCAL ? "local" : "other";
    return group < all->config->upstream_count ? all->config->upstreams[group].name : NULL;
}

void sites_on_leave(struct sites *all, void (*fn)(void *arg, const struct site *s), void *arg)
{
    all->on_leave = fn;
    all->leave_arg = arg;
}

void sites_list(struct sites *all, struct site_list *out)
{
    out->count = 0;
    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < SITES_MAX; i++)
        if (all->list[i] && site_is_proven(all->list[i]))
            out->list[out->count++] = site_ref(all->list[i]);
    pthread_mutex_unlock(&all->lock);
}

void sites_look(struct sites *all, void (*fn)(void *arg, const struct site *const *sites, int count), void *arg)
{
    const struct site *list[SITES_MAX];
    int count = 0;

    pthread_mutex_lock(&all->lock);
    for (int i = 0; i < SITES_MAX; i++)
        if (all->list[i])
            list[count++] = all->list[i];
    fn(arg, list, count);
    pthread_mutex_unlock(&all->lock);
}

void site_list_clear(struct site_list *l)
{
    for (int i = 0; i < l->count; i++)
        site_unref(l->list[i]);
}

const struct site *sites_find_local(struct sites *all, const char *name)
{
    return cache_is_public(all->cache, name) ? &all->local : NULL;
}

void sites_set_slots(struct sites *all, int requests)
{
    atomic_store(&all->slots.most, requests);
}

const struct config *sites_config(const struct sites *all)
{
    return all->config;
}
