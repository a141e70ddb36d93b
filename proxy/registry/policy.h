/* policy.h - which images a node may pull (policy.allow, policy.deny): every page of a repository asks, before anything
 * is looked up, so that what is in the cache is denied as well. On the serve loop.
 */
#ifndef ENTREPOT_PROXY_REGISTRY_POLICY_H
#define ENTREPOT_PROXY_REGISTRY_POLICY_H

#include "proxy/registry/handlers.h"

/* False: the request has been answered with 403 DENIED, and the log has why. */
bool policy_admit(struct registry *reg, struct http_request *req, const struct route *r);
/* The same once it is known what a tag points to: whether that digest is denied. */
bool policy_admit_found(struct registry *reg, struct http_request *req, const struct route *r, const struct digest *d);

#endif
