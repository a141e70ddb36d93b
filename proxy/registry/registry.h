/* registry.h - the registry API (distribution-spec) for engines: the parts of the daemon that its handlers use.
 *
 * Set by the folder above before the loops start, read by every serve loop. Everything is borrowed.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_REGISTRY_H
#define ENTREPOT_PROXY_REGISTRY_REGISTRY_H

#include "cache/cache.h"
#include "config/config.h"
#include "proxy/fetch/fetch.h"
#include "proxy/fetch/sites.h"
#include "proxy/registry/grant.h"
#include "proxy/registry/login.h"

struct cluster;

struct registry {
    const struct config *config;
    struct cache *cache;
    struct sites *sites;
    struct grants *grants;
    struct login *login;
    struct fetchers *fetchers;
    struct readahead *readahead;
    struct cluster *cluster; /* NULL: this node is alone */
};

#endif
