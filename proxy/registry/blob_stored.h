/* blob_stored.h - a blob that is in the store. */
#ifndef ENTREPOT_PROXY_REGISTRY_BLOB_STORED_H
#define ENTREPOT_PROXY_REGISTRY_BLOB_STORED_H

#include "proxy/http/http.h"
#include "proxy/registry/registry.h"

/* Answers the request. False: the file is missing, or has to be verified first; headers may have been set. On the serve
 * loop. */
bool blob_send_stored(struct registry *reg, struct http_request *req, const struct digest *d);

#endif
