/* sites.h - the upstreams in use: one site for each configured registry host that was requested.
 *
 * A host that the configuration names outright has its site from the start, and keeps it. A pattern ("*.pkg.dev",
 * upstreams_any) becomes a site of its own for each host that matches it, on first use. Clients can invent such
 * hosts, so these sites are lent: each user of one releases it, and a new host takes the place of an unused one.
 *
 *     places ── a new host takes a free one; else the least recently used one, first of hosts that have never answered
 *               as a registry (at most SITES_UNPROVEN_MAX), then of those that have; never one in use
 *
 * Another configuration (sites_replace()) has sites of its own. Those of the last one stay until they are not in use
 * any more, and keep that configuration; a registry for which nothing has changed goes on with the same struct
 * upstream: its tokens, its limits, what is known of its endpoints.
 *
 * A site is in use while a request, a fetch or a pull holds it, or its upstream has calls or transfers, including
 * cancelled ones. Under the lock, an unused one can neither be found nor start anything: then it may be freed.
 *
 * Cached content of registries that are not configured (it was imported or pinned, or they were configured once)
 * belongs to the local site, one for all of them, which has no upstream. Any thread.
 */
#ifndef ENTREPOT_PROXY_FETCH_SITES_H
#define ENTREPOT_PROXY_FETCH_SITES_H

#include "base/ref.h"
#include "config/config.h"
#include "upstream/registry.h"

enum {
    SITES_MAX = 256,
    SITES_UNPROVEN_MAX = 64, /* hosts that have never answered as a registry */
    SITE_LOCAL = SITES_MAX,
};

/* What figures are summed up under: the name of an upstream, which keeps its number when the configuration changes;
 * more names than there are numbers are GROUP_OTHER. The hosts of a pattern are one, so that clients cannot multiply
 * them. */
enum {
    GROUP_LOCAL = CONFIG_UPSTREAMS_MAX,
    GROUP_OTHER, /* and the hosts of upstreams_any */
    GROUPS,
};

struct site {
    int id; /* its place; another host's after it was freed */
    int group;
    char host[REF_HOST_MAX + 1];
    const struct config_upstream *config;
    struct upstream *upstream; /* NULL: of the local site */
    const struct config *all;  /* the whole configuration, which lives as long as the site */
    bool lent;
    atomic_int users;
    /* under the lock */
    struct site_link *link; /* whose upstream it is; NULL: it has none */
    uint64_t used;          /* a counter of uses at the last one */
    struct site *next;      /* of those of earlier configurations */
};

struct sites;

struct cache;

/* All are borrowed. `ledger` as in struct upstream_options. */
struct sites *sites_new(const struct config *config, struct cred_workers *workers, struct cache *cache,
                        struct ledger *ledger);
void sites_free(struct sites *all);
/* The caller releases it with site_unref(). NULL: the host is not configured (sites_is_upstream()), or too many sites
 * are in use. */
const struct site *sites_find(struct sites *all, const char *host);
bool sites_is_upstream(struct sites *all, const char *host);
/* The same for a host that an upstream of the configuration is for; NULL for those of upstreams_any. *is: whether there
 * is such an upstream. */
const struct site *sites_find_configured(struct sites *all, const char *host, bool *is);
/* A number that grows with each configuration: what was found under a lower one may be found no more. Takes no lock. */
uint64_t sites_generation(const struct sites *all);
/* Another reference, for a holder of one. */
const struct site *site_ref(const struct site *s);
void site_unref(const struct site *s); /* may be NULL */
/* "nexus.test:8083" becomes "nexus.test" if it is an endpoint of the upstream of that name, and no upstream itself:
 * engines that name a registry with its port mean the same as those that cannot. */
void sites_name_alias(struct sites *all, char *host);
/* The upstream that `host`, an authority that is no upstream by itself, is an endpoint of; NULL: of none. The caller
 * frees it. */
char *sites_name_of_endpoint(struct sites *all, const char *host);
/* What is found from now on is as this configuration says. */
void sites_replace(struct sites *all, const struct config *config);
/* Frees the sites of earlier configurations that are not in use any more. Every few seconds. */
void sites_sweep(struct sites *all);
/* The local site, if the cache has something of this repository and it is public; else NULL. `name` is a full name.
 * Nothing is allocated for names that clients invent. */
const struct site *sites_find_local(struct sites *all, const char *name);
/* Their configuration; the caller releases it with config_unref(). */
const struct config *sites_config(struct sites *all);
/* The most requests that may be under way to all upstreams together; 0 (at first): no limit. */
void sites_set_slots(struct sites *all, int requests);

/* ---- for metrics and status ---- */

/* Its name in metrics; NULL: there is no such group. */
const char *sites_group_name(struct sites *all, int group);
/* `fn` is called for the last site of an upstream before both are freed; it must not call functions of this file.
 * Before the loops start. */
void sites_on_leave(struct sites *all, void (*fn)(void *arg, const struct site *s), void *arg);

/* In the order of their places. */
struct site_list {
    int count;
    const struct site *list[SITES_MAX];
};

/* Configured by name, or a lent one that has answered as a registry: hosts that clients invent are not shown. */
bool site_is_proven(const struct site *s);
/* All proven ones, held until site_list_clear(). */
void sites_list(struct sites *all, struct site_list *out);
/* Calls `fn` once with one site of each upstream, including unproven ones and those of earlier configurations, under
 * the lock, so it must not call functions of this file that take it. (Holding references instead would leave no place
 * for new ones.) `old`: so many at the end are of upstreams that the configuration does not have any more. */
void sites_look(struct sites *all, void (*fn)(void *arg, const struct site *const *sites, int count, int old),
                void *arg);
void site_list_clear(struct site_list *l);
#define _cleanup_sites_ __attribute__((cleanup(site_list_clear)))

#endif
