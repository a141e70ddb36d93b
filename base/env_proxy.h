/* env_proxy.h - which proxy a request goes through, as the environment says.
 *
 * libcurl reads no_proxy in a way of its own: no ports, no "*.corp.example". So the choice is made here, for each URL
 * and for each redirect (transfer_connect.c), and libcurl is told the result: what reach.h lets through and what
 * libcurl does cannot differ.
 *
 * http_proxy, https_proxy, then all_proxy; each in capitals too, as in the tools of engines. An HTTP_PROXY in a CGI
 * program comes from the client (httpoxy, CVE-2016-5387), so it is not read if REQUEST_METHOD is set. localhost and
 * loopback addresses are never asked for through a proxy. Any thread.
 */
#ifndef ENTREPOT_BASE_ENV_PROXY_H
#define ENTREPOT_BASE_ENV_PROXY_H

#include <stdbool.h>
#include <stddef.h>

enum { PROXY_NAME_MAX = 300 };

/* The proxy for a request to `url`, or to where `location` leads from there (a redirect; NULL: none); NULL: no proxy.
 * Borrowed from the environment. May hold a password. */
const char *proxy_for(const char *url, const char *location);
/* Whether this no_proxy list has the host asked for directly: "*", "host", ".domain", "*.domain", an address, a net
 * ("10.0.0.0/8"), all but nets with a port if wanted ("host:8083", "[::1]:5000"). Separated by commas or blanks. */
bool proxy_is_exempt(const char *no_proxy, const char *host, int port);
/* What its URL has of a name and a password, as a value of Proxy-Authorization; NULL: nothing, or not for HTTP. The
 * caller frees. */
char *proxy_login(const char *proxy);
/* "host:port", without scheme, user and password. Returns `out`. */
const char *proxy_name(const char *proxy, char out[PROXY_NAME_MAX]);

#endif
