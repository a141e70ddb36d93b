/* reach.h - where requests may go: to public addresses; to others only where the configuration names the host.
 *
 * What an upstream says (redirects, token realms) and what a client says (ns=, names) lead to requests of ours. Without
 * a check they could be led to the metadata service of the machine, to what listens on its loopback, to its private
 * network. What goes through a proxy (proxy.h) is the proxy's to decide.
 */
#ifndef ENTREPOT_UPSTREAM_REACH_H
#define ENTREPOT_UPSTREAM_REACH_H

#include <stdbool.h>
#include <sys/socket.h>

/* Whether an address is of the public internet (IANA special-purpose address registries, RFC 6890). Any thread. */
bool reach_is_public(const struct sockaddr *address);
/* The same for text ("10.0.0.1", "fe80::1"); false if it is no address. */
bool reach_is_public_text(const char *address);
/* Whether the URL's host is among the patterns ("minio.internal", "*.corp.example"); NULL-terminated, may be NULL. */
bool reach_is_named(const char *url, const char *const *patterns);

#endif
