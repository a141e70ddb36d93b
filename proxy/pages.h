/* pages.h - which requests may see what this node has and does: /metrics and /v2/_catalog.
 *
 * A listener on the loopback is for this node alone; but a web page that a browser on it shows may have its own name
 * lead to 127.0.0.1 (DNS rebinding), and then reads whatever is served there. Its requests tell by their Host. What
 * registries serve is left to registries, whose names those pages would have to be. Any thread.
 */
#ifndef ENTREPOT_PROXY_PAGES_H
#define ENTREPOT_PROXY_PAGES_H

#include "config/config.h"

#include <stdbool.h>

/* Whether a Host header (lower case, maybe with a port) names this node: an address, localhost, the name of an upstream,
 * one of clients.hosts; or it is empty, which no browser sends. */
bool pages_is_our_host(const struct config *c, const char *host);

#endif
