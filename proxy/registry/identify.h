/* identify.h - a client's identity, from the Authorization header of its request.
 *
 * Clients store one login for 127.0.0.1:5000, which serves all registries. So each login is for exactly one registry,
 * and is sent only to that and its token service. Which one, the first that applies:
 *
 *   1. the user name: "alice@ghcr.io" is "alice" of ghcr.io, if the host behind the last '@' is configured or built in
 *   2. the listener of one upstream, ns=, the Host header: these name the registry
 *   3. clients.login_for
 *
 * A listener of one upstream accepts no login for another registry. A login that is for none is not used: the client is
 * anonymous.
 *
 * On the loop of the request.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_IDENTIFY_H
#define ENTREPOT_PROXY_REGISTRY_IDENTIFY_H

#include "proxy/fetch/client.h"
#include "proxy/http/http.h"
#include "proxy/registry/route.h"

struct login;

/* Bearer is the registry's own token, or one of this cache (login.h); Basic a name and password. An anonymous client if
 * there is neither, or it cannot be used. The caller unrefs. */
struct client *identify_client(const struct http_request *req, struct login *login, const struct config *config,
                               const struct route *r);

#endif
