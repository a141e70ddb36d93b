/* identify.h - who a client is, by the Authorization of its request.
 *
 * Clients keep one name and password for all of 127.0.0.1:5000, where all registries are. So each is for exactly one
 * registry, and is given to that one and its token service alone. Which one, the first that applies:
 *
 *   1. the user name: "alice@ghcr.io" is "alice" of ghcr.io, if what follows the last '@' is configured or built in
 *   2. the listener of one upstream, ns=, the Host header: there the client means that registry anyhow
 *   3. clients.login_for
 *
 * A listener of one upstream takes no name of another registry. What is for none is not used: its client is nobody.
 *
 * On the loop of the request.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_IDENTIFY_H
#define ENTREPOT_PROXY_REGISTRY_IDENTIFY_H

#include "proxy/fetch/client.h"
#include "proxy/http/http.h"
#include "proxy/registry/route.h"

struct login;

/* From a request's Authorization: Bearer is the registry's own token, or one of ours (login.h); Basic a name and
 * password. Nobody if there is none, or none that may be used. The caller unrefs. */
struct client *identify_client(const struct http_request *req, struct login *login, const struct config *config,
                               const struct route *r);

#endif
