/* ping.h - /v2/, which clients request before all else, without a login, to learn how to log in. The registry answers
 * it; while it cannot, the clients are told to go on without a login, to what is in the cache. */
#ifndef ENTREPOT_PROXY_INTERCEPT_PING_H
#define ENTREPOT_PROXY_INTERCEPT_PING_H

#include "proxy/http/http.h"

bool ping_is(const struct http_request *req);
/* An answer of a registry that is not itself: an error of its own, or too many requests. */
bool ping_is_lost(int status);
void ping_answer(struct http_request *req);

#endif
