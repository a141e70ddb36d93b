/* sites.h - the upstreams in use: one site for each registry host that was asked for and is configured.
 *
 * A host that the configuration names outright has its site from the start, and keeps it. A pattern ("*.pkg.dev",
 * upstreams_any) becomes a site of its own for each host that matches it, on first use. Clients can make such hosts up,
 * so these sites are lent: who finds one gives it back, and a new host takes the place of one that nobody uses.
 *
 *     places ── a new host takes a free one; else the one that was used longest ago, first of hosts that have never
 *               answered as a registry (at most SITES_UNPROVEN_MAX), then of those that have; one in use never
 *
 * In use is a site for as long as somebody holds it (a request, a fetch, a pull), and its upstream has calls or
 * transfers, cancelled ones too. Under the lock and held by nobody it can neither be found nor have anything begun:
 * then it may go.
 *
 * What the cache has of registries that are not configured (an operator imported or pinned it, or they were configured
 * once) is the local site's, one for all of them: nobody is asked about it. Any thread.
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

/* What figures are summed up under: an upstream of the configuration, by its place there. The hosts of a pattern are
 * one, so that clients cannot multiply them. */
enum {
    GROUP_LOCAL = CONFIG_UPSTREAMS_MAX,
    GROUP_OTHER, /* the hosts of upstreams_any */
    GROUPS,
};

struct site {
    int id; /* its place; another host's after it went */
    int group;
    char host[REF_HOST_MAX + 1];
    const struct config_upstream *config;
    struct upstream *upstream; /* NULL: of the local site */
    const struct config *all;  /* the whole configuration */
    bool lent;                 /* counted: by users */
    atomic_int users;
    uint64_t used; /* under the lock: the later the more */
};

struct sites;

struct cache;

/* All are borrowed. */
struct sites *sites_new(const struct config *config, struct cred_workers *workers, struct cache *cache);
void sites_free(struct sites *all);
/* The caller gives it back with site_unref(). NULL if the host is not configured, or there are too many sites in use:
 * sites_is_upstream() says which. */
const struct site *sites_find(struct sites *all, const char *host);
bool sites_is_upstream(const struct sites *all, const char *host);
/* Another one for who has one already. Without effect on those that stay. */
const struct site *site_ref(const struct site *s);
void site_unref(const struct site *s); /* may be NULL */
/* "nexus.test:8083" becomes "nexus.test" if it is an endpoint of the upstream of that name, and no upstream itself:
 * engines that name a registry with its port mean the same as those that cannot. */
void sites_name_alias(const struct sites *all, char *host);
/* The upstream that `host`, an authority that is no upstream by itself, is an endpoint of; NULL: of none. */
const char *sites_name_of_endpoint(const struct sites *all, const char *host);
/* The local site, if the cache has something of this repository and everybody may read it; else NULL. `name` is a full
 * name. Nothing is made or kept for names that clients make up. */
const struct site *sites_find_local(struct sites *all, const char *name);
/* The configuration they are made from. */
const struct config *sites_config(const struct sites *all);
/* How many requests may be under way to all upstreams together; 0, at first: any number. */
void sites_set_room(struct sites *all, int requests);

/* ---- for figures ---- */

/* What metrics call it; NULL: there is none of this number. */
const char *sites_group_name(const struct sites *all, int group);
/* `fn` is told of each lent site that goes, before anybody else gets its place; it calls nothing of this file. Before
 * the loops start. */
void sites_on_leave(struct sites *all, void (*fn)(void *arg, const struct site *s), void *arg);

/* In the order of their places. */
struct site_list {
    int count;
    const struct site *list[SITES_MAX];
};

/* Named outright, or lent and proven: a name that clients have made up is none to show. */
bool site_is_proven(const struct site *s);
/* Those. Held until site_list_clear(). */
void sites_list(struct sites *all, struct site_list *out);
/* Calls `fn` once for all there are, the unproven too, of which none goes meanwhile; it calls nothing of this file that
 * takes the lock. Holding them would let no new one in. */
void sites_look(struct sites *all, void (*fn)(void *arg, const struct site *const *sites, int count), void *arg);
void site_list_clear(struct site_list *l);
#define _cleanup_sites_ __attribute__((cleanup(site_list_clear)))

#endif
