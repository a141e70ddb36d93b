#include "proxy/fetch/sites_private.h"

#include "base/assert.h"
#include "base/log.h"
#include "cache/cache.h"

#include <string.h>

static struct site *make(struct sites *all, int id, const char *host, const struct config_upstream *u,
                         const struct site *was);

static struct site *look(struct sites *all, int from, int to, const char *host)
{
    HOLDS(&all->lock);
    for (int i = from; i < to; i++)
        if (all->list[i] && strcmp(all->list[i]->host, host) == 0)
            return all->list[i];
    return NULL;
}

static void site_free(struct sites *all, struct site *s)
{
    struct site_link *link = s ? s->link : NULL;

    if (link && --link->users == 0) {
        if (all->on_leave)
            all->on_leave(all->leave_arg, s);
        upstream_free(link->upstream);
        free(link);
    }
    if (s)
        config_unref(s->all);
    free(s);
}

static int group_of(struct sites *all, const char *name)
{
    HOLDS(&all->lock);
    for (int i = 0; i < CONFIG_UPSTREAMS_MAX; i++) {
        if (!all->groups[i])
            all->groups[i] = xstrdup(name);
        if (strcmp(all->groups[i], name) == 0)
            return i;
    }
    return GROUP_OTHER;
}

/* Those configured by name exist from the start, so that metrics and status show them. `was`: of the configuration
 * before, up to `count`. */
static void make_fixed(struct sites *all, struct site *const *was, int count)
{
    const struct config *c = all->config;

    HOLDS(&all->lock);
    all->fixed = 0;
    for (int i = 0; i < c->upstream_count; i++)
        group_of(all, c->upstreams[i].name);
    for (int i = 0; i < c->upstream_count; i++) {
        const struct config_upstream *u = &c->upstreams[i];
        const struct site *before = NULL;
        if (strchr(u->name, '*') || strlen(u->name) > REF_HOST_MAX || look(all, 0, all->fixed, u->name))
            continue;
        for (int k = 0; k < count; k++)
            before = was[k] && strcmp(was[k]->host, u->name) == 0 ? was[k] : before;
        all->list[all->fixed] = make(all, all->fixed, u->name, u, before);
        all->fixed++;
    }
    all->local = xcalloc(1, sizeof(*all->local));
    *all->local = (struct site){
        .id = SITE_LOCAL, .group = GROUP_LOCAL, .host = "local", .config = &all->any, .all = config_ref(c)};
}

struct sites *sites_new(const struct config *config, struct cred_workers *workers, struct cache *cache,
                        struct ledger *ledger)
{
    struct sites *all = xcalloc(1, sizeof(*all));

    all->config = config_ref(config);
    all->workers = workers;
    all->cache = cache;
    all->ledger = ledger;
    all->any = (struct config_upstream){.ad_hoc = true,
                                        .parallel = 4,
                                        .fetch = CONFIG_FETCH_UNSET,
                                        .tags = CONFIG_TAGS_UNSET,
                                        .connect_timeout_ms = 10000,
                                        .stall_timeout_ms = 30000};
    pthread_mutex_init(&all->lock, NULL);
    pthread_mutex_lock(&all->lock);
    make_fixed(all, NULL, 0);
    pthread_mutex_unlock(&all->lock);
    return all;
}

