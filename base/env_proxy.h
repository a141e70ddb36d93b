/* env_proxy.h - which proxy a request uses, by the environment's variables.
 *
 * libcurl parses no_proxy differently: no ports, no "*.corp.example". So the choice is made here, for each URL and each
 * redirect (upstream/transfer_connect.c), and passed to libcurl: what upstream/reach.h allows and what libcurl does
 * cannot differ.
 *
 * http_proxy, https_proxy, then all_proxy; each in capitals too, as in the tools of engines. An HTTP_PROXY in a CGI
 * program comes from the client (httpoxy, CVE-2016-5387), so it is ignored if REQUEST_METHOD is set. localhost and
 * loopback addresses never use a proxy. Any thread.
 */
#ifndef ENTREPOT_BASE_ENV_PROXY_H
#define ENTREPOT_BASE_ENV_PROXY_H

#include <stdbool.h>
#include <stddef.h>

enum { PROXY_NAME_MAX = 300 };

/* The proxy for a request to `url`, or to where `location` leads from there (a redirect; NULL: none); NULL: no proxy.
 * Borrowed from the environment. May hold a password. */
const char *proxy_for(const char *url, const char *location);
/* Whether this no_proxy list exempts the host: "*", "host", ".domain", "*.domain", an address, a net ("10.0.0.0/8"),
 * all but nets optionally with a port ("host:8083", "[::1]:5000"). Separated by commas or blanks. */
bool proxy_is_exempt(const char *no_proxy, const char *host, int port);
/* The name and password in its URL, as a value of Proxy-Authorization; NULL: none, or not an HTTP proxy. The caller
 * frees. */
char *proxy_login(const char *proxy);
/* "host:port", without scheme, user and password. Returns `out`. */
const char *proxy_name(const char *proxy, char out[PROXY_NAME_MAX]);

#endif
