/* hop.h - which headers are for one connection alone, and are not passed on (RFC 9110 §7.6.1). Any thread. */
#ifndef ENTREPOT_PROXY_INTERCEPT_HOP_H
#define ENTREPOT_PROXY_INTERCEPT_HOP_H

#include "base/buf.h"

#include <stdbool.h>

/* Adds the names in the value of a Connection header to `named`, which begins empty. */
void hop_note(struct buf *named, const char *connection);
/* Whether a header of this name, in any case, is passed on. What frames the body is not: both sides have their own.
 * Nor is what is no name (RFC 9112 §5.1), such as "Content-Length ", about which parsers disagree. */
bool hop_passes(const struct buf *named, const char *name, size_t len);
/* Whether a trailer of this name is passed on: none that frames the message, or that says by whom, for whom or how it
 * is to be read (RFC 9110 §6.5.1). Recipients merge trailers into headers. */
bool hop_trails(const char *name, size_t len);
/* Such a login is the connection's, not the request's: nobody else may use it. NULL: there is none. */
bool hop_is_login(const char *authorization);
/* Frees a list of "Name: value", after which NULL comes: there may be logins in it. */
void hop_free_lines(char **list);

#endif