void sites_free(struct sites *all)
{
    if (!all)
        return;
    all->on_leave = NULL;
    for (int i = 0; i < SITES_MAX; i++)
        site_free(all, all->list[i]);
    for (struct site *s = all->old, *next; s; s = next) {
        next = s->next;
        site_free(all, s);
    }
    site_free(all, all->local);
    for (int i = 0; i < CONFIG_UPSTREAMS_MAX; i++)
        free(all->groups[i]);
    config_unref(all->config);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* `was`: the site of this host in the configuration before; NULL: there was none. */
static struct site *make(struct sites *all, int id, const char *host, const struct config_upstream *u,
                         const struct site *was)
{
    struct site *s = xcalloc(1, sizeof(*s));
    bool same = was && (was->config == u ||
                        (was->config != &all->any && u != &all->any && config_upstream_is_same(was->config, u)));

    HOLDS(&all->lock);
    s->id = id;
    s->group = u == &all->any ? GROUP_OTHER : group_of(all, u->name);
    s->config = u;
    s->all = config_ref(all->config);
    snprintf(s->host, sizeof(s->host), "%s", host);
    s->link = same ? was->link : site_link_new(all, host, u);
    s->link->users++;
    s->upstream = s->link->upstream;
    return s;
}

/* ---- lending ---- */

const struct site *site_ref(const struct site *s)
{
    atomic_fetch_add(&((struct site *)s)->users, 1);
    return s;
}

void site_unref(const struct site *s)
{
    if (s)
        atomic_fetch_sub(&((struct site *)s)->users, 1);
}

/* With the lock held it stays so: references come from sites_find() or a holder, and only holders make calls. */
static bool is_unused(const struct site *s)
{
    return atomic_load(&s->users) == 0 && (!s->link || s->link->users > 1 || upstream_is_idle(s->upstream));
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
    all->list[i] = NULL;
    site_free(all, s);
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

bool sites_is_upstream(struct sites *all, const char *host)
{
    pthread_mutex_lock(&all->lock);
    bool is = configured(all, host) != NULL;
    pthread_mutex_unlock(&all->lock);
    return is;
}

/* With the lock held. */
static const struct site *find_site(struct sites *all, const char *host)
{
    struct site *s = look(all, 0, all->fixed, host);
    const struct config_upstream *u = s ? s->config : configured(all, host);

    if (!u)
        return NULL;
    s = s ? s : look(all, all->fixed, SITES_MAX, host);
    int place = s ? s->id : choose_place(all);
    if (!s && place >= 0) {
        clear_place(all, place);
        s = all->list[place] = make(all, place, host, u, NULL);
        s->lent = true;
    }
    if (!s)
        log_limited(LOG_LEVEL_WARN, "too many upstreams", "too many upstreams are in use at once: %s is refused", host);
    return s ? lend(all, s) : NULL;
}

const struct site *sites_find(struct sites *all, const char *host)
{
    pthread_mutex_lock(&all->lock);
    const struct site *found = find_site(all, host);
    pthread_mutex_unlock(&all->lock);
    return found;
}

const struct site *sites_find_configured(struct sites *all, const char *host, bool *is)
{
    pthread_mutex_lock(&all->lock);
    *is = config_find_upstream(all->config, host) != NULL;
    const struct site *found = *is ? find_site(all, host) : NULL;
    pthread_mutex_unlock(&all->lock);
    return found;
}

uint64_t sites_generation(const struct sites *all)
{
    return atomic_load_explicit(&all->generation, memory_order_acquire);
}

/* ---- another configuration ---- */

static void sweep_old(struct sites *all)
{
    struct site **at = &all->old;

    HOLDS(&all->lock);
    while (*at) {
        struct site *s = *at;
        if (!is_unused(s)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        site_free(all, s);
    }
}

void sites_sweep(struct sites *all)
{
    pthread_mutex_lock(&all->lock);
    sweep_old(all);
    pthread_mutex_unlock(&all->lock);
}

/* Hosts of patterns keep what is known of them, if they are still upstreams. */
static void lend_again(struct sites *all, struct site *const *was, int from)
{
    int place = all->fixed;

    HOLDS(&all->lock);
    for (int i = from; i < SITES_MAX && place < SITES_MAX; i++) {
        const struct config_upstream *u = was[i] ? configured(all, was[i]->host) : NULL;
        if (!u || look(all, 0, all->fixed, was[i]->host))
            continue;
        struct site *s = all->list[place] = make(all, place, was[i]->host, u, was[i]);
        s->lent = true;
        s->used = was[i]->used;
        place++;
    }
}

void sites_replace(struct sites *all, const struct config *config)
{
    struct site *was[SITES_MAX + 1];
    pthread_mutex_lock(&all->lock);
    const int fixed = all->fixed;
    const struct config *before = all->config;
    memcpy(was, all->list, sizeof(all->list));
    was[SITES_MAX] = all->local;
    memset(all->list, 0, sizeof(all->list));
    all->config = config_ref(config);
    atomic_fetch_add(&all->generation, 1);
    make_fixed(all, was, SITES_MAX);
    lend_again(all, was, fixed);
    for (int i = 0; i <= SITES_MAX; i++)
        if (was[i]) {
            was[i]->next = all->old;
            all->old = was[i];
        }
    for (int i = 0; i < SITES_MAX; i++)
        if (all->list[i])
            upstream_set_waiting_max(all->list[i]->upstream, config->limits.misses);
    sweep_old(all);
    config_unref(before);
    pthread_mutex_unlock(&all->lock);
}

/* ---- for metrics and status ---- */

const char *sites_group_name(struct sites *all, int group)
{
    if (group == GROUP_LOCAL || group == GROUP_OTHER)
        return group == GROUP_LOCAL ? "local" : "other";
    pthread_mutex_lock(&all->lock);
    const char *name = all->groups[group];
    pthread_mutex_unlock(&all->lock);
    return name;
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

void sites_look(struct sites *all, void (*fn)(void *arg, const struct site *const *sites, int count, int old),
                void *arg)
{
    int count = 0, now, most = SITES_MAX;

    pthread_mutex_lock(&all->lock);
    for (const struct site *s = all->old; s; s = s->next) {
        most++;
        if (s->link)
            s->link->seen = false;
    }
    const struct site **list = xcalloc((size_t)most, sizeof(struct site *));
    for (int i = 0; i < SITES_MAX; i++)
        if (all->list[i]) {
            all->list[i]->link->seen = true;
            list[count++] = all->list[i];
        }
    now = count;
    for (struct site *s = all->old; s; s = s->next)
        if (s->link && !s->link->seen) {
            s->link->seen = true;
            list[count++] = s;
        }
    fn(arg, list, count, count - now);
    pthread_mutex_unlock(&all->lock);
    free(list);
}

void site_list_clear(struct site_list *l)
{
    for (int i = 0; i < l->count; i++)
        site_unref(l->list[i]);
}

const struct site *sites_find_local(struct sites *all, const char *name)
{
    const struct site *found;

    if (!cache_is_public(all->cache, name))
        return NULL;
    pthread_mutex_lock(&all->lock);
    found = site_ref(all->local);
    pthread_mutex_unlock(&all->lock);
    return found;
}

void sites_set_slots(struct sites *all, int requests)
{
    atomic_store(&all->slots.most, requests);
}

const struct config *sites_config(struct sites *all)
{
    pthread_mutex_lock(&all->lock);
    const struct config *c = config_ref(all->config);
    pthread_mutex_unlock(&all->lock);
    return c;
}
