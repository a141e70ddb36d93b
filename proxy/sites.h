/* sites.h - the upstreams in use: one site for each registry host that was asked for and is configured.
 *
 * A pattern of the configuration ("*.pkg.dev") becomes a site of its own for each host that matches it. Sites are made
 * on first use, numbered from 0, and live as long as the proxy. Any thread.
 */
#ifndef ENTREPOT_PROXY_SITES_H
#define ENTREPOT_PROXY_SITES_H

#include "base/ref.h"
#include "proxy/config.h"
#include "upstream/registry.h"

enum { SITES_MAX = 256 };

struct site {
    int id;
    char host[REF_HOST_MAX + 1];
    const struct config_upstream *config;
    struct upstream *upstream;
};

struct sites;

/* Both are borrowed. */
struct sites *sites_new(const struct config *config, struct cred_workers *workers);
void sites_free(struct sites *all);
/* NULL if the host is not configured, or there are too many sites. */
const struct site *sites_find(struct sites *all, const char *host);
/* The configuration they are made from. */
const struct config *sites_config(const struct sites *all);
int sites_count(struct sites *all);
const struct site *sites_at(struct sites *all, int id);

#endif
