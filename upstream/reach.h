/* reach.h - where requests may go: to public addresses; to others only where the configuration names the host.
 *
 * Redirects and token realms of an upstream, and names and ns= of a client, decide where requests go. Unchecked, they
 * could reach the machine's metadata service, its loopback, its private network. Behind a proxy (base/env_proxy.h), the
 * proxy decides.
 */
#ifndef ENTREPOT_UPSTREAM_REACH_H
#define ENTREPOT_UPSTREAM_REACH_H

#include <stdbool.h>
#include <sys/socket.h>

/* Whether an address is public (IANA special-purpose address registries, RFC 6890). Any thread. */
bool reach_is_public(const struct sockaddr *address);
/* Whether an address is one of this machine's interfaces: what listens there may be for the machine alone, whatever a
 * packet filter does with packets from outside. Any thread. */
bool reach_is_own(const struct sockaddr *address);
/* The addresses at which this process takes the place of registries (TLS by name), in place of those before: their
 * names, asked of the same DNS as clients ask, lead there, and requests would go in a circle. Copied. Any thread. */
void reach_set_places(const struct sockaddr_storage *bound, int count);
/* Whether a connection there would come back to this process. Any thread. */
bool reach_is_circle(const struct sockaddr *address);
/* The same as reach_is_public() for text ("10.0.0.1", "fe80::1"); false if it is not an address. */
bool reach_is_public_text(const char *address);
/* Whether the URL's host is among the patterns ("minio.internal", "*.corp.example"); NULL-terminated, may be NULL. */
bool reach_is_named(const char *url, const char *const *patterns);

#endif
