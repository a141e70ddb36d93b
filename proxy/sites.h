/* sites.h - the upstreams in use: one site for each registry host that was asked for and is configured.
 *
 * A pattern of the configuration ("*.pkg.dev") becomes a site of its own for each host that matches it. Sites are made
 * on first use, numbered from 0, and live as long as the proxy. What the cache has of registries that are not
 * configured (an operator imported or pinned it, or they were configured once) is the local site's, one for all of
 * them: nobody is asked about it. Any thread.
 */
#ifndef ENTREPOT_PROXY_SITES_H
#define ENTREPOT_PROXY_SITES_H

#include "base/ref.h"
#include "proxy/config.h"
#include "upstream/registry.h"

enum { SITES_MAX = 256, SITE_LOCAL = SITES_MAX };

struct site {
    int id;
    char host[REF_HOST_MAX + 1];
    const struct config_upstream *config;
    struct upstream *upstream; /* NULL: of the local site */
    const struct config *all;  /* the whole configuration */
};

struct sites;

struct cache;

/* All are borrowed. */
struct sites *sites_new(const struct config *config, struct cred_workers *workers, struct cache *cache);
void sites_free(struct sites *all);
/* NULL if the host is not configured, or there are too many sites. */
const struct site *sites_find(struct sites *all, const char *host);
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
int sites_count(struct sites *all);
const struct site *sites_at(struct sites *all, int id);
/* The number after `id`, the local site's at the end; -1 before the first and after the last. */
int sites_next(struct sites *all, int id);

#endif
