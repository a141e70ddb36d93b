/* hop.h - which headers are for one connection alone, and are not passed on (RFC 9110 §7.6.1). Any thread. */
#ifndef ENTREPOT_PROXY_INTERCEPT_HOP_H
#define ENTREPOT_PROXY_INTERCEPT_HOP_H

#include "base/buf.h"

#include <stdbool.h>

/* Adds the names in the value of a Connection header to `named`, which begins empty. */
void hop_note(struct buf *named, const char *connection);
/* Whether a header of this name, in any case, is passed on. What frames the body is not: both sides have their own. */
bool hop_passes(const struct buf *named, const char *name, size_t len);
/* Such a login is the connection's, not the request's: nobody else may use it. NULL: there is none. */
bool hop_is_login(const char *authorization);

#endif
