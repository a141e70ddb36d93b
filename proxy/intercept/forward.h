/* forward.h - the forward proxy: where CONNECT leads.
 *
 *     a client that intercept.allow does not have   403
 *     port 443 of a registry of ours                TLS begins here, under a certificate of our CA; what is requested
 *                                                   inside is served as if its client had come to us (pass.h, for all
 *                                                   that is not a pull)
 *     anything else                                 a tunnel, whose bytes are not looked at; 403 with tunnel: none
 *
 * A client on this machine can connect by itself to what the machine can reach, so its tunnels lead anywhere. Those of
 * others lead to public addresses, and to the hosts that the configuration names (upstream/reach.h): not to this
 * machine's loopback, its metadata service, its private network.
 *
 * One for each serve loop, on that loop.
 */
#ifndef ENTREPOT_PROXY_INTERCEPT_FORWARD_H
#define ENTREPOT_PROXY_INTERCEPT_FORWARD_H

#include "base/err.h"
#include "base/loop.h"

struct ca;
struct config;
struct forward;
struct http_request;

/* Everything is borrowed; `ca` may be NULL. Before the loop starts. Errors: ERR_IO. */
struct forward *forward_new(const struct config *config, struct ca *ca, struct loop *loop, struct err *err);
/* Another configuration. On the loop. */
void forward_set(struct forward *f, const struct config *config, struct ca *ca);
/* After the loop has ended, and all connections. */
void forward_free(struct forward *f);
/* A request of a client of the forward proxy: whether it may use it. If not, it has been answered. */
bool forward_admit(struct forward *f, struct http_request *req);
/* Answers CONNECT. */
void forward_connect(struct forward *f, struct http_request *req);

#endif
